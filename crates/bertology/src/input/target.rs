//! What is predicted in a sequence: what its loss, and so its gradients, are of.

use std::path::Path;

use bertology_checkpoint::{Problem, TaskHead};
use bertology_data::{Example, LabelMap, LabelOrder, Mode, Source};
use bertology_model::Target;
use bertology_tokenizer::Tokenizer;

use crate::input::prepare::{Piece, special};
use crate::objective::{Hiding, Objective, TokenMasking};
use crate::random::Draws;
use crate::{Error, Outline};

/// What is predicted in the sequences of a model; [`Objective`] says it to users.
#[derive(Debug, Clone)]
pub(crate) enum Targets {
    /// Each example's own label.
    Labels(LabelMap),
    /// One class, whatever the example's label.
    Class(usize),
    /// One logit itself: no loss.
    Logit(usize),
    /// Every token of the text that is not context, but the first.
    Next,
    /// Tokens of the text that are neither context nor special.
    Tokens {
        /// Some, hidden, with this seed; `None`: all, and the text stays as it is.
        hiding: Option<(Hiding, u64)>,
        /// Tokens that are never predicted.
        special: Vec<u32>,
    },
}

impl Targets {
    /// What an objective asks of a model for the examples of a file.
    ///
    /// # Errors
    /// A head that does not give that loss, data without labels where labels are scored, tokens that the
    /// tokenizer lacks.
    pub(crate) fn new(
        model: &Outline,
        source: &Source,
        objective: Objective,
        order: &LabelOrder,
    ) -> Result<Self, Error> {
        let head = &model.architecture().head;
        if !objective.fits(head) {
            return Err(Error::WrongObjective {
                path: model.checkpoint().folder().to_owned(),
                found: head.description(),
                objective: objective.description(),
            });
        }
        Ok(match objective {
            Objective::Labels => {
                Self::Labels(label_map(model, source.path(), Some(source), order)?)
            }
            Objective::CausalLm { .. } => Self::Next,
            Objective::MaskedLm { masking } => Self::Tokens {
                hiding: hiding(model, masking)?,
                special: never_predicted(model.tokenizer()?),
            },
            Objective::Tags | Objective::Answers => {
                return Err(Error::OtherData {
                    path: source.path().to_owned(),
                    holds: source_holds(source),
                    found: head.description(),
                    needs: objective,
                });
            }
        })
    }

    /// Takes another seed for what is hidden.
    pub(crate) fn draw_anew(&mut self, seed: u64) {
        if let Self::Tokens {
            hiding: Some((_, drawn)),
            ..
        } = self
        {
            *drawn = seed;
        }
    }

    /// The target of a piece; hides the tokens to be guessed. `example` is that of the piece, if it is one's,
    /// `path` its file, `document` its place there: it and the number of the window decide what is hidden.
    ///
    /// # Errors
    /// A label that the model does not know.
    pub(crate) fn of(
        &self,
        piece: &mut Piece,
        example: Option<&Example>,
        path: &Path,
        document: u64,
    ) -> Result<Option<Target>, Error> {
        Ok(match self {
            Self::Labels(labels) => match example {
                Some(example) => Some(scored(labels.target(example, path)?)),
                None => None,
            },
            Self::Class(class) => Some(Target::Label(*class)),
            Self::Logit(logit) => Some(Target::Logit(*logit)),
            Self::Next => {
                let ids = piece.encoding.ids.iter().zip(piece.counted()).skip(1);
                let next = ids.map(|(id, counts)| counts.then_some(*id)).chain([None]);
                Some(Target::Tokens(next.take(piece.encoding.len()).collect()))
            }
            Self::Tokens { hiding, special } => {
                Some(Target::Tokens(guessed(piece, hiding, special, document)))
            }
        })
    }
}

/// What the examples of a file are.
pub(crate) fn source_holds(source: &Source) -> &'static str {
    if source.has_tags() {
        Objective::Tags.data()
    } else if source.has_questions() {
        Objective::Answers.data()
    } else if source.has_labels() {
        Objective::Labels.data()
    } else {
        Objective::CausalLm { bos: false }.data()
    }
}

