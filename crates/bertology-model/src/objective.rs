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
    /// A label or a number, and what a teacher says of the same input (Hinton, Vinyals and Dean 2015): the loss is
    /// `(1 - share) · loss of the target + share · T² · KL(softmax(teacher / T) ‖ softmax(logits / T))`, T the temperature;
    /// for regression heads `share` times the squared distance from the teacher in the place of the latter.
    Taught {
        /// A [`Target::Label`] or a [`Target::Value`].
        target: Box<Target>,
        /// The teacher's logits, one an output.
        teacher: Vec<f32>,
        /// Above 0.
        temperature: f64,
        /// In `[0, 1]`.
        share: f64,
    },
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
    /// A class per token, `None` where the position does not count: mean over the positions that do. For
    /// token classifiers the cross-entropy; for ELECTRA's discriminator, where class 1 says that the token
    /// was replaced, the binary one.
    TokenLabels(Vec<Option<u32>>),
    /// The first and the last token of an answer: half the sum of both cross-entropies over the
    /// positions, for question answering.
    Span {
        /// Position of the first token.
        start: usize,
        /// Position of the last token.
        end: usize,
    },
}

/// A target seen from the two kinds of logits.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) sequence: Option<SequenceTarget<'a>>,
    pub(crate) tokens: Option<&'a [Option<u32>]>,
    pub(crate) scores: Option<ScoreTarget<'a>>,
}

impl<'a> Parts<'a> {
    fn sequence(target: SequenceTarget<'a>) -> Self {
        Self {
            sequence: Some(target),
            tokens: None,
            scores: None,
        }
    }

    fn scores(target: ScoreTarget<'a>) -> Self {
        Self {
            sequence: None,
            tokens: None,
            scores: Some(target),
        }
    }
}

/// What the logits of the single tokens are compared with.
#[derive(Clone, Copy)]
pub(crate) enum ScoreTarget<'a> {
    Classes(&'a [Option<u32>]),
    Replaced(&'a [Option<u32>]),
    Span(usize, usize),
}

/// What the logits of a whole sequence are compared with.
#[derive(Clone, Copy)]
pub(crate) enum SequenceTarget<'a> {
    Label(usize),
    Logit(usize),
    Value(f64),
    Labels(&'a [bool]),
    Taught {
        target: &'a Target,
        teacher: &'a [f32],
        temperature: f64,
        share: f64,
    },
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
        const TOKEN: &str = "the highest target token id";
        const LABEL: &str = "the highest token label";
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
        let check_tokens = |tokens: &[Option<u32>], limit: usize, what: &'static str| {
            if tokens.len() != tokens_in_sequence {
                return Err(range(
                    "the number of token targets",
                    tokens.len(),
                    tokens_in_sequence,
                ));
            }
            match tokens.iter().flatten().find(|id| **id as usize >= limit) {
                Some(id) => Err(range(what, *id as usize, limit - 1)),
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
            ) => Ok(Parts::sequence(label(*l, *num_labels)?)),
            (Self::Label(_), _) => wrong_kind("label", "single-label classifier"),
            (Self::Logit(l), TaskHead::SequenceClassification { num_labels, .. }) => {
                label(*l, *num_labels)?;
                Ok(Parts::sequence(SequenceTarget::Logit(*l)))
            }
            (Self::Logit(_), _) => wrong_kind("logit", "sequence classifier or regression head"),
            (
                Self::Value(v),
                TaskHead::SequenceClassification {
                    num_labels: 1,
                    problem: Problem::Regression,
                },
            ) => Ok(Parts::sequence(SequenceTarget::Value(*v))),
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
                Ok(Parts::sequence(SequenceTarget::Labels(set)))
            }
            (Self::Labels(_), _) => wrong_kind("label-set", "multi-label classifier"),
            (
                Self::Taught {
                    target,
                    teacher,
                    temperature,
                    share,
                },
                TaskHead::SequenceClassification { num_labels, .. },
            ) if matches!(**target, Self::Label(_) | Self::Value(_)) => {
                target.parts(index, tokens_in_sequence, head, vocab)?;
                if teacher.len() != *num_labels {
                    let what = "the number of a teacher's logits";
                    return Err(range(what, teacher.len(), *num_labels));
                }
                Ok(Parts::sequence(SequenceTarget::Taught {
                    target,
                    teacher,
                    temperature: *temperature,
                    share: *share,
                }))
            }
            (Self::Taught { .. }, _) => wrong_kind(
                "teacher's",
                "single-label classifier or regression head with one output",
            ),
            (
                Self::Tokens(tokens),
                TaskHead::MaskedLm | TaskHead::PreTraining | TaskHead::CausalLm,
            ) => {
                check_tokens(tokens, vocab, TOKEN)?;
                Ok(Parts {
                    sequence: None,
                    tokens: Some(tokens),
                    scores: None,
                })
            }
            (Self::Tokens(_), _) => wrong_kind("token", "masked-LM or causal-LM head"),
            (Self::NextSentence(l), TaskHead::NextSentence | TaskHead::PreTraining) => {
                Ok(Parts::sequence(label(*l, 2)?))
            }
            (Self::NextSentence(_), _) => wrong_kind("next-sentence", "next-sentence head"),
            (
                Self::PreTraining {
                    tokens,
                    next_sentence,
                },
                TaskHead::PreTraining,
            ) => {
                check_tokens(tokens, vocab, TOKEN)?;
                Ok(Parts {
                    sequence: Some(label(*next_sentence, 2)?),
                    tokens: Some(tokens),
                    scores: None,
                })
            }
            (Self::PreTraining { .. }, _) => wrong_kind(
                "pre-training",
                "model with masked-LM and next-sentence heads",
            ),
            (Self::TokenLabels(labels), TaskHead::TokenClassification { num_labels }) => {
                check_tokens(labels, *num_labels, LABEL)?;
                Ok(Parts::scores(ScoreTarget::Classes(labels)))
            }
            (Self::TokenLabels(labels), TaskHead::ReplacedTokens) => {
                check_tokens(labels, 2, LABEL)?;
                Ok(Parts::scores(ScoreTarget::Replaced(labels)))
            }
            (Self::TokenLabels(_), _) => {
                wrong_kind("token-label", "token classifier or replaced-token head")
            }
            (Self::Span { start, end }, TaskHead::QuestionAnswering) => {
                let last = *start.max(end);
                if last >= tokens_in_sequence {
                    let what = "the last position of the answer";
                    return Err(range(what, last, tokens_in_sequence.saturating_sub(1)));
                }
                Ok(Parts::scores(ScoreTarget::Span(*start, *end)))
            }
            (Self::Span { .. }, _) => wrong_kind("span", "question-answering head"),
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
                    let (part, slope) = binary(z.to_f64(), *wanted);
                    loss += share * part;
                    *g = R::from_f64(share * slope);
                }
                loss
            }
            Self::Taught {
                target,
                teacher,
                temperature,
                share,
            } => taught(logits, target, teacher, temperature, share, gradient),
        }
    }
}

