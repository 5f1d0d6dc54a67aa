//! What can go wrong with a device.

use bertology_error::Kind;

/// Why a device does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such device, or it cannot be opened.
    #[error("{device} cannot be used: {reason}; what runs there runs on the processor, too")]
    Unavailable {
        /// What was asked for.
        device: String,
        /// What the system said.
        reason: String,
    },
    /// One buffer would have to be larger than the device allows.
    #[error(
        "{device} holds buffers of at most {limit} bytes and {needed} are needed: shorter texts need less, and the processor has no such limit"
    )]
    TooLarge {
        /// The device.
        device: String,
        /// Bytes of the buffer.
        needed: u64,
        /// Bytes that a buffer may have.
        limit: u64,
    },
    /// The device has no more memory.
    #[error(
        "{device} has no room for {needed} bytes more: smaller batches need less, and the processor's memory may be larger"
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes of the buffer.
        needed: u64,
    },
    /// The device stopped working while it was used.
    #[error("{device} stopped working: {reason}; what is finished can be resumed on the processor")]
    Lost {
        /// The device.
        device: String,
        /// What the driver said.
        reason: String,
    },
    /// An operation was refused by the driver.
    #[error("{device} refused an operation: {reason}")]
    Refused {
        /// The device.
        device: String,
        /// What the driver said.
        reason: String,
    },
}

impl Error {
    /// What a program should do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. }
            | Self::TooLarge { .. }
            | Self::OutOfMemory { .. }
            | Self::Lost { .. } => Kind::Environment,
            Self::Refused { .. } => Kind::Internal,
        }
    }
}
