//! A corpus encoded once, to be gone through again and again.

use bertology::attention::Supply;
use bertology::input::supply::Fate;
use bertology::random::Draws;
use bertology::{Corpus, Sequence, Target};

use crate::Error;

/// One input of the model and what it should give.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub(crate) sequence: Sequence,
    pub(crate) target: Target,
    /// Predictions that its loss is the mean of: 1, or the tokens that count.
    pub(crate) predictions: usize,
}

/// Everything to train on, in memory.
///
/// # Cost
/// 4 bytes a token, twice that with segments; language models another 8 for their targets.
#[derive(Debug, Clone)]
pub(crate) struct Examples {
    pub(crate) all: Vec<Example>,
    /// Units of the file that are not trained on.
    pub(crate) left_out: u64,
}

impl Examples {
    pub(crate) fn read(corpus: &Corpus) -> Result<Self, Error> {
        let mut examples = Self {
            all: Vec::new(),
            left_out: 0,
        };
        for raw in corpus.open(0)? {
            let passages = match corpus.prepare(raw?)? {
                Fate::Studied(passages) => passages,
                Fate::LeftOut(_) => {
                    examples.left_out += 1;
                    continue;
                }
            };
            for passage in passages {
                let predictions = passage.target.as_ref().map_or(0, predictions);
                match passage.target {
                    Some(target) if predictions > 0 => examples.all.push(Example {
                        sequence: passage.sequence,
                        target,
                        predictions,
                    }),
                    _ => examples.left_out += 1,
                }
            }
        }
        if examples.all.is_empty() {
            return Err(Error::NoExamples {
                path: corpus.source().path().to_owned(),
            });
        }
        Ok(examples)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

/// Predictions that the loss of a target is the mean of.
fn predictions(target: &Target) -> usize {
    match target {
        Target::Tokens(tokens)
        | Target::TokenLabels(tokens)
        | Target::PreTraining { tokens, .. } => tokens.iter().flatten().count(),
        _ => 1,
    }
}

/// The order of an epoch (zero-based): each has its own, whatever came before.
pub(crate) fn order(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    Draws::of([seed, 0x6f72_6465, epoch]).shuffle(&mut order);
    order
}
