//! Ctrl-C: save what is finished, leave.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::failure::Failure;
use crate::show::eprintln;

/// Asks one command to stop. Clones ask the same one.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    graceful: Arc<AtomicBool>,
}

/// That of the program, which Ctrl-C asks.
static PROGRAM: LazyLock<Stop> = LazyLock::new(Stop::default);

thread_local! {
    /// That of the command which runs on this thread.
    static HERE: RefCell<Stop> = RefCell::new(PROGRAM.clone());
}

impl Stop {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks: the command ends at the next place from which it can go on, with what is finished saved.
    pub fn ask(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether the command is in a stretch of work that ends soon when asked. Outside of one there is nothing to save.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.graceful.load(Ordering::SeqCst)
    }

    /// What `work` does on this thread stops when this one is asked.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Back(Stop);
        impl Drop for Back {
            fn drop(&mut self) {
                HERE.set(self.0.clone());
            }
        }
        let _back = Back(HERE.replace(self.clone()));
        work()
    }
}

/// From now on Ctrl-C (and SIGTERM) ends the process, with exit code 130: at once, or while a
/// [`Graceful`] lives, when the work has come to a place where it can stop. Asking twice always ends
/// it at once.
pub(crate) fn install() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if PROGRAM.requested.swap(true, Ordering::SeqCst) || !PROGRAM.is_heard() {
            eprintln("error: interrupted");
            std::process::exit(130);
        }
    })
    .map_err(|error| Failure::work(format!("cannot watch for Ctrl-C: {error}")))
}

/// Whether the user asked to stop.
pub(crate) fn requested() -> bool {
    signal().load(Ordering::SeqCst)
}

/// What is raised when the user asks to stop.
pub(crate) fn signal() -> Arc<AtomicBool> {
    HERE.with_borrow(|stop| Arc::clone(&stop.requested))
}

/// A stretch of work that stops where it can be continued.
#[derive(Debug)]
pub(crate) struct Graceful(Stop);

impl Graceful {
    pub(crate) fn begin() -> Self {
        let stop = HERE.with_borrow(Clone::clone);
        stop.graceful.store(true, Ordering::SeqCst);
        Self(stop)
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        self.0.graceful.store(false, Ordering::SeqCst);
    }
}
