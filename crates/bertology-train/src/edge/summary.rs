//! What curves over layers and mixing weights come to.
//!
//! Tenney, Das and Pavlick 2019 (ACL), section 3. With L + 1 layers, `S_l` the score of the probe that reads layers 0
//! to l, `Δ_l = S_l - S_(l-1)` for l in 1..L, and s the mixing weights of the probe that reads all:
//!
//! | quantity | formula | range |
//! | --- | --- | --- |
//! | [`center_of_gravity`] E_s | `Σ l s_l` | 0 to L; L/2 where weights are equal |
//! | [`uniform_divergence`] K(s) | `Σ s_l log₂((L+1) s_l)` | 0 to log₂(L+1) bits |
//! | [`expected_layer`] E_Δ | `Σ l Δ_l / Σ Δ_l` | 1 to L where no Δ is negative |
//! | [`gain_divergence`] K(Δ) | `Σ q_l log₂(L q_l)`, `q_l = max(Δ_l, 0) / Σ max(Δ, 0)` | 0 to log₂ L bits |
//!
//! The paper's text leaves the base of the logarithm and the sign of Δ open; its notebooks take 2, signed differences for
//! E_Δ and clipped ones for K(Δ). E_Δ is `Σ_{l<L} (S_L - S_l) / (S_L - S_0)`: where the whole gain is small, noise is
//! divided by little, so look at [`has_gain`] first.

use serde::{Deserialize, Serialize};

use super::source::LayerStates;
use super::{Batch, Split};
use crate::Error;

/// The layer that mixing weights lie around: `Σ l s_l`.
#[must_use]
pub fn center_of_gravity(weights: &[f64]) -> f64 {
    weights
        .iter()
        .zip(0_u32..)
        .map(|(s, l)| s * f64::from(l))
        .sum()
}

/// How far weights that add up to 1 are from equal ones, in bits.
#[must_use]
pub fn uniform_divergence(weights: &[f64]) -> f64 {
    let count = weights.len() as f64;
    let terms = weights.iter().filter(|s| **s > 0.0);
    terms.map(|s| s * (count * s).log2()).sum()
}

/// What each layer adds: `S_l - S_(l-1)` for l from 1.
#[must_use]
pub fn differential(scores: &[f64]) -> Vec<f64> {
    scores.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The mean over seeds of curves `[seed][layer]`; empty without any.
#[must_use]
pub fn mean_curve(curves: &[Vec<f64>]) -> Vec<f64> {
    let layers = curves.first().map_or(0, Vec::len);
    let mean = |layer: usize| {
        let sum: f64 = curves.iter().map(|curve| curve[layer]).sum();
        sum / curves.len() as f64
    };
    (0..layers).map(mean).collect()
}

/// E_Δ, of signed differences; `None` where the last score is the first, or there is one score.
#[must_use]
pub fn expected_layer(scores: &[f64]) -> Option<f64> {
    weighted(&differential(scores))
}

/// `Σ l d_l / Σ d_l`, l from 1.
fn weighted(gains: &[f64]) -> Option<f64> {
    let total: f64 = gains.iter().sum();
    let sum: f64 = gains
        .iter()
        .zip(1_u32..)
        .map(|(d, l)| d * f64::from(l))
        .sum();
    (total != 0.0).then(|| sum / total)
}

/// E_Δ with what layers lose left out.
#[must_use]
pub fn clipped_layer(scores: &[f64]) -> Option<f64> {
    let gains = differential(scores);
    weighted(&gains.iter().map(|d| d.max(0.0)).collect::<Vec<_>>())
}

/// E_Δ of the best score so far in the place of each score.
#[must_use]
pub fn running_layer(scores: &[f64]) -> Option<f64> {
    let mut best = f64::NEG_INFINITY;
    let running = scores.iter().map(|score| {
        best = best.max(*score);
        best
    });
    expected_layer(&running.collect::<Vec<_>>())
}

/// K(Δ); `None` where no layer gains.
#[must_use]
pub fn gain_divergence(scores: &[f64]) -> Option<f64> {
    let gains: Vec<f64> = differential(scores).iter().map(|d| d.max(0.0)).collect();
    let total: f64 = gains.iter().sum();
    let shares: Vec<f64> = gains.iter().map(|gain| gain / total).collect();
    (total > 0.0).then(|| uniform_divergence(&shares))
}

/// The heights of the paper's second figure: `Δ_l / (max S - S_0)`; zeros where nothing is above the first.
#[must_use]
pub fn bars(scores: &[f64]) -> Vec<f64> {
    let first = scores.first().copied().unwrap_or_default();
    let most = scores.iter().fold(first, |most, score| most.max(*score)) - first;
    let height = |gain: f64| if most > 0.0 { gain / most } else { 0.0 };
    differential(scores).into_iter().map(height).collect()
}

/// Whether the whole gain `S_L - S_0` is at least three of its standard errors: otherwise there is no contextual gain
/// that could lie anywhere. A gain without noise has to be positive.
#[must_use]
pub fn has_gain(scores: &[f64], standard_error: f64) -> bool {
    let (Some(first), Some(last)) = (scores.first(), scores.last()) else {
        return false;
    };
    let gain = last - first;
    gain > 0.0 && gain >= 3.0 * standard_error
}

/// All quantities of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What each layer adds, from layer 1.
    pub differential: Vec<f64>,
    /// Its share of the most that is gained.
    pub bars: Vec<f64>,
    /// Whether there is a gain to speak of: without one the numbers below mean nothing.
    pub has_gain: bool,
    /// E_Δ.
    pub expected_layer: Option<f64>,
    /// With losses left out.
    pub clipped_layer: Option<f64>,
    /// Of the best score so far.
    pub running_layer: Option<f64>,
    /// K(Δ), in bits.
    pub gain_divergence: Option<f64>,
}

