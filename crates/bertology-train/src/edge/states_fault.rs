//! What a store of states refuses, with the evidence.

use std::path::PathBuf;

use bertology::Kind;

/// Why states cannot be stored, or those that are stored cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatesFault {
    /// More than can be numbered.
    #[error("the files have more than 2³² targets, labels or positions; probe a part of them")]
    TooMany,
    /// Nothing is left of a file.
    #[error(
        "{}: all {dropped} targets are in parts of texts that the model does not read; raise the maximum length, or let \
         a window be read around each target", path.display()
    )]
    AllDropped {
        /// The file.
        path: PathBuf,
        /// Its targets.
        dropped: u64,
    },
    /// Too much of a file is left out for its score to be one of the file.
    #[error(
        "{}: {dropped} of {targets} targets are in parts of texts that the model does not read, and a score of the others \
         is none of this file; raise the maximum length, or let a window be read around each target", path.display()
    )]
    Dropped {
        /// The file.
        path: PathBuf,
        /// Targets that were dropped.
        dropped: u64,
        /// All targets.
        targets: u64,
    },
    /// The disk has no room.
    #[error(
        "{}: the hidden states need {needed} bytes, and {available} are free; take half precision, fewer records, or \
         another disk", folder.display()
    )]
    NoRoom {
        /// Where they would be.
        folder: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// The folder holds states of something else.
    #[error(
        "{}: these hidden states are of another {what}: {was} there, {is} here; give another folder, or remove this one",
        folder.display()
    )]
    Mismatch {
        /// The folder.
        folder: PathBuf,
        /// `model`, `tokenizer`, …
        what: &'static str,
        /// Of what is stored.
        was: String,
        /// What is asked for.
        is: String,
    },
    /// The folder's account of itself cannot be read.
    #[error(
        "{}: this is no account of hidden states ({reason}); give another folder, or remove this one", path.display()
    )]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A number that half precision cannot hold.
    #[error(
        "{}, line {line}: layer {layer} holds {value}, and half precision takes numbers below 60,000; store single \
         precision", path.display()
    )]
    TooLarge {
        /// The file of the record.
        path: PathBuf,
        /// Its line.
        line: u64,
        /// The layer; 0 is the embeddings.
        layer: usize,
        /// The number of the greatest size.
        value: f32,
    },
}

impl StatesFault {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::TooMany
            | Self::AllDropped { .. }
            | Self::Dropped { .. }
            | Self::Mismatch { .. }
            | Self::Manifest { .. } => Kind::Input,
            Self::NoRoom { .. } => Kind::Environment,
            Self::TooLarge { .. } => Kind::Numeric,
        }
    }
}
