//! What a model says about one input, and what it says without each head.
//!
//! ```
//! use bertology::{LoadedModel, Sequence, left_out};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
//! let model = LoadedModel::open(folder)?;
//! let input = Sequence::new(model.encode("The horses were admired.", None, None)?.ids);
//! let heads: Vec<_> = model.model().heads().collect();
//! let found = left_out::leave_out_each(&model, &input, &[], &heads, 1, &mut |_| ())?;
//! let whole = &found.whole.logits; // [labels]
//! let (head, without) = &found.without[0];
//! let shift = left_out::divergence(whole, &without.logits); // in nats
//! assert!(shift > 0.0, "{head} says nothing");
//! # Ok(())
//! # }
//! ```

use bertology_checkpoint::TaskHead;
use bertology_model::{HeadId, PackedBatch, PassOptions, Sequence, SequenceOutput, Target};

use crate::drive::{Work, each};
use crate::{Error, LoadedModel};

/// What a model says about one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Logits of the sequence-level head, `[labels]`; empty if the model has none.
    pub logits: Vec<f32>,
    /// Logits over the vocabulary at each position that was asked for, `[positions][vocab]`.
    pub tokens: Vec<Vec<f32>>,
}

/// What the whole model says, and what it says without each of some heads.
#[derive(Debug, Clone, PartialEq)]
pub struct WithoutEach {
    /// With all heads.
    pub whole: Said,
    /// Without one head each, in order.
    pub without: Vec<(HeadId, Said)>,
}

/// Runs the model on an input as it is and without each of `heads`, a layer a job on so many threads (0: all).
/// `positions` (ascending) are those whose logits over the vocabulary are wanted, of language models; `advance`
/// hears how many heads are done.
///
/// # Cost
/// About half a pass a head, and one a layer; `vocab` numbers for every position and head.
///
/// # Errors
/// Heads that the model does not have; positions beyond the input, or of a model without a
/// language-model head; an input that does not fit the model.
pub fn leave_out_each(
    model: &LoadedModel,
    input: &Sequence,
    positions: &[usize],
    heads: &[HeadId],
    threads: usize,
    advance: &mut dyn FnMut(usize),
) -> Result<WithoutEach, Error> {
    let engine = model.model();
    let batch = PackedBatch::new(engine.architecture(), std::slice::from_ref(input))?;
    let target = target(&engine.architecture().head, input, positions);
    let mut layers: Vec<Vec<HeadId>> = Vec::new();
    let mut sorted = heads.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for head in sorted {
        match layers.last_mut() {
            Some(layer) if layer.first().is_some_and(|first| first.layer == head.layer) => {
                layer.push(head);
            }
            _ => layers.push(vec![head]),
        }
    }
    if layers.is_empty() {
        layers.push(Vec::new());
    }
    let vocab = engine.architecture().vocab_size;
    let mut result = WithoutEach {
        whole: Said::default(),
        without: Vec::new(),
    };
    each(
        Work::threads(threads).all().min(layers.len()),
        layers.into_iter(),
        |workspace, heads| {
            let options = PassOptions {
                targets: target.as_ref().map(std::slice::from_ref),
                target_logits: target.is_some(),
                ..PassOptions::default()
            };
            let mut found = Vec::with_capacity(heads.len() + 1);
            engine.run_without_each(&batch, &options, workspace, &heads, |head, mut outputs| {
                found.push((head, said(outputs.pop().unwrap_or_default(), vocab)));
            })?;
            Ok(found)
        },
        |found| {
            for (head, said) in found {
                match head {
                    None => result.whole = said,
                    Some(head) => result.without.push((head, said)),
                }
            }
            advance(result.without.len());
            Ok(())
        },
    )?;
    Ok(result)
}

/// A target at the positions alone: which token it is changes no logits.
fn target(head: &TaskHead, input: &Sequence, positions: &[usize]) -> Option<Target> {
    if positions.is_empty() {
        return None;
    }
    let length = positions
        .iter()
        .map(|position| position + 1)
        .chain([input.len()])
        .max()
        .unwrap_or_default();
    let mut tokens = vec![None; length];
    for position in positions {
        tokens[*position] = Some(0);
    }
    Some(match head {
        TaskHead::PreTraining => Target::PreTraining {
            tokens,
            next_sentence: 0,
        },
        _ => Target::Tokens(tokens),
    })
}

fn said(output: SequenceOutput<f32>, vocab: usize) -> Said {
    let tokens = output.target_logits.unwrap_or_default();
    Said {
        logits: output.logits,
        tokens: tokens.chunks(vocab).map(<[f32]>::to_vec).collect(),
    }
}

/// Probabilities of classes that exclude each other.
#[must_use]
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .collect::<Vec<f64>>();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Probability of a label that stands for itself.
#[must_use]
pub fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

/// Kullback–Leibler divergence in nats of the distribution that `changed` gives from that of `whole`:
/// `Σ p ln(p / q)` over the softmax of both, `p` that of the whole model; never below 0.
#[must_use]
pub fn divergence(whole: &[f32], changed: &[f32]) -> f64 {
    let log_sum = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits
            .iter()
            .map(|logit| f64::from(logit - largest).exp())
            .sum();
        f64::from(largest) + sum.ln()
    };
    let (p_sum, q_sum) = (log_sum(whole), log_sum(changed));
    let total: f64 = whole
        .iter()
        .zip(changed)
        .map(|(p, q)| {
            let log_p = f64::from(*p) - p_sum;
            log_p.exp() * (log_p - (f64::from(*q) - q_sum))
        })
        .sum();
    total.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_the_formula() {
        // p = (1/4, 3/4), q = (1/2, 1/2): 1/4 ln(1/2) + 3/4 ln(3/2).
        let p = [0.0, 3.0_f32.ln()];
        let q = [7.0, 7.0];
        let expected = 0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln();
        assert!((divergence(&p, &q) - expected).abs() < 1e-7);
        assert_eq!(divergence(&q, &q), 0.0);
        let probabilities = softmax(&p);
        assert!((probabilities[0] - 0.25).abs() < 1e-7);
        assert!((sigmoid(3.0_f32.ln()) - 0.75).abs() < 1e-7);
    }
}
