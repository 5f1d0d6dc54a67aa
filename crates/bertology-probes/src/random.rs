//! First values of parameters: the same on every machine, unlike those of candle's CPU generator, which takes
//! no seed.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Draws(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Draws {
    /// A stream for each seed and each name, so that no probe's values depend on which others there are.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let start = mixed(seed.wrapping_add(GAMMA));
        Self(
            name.bytes()
                .fold(start, |state, byte| mixed(state ^ u64::from(byte))),
        )
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mixed(self.0)
    }

    /// Uniform in [-limit, limit) with `limit = sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio 2010).
    pub(crate) fn glorot(&mut self, count: usize, fan_in: usize, fan_out: usize) -> Vec<f64> {
        let limit = (6.0 / (fan_in + fan_out) as f64).sqrt();
        (0..count)
            .map(|_| {
                let unit = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
                limit * (2.0 * unit - 1.0)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first numbers of SplitMix64 for the seed 1234567.
    #[test]
    fn draws_are_those_of_splitmix64() {
        let mut draws = Draws(1_234_567);
        let found: Vec<u64> = (0..3).map(|_| draws.bits()).collect();
        assert_eq!(
            found,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    /// The variance of a uniform variable of this width is `limit² / 3`.
    #[test]
    fn first_values_have_glorots_width() {
        let values = Draws::new(3, "words").glorot(20_000, 30, 18);
        let limit = (6.0_f64 / 48.0).sqrt();
        assert!(values.iter().all(|value| value.abs() <= limit));
        let variance = values.iter().map(|v| v * v).sum::<f64>() / 20_000.0;
        // Five standard errors of the mean square, whose own standard deviation is 2/sqrt(45) limit².
        let error = 5.0 * limit.powi(2) * 2.0 / 45.0_f64.sqrt() / 20_000.0_f64.sqrt();
        assert!((variance - limit.powi(2) / 3.0).abs() < error, "{variance}");
        assert_ne!(values, Draws::new(4, "words").glorot(20_000, 30, 18));
        assert_ne!(values, Draws::new(3, "distance").glorot(20_000, 30, 18));
    }
}
