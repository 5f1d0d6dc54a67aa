//! A model file that somebody shortens while it is mapped.
//!
//! The system answers a look at the missing part with SIGBUS, which would end the program without a word. Weights
//! that are half there are of no use, so the program ends all the same, but says why.

#[cfg(unix)]
const MESSAGE: &[u8] =
    b"error: a file that is in use, such as the model's weights, was shortened meanwhile, or its \
disk failed; put the file back and start again\n";

/// From now on SIGBUS ends the program with a message and exit code 1.
#[cfg(unix)]
#[allow(unsafe_code, reason = "a handler for a signal has no safe interface")]
pub(crate) fn watch() {
    extern "C" fn explain(_: libc::c_int) {
        // SAFETY: `write` and `_exit` are async-signal-safe (signal-safety(7)); the message is static.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(1);
        }
    }
    // SAFETY: the handler calls only async-signal-safe functions and does not return.
    unsafe {
        libc::signal(libc::SIGBUS, explain as *const () as libc::sighandler_t);
    }
}

#[cfg(not(unix))]
pub(crate) fn watch() {}
