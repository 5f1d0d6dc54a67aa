//! Random numbers that are the same on every machine and in every version.

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

pub use bertology_model::kernels::dropout::mixed;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    /// From a state. States that differ by little are to be [`mixed`] first.
    #[must_use]
    pub fn new(state: u64) -> Self {
        Self(state)
    }

    /// Other numbers, in whatever place, give other draws.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Self {
        let step = |state: u64, value: u64| mixed(state.wrapping_add(GAMMA) ^ value);
        Self(numbers.into_iter().fold(0, step))
    }

    pub(crate) fn of_window(seed: u64, document: u64, window: u64) -> Self {
        Self::of([seed, document, window])
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mixed(self.0)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of a normal distribution with mean 0 and standard deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        // In (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Below `limit`, which is at least 1; the bias is below `limit / 2⁶⁴`.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.bits()) * limit as u128) >> 64) as usize
    }

    /// Puts these into another order, all alike (Fisher and Yates).
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

/// The middle 95 % of sorted numbers: their 2.5th and 97.5th percentiles, between neighbours in a straight line as numpy's
/// default has them; nothing of no numbers.
#[must_use]
pub fn middle(sorted: &[f64]) -> Option<[f64; 2]> {
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let (below, rest) = (place.floor() as usize, place.fract());
        sorted[below] * (1.0 - rest) + sorted[(below + 1).min(last)] * rest
    };
    Some([at(0.025), at(0.975)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first numbers of SplitMix64 for the seed 1234567.
    #[test]
    fn draws_are_those_of_splitmix64() {
        let mut draws = Draws(1_234_567);
        let found: Vec<u64> = (0..5).map(|_| draws.bits()).collect();
        assert_eq!(
            found,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    /// `numpy.percentile([1, 2, 3, 4, 5], [2.5, 97.5])`.
    #[test]
    fn the_middle_lies_between_neighbours() {
        let [low, high] = middle(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap_or_default();
        assert!((low - 1.1).abs() < 1e-12 && (high - 4.9).abs() < 1e-12);
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[3.0]), Some([3.0, 3.0]));
    }

    #[test]
    fn seed_document_and_window_each_change_the_draw() {
        let first = |seed, document, window| Draws::of_window(seed, document, window).bits();
        let all = [
            first(1, 2, 3),
            first(2, 2, 3),
            first(1, 3, 3),
            first(1, 2, 4),
            first(2, 1, 3),
            first(3, 2, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{all:?}");
        }
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
    }
}