/// See [`Target::Taught`].
fn taught<R: Real>(
    logits: &[R],
    target: &Target,
    teacher: &[f32],
    temperature: f64,
    share: f64,
    gradient: &mut [R],
) -> f64 {
    let own = match target {
        Target::Label(label) => SequenceTarget::Label(*label).loss(logits, gradient),
        Target::Value(value) => {
            let taught = SequenceTarget::Value(f64::from(teacher[0]));
            let mut to_teacher = vec![R::ZERO; logits.len()];
            let distance = taught.loss(logits, &mut to_teacher);
            let own = SequenceTarget::Value(*value).loss(logits, gradient);
            for (d, taught) in gradient.iter_mut().zip(to_teacher) {
                *d = R::from_f64((1.0 - share) * d.to_f64() + share * taught.to_f64());
            }
            return (1.0 - share) * own + share * distance;
        }
        // No other has parts.
        _ => 0.0,
    };
    let soft = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
        values.map(|value| value / temperature).collect()
    };
    let student = soft(&mut logits.iter().map(|z| z.to_f64()));
    let teacher = soft(&mut teacher.iter().copied().map(f64::from));
    let (of_student, of_teacher) = (log_sum_exp(&student), log_sum_exp(&teacher));
    let mut divergence = 0.0;
    for ((z, t), d) in student.iter().zip(&teacher).zip(gradient) {
        let (q, p) = ((z - of_student).exp(), (t - of_teacher).exp());
        divergence += p * ((t - of_teacher) - (z - of_student));
        *d = R::from_f64((1.0 - share) * d.to_f64() + share * temperature * (q - p));
    }
    (1.0 - share) * own + share * temperature * temperature * divergence
}

