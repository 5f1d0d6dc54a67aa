//! First values of parameters: the same on every machine.

use bertology::random::{self, mixed};

/// First values of one probe.
#[derive(Debug, Clone)]
pub(crate) struct Draws(random::Draws);

impl Draws {
    /// A stream for each seed and each name, so that no probe's values depend on which others there are.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let start = random::Draws::new(seed).bits();
        let mix = |state: u64, byte: u8| mixed(state ^ u64::from(byte));
        Self(random::Draws::new(name.bytes().fold(start, mix)))
    }

    /// Uniform in [-limit, limit) with `limit = sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio 2010).
    pub(crate) fn glorot(&mut self, count: usize, fan_in: usize, fan_out: usize) -> Vec<f64> {
        self.uniform(count, (6.0 / (fan_in + fan_out) as f64).sqrt())
    }

    /// Uniform in [-limit, limit).
    pub(crate) fn uniform(&mut self, count: usize, limit: f64) -> Vec<f64> {
        (0..count)
            .map(|_| limit * (2.0 * self.0.unit() - 1.0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
