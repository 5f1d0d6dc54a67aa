//! What went wrong with a card, told by it at any time and asked for by the next who can tell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;

/// What a card said that was not yet told.
#[derive(Debug)]
pub(super) struct Faults {
    device: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it works no more; for good.
    lost: Option<String>,
    /// The first thing that went wrong since the last telling.
    other: Option<Error>,
    /// Bytes of the last buffer that was asked for.
    needed: u64,
}

impl Faults {
    pub(super) fn new(device: String) -> Self {
        Self {
            device,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The card works no more.
    pub(super) fn lose(&self, reason: impl Into<String>) {
        self.state().lost.get_or_insert(reason.into());
    }

    /// An operation was refused.
    pub(super) fn refuse(&self, reason: impl Into<String>) {
        let refused = Error::Refused {
            device: self.device.clone(),
            reason: reason.into(),
        };
        self.state().other.get_or_insert(refused);
    }

    /// A buffer of so many bytes is about to be made.
    pub(super) fn expect(&self, needed: u64) {
        self.state().needed = needed;
    }

    /// What an error of the driver means; it is told later.
    pub(super) fn note(&self, error: wgpu::Error) {
        match error {
            wgpu::Error::OutOfMemory { .. } => {
                let mut state = self.state();
                let error = Error::OutOfMemory {
                    device: self.device.clone(),
                    needed: state.needed,
                };
                state.other.get_or_insert(error);
            }
            wgpu::Error::Validation { description, .. }
            | wgpu::Error::Internal { description, .. } => self.refuse(description),
        }
    }

    /// Whether the card works no more.
    pub(super) fn alive(&self) -> Result<(), Error> {
        match &self.state().lost {
            Some(reason) => Err(Error::Lost {
                device: self.device.clone(),
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Tells what went wrong, once; that the card is lost, again and again.
    pub(super) fn tell(&self) -> Result<(), Error> {
        self.alive()?;
        self.state().other.take().map_or(Ok(()), Err)
    }
}