impl Summary {
    /// Of the scores of all layers; the standard error is that of the last score less the first.
    #[must_use]
    pub fn new(scores: &[f64], standard_error: f64) -> Self {
        Self {
            differential: differential(scores),
            bars: bars(scores),
            has_gain: has_gain(scores, standard_error),
            expected_layer: expected_layer(scores),
            clipped_layer: clipped_layer(scores),
            running_layer: running_layer(scores),
            gain_divergence: gain_divergence(scores),
        }
    }
}

/// Mixing weights times the mean length of what they are weights of, to the sum 1: layers differ in length, so that a
/// small weight on long vectors may say more than a large one on short ones (Fayyaz, Aghazadeh, Modarressi,
/// Mohebbi and Pilehvar 2021).
///
/// # Shapes
/// `weights [layers read]`, `norms` at least as many.
#[must_use]
pub fn norm_corrected(weights: &[f64], norms: &[f64]) -> Vec<f64> {
    let products: Vec<f64> = weights
        .iter()
        .zip(norms)
        .map(|(s, norm)| s * norm)
        .collect();
    let total: f64 = products.iter().sum();
    products
        .into_iter()
        .map(|product| product / total)
        .collect()
}

/// The mean length of each layer's vectors over the pieces that the targets of a split have, each piece once.
///
/// # Errors
/// A split beyond the states; states that cannot be read.
pub fn layer_norms(states: &dyn LayerStates, split: &Split) -> Result<Vec<f64>, Error> {
    split.check(states)?;
    let sentences: Vec<u32> = (0..split.sentences() as u32).collect();
    let pieces = Batch::new(split, &sentences).pieces;
    let (layers, hidden) = (states.layers(), states.hidden());
    let mut sums = vec![0.0; layers];
    let mut values = Vec::new();
    for block in pieces.chunks(1024) {
        values.resize(block.len() * layers * hidden, 0.0);
        states.gather(block, &mut values)?;
        for (vector, layer) in values.chunks_exact(hidden).zip((0..layers).cycle()) {
            sums[layer] += bertology_kernels::elementwise::square_sum(vector).sqrt();
        }
    }
    Ok(sums
        .into_iter()
        .map(|sum| sum / pieces.len() as f64)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::HeldStates;

    /// The curves that the authors' notebooks hold (development F1 of the cumulative probes, two decimals), with E_Δ and
    /// K(Δ) of the paper's first figure for the large model, and of the appendix's figure for the base model.
    #[rustfmt::skip]
    const RECORDED: [(&str, f64, f64, &[f64]); 17] = [
        ("pos base", 1.76, 1.72, &[88.40, 93.48, 94.96, 95.42, 95.97, 96.44, 96.39, 96.42, 96.56, 96.48, 96.59, 96.40, 96.48]),
        ("constituents base", 2.38, 1.27, &[75.20, 80.56, 83.10, 84.89, 86.04, 86.42, 86.76, 86.76, 87.21, 87.04, 86.98, 87.28, 87.24]),
        ("dependencies base", 2.52, 1.18, &[85.20, 90.24, 91.30, 92.56, 93.66, 94.10, 94.65, 94.90, 95.17, 95.21, 95.10, 95.32, 95.22]),
        ("entities base", 2.42, 1.42, &[89.87, 93.33, 94.30, 94.42, 95.19, 95.40, 95.59, 95.68, 95.85, 95.91, 96.00, 95.93, 96.03]),
        ("srl base", 2.59, 1.21, &[79.46, 85.27, 86.56, 87.77, 89.14, 90.36, 90.34, 91.05, 91.00, 90.72, 90.47, 90.84, 91.09]),
        ("coref base", 3.62, 0.63, &[80.01, 82.52, 84.30, 85.19, 86.94, 87.58, 88.28, 88.89, 90.27, 90.38, 90.57, 90.28, 90.16]),
        ("spr1 base", 4.29, 0.45, &[77.81, 78.76, 79.66, 80.32, 80.90, 81.74, 82.08, 82.86, 83.04, 83.50, 83.46, 83.61, 83.52]),
        ("relations base", 4.16, 0.50, &[58.93, 66.05, 68.63, 70.86, 73.97, 74.66, 77.25, 78.25, 80.23, 81.17, 81.64, 83.27, 82.87]),
        ("pos large", 3.39, 1.60, &[88.51, 91.66, 93.18, 93.74, 94.74, 95.14, 95.35, 95.65, 95.82, 95.89, 96.07, 96.39, 96.63, 96.83, 96.81, 96.69, 96.79, 96.69, 96.72, 96.78, 96.72, 96.72, 96.71, 96.70, 96.69]),
        ("constituents large", 3.79, 1.57, &[73.56, 79.50, 80.60, 81.07, 83.77, 84.33, 84.40, 84.18, 84.54, 84.90, 85.68, 86.39, 86.95, 86.84, 86.76, 86.86, 87.18, 86.68, 87.25, 87.13, 87.23, 86.84, 86.66, 86.86, 86.96]),
        ("dependencies large", 5.69, 1.15, &[85.64, 88.19, 89.05, 89.75, 91.53, 91.82, 91.74, 92.08, 92.23, 92.43, 93.13, 94.00, 94.62, 94.96, 95.34, 95.30, 95.54, 95.47, 95.46, 95.64, 95.60, 95.63, 95.55, 95.50, 95.52]),
        ("entities large", 4.64, 1.61, &[90.60, 93.35, 93.29, 93.49, 93.92, 94.50, 94.47, 94.69, 94.79, 94.89, 95.02, 95.47, 95.51, 95.70, 95.83, 96.04, 96.24, 96.17, 96.29, 96.33, 96.31, 96.21, 96.31, 96.29, 96.14]),
        ("srl large", 6.54, 1.31, &[81.32, 81.78, 85.03, 83.28, 86.16, 86.32, 86.39, 87.22, 88.40, 87.96, 88.79, 89.98, 90.13, 90.93, 91.34, 91.30, 91.61, 91.46, 91.25, 91.45, 91.67, 91.67, 91.46, 91.64, 91.45]),
        ("coref large", 9.47, 0.60, &[80.47, 81.86, 82.32, 82.52, 83.82, 84.17, 84.13, 84.52, 85.28, 85.60, 86.29, 87.34, 87.49, 88.54, 89.21, 90.30, 90.74, 91.39, 91.99, 92.00, 91.76, 91.97, 92.11, 92.09, 91.94]),
        ("spr1 large", 9.93, 0.33, &[77.66, 78.12, 78.47, 78.73, 79.35, 79.54, 79.81, 80.01, 80.30, 80.67, 81.01, 81.14, 81.68, 81.66, 81.93, 82.15, 82.72, 82.92, 83.16, 83.24, 83.43, 83.76, 83.78, 83.92, 83.72]),
        ("relations large", 9.40, 0.50, &[60.73, 64.53, 65.45, 65.30, 68.11, 68.91, 70.83, 72.20, 72.98, 73.87, 74.29, 75.17, 76.55, 76.61, 77.14, 78.34, 79.93, 81.18, 81.40, 82.23, 83.05, 83.20, 84.12, 83.61, 84.17]),
        // Not in the paper's figures: noise divided by a loss.
        ("dpr base", 23.98, f64::NAN, &[56.11, 59.20, 56.64, 57.27, 54.52, 54.72, 56.94, 55.72, 58.51, 57.72, 57.48, 59.15, 55.22]),
    ];
    /// Curves of two decimals.
    const ROUNDING: f64 = 0.02;

    #[test]
    fn recorded_curves_give_the_recorded_tables() {
        for (task, layer, divergence, scores) in RECORDED {
            let summary = Summary::new(scores, 0.42);
            let found = summary.expected_layer.unwrap();
            assert!(
                (found - layer).abs() <= ROUNDING,
                "{task}: E {found}, {layer}"
            );
            let found = summary.gain_divergence.unwrap();
            assert!(
                divergence.is_nan() || (found - divergence).abs() <= ROUNDING,
                "{task}: K {found}"
            );
            assert_eq!(summary.has_gain, task != "dpr base", "{task}");
            // The other form of E_Δ.
            let (first, last) = (scores[0], scores[scores.len() - 1]);
            let other: f64 = scores
                .iter()
                .map(|score| (last - score) / (last - first))
                .sum();
            assert!(
                (summary.expected_layer.unwrap() - other).abs() < 1e-9,
                "{task}"
            );
            // Nothing depends on the scale of the scores.
            let scaled: Vec<f64> = scores.iter().map(|score| 0.01 * score + 3.0).collect();
            assert!(
                (expected_layer(&scaled).unwrap() - other).abs() < 1e-9,
                "{task}"
            );
        }
        let entities = RECORDED[11].3;
        assert!((clipped_layer(entities).unwrap() - 5.64).abs() <= ROUNDING);
        assert!((running_layer(entities).unwrap() - 5.22).abs() <= ROUNDING);
        let highest = bars(entities).iter().sum::<f64>();
        assert!((highest - (96.14 - 90.60) / (96.33 - 90.60)).abs() < 1e-12);
    }

    #[test]
    fn equal_and_single_weights() {
        for layers in [2_usize, 7, 25] {
            let equal = vec![1.0 / layers as f64; layers];
            assert!(uniform_divergence(&equal).abs() < 1e-12);
            assert!((center_of_gravity(&equal) - (layers - 1) as f64 / 2.0).abs() < 1e-12);
            for one in [0, layers - 1] {
                let mut weights = vec![0.0; layers];
                weights[one] = 1.0;
                assert_eq!(center_of_gravity(&weights), one as f64);
                assert!((uniform_divergence(&weights) - (layers as f64).log2()).abs() < 1e-12);
            }
        }
        assert_eq!(
            (
                expected_layer(&[1.0, 2.0, 1.0]),
                gain_divergence(&[2.0, 1.0])
            ),
            (None, None)
        );
        assert_eq!((expected_layer(&[1.0]), expected_layer(&[])), (None, None));
        assert!(!has_gain(&[], 0.0) && !has_gain(&[1.0, 1.0], 0.0) && has_gain(&[1.0, 2.0], 0.3));
        assert_eq!(bars(&[2.0, 1.0, 2.0]), [0.0, 0.0]);
    }

    #[test]
    fn lengths_of_layers_correct_their_weights() {
        let corrected = norm_corrected(&[0.5, 0.5], &[1.0, 3.0]);
        assert_eq!(corrected, [0.25, 0.75]);
        // Two layers of two numbers; piece 1 is no target's, piece 2 that of two.
        let values = vec![3.0, 4.0, 0.0, 1.0, 9.0, 9.0, 9.0, 9.0, 6.0, 8.0, 0.0, 3.0];
        let states = HeldStates::new(2, 2, values).unwrap();
        let mut split = Split::new(1, 1).unwrap();
        split.target([0, 1], None, &[0], 0).unwrap();
        split.target([2, 3], None, &[0], 0).unwrap();
        split.target([2, 3], None, &[], 0).unwrap();
        split.end_sentence();
        assert_eq!(layer_norms(&states, &split).unwrap(), [7.5, 2.0]);
    }
}
