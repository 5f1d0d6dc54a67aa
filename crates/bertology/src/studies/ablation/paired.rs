//! Two models on the same examples: what differs, and whether that means something.

use bertology_data::Target;
use serde::{Deserialize, Serialize};

use crate::studies::evaluate::Answer;

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
    /// example. See [`super`] for the formula.
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
pub(super) struct PairedSums {
    examples: u64,
    changed: u64,
    right_to_wrong: u64,
    wrong_to_right: u64,
    /// With `t` the targets of an example and `d` the change of its mean loss: sums of `t`, `t²`,
    /// `t d`, `t² d` and `(t d)²`.
    targets: f64,
    targets_squared: f64,
    change: f64,
    change_targets: f64,
    change_squared: f64,
}

impl PairedSums {
    pub(super) fn observe(&mut self, before: &Answer, after: &Answer, targets: usize) {
        self.examples += 1;
        if let (Some(before), Some(after)) = (before.verdict, after.verdict)
            && matches!(before.label, Target::Class(_))
        {
            let label = before.label;
            self.changed += u64::from(before.prediction != after.prediction);
            match (before.prediction == label, after.prediction == label) {
                (true, false) => self.right_to_wrong += 1,
                (false, true) => self.wrong_to_right += 1,
                _ => {}
            }
        }
        let targets = targets as f64;
        let change = targets * (after.loss - before.loss);
        self.targets += targets;
        self.targets_squared += targets * targets;
        self.change += change;
        self.change_targets += change * targets;
        self.change_squared += change * change;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.examples += other.examples;
        self.changed += other.changed;
        self.right_to_wrong += other.right_to_wrong;
        self.wrong_to_right += other.wrong_to_right;
        self.targets += other.targets;
        self.targets_squared += other.targets_squared;
        self.change += other.change;
        self.change_targets += other.change_targets;
        self.change_squared += other.change_squared;
    }

    /// Change of the mean loss per target.
    pub(super) fn loss_change(&self) -> f64 {
        self.change / self.targets
    }

    pub(super) fn finish(&self) -> Paired {
        let mean = self.loss_change();
        let squares = self.change_squared - 2.0 * mean * self.change_targets
            + mean * mean * self.targets_squared;
        let examples = self.examples as f64;
        // Rounding can leave a little less than nothing.
        let variance = examples / (examples - 1.0) * squares.max(0.0);
        Paired {
            changed: self.changed,
            right_to_wrong: self.right_to_wrong,
            wrong_to_right: self.wrong_to_right,
            loss_standard_error: variance.sqrt() / self.targets,
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
