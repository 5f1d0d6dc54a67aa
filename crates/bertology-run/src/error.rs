//! Why a run folder cannot be used or written.

use std::io;
use std::path::{Path, PathBuf};

use bertology_error::Kind;
use thiserror::Error;

use crate::identity::Subject;
use crate::lock::Holder;

/// Why a run folder cannot be used or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file stands where the folder should be.
    #[error("{}: this is a file, not a folder", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// There is something in the folder already.
    #[error("{}: the folder is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Whether it holds a run that was interrupted.
        interrupted: bool,
    },
    /// There is something in the folder, but no run that could go on.
    #[error(
        "{}: the folder is not empty, and there is no state.json of an interrupted run to resume",
        path.display()
    )]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is at work in the folder.
    #[error(
        "{}: another run writes into this folder ({})",
        path.display(),
        holder.as_ref().map_or_else(|| "a process that has not said its name".to_owned(), ToString::to_string)
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who; nothing if it has not said so yet.
        holder: Option<Holder>,
    },
    /// A saved state that is not as it was written.
    #[error(
        "{}: the checksum is not that of what follows, so the file is damaged or was changed",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// `run.json` of something else.
    #[error("{}: not a run of this program", path.display())]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// A file that should be JSON is not.
    #[error("{} is not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        source: serde_json::Error,
    },
    /// `state.json` of something else, or damaged.
    #[error("{}: not the state of a run ({source})", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The run in the folder is another one.
    #[error("{}: this run cannot be resumed: {subject} was {was}, now it is {is}", path.display())]
    Differs {
        /// `run.json` or `state.json`.
        path: PathBuf,
        /// In what.
        subject: Subject,
        /// In the folder.
        was: String,
        /// Asked for.
        is: String,
    },
    /// Something cannot be written as JSON.
    #[error("cannot write {name}: {source}")]
    Document {
        /// The file.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "create the folder".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl FolderError {
    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotAFolder { .. }
            | Self::NotEmpty { .. }
            | Self::NothingToResume { .. }
            | Self::NotARun { .. }
            | Self::Json { .. }
            | Self::State { .. }
            | Self::Damaged { .. }
            | Self::Differs { .. } => Kind::Input,
            Self::Document { .. } => Kind::Internal,
            Self::InUse { .. } | Self::Io { .. } => Kind::Environment,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.as_ref().into(),
            source,
        }
    }
}
