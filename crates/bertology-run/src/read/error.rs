//! What can be wrong with a run folder.

use std::io;
use std::path::PathBuf;

use bertology_data::CsvError;
use bertology_error::Kind;
use bertology_store::npy::NpyError;
use thiserror::Error;

/// Why a run folder, or a file in it, cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no `run.json`.
    #[error(
        "{}: not the folder of a complete run: it has no run.json; finish the run, or give \
         another folder", folder.display()
    )]
    NotARun {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is not as the run wrote it.
    #[error(
        "{}: its checksum is not the one in run.json, so it is damaged or was changed; make the run again",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file is not JSON.
    #[error("{} is not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong.
        source: serde_json::Error,
    },
    /// `run.json` of a newer version.
    #[error(
        "{}: its format is {found}, this version of bertology knows {known}; take the version that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// As the file has it.
        found: u64,
        /// That is understood.
        known: u64,
    },
    /// `run.json` without something that every run has.
    #[error("{}: it has no usable {what}, so it is not a run of this program", path.display())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The key.
        what: &'static str,
    },
    /// Results that are not what the command's results are.
    #[error("{}: the results of {command} are not what they should be: {source}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// The command that wrote it.
        command: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An array that cannot be read.
    #[error("{}: {source}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NpyError,
    },
    /// An array of another shape than the model's.
    #[error("{}: its shape is {found:?}, but {expected:?} is needed", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// As the file has it.
        found: Vec<usize>,
        /// As the model has it.
        expected: Vec<usize>,
    },
    /// A table that cannot be read.
    #[error("{}: {source}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CsvError,
    },
    /// A table without a column that it should have.
    #[error("{}: it has no column {column}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A field that is not what its column holds.
    #[error("{}: row {row}, column {column}: {found:?} is not {expected}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Counted from 1, without the line of names.
        row: usize,
        /// The name.
        column: String,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
}

impl RunError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Npy { source, .. } => source.kind(),
            Self::Csv { source, .. } => source.kind(),
            Self::Io { .. } => Kind::Environment,
            Self::NotARun { .. }
            | Self::Changed { .. }
            | Self::Json { .. }
            | Self::Format { .. }
            | Self::Lacks { .. }
            | Self::Shape { .. }
            | Self::Column { .. }
            | Self::Results { .. }
            | Self::Field { .. } => Kind::Input,
        }
    }
}
