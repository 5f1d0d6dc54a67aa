//! Ctrl-C: save what is finished, leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::failure::Failure;
use crate::show::eprintln;

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static GRACEFUL: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C (and SIGTERM) ends the process, with exit code 130: at once, or while a
/// [`Graceful`] lives, when the work has come to a place where it can stop. Asking twice always ends
/// it at once.
pub(crate) fn install() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) || !GRACEFUL.load(Ordering::SeqCst) {
            eprintln("error: interrupted");
            std::process::exit(130);
        }
    })
    .map_err(|error| Failure::work(format!("cannot watch for Ctrl-C: {error}")))
}

/// Whether the user asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// What is raised when the user asks to stop.
pub(crate) fn signal() -> Arc<AtomicBool> {
    Arc::clone(&REQUESTED)
}

/// A stretch of work that stops where it can be continued.
#[derive(Debug)]
pub(crate) struct Graceful(());

impl Graceful {
    pub(crate) fn begin() -> Self {
        GRACEFUL.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        GRACEFUL.store(false, Ordering::SeqCst);
    }
}