impl ScoreTarget<'_> {
    /// The loss over `logits [tokens, width]`; `gradient`, of that shape and zero, receives its derivative.
    pub(crate) fn loss<R: Real>(self, logits: &[R], width: usize, gradient: &mut [R]) -> f64 {
        match self {
            Self::Classes(labels) => {
                let share = share(labels);
                let rows = logits
                    .chunks_exact(width)
                    .zip(gradient.chunks_exact_mut(width));
                rows.zip(labels)
                    .filter_map(|((logits, d), label)| Some((logits, d, (*label)?)))
                    .map(|(logits, d, label)| cross_entropy(logits, label as usize, share, Some(d)))
                    .sum()
            }
            Self::Replaced(labels) => {
                let share = share(labels);
                let rows = logits.iter().zip(gradient).zip(labels);
                rows.filter_map(|((z, d), label)| Some((z, d, (*label)?)))
                    .map(|(z, d, label)| {
                        let (loss, slope) = binary(z.to_f64(), label == 1);
                        *d = R::from_f64(share * slope);
                        share * loss
                    })
                    .sum()
            }
            Self::Span(start, end) => [start, end]
                .into_iter()
                .enumerate()
                .map(|(side, place)| {
                    let column: Vec<R> = logits.iter().skip(side).step_by(width).copied().collect();
                    let mut d = vec![R::ZERO; column.len()];
                    let loss = cross_entropy(&column, place, 0.5, Some(&mut d));
                    let places = gradient.iter_mut().skip(side).step_by(width);
                    places.zip(d).for_each(|(place, d)| *place = d);
                    loss
                })
                .sum(),
        }
    }
}

/// What one of the positions that count weighs in their mean.
fn share(labels: &[Option<u32>]) -> f64 {
    1.0 / labels.iter().flatten().count().max(1) as f64
}

/// Binary cross-entropy of a logit and its derivative.
fn binary(z: f64, wanted: bool) -> (f64, f64) {
    let target = f64::from(u8::from(wanted));
    // ln(1 + e^z) - target · z, without overflow for large |z|
    let loss = z.max(0.0) - z * target + (-z.abs()).exp().ln_1p();
    (loss, 1.0 / (1.0 + (-z).exp()) - target)
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
        // Half of ln 2, and half of 4 · KL((¾, ¼) ‖ (½, ½)): the teacher's logits at temperature 2 are ln 3 and 0.
        let teacher = [2.0 * 3.0_f32.ln(), 0.0];
        let divergence = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        let taught = |target| SequenceTarget::Taught {
            target,
            teacher: &teacher,
            temperature: 2.0,
            share: 0.5,
        };
        let expected = 0.5 * 2.0_f64.ln() + 0.5 * 4.0 * divergence;
        let mut gradient = [0.0; 2];
        let label = Target::Label(0);
        let loss = taught(&label).loss(&[1.0, 1.0], &mut gradient);
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
        check(taught(&label), vec![0.5, -1.0], {
            taught(&label).loss(&[0.5, -1.0], &mut gradient)
        });
        // A quarter of the way from 3 to the teacher's 1.
        let taught = SequenceTarget::Taught {
            target: &Target::Value(3.0),
            teacher: &[1.0],
            temperature: 1.0,
            share: 0.25,
        };
        check(taught, vec![0.0], 0.75 * 9.0 + 0.25);
        let scores = |target: ScoreTarget<'_>, width: usize, logits: Vec<f64>, expected: f64| {
            let mut gradient = vec![0.0; logits.len()];
            let loss = target.loss(&logits, width, &mut gradient);
            assert!((loss - expected).abs() < 1e-12, "{loss} {expected}");
            for i in 0..logits.len() {
                let at = |h: f64| {
                    let mut z = logits.clone();
                    z[i] += h;
                    target.loss(&z, width, &mut vec![0.0; z.len()])
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((gradient[i] - slope).abs() < 1e-8, "{gradient:?} {slope}");
            }
        };
        // The row between does not count; equal logits of three classes, then ln(1 + e).
        let labels = [Some(2), None, Some(0)];
        let logits = vec![1.0, 1.0, 1.0, 5.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        scores(ScoreTarget::Classes(&labels), 3, logits, 3.0_f64.ln());
        let binary = 0.5 * (2.0_f64.ln() + (1.0 + 1.0_f64.exp()).ln() - 1.0);
        let labels = [Some(0), None, Some(1)];
        scores(
            ScoreTarget::Replaced(&labels),
            1,
            vec![0.0, 9.0, 1.0],
            binary,
        );
        // Starts 0, 0, 0; ends 1, 1, 1.
        let logits = vec![0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
        scores(ScoreTarget::Span(0, 2), 2, logits, 3.0_f64.ln());
        // ½ (ln(1 + e⁰) + ln(1 + e²) - 2)
        let expected = 0.5 * (2.0_f64.ln() + (1.0 + 2.0_f64.exp()).ln() - 2.0);
        check(
            SequenceTarget::Labels(&[false, true]),
            vec![0.0, 2.0],
            expected,
        );
    }
}
