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
    /// when units go is `½ Σ` of it where the gradient vanishes on average.
    Fisher,
    /// `((1/n) Σ_e g[e])²`: the first-order expansion, squared, Molchanov et al. 2019, equation 8.
    Taylor,
    /// `-(1/n) Σ_e g[e] + ½ (1/n) Σ_e g[e]²`: the second-order expansion of the loss without the unit, its curvature taken as
    /// the Fisher information. Negative where the loss is expected to fall.
    Taylor2,
    /// Uniform draws: what any measure has to beat.
    Random {
        /// Of the draws.
        seed: u64,
    },
}

impl Measure {
    /// A score for every unit.
    #[must_use]
    pub fn scores(self, gradients: &Gradients) -> PerUnit<f64> {
        let n = gradients.examples().max(1) as f64;
        if let Self::Random { seed } = self {
            let mut draws = Draws::new(seed);
            let counts = gradients.counts().iter();
            return counts
                .map(|count| (0..*count).map(|_| draws.unit()).collect())
                .collect();
        }
        (0..gradients.counts().len())
            .map(|group| {
                let mut sums = vec![[0.0_f64; 3]; gradients.counts()[group]];
                for row in gradients.group(group) {
                    for (sum, g) in sums.iter_mut().zip(row) {
                        let g = f64::from(*g);
                        sum[0] += g;
                        sum[1] += g.abs();
                        sum[2] += g * g;
                    }
                }
                let score = |[signed, absolute, squared]: [f64; 3]| match self {
                    Self::Michel => absolute / n,
                    Self::Taylor => (signed / n).powi(2),
                    Self::Taylor2 => -signed / n + 0.5 * squared / n,
                    Self::Fisher | Self::Random { .. } => squared / n,
                };
                sums.into_iter().map(score).collect()
            })
            .collect()
    }
}
