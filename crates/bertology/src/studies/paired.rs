//! Two models on the same examples: what differs, and whether that means something.
//!
//! Both answer the same examples, so only the examples on which they differ tell them apart: for classifiers the predictions
//! that turn from right to wrong and from wrong to right, with the exact two-sided [`sign_test`]; for every objective the
//! standard error of the change of the mean loss. With `d[e]` the change of example `e`'s mean loss over its `t[e]` targets (1
//! for a label), `T = Σ t`, `D = Σ t d / T` the change and `n` examples, it is `sqrt(n/(n-1) Σ t² (d - D)²) / T`: the
//! linearised error of a ratio, and with one target an example the usual `s/√n`. Windows of one document count as independent
//! examples; where neighbours share their mistakes the true error is larger.

use bertology_data::Target;
use serde::{Deserialize, Serialize};

use crate::drive::{Contribution, Progress, Study, Work, drive};
use crate::input::supply::Fate;
use crate::studies::evaluate::{Answer, Evaluation, EvaluationLens, EvaluationState, MaskedModel};
use crate::studies::ratio::RatioSums;
use crate::watch::Purpose;
use crate::{Corpus, Error, LoadedModel, Watch};

/// Two models on one corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The first.
    pub before: Evaluation,
    /// The second.
    pub after: Evaluation,
    /// Mean loss of the second less that of the first, in nats per target.
    pub loss_change: f64,
    /// What differs, example by example.
    pub paired: Paired,
}

/// Scores two models on one corpus, and pairs what they say example by example. They are put through it one after the other;
/// of each example (of texts: window) 16 bytes are kept for each of the two.
///
/// # Errors
/// As [`evaluate`](crate::evaluate::evaluate).
pub fn compare(
    before: &LoadedModel,
    after: &LoadedModel,
    corpus: &Corpus,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Compared, Error> {
    compare_each([(before, corpus), (after, corpus)], work, watch)
}

/// [`compare`] of models with vocabularies of their own, each of which reads the same examples as its own tokens. Where the two
/// are asked for another number of targets in an example (words that are more tokens to one of them), or leave out others,
/// examples are no pairs: nothing is said then of the standard error, and the change is that of the means.
///
/// # Errors
/// As [`evaluate`](crate::evaluate::evaluate).
pub fn compare_each(
    [before, after]: [(&LoadedModel, &Corpus); 2],
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Compared, Error> {
    let mut answers = |(model, corpus): (&LoadedModel, &Corpus)| {
        let masked = MaskedModel::new(model, None, false)?;
        let mut progress = Progress::new(AnswersState {
            evaluation: EvaluationState::new(&masked, corpus),
            kept: Vec::new(),
        });
        drive(masked.model(), corpus, &mut progress, work, watch)?;
        let study = progress.into_study();
        Ok::<_, Error>((study.evaluation.finish()?, study.kept))
    };
    let (first, were) = answers(before)?;
    let (second, are) = answers(after)?;
    let asked = |kept: &[Kept]| kept.iter().map(|kept| kept.targets).collect::<Vec<_>>();
    let pairs = asked(&were) == asked(&are);
    let mut sums = PairedSums::default();
    for (was, is) in were.iter().zip(&are) {
        if was.targets != LEFT_OUT && is.targets != LEFT_OUT {
            sums.add(was, is, was.targets as usize);
        }
    }
    let mut paired = sums.finish();
    let loss_change = match pairs {
        true => sums.loss_change(),
        false => second.loss - first.loss,
    };
    if !pairs {
        paired.loss_standard_error = f64::NAN;
    }
    Ok(Compared {
        before: first,
        after: second,
        loss_change,
        paired,
    })
}

/// Targets of an example that is left out.
const LEFT_OUT: u32 = u32::MAX;

/// What is kept of the answer to one example.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Kept {
    loss: f64,
    targets: u32,
    class: Class,
}

/// The class that is answered, and whether it is right: `2 · class + right`; the greatest number for what is no class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Class(u32);

impl Class {
    const NONE: Self = Self(u32::MAX);

    fn of(answer: &Answer) -> Self {
        let Some(verdict) = answer.verdict else {
            return Self::NONE;
        };
        match (verdict.prediction, verdict.label) {
            // A classifier's classes are as many as a matrix has rows.
            (Target::Class(class), Target::Class(label)) => {
                Self(2 * class as u32 + u32::from(class == label))
            }
            _ => Self::NONE,
        }
    }

    fn right(self) -> bool {
        self.0 % 2 == 1
    }
}

impl Kept {
    fn of(answer: &Answer, targets: usize) -> Self {
        Self {
            loss: answer.loss,
            targets: u32::try_from(targets).unwrap_or(u32::MAX),
            class: Class::of(answer),
        }
    }
}

/// Scores, and what was said to every example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AnswersState {
    evaluation: EvaluationState,
    /// In file order.
    kept: Vec<Kept>,
}

impl Study for AnswersState {
    type Lens = EvaluationLens;
    type Found = Evaluation;

    const PURPOSE: Purpose = Purpose::Evaluation;

    fn lens(&self) -> EvaluationLens {
        self.evaluation.lens()
    }

