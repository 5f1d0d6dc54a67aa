//! What a probe refuses, with the evidence.

use std::io;
use std::path::{Path, PathBuf};

use bertology::Kind;

use crate::edge::{Fault, StatesFault};

/// Why a probe could not be trained or scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model or the driver refused.
    #[error(transparent)]
    Study(#[from] bertology::Error),
    /// Edge probing refused.
    #[error(transparent)]
    Edge(#[from] Fault),
    /// Hidden states cannot be stored, or those that are cannot be used.
    #[error(transparent)]
    States(#[from] StatesFault),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a file of word vectors does not fit.
    #[error("{}, line {line}: {what}", path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// A file of word vectors without vectors.
    #[error("{}: no word vector in this file; give lines of a word and its numbers", path.display())]
    NoVectors {
        /// The file.
        path: PathBuf,
    },
    /// A model without an embedding table.
    #[error("the model has no table of word embeddings; give word vectors from a file")]
    NoEmbeddings,
    /// The training diverged.
    #[error(
        "probe `{probe}`: the loss of training sentence {sentence} is {loss}, which is not a finite \
         number; the model's attention or the word vectors hold such values"
    )]
    NotFinite {
        /// The probe.
        probe: &'static str,
        /// Zero-based.
        sentence: usize,
        /// The loss.
        loss: f64,
    },
    /// An input of another shape than the probe's.
    #[error("the {what} has {found} where {expected} is needed")]
    Shape {
        /// What was given.
        what: &'static str,
        /// What it has.
        found: usize,
        /// What it must have.
        expected: usize,
    },
    /// Nothing to train on or to score.
    #[error("{}: no sentence of this file can be used ({reason})", path.display())]
    NoSentences {
        /// The treebank.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file without an example to train on.
    #[error("{}: no example of this file can be trained on; give labelled texts, or texts long enough to predict in", path.display())]
    NoExamples {
        /// The file.
        path: PathBuf,
    },
    /// No parameter is trained.
    #[error("everything is frozen, so that nothing can be trained; leave a part of the model free")]
    AllFrozen,
    /// Layers that have their weights in common were to be trained at rates of their own.
    #[error(
        "layers of this model share their weights, so that {what} cannot tell them apart; freeze the embeddings or the whole \
         encoder, or train all layers at one rate"
    )]
    SharedLayers {
        /// What was asked for.
        what: &'static str,
    },
    /// Hidden states of a teacher with another shape.
    #[error(
        "the teacher has {found} {what}, the model to be trained {expected}: their hidden states cannot be compared; take a \
         teacher of the same shape, or its logits alone"
    )]
    TeacherShape {
        /// Layers or hidden units.
        what: &'static str,
        /// The teacher's.
        found: usize,
        /// The model's.
        expected: usize,
    },
    /// A teacher reads other tokens.
    #[error(
        "the teacher reads other tokens in example {example} (from 0) than the model to be trained, so that their hidden states \
         cannot be compared; take a teacher with the same tokenizer, or its logits alone"
    )]
    TeacherTokens {
        /// The first such example, zero-based.
        example: usize,
    },
    /// The gradient is no number.
    #[error(
        "the gradient of step {step} is not a finite number: the training has gone astray; a lower learning rate or a longer \
         warm-up keeps it on its way"
    )]
    Diverged {
        /// Zero-based.
        step: u64,
    },
    /// A state of a training that cannot be gone on with.
    #[error("{}: this state of a training {what}; remove it to train from the start", path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The user asked to stop a training.
    #[error("interrupted after {steps} of {total} steps")]
    TrainingInterrupted {
        /// Steps taken.
        steps: u64,
        /// All of them.
        total: u64,
    },
    /// The user asked to stop.
    #[error("interrupted after {sentences} of {total} sentences")]
    Interrupted {
        /// Sentences of this pass that are done.
        sentences: usize,
        /// All of them.
        total: usize,
    },
}

impl Error {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Study(error) => error.kind(),
            Self::Edge(fault) => fault.kind(),
            Self::States(fault) => fault.kind(),
            Self::Io { .. } => Kind::Environment,
            Self::NotFinite { .. } | Self::Diverged { .. } => Kind::Numeric,
            Self::Interrupted { .. } | Self::TrainingInterrupted { .. } => Kind::Interrupted,
            // Probes and their inputs are cut from one sentence.
            Self::Shape { .. } => Kind::Internal,
            Self::Vectors { .. }
            | Self::NoVectors { .. }
            | Self::NoEmbeddings
            | Self::NoExamples { .. }
            | Self::AllFrozen
            | Self::SharedLayers { .. }
            | Self::TeacherShape { .. }
            | Self::TeacherTokens { .. }
            | Self::Saved { .. }
            | Self::NoSentences { .. } => Kind::Input,
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

pub(crate) fn expect(what: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape {
        what,
        found,
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_error_keeps_its_kind() {
        let study = bertology::Error::Interrupted { done: 1, total: 2 };
        assert_eq!(Error::from(study).kind(), Kind::Interrupted);
        let path = PathBuf::from("vectors.txt");
        assert_eq!(Error::NoVectors { path }.kind(), Kind::Input);
        let diverged = Error::NotFinite {
            probe: "words",
            sentence: 0,
            loss: f64::NAN,
        };
        assert_eq!(diverged.kind(), Kind::Numeric);
    }
}
