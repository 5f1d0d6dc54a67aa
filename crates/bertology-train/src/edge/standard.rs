//! States of layers of one length: each layer less its mean, divided by what is left of its length.

use super::{Batch, LayerStates, Split};
use crate::Error;

/// States of which every layer has mean zero and mean square one over the pieces of a split, so that mixing weights of
/// different layers weigh vectors of the same length (Fayyaz, Aghazadeh, Modarressi, Mohebbi and Pilehvar 2021, on why that
/// matters). The means are those of the training split, for all splits.
pub struct Standardized<'a> {
    states: &'a dyn LayerStates,
    /// `[layers, hidden]`
    means: Vec<f32>,
    /// `[layers]`: one through the root of the mean square.
    factors: Vec<f32>,
}

impl std::fmt::Debug for Standardized<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standardized")
            .field("factors", &self.factors)
            .finish_non_exhaustive()
    }
}

impl<'a> Standardized<'a> {
    /// Looks at the states of all pieces of the training split once, each piece once. A layer without any
    /// variation is left at zero.
    ///
    /// # Errors
    /// A split beyond the states; states that cannot be read.
    pub fn new(states: &'a dyn LayerStates, train: &Split) -> Result<Self, Error> {
        train.check(states)?;
        let sentences: Vec<u32> = (0..train.sentences() as u32).collect();
        let pieces = Batch::new(train, &sentences).pieces;
        let (layers, hidden) = (states.layers(), states.hidden());
        let (mut sums, mut squares) = (vec![0.0; layers * hidden], vec![0.0; layers * hidden]);
        let mut values = Vec::new();
        for block in pieces.chunks(1024) {
            values.resize(block.len() * layers * hidden, 0.0);
            states.gather(block, &mut values)?;
            for piece in values.chunks_exact(layers * hidden) {
                for ((value, sum), square) in piece.iter().zip(&mut sums).zip(&mut squares) {
                    let value = f64::from(*value);
                    *sum += value;
                    *square += value * value;
                }
            }
        }
        let count = pieces.len() as f64;
        let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let layer = |layer: usize| {
            let own = layer * hidden..(layer + 1) * hidden;
            let variances = squares[own.clone()].iter().zip(&means[own]);
            let total: f64 = variances
                .map(|(square, mean)| square / count - mean * mean)
                .sum();
            let length = (total.max(0.0) / hidden as f64).sqrt();
            if length > 0.0 {
                length.recip() as f32
            } else {
                0.0
            }
        };
        Ok(Self {
            states,
            factors: (0..layers).map(layer).collect(),
            means: means.iter().map(|mean| *mean as f32).collect(),
        })
    }
}

impl LayerStates for Standardized<'_> {
    fn layers(&self) -> usize {
        self.states.layers()
    }

    fn hidden(&self) -> usize {
        self.states.hidden()
    }

    fn pieces(&self) -> usize {
        self.states.pieces()
    }

    fn gather(&self, pieces: &[u32], out: &mut [f32]) -> Result<(), Error> {
        self.states.gather(pieces, out)?;
        let hidden = self.hidden();
        for piece in out.chunks_exact_mut(self.means.len()) {
            let layers = piece
                .chunks_exact_mut(hidden)
                .zip(self.means.chunks_exact(hidden));
            for ((layer, means), factor) in layers.zip(&self.factors) {
                for (value, mean) in layer.iter_mut().zip(means) {
                    *value = (*value - mean) * factor;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::HeldStates;

    #[test]
    fn layers_have_one_length() {
        // Three pieces of two layers of two numbers; the third is no training piece, the second layer is constant.
        let values = vec![1.0, 2.0, 7.0, 7.0, 5.0, 4.0, 7.0, 7.0, 3.0, 5.0, 8.0, 7.0];
        let states = HeldStates::new(2, 2, values).unwrap();
        let mut train = Split::new(1, 1).unwrap();
        train.target([0, 2], None, &[0], 0).unwrap();
        train.end_sentence();
        let standard = Standardized::new(&states, &train).unwrap();
        let mut found = [0.0; 12];
        standard.gather(&[0, 1, 2], &mut found).unwrap();
        // Means 3 and 3, mean square (4 + 4 + 1 + 1) / 4.
        let root = 2.5_f32.sqrt();
        let expected = [-2.0, -1.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected / root).abs() < 1e-6, "{found} {expected}");
        }
    }
}
