//! What can be wrong with the numbers that a page is asked to show.

use bertology_error::Kind;
use thiserror::Error;

use bertology_run::RunError;

/// Why a page was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Numbers that do not fit what the page says of them.
    #[error("{what}: expected {expected} values, found {found}")]
    Count {
        /// Which numbers.
        what: String,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A number that is not one.
    #[error("{what} is not finite")]
    NotFinite {
        /// Which number.
        what: String,
    },
    /// A run folder that cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Runs of different models, whose heads have nothing to do with each other.
    #[error(
        "{other} is of another model than {first}: SHA-256 {found} ({model}), not {expected}; give runs of one \
         model"
    )]
    DifferentModels {
        /// Folder of the first run.
        first: String,
        /// Folder of the run that does not fit.
        other: String,
        /// Name of its model.
        model: String,
        /// Hash of the first run's model, shortened.
        expected: String,
        /// Hash of its model, shortened.
        found: String,
    },
    /// Runs that say nothing of single heads.
    #[error(
        "{folder}: {command} says nothing of single heads; give runs of importance, ablate, patterns and the like"
    )]
    NothingOfHeads {
        /// Folder of the run.
        folder: String,
        /// Its command.
        command: String,
    },
    /// No run at all.
    #[error("no run is given")]
    NoRuns,
    /// Runs of different commands, whose numbers cannot be compared.
    #[error(
        "{first} is a run of {expected}, but {other} is one of {found}; compare two runs of one command"
    )]
    DifferentCommands {
        /// Folder of the one.
        first: String,
        /// Folder of the other.
        other: String,
        /// Command of the one.
        expected: String,
        /// Command of the other.
        found: String,
    },
    /// Models of different shape: head 3 of one is not head 3 of the other.
    #[error(
        "{first} is of a model of {expected:?} layers and heads, but {other} of one of {found:?}; only models of \
         one shape can be compared head by head (pruned ones keep their shape)"
    )]
    DifferentShapes {
        /// Folder of the one.
        first: String,
        /// Folder of the other.
        other: String,
        /// Layers and heads of the one.
        expected: (usize, usize),
        /// Layers and heads of the other.
        found: (usize, usize),
    },
    /// The document of a page cannot be written as JSON.
    #[error("cannot write the document of the page: {source}")]
    Document {
        /// Why.
        #[from]
        source: serde_json::Error,
    },
    /// The page would be larger than wanted, even with the fewest numbers that are of use.
    #[error(
        "the attention of {heads} heads over {tokens} tokens{} takes about {needed} bytes even with the \
         {kept} largest weights of each token alone, more than the {limit} allowed",
        if *texts > 1 { format!(" of {texts} texts") } else { String::new() }
    )]
    TooLarge {
        /// Texts, each of which has these heads.
        texts: usize,
        /// Heads to be shown.
        heads: usize,
        /// Tokens of all texts.
        tokens: usize,
        /// Weights kept of each token.
        kept: usize,
        /// Estimate, in bytes.
        needed: u64,
        /// In bytes.
        limit: u64,
    },
}

impl Error {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(error) => error.kind(),
            Self::NotFinite { .. } => Kind::Numeric,
            // Counted by whoever computed the numbers, which no user did.
            Self::Count { .. } | Self::Document { .. } => Kind::Internal,
            Self::DifferentModels { .. }
            | Self::NothingOfHeads { .. }
            | Self::NoRuns
            | Self::DifferentCommands { .. }
            | Self::DifferentShapes { .. }
            | Self::TooLarge { .. } => Kind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_run_is_the_input_and_a_wrong_count_is_a_fault_of_ours() {
        let path = std::path::PathBuf::from("run.json");
        let source = std::io::ErrorKind::PermissionDenied.into();
        let disk = RunError::Io {
            path: path.clone(),
            source,
        };
        assert_eq!(Error::from(disk).kind(), Kind::Environment);
        let source = bertology_store::npy::NpyError::NotNpy;
        let damaged = RunError::Npy { path, source };
        assert_eq!(Error::from(damaged).kind(), Kind::Input);
        let count = Error::Count {
            what: "maps".to_owned(),
            expected: 2,
            found: 1,
        };
        assert_eq!(count.kind(), Kind::Internal);
        let what = "a weight".to_owned();
        assert_eq!(Error::NotFinite { what }.kind(), Kind::Numeric);
    }
}