/// The tokens to be guessed, hidden in the piece.
fn guessed(
    piece: &mut Piece,
    hiding: &Option<(Hiding, u64)>,
    special: &[u32],
    document: u64,
) -> Vec<Option<u32>> {
    let counted = piece.counted();
    let ids = &mut piece.encoding.ids;
    let candidates: Vec<usize> = (0..ids.len())
        .filter(|at| counted[*at] && !special.contains(&ids[*at]))
        .collect();
    let whole = ids.clone();
    let selected = match hiding {
        None => candidates,
        Some((hiding, seed)) => {
            let mut draws = Draws::of_window(*seed, document, piece.number as u64);
            hiding.hide(ids, &candidates, &mut draws)
        }
    };
    let mut targets = vec![None; whole.len()];
    for at in selected {
        targets[at] = Some(whole[at]);
    }
    targets
}

/// What the labels of a file mean to a model; `source` is none where the examples come from no file.
///
/// # Errors
/// Examples without labels, labels that the model does not know, classes for a regression or numbers for a
/// classifier.
pub(crate) fn label_map(
    model: &Outline,
    path: &Path,
    source: Option<&Source>,
    order: &LabelOrder,
) -> Result<LabelMap, Error> {
    let arch = model.architecture();
    let folder = || model.checkpoint().folder().to_owned();
    let Some(source) = source.filter(|source| source.has_labels()) else {
        return Err(Error::NoLabels {
            path: path.to_owned(),
            model: folder(),
            found: arch.head.description(),
        });
    };
    if let TaskHead::SequenceClassification {
        num_labels: outputs @ 2..,
        problem: Problem::Regression,
    } = arch.head
    {
        let path = folder();
        return Err(Error::ManyValues { path, outputs });
    }
    let labels = LabelMap::new(&arch.labels, source.task(), order.clone())?;
    let problem = match arch.head {
        TaskHead::SequenceClassification { problem, .. } => Some(problem),
        _ => None,
    };
    let data = match (labels.mode(), problem) {
        (Mode::Classification, Some(Problem::SingleLabel))
        | (Mode::Regression, Some(Problem::Regression)) => return Ok(labels),
        (Mode::Classification, _) => "class",
        (Mode::Regression, _) => "number",
    };
    Err(Error::WrongProblem {
        path: folder(),
        data,
        found: arch.head.description(),
    })
}

/// A label as the engine's loss takes it.
pub(crate) fn scored(label: bertology_data::Target) -> Target {
    match label {
        bertology_data::Target::Class(class) => Target::Label(class),
        bertology_data::Target::Value(value) => Target::Value(value),
    }
}

/// How tokens are hidden, and with which seed; `None` where the text stays as it is.
fn hiding(model: &Outline, masking: TokenMasking) -> Result<Option<(Hiding, u64)>, Error> {
    let TokenMasking::Random { probability, seed } = masking else {
        return Ok(None);
    };
    if !(probability > 0.0 && probability <= 1.0) {
        return Err(Error::Option {
            option: "the share of tokens to predict",
            value: probability.to_string(),
            reason: "give a number above 0 and at most 1, or leave the text unmasked",
        });
    }
    let tokenizer = model.tokenizer()?;
    let rows = model.architecture().vocab_size;
    let hiding = Hiding {
        probability,
        mask: special(
            model,
            tokenizer.mask_id(),
            "mask",
            "predict all tokens unmasked instead",
        )?,
        vocabulary: tokenizer.vocab_size().clamp(1, rows),
    };
    Ok(Some((hiding, seed)))
}

/// The special tokens, which a masked language model is never asked for.
pub(crate) fn never_predicted(tokenizer: &Tokenizer) -> Vec<u32> {
    let ids = [
        tokenizer.pad_id(),
        tokenizer.cls_id(),
        tokenizer.sep_id(),
        tokenizer.mask_id(),
        tokenizer.unk_id(),
        tokenizer.bos_id(),
        tokenizer.eos_id(),
    ];
    ids.into_iter().flatten().collect()
}
