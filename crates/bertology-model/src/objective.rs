//! The loss of one sequence and its gradient with respect to the logits.

use bertology_checkpoint::{Problem, TaskHead};
use bertology_kernels::Real;
use bertology_kernels::softmax::{log_sum_exp, weighted_softmax};

use crate::Error;

/// What a sequence should have given.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A class, for single-label classifiers: cross-entropy in nats.
    Label(usize),
    /// A logit itself in the place of a loss, for classifiers and regression heads: gradients say what
    /// raises it.
    Logit(usize),
    /// A number, for one-output regression: squared error.
    Value(f64),
    /// A set of classes, for multi-label classifiers: binary cross-entropy, mean over labels.
    Labels(Vec<bool>),
    /// The token that each position's logits should give, `None` where the position does not count
    /// (−100 in transformers): cross-entropy, mean over the positions that count. For masked and
    /// for causal language models; the latter's logits are for the token that follows, see
    /// [`Target::next_tokens`].
    Tokens(Vec<Option<u32>>),
    /// Next-sentence class: 0 the second segment continues the first, 1 it is a random one.
    NextSentence(usize),
    /// Masked tokens and next-sentence class; the loss is the sum of both.
    PreTraining {
        /// As [`Target::Tokens`].
        tokens: Vec<Option<u32>>,
        /// As [`Target::NextSentence`].
        next_sentence: usize,
    },
}

/// A target seen from the two kinds of logits.
pub(crate) struct Parts<'a> {
    pub(crate) sequence: Option<SequenceTarget<'a>>,
    pub(crate) tokens: Option<&'a [Option<u32>]>,
}

/// What the logits of a whole sequence are compared with.
#[derive(Clone, Copy)]
pub(crate) enum SequenceTarget<'a> {
    Label(usize),
    Logit(usize),
    Value(f64),
    Labels(&'a [bool]),
}

impl Target {
    /// The target of a causal language model that reads `ids`: every token but the first, one place
    /// to the left (`labels = input_ids` in transformers, which shifts them itself).
    #[must_use]
    pub fn next_tokens(ids: &[u32]) -> Self {
        let following = ids.iter().skip(1).copied().map(Some);
        Self::Tokens(following.chain([None]).take(ids.len()).collect())
    }

    /// Checks the target of sequence `index` against the head and splits it.
    pub(crate) fn parts(
        &self,
        index: usize,
        tokens_in_sequence: usize,
        head: &TaskHead,
        vocab: usize,
    ) -> Result<Parts<'_>, Error> {
        let wrong_kind = |target, needs| {
            Err(Error::TargetKind {
                sequence: index,
                target,
                needs,
                head: head.description(),
            })
        };
        let range = |what, found, limit| Error::TargetRange {
            sequence: index,
            what,
            found,
            limit,
        };
        let label = |label: usize, labels: usize| {
            if label < labels {
                Ok(SequenceTarget::Label(label))
            } else {
                Err(range("the highest label", label, labels - 1))
            }
        };
        let check_tokens = |tokens: &[Option<u32>]| {
            if tokens.len() != tokens_in_sequence {
                return Err(range(
                    "the number of token targets",
                    tokens.len(),
                    tokens_in_sequence,
                ));
            }
            match tokens.iter().flatten().find(|id| **id as usize >= vocab) {
                Some(id) => Err(range(
                    "the highest target token id",
                    *id as usize,
                    vocab - 1,
                )),
                None => Ok(()),
            }
        };
        match (self, head) {
            (
                Self::Label(l),
                TaskHead::SequenceClassification {
                    num_labels,
                    problem: Problem::SingleLabel,
                },
            ) => Ok(Parts {
                sequence: Some(label(*l, *num_labels)?),
                tokens: None,
            }),
            (Self::Label(_), _) => wrong_kind("label", "single-label classifier"),
            (Self::Logit(l), TaskHead::SequenceClassification { num_labels, .. }) => {
                label(*l, *num_labels)?;
                Ok(Parts {
                    sequence: Some(SequenceTarget::Logit(*l)),
                    tokens: None,
                })
            }
            (Self::Logit(_), _) => wrong_kind("logit", "sequence classifier or regression head"),
            (
                Self::Value(v),
                TaskHead::SequenceClassification {
                    num_labels: 1,
                    problem: Problem::Regression,
                },
            ) => Ok(Parts {
                sequence: Some(SequenceTarget::Value(*v)),
                tokens: None,
            }),
            (Self::Value(_), _) => wrong_kind("value", "regression head with one output"),
            (
                Self::Labels(set),
                TaskHead::SequenceClassification {
                    num_labels,
                    problem: Problem::MultiLabel,
                },
            ) => {
                if set.len() != *num_labels {
                    return Err(range("the number of label flags", set.len(), *num_labels));
                }
                Ok(Parts {
                    sequence: Some(SequenceTarget::Labels(set)),
                    tokens: None,
                })
            }
            (Self::Labels(_), _) => wrong_kind("label-set", "multi-label classifier"),
            (
                Self::Tokens(tokens),
                TaskHead::MaskedLm | TaskHead::PreTraining | TaskHead::CausalLm,
            ) => {
                check_tokens(tokens)?;
                Ok(Parts {
                    sequence: None,
                    tokens: Some(tokens),
                })
            }
            (Self::Tokens(_), _) => wrong_kind("token", "masked-LM or causal-LM head"),
            (Self::NextSentence(l), TaskHead::NextSentence | TaskHead::PreTraining) => Ok(Parts {
                sequence: Some(label(*l, 2)?),
                tokens: None,
            }),
            (Self::NextSentence(_), _) => wrong_kind("next-sentence", "next-sentence head"),
            (
                Self::PreTraining {
                    tokens,
                    next_sentence,
                },
                TaskHead::PreTraining,
            ) => {
                check_tokens(tokens)?;
                Ok(Parts {
                    sequence: Some(label(*next_sentence, 2)?),
                    tokens: Some(tokens),
                })
            }
            (Self::PreTraining { .. }, _) => wrong_kind(
                "pre-training",
                "model with masked-LM and next-sentence heads",
            ),
        }
    }
}

