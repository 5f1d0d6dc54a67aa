//! Memory that the system does not give.
//!
//! Without more the program would abort with a core dump and a sentence about bytes. So the program's allocator
//! says what happened and what may help, and ends it as every other failure of the work does. An allocation that
//! succeeds costs one comparison.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

const EXIT_CODE: i32 = 1;

#[global_allocator]
static ALLOCATOR: OrSay = OrSay;

struct OrSay;

// SAFETY: every call is handed to the system's allocator as it is, and its answers are given back.
#[allow(unsafe_code, reason = "an allocator has no safe interface")]
unsafe impl GlobalAlloc for OrSay {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        given(unsafe { System.realloc(block, layout, size) }, size)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[inline]
fn given(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        end(Some(size));
    }
    block
}

/// Ends the program if a panic says that the system had no memory for a thread or its stack, which std asks for without
/// the allocator.
pub(crate) fn end_if_said(panic: &PanicHookInfo<'_>) {
    const SAID: [&str; 3] = [
        "(os error 12)",
        "code: 11, kind: WouldBlock",
        "code: 12, kind: OutOfMemory",
    ];
    let message = panic.payload_as_str().unwrap_or_default();
    if cfg!(target_os = "linux") && SAID.iter().any(|part| message.contains(part)) {
        end(None);
    }
}

/// Ends the program. Nothing here may allocate, and no destructor runs: a run is left as a kill leaves it.
#[cold]
#[inline(never)]
fn end(asked: Option<usize>) -> ! {
    // Several threads may come at once; the first one speaks, and ends the others.
    static SAID: AtomicBool = AtomicBool::new(false);
    while SAID.swap(true, Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let mut line = [0; 256];
    let mut rest = &mut line[..];
    // The sentence is shorter than the line, and a line cut short is still something.
    let _ = match asked {
        Some(bytes) => write!(rest, "error: memory has run out (asked for: {bytes} bytes)"),
        None => write!(rest, "error: memory has run out (asked for: a thread)"),
    };
    let _ = writeln!(
        rest,
        "; say --threads 1, shorten the inputs (--max-length N), or allow the program more"
    );
    let left = rest.len();
    let said = &line[..line.len() - left];
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "std's stderr may be locked by this very thread")]
    // SAFETY: the text lives while it is written; `_exit` runs nothing of ours.
    unsafe {
        libc::write(libc::STDERR_FILENO, said.as_ptr().cast(), said.len());
        libc::_exit(EXIT_CODE)
    }
    #[cfg(not(unix))]
    {
        let _ = std::io::stderr().write_all(said);
        std::process::exit(EXIT_CODE)
    }
}
