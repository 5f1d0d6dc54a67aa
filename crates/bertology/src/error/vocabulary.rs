//! Why a vocabulary cannot become smaller.

use std::path::PathBuf;

use bertology_error::Kind;

/// Why a model cannot be written with fewer tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// A smaller vocabulary makes other pieces of a text of its corpus.
    #[error(
        "{}, line {line}: the smaller vocabulary makes other pieces of this text, although it was chosen for it; nothing is \
         written; please report this with the tokenizer's files", path.display()
    )]
    OtherPieces {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// A model of fewer tokens computes something else for a text of its corpus.
    #[error(
        "the model with fewer tokens does not give the {what} that the whole model gives; nothing is written; please report this"
    )]
    OtherValues {
        /// What was compared.
        what: &'static str,
    },
    /// No token can leave.
    #[error(
        "{}: all {tokens} tokens are needed: the texts have them, or they are single characters or special; give fewer or other \
         texts, or leave the vocabulary whole", path.display()
    )]
    WholeVocabulary {
        /// The model's folder.
        path: PathBuf,
        /// Rows of its token embedding.
        tokens: usize,
    },
    /// Ready ids where a vocabulary is to become smaller.
    #[error(
        "{}: ready token ids are those of the whole vocabulary, and a smaller one has others; give the texts", path.display()
    )]
    ReadyIds {
        /// The file.
        path: PathBuf,
    },
}

impl VocabularyError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::OtherPieces { .. } | Self::OtherValues { .. } => Kind::Internal,
            Self::WholeVocabulary { .. } | Self::ReadyIds { .. } => Kind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_the_input_and_what_was_written_is_ours() {
        let asked = VocabularyError::ReadyIds {
            path: "ids.txt".into(),
        };
        assert_eq!(asked.kind(), Kind::Input);
        assert_eq!(
            VocabularyError::OtherValues { what: "logits" }.kind(),
            Kind::Internal
        );
    }
}