    fn empty(&self) -> Self {
        Self {
            evaluation: self.evaluation.empty(),
            kept: Vec::new(),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        self.evaluation.agrees(&fresh.evaluation)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        match fate {
            Fate::Studied(Contribution { item, part, tokens }) => {
                self.kept.push(Kept::of(&part.answer(), item.targets));
                let found = Contribution { item, part, tokens };
                self.evaluation.add(Fate::Studied(found))
            }
            Fate::LeftOut(why) => {
                // Its place stays, so that those behind it meet their like.
                self.kept.push(Kept {
                    loss: 0.0,
                    targets: LEFT_OUT,
                    class: Class::NONE,
                });
                self.evaluation.add(Fate::LeftOut(why))
            }
        }
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        self.kept.extend_from_slice(&next.kept);
        self.evaluation.merge(next.evaluation)
    }

    fn finish(&self) -> Result<Evaluation, Error> {
        self.evaluation.finish()
    }
}

/// The same examples before and after a change of the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Examples whose predicted class changed, from one wrong class to another too. Classifiers only.
    pub changed: u64,
    /// Examples whose prediction was right before and is wrong after. Classifiers only.
    pub right_to_wrong: u64,
    /// Examples whose prediction was wrong before and is right after. Classifiers only.
    pub wrong_to_right: u64,
    /// Standard error of the change of the mean loss over pairs of examples, in nats; NaN for a single
    /// example. See [the module](self) for the formula.
    pub loss_standard_error: f64,
}

impl Paired {
    /// The exact two-sided sign test of [`Self::right_to_wrong`] against [`Self::wrong_to_right`].
    #[must_use]
    pub fn p_value(&self) -> f64 {
        sign_test(self.right_to_wrong, self.wrong_to_right)
    }
}

/// The exact two-sided sign test: how likely counts at least as uneven as these are if each case falls
/// on either side with the same chance. For paired predictions, right and wrong, it is McNemar's exact
/// test, `min(1, 2 Σ_{k ≤ min(a, b)} C(n, k) / 2^n)` with `n = a + b`; 1 where there are no cases.
///
/// Source: McNemar 1947, in the exact form of scipy's `binomtest(a, a + b)`.
#[must_use]
pub fn sign_test(a: u64, b: u64) -> f64 {
    let (cases, fewer) = (a + b, a.min(b));
    if a == b {
        return 1.0;
    }
    // The largest term of the tail by logarithms, since 2^n overflows, the others relative to it.
    let factors = (1..=fewer).map(|k| ((cases - k + 1) as f64 / k as f64).ln());
    let largest = factors.sum::<f64>() - cases as f64 * std::f64::consts::LN_2;
    let (mut term, mut tail) = (1.0, 1.0);
    for k in (1..=fewer).rev() {
        term *= k as f64 / (cases - k + 1) as f64;
        tail += term;
        if term < f64::EPSILON * tail {
            break;
        }
    }
    (2.0 * largest.exp() * tail).min(1.0)
}

/// What [`Paired`] is made of: counts and sums over examples in f64, in the order they come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PairedSums {
    changed: u64,
    right_to_wrong: u64,
    wrong_to_right: u64,
    /// Of the mean loss of an example.
    change: RatioSums,
}

impl PairedSums {
    pub(crate) fn observe(&mut self, before: &Answer, after: &Answer, targets: usize) {
        self.add(
            &Kept::of(before, targets),
            &Kept::of(after, targets),
            targets,
        );
    }

    fn add(&mut self, before: &Kept, after: &Kept, targets: usize) {
        if before.class != Class::NONE && after.class != Class::NONE {
            self.changed += u64::from(before.class != after.class);
            match (before.class.right(), after.class.right()) {
                (true, false) => self.right_to_wrong += 1,
                (false, true) => self.wrong_to_right += 1,
                _ => {}
            }
        }
        self.change.observe(after.loss - before.loss, targets);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.changed += other.changed;
        self.right_to_wrong += other.right_to_wrong;
        self.wrong_to_right += other.wrong_to_right;
        self.change.merge(&other.change);
    }

    /// Change of the mean loss per target.
    pub(crate) fn loss_change(&self) -> f64 {
        self.change.mean()
    }

    pub(crate) fn finish(&self) -> Paired {
        Paired {
            changed: self.changed,
            right_to_wrong: self.right_to_wrong,
            wrong_to_right: self.wrong_to_right,
            loss_standard_error: self.change.standard_error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `2 Σ C(n, k) / 2^n` worked out by hand; 59 of 180 and 400 of 1000 in whole numbers with Python's `math.comb`.
    #[test]
    fn the_sign_test_has_closed_forms() {
        for (a, b, expected) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (4, 4, 1.0),
            (5, 4, 1.0),
            (0, 5, 2.0 / 32.0),
            (0, 6, 2.0 / 64.0),
            (0, 10, 2.0 / 1024.0),
            (9, 1, 22.0 / 1024.0),
            (2, 8, 112.0 / 1024.0),
            (8, 7, 1.0),
            (59, 121, 4.434449263755176e-06),
            (600, 400, 2.7284641560660184e-10),
        ] {
            let found = sign_test(a, b);
            assert!(
                (found - expected).abs() <= 1e-12 * expected,
                "{a} {b}: {found}"
            );
            assert_eq!(found, sign_test(b, a));
        }
        // Smaller than any number: no NaN, no panic, and no time.
        assert_eq!(sign_test(1_000_000, 0), 0.0);
        assert!((sign_test(1_000_000, 1_000_001) - 1.0).abs() < 1e-9);
    }
}
