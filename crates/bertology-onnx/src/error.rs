//! What the export refuses, with the evidence.

use std::io;
use std::path::{Path, PathBuf};

use bertology_error::Kind;

/// Why a checkpoint could not be written as ONNX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint could not be read, or lacks a head that is to be left out.
    #[error(transparent)]
    Checkpoint(#[from] bertology_checkpoint::Error),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something lies where the file is to go.
    #[error("{} is there already; name another file", path.display())]
    Exists {
        /// The path given, or that of the weights beside it.
        path: PathBuf,
    },
    /// The path names no file.
    #[error("{} is a folder; name the file in it that is to be written, such as {}", path.display(), path.join("model.onnx").display())]
    IsFolder {
        /// The path given.
        path: PathBuf,
    },
    /// The file to be written is one of the model that is read.
    #[error("{} is a file of the model itself; name another, such as {}", path.display(), path.with_file_name("model.onnx").display())]
    OwnFile {
        /// The path given, or that of the weights beside it.
        path: PathBuf,
    },
    /// A weight is NaN or infinite.
    #[error(
        "a number of {parameter} is {value}, and a file of it would compute nothing else; the checkpoint is damaged"
    )]
    NotFinite {
        /// The parameter.
        parameter: String,
        /// The number.
        value: f32,
    },
    /// The disk is too small.
    #[error("{} has room for {free} bytes, and the file takes {needed}; free some, or name a file on another disk", path.display())]
    NoRoom {
        /// The folder of the file.
        path: PathBuf,
        /// Bytes of all files that are to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Whoever looks on asked to stop.
    #[error("stopped before the file was whole; nothing is kept of it")]
    Stopped,
    /// A parameter that the architecture asks for is not in the checkpoint.
    #[error("the checkpoint was opened without its parameter {parameter}; please report this")]
    Missing {
        /// The parameter.
        parameter: String,
    },
    /// A parameter has another size than the architecture says.
    #[error(
        "the parameter {parameter} has {found} numbers where the architecture has {expected}; please report this"
    )]
    Shape {
        /// The parameter.
        parameter: String,
        /// Numbers in the checkpoint.
        found: usize,
        /// Numbers by the architecture.
        expected: usize,
    },
}

impl Error {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Checkpoint(error) => error.kind(),
            Self::Io { .. } | Self::NoRoom { .. } => Kind::Environment,
            Self::Exists { .. }
            | Self::IsFolder { .. }
            | Self::OwnFile { .. }
            | Self::NotFinite { .. } => Kind::Input,
            Self::Stopped => Kind::Interrupted,
            Self::Missing { .. } | Self::Shape { .. } => Kind::Internal,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
