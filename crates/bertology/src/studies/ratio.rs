//! The mean per target of something that every example has so many targets of, and its standard error.

use serde::{Deserialize, Serialize};

/// With `t` the targets of an example and `d` their mean: sums of `t`, `t²`, `t d`, `t² d` and `(t d)²` in f64, in the order
/// in which examples come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RatioSums {
    examples: u64,
    targets: f64,
    targets_squared: f64,
    sum: f64,
    sum_targets: f64,
    sum_squared: f64,
}

impl RatioSums {
    pub(crate) fn observe(&mut self, mean: f64, targets: usize) {
        let targets = targets as f64;
        self.add(targets * mean, targets);
    }

    /// An example whose targets are weighed, and what they sum to.
    pub(crate) fn add(&mut self, sum: f64, targets: f64) {
        self.examples += 1;
        self.targets += targets;
        self.targets_squared += targets * targets;
        self.sum += sum;
        self.sum_targets += sum * targets;
        self.sum_squared += sum * sum;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.examples += other.examples;
        self.targets += other.targets;
        self.targets_squared += other.targets_squared;
        self.sum += other.sum;
        self.sum_targets += other.sum_targets;
        self.sum_squared += other.sum_squared;
    }

    /// Per target.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.targets
    }

    /// Of [`Self::mean`], examples being independent of each other and their targets not: `√(n/(n-1) Σ t²(d - mean)²) / Σ t`,
    /// the ratio estimator's (Cochran 1977, *Sampling Techniques*, equation 6.4). NaN for a single example.
    pub(crate) fn standard_error(&self) -> f64 {
        let mean = self.mean();
        let squares =
            self.sum_squared - 2.0 * mean * self.sum_targets + mean * mean * self.targets_squared;
        let examples = self.examples as f64;
        // Rounding can leave a little less than nothing.
        let variance = examples / (examples - 1.0) * squares.max(0.0);
        variance.sqrt() / self.targets
    }

    /// Whether examples can give these sums.
    pub(crate) fn possible(&self) -> bool {
        let sums = [self.targets, self.targets_squared, self.sum_squared];
        sums.iter().all(|sum| *sum >= 0.0 && sum.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one target each the standard error of a mean: of 1, 2, 3, 4 it is √(5/3)/2.
    #[test]
    fn it_is_the_standard_error_of_a_mean() {
        let mut sums = RatioSums::default();
        for value in [1.0, 2.0, 3.0, 4.0] {
            sums.observe(value, 1);
        }
        assert!((sums.mean() - 2.5).abs() < 1e-15);
        assert!((sums.standard_error() - (5.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-15);
        let mut single = RatioSums::default();
        single.observe(1.0, 3);
        assert!(single.standard_error().is_nan());
    }
}
