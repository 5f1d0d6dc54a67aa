//! How much a unit matters, of the gradients of examples.

use super::gradients::Gradients;
use super::groups::PerUnit;
use crate::random::Draws;

/// A formula. With `g[e]` the gradient of example `e`'s loss with respect to the factor of a unit, at 1, over `n` examples:
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// `(1/n) Σ_e |g[e]|`: Michel, Levy and Neubig 2019, equation 2.
    Michel,
    /// `(1/n) Σ_e g[e]²`: the diagonal of the empirical Fisher information, Kwon et al. 2022, equation 9. What the loss gains
    /// when units go is `½ Σ` of it where the gradient vanishes on average. Of a whole layer ([`Gradients::layers`]): the sum
    /// of its block of the matrix.
    Fisher,
    /// `((1/n) Σ_e g[e])²`: the first-order expansion, squared, Molchanov et al. 2019, equation 8.
    Taylor,
    /// `-(1/n) Σ_e g[e] + ½ (1/n) Σ_e g[e]²`: the second-order expansion of the loss without the unit, its curvature taken as
    /// the Fisher information. Negative where the loss is expected to fall.
    Taylor2,
    /// `-(1/n) Σ_e g[e]`: what the loss is expected to rise by without the unit. Of
    /// [integrated gradients](crate::measures::integrated) all units together give what it rises by without all of them.
    Signed,
    /// Uniform draws: what any measure has to beat.
    Random {
        /// Of the draws.
        seed: u64,
    },
}

/// How much a unit matters, and how sure that is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// The higher, the longer the unit stays.
    pub value: f64,
    /// Standard error over examples; `None` where nothing is averaged, or one example only.
    pub error: Option<f64>,
}

impl Measure {
    /// A score for every unit.
    #[must_use]
    pub fn scores(self, gradients: &Gradients) -> PerUnit<f64> {
        let of = self.estimates(gradients);
        let values = |group: Vec<Score>| group.into_iter().map(|score| score.value).collect();
        of.into_iter().map(values).collect()
    }

    /// A score for every unit, with its standard error as of a mean of independent examples; of [`Measure::Taylor`] that of the
    /// mean times twice the mean.
    #[must_use]
    pub fn estimates(self, gradients: &Gradients) -> PerUnit<Score> {
        if let Self::Random { seed } = self {
            let mut draws = Draws::new(seed);
            let mut score = || Score {
                value: draws.unit(),
                error: None,
            };
            let counts = gradients.counts().iter();
            return counts
                .map(|count| (0..*count).map(|_| score()).collect())
                .collect();
        }
        (0..gradients.counts().len())
            .map(|group| {
                let mut sums = vec![Moments::default(); gradients.counts()[group]];
                for row in gradients.group(group) {
                    for (sum, g) in sums.iter_mut().zip(row) {
                        sum.add(self.term(f64::from(*g)));
                    }
                }
                sums.iter().map(|sum| self.score(sum)).collect()
            })
            .collect()
    }

    /// What an example contributes to the mean.
    fn term(self, g: f64) -> f64 {
        match self {
            Self::Michel => g.abs(),
            Self::Fisher | Self::Random { .. } => g * g,
            Self::Taylor => g,
            Self::Taylor2 => -g + 0.5 * g * g,
            Self::Signed => -g,
        }
    }

    fn score(self, sum: &Moments) -> Score {
        let Score { value, error } = sum.mean();
        match self {
            Self::Taylor => Score {
                value: value * value,
                error: error.map(|error| 2.0 * value.abs() * error),
            },
            _ => Score { value, error },
        }
    }
}

/// Sums of a number and of its square.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Moments {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The mean and its standard error.
    pub(crate) fn mean(&self) -> Score {
        let n = self.count as f64;
        let value = self.sum / n.max(1.0);
        let spread = (self.squares / n - value * value).max(0.0);
        Score {
            value,
            error: (self.count > 1).then(|| (spread / (n - 1.0)).sqrt()),
        }
    }
}