impl SequenceTarget<'_> {
    /// The loss; `gradient` receives its derivative with respect to `logits`.
    pub(crate) fn loss<R: Real>(self, logits: &[R], gradient: &mut [R]) -> f64 {
        match self {
            Self::Label(label) => cross_entropy(logits, label, 1.0, Some(gradient)),
            Self::Logit(logit) => {
                gradient[logit] = R::ONE;
                logits[logit].to_f64()
            }
            Self::Value(value) => {
                let error = logits[0].to_f64() - value;
                gradient[0] = R::from_f64(2.0 * error);
                error * error
            }
            Self::Labels(set) => {
                let share = 1.0 / set.len() as f64;
                let mut loss = 0.0;
                for ((z, wanted), g) in logits.iter().zip(set).zip(gradient) {
                    let z = z.to_f64();
                    let target = f64::from(u8::from(*wanted));
                    // ln(1 + e^z) - target · z, without overflow for large |z|
                    loss += share * (z.max(0.0) - z * target + (-z.abs()).exp().ln_1p());
                    *g = R::from_f64(share * (1.0 / (1.0 + (-z).exp()) - target));
                }
                loss
            }
        }
    }
}

/// `weight · (ln Σ e^z - z_label)`, in nats; `gradient`, if wanted, becomes
/// `weight · (softmax(z) - onehot)`.
pub(crate) fn cross_entropy<R: Real>(
    logits: &[R],
    label: usize,
    weight: f64,
    gradient: Option<&mut [R]>,
) -> f64 {
    let normalizer = log_sum_exp(logits);
    if let Some(gradient) = gradient {
        weighted_softmax(gradient, logits, normalizer, weight);
        gradient[label] -= R::from_f64(weight);
    }
    weight * (normalizer - logits[label].to_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_have_closed_forms_and_their_derivatives() {
        let check = |target: SequenceTarget<'_>, logits: Vec<f64>, expected: f64| {
            let mut gradient = vec![0.0; logits.len()];
            let loss = target.loss(&logits, &mut gradient);
            assert!((loss - expected).abs() < 1e-12, "{loss} {expected}");
            for i in 0..logits.len() {
                let at = |h: f64| {
                    let mut z = logits.clone();
                    z[i] += h;
                    target.loss(&z, &mut vec![0.0; z.len()])
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((gradient[i] - slope).abs() < 1e-8, "{gradient:?} {slope}");
            }
        };
        check(
            SequenceTarget::Label(1),
            vec![0.0, 0.0, 0.0, 0.0],
            4.0_f64.ln(),
        );
        check(SequenceTarget::Value(3.0), vec![1.0], 4.0);
        check(SequenceTarget::Logit(1), vec![1.0, -2.5, 0.0], -2.5);
        // ½ (ln(1 + e⁰) + ln(1 + e²) - 2)
        let expected = 0.5 * (2.0_f64.ln() + (1.0 + 2.0_f64.exp()).ln() - 2.0);
        check(
            SequenceTarget::Labels(&[false, true]),
            vec![0.0, 2.0],
            expected,
        );
    }
}
