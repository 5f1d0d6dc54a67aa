//! Waiting for another thread without the interpreter's lock.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

/// Between two looks at signals.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What another thread sends.
pub(crate) struct Inbox<T>(Mutex<Receiver<T>>);

impl<T: Send> Inbox<T> {
    pub(crate) fn new(receiver: Receiver<T>) -> Self {
        Self(Mutex::new(receiver))
    }

    /// Waits a moment for what comes next; other Python threads run meanwhile.
    pub(crate) fn wait(&self, py: Python<'_>) -> Result<T, RecvTimeoutError> {
        py.detach(|| {
            let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.recv_timeout(LOOK_EVERY)
        })
    }
}
