//! Making raw scores comparable, and ranking them: pure functions over stored scores.
//!
//! The reference script divides each layer by its L2 norm, then maps all scores to 0–1. Here only
//! live heads take part, a layer of zeros stays zeros, and equal scores give zeros: there is no NaN.

use serde::{Deserialize, Serialize};

use bertology_model::HeadId;

use crate::HeadTable;

/// Which of the reference script's two normalisations apply; both by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalization {
    /// [`layer_l2`]; the script's `--dont_normalize_importance_by_layer` turns it off.
    pub by_layer: bool,
    /// [`min_max`]; the script's `--dont_normalize_global_importance` turns it off.
    pub global: bool,
}

impl Default for Normalization {
    fn default() -> Self {
        Self {
            by_layer: true,
            global: true,
        }
    }
}

impl Normalization {
    /// Both steps in the script's order, those that are on.
    #[must_use]
    pub fn apply(self, raw: &HeadTable) -> HeadTable {
        let table = if self.by_layer {
            layer_l2(raw)
        } else {
            raw.clone()
        };
        if self.global { min_max(&table) } else { table }
    }
}

/// What `head_importance.npy` of the reference script holds under its defaults: [`layer_l2`], then
/// [`min_max`].
#[must_use]
pub fn script_normalization(raw: &HeadTable) -> HeadTable {
    Normalization::default().apply(raw)
}

/// Divides each layer by the L2 norm of its live heads; a layer whose norm is 0 stays zeros.
///
/// # Numerics
/// Scores are divided by the layer's largest before they are squared, so tiny ones do not vanish.
#[must_use]
pub fn layer_l2(table: &HeadTable) -> HeadTable {
    let norms: Vec<(f64, f64)> = (0..table.layers())
        .map(|layer| {
            let row = || table.iter().filter(move |(id, _)| id.layer == layer);
            let largest = row().fold(0.0_f64, |max, (_, v)| max.max(v.abs()));
            let squares: f64 = row().map(|(_, v)| (v / largest).powi(2)).sum();
            (largest, squares.sqrt())
        })
        .collect();
    table.map(|id, v| match norms[id.layer] {
        (0.0, _) => 0.0,
        (largest, norm) => v / largest / norm,
    })
}

/// Maps the smallest live score to 0 and the largest to 1; all zeros if they are equal.
#[must_use]
pub fn min_max(table: &HeadTable) -> HeadTable {
    let (low, high) = table
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, v)| {
            (low.min(v), high.max(v))
        });
    let spread = high - low;
    table.map(|_, v| {
        if spread > 0.0 {
            (v - low) / spread
        } else {
            0.0
        }
    })
}

/// Live heads from the most to the least important; equal scores by (layer, head) ascending.
#[must_use]
pub fn ranking(table: &HeadTable) -> Vec<HeadId> {
    let mut heads: Vec<(HeadId, f64)> = table.iter().collect();
    // The sort is stable and the heads come in order.
    heads.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    heads.into_iter().map(|(id, _)| id).collect()
}

/// The rank of every head, row-major `[layers, heads]`: 0 the most important, `None` where the head
/// is not live.
#[must_use]
pub fn ranks(table: &HeadTable) -> Vec<Option<usize>> {
    let mut ranks = vec![None; table.values().len()];
    for (rank, id) in ranking(table).into_iter().enumerate() {
        ranks[id.layer * table.heads() + id.head] = Some(rank);
    }
    ranks
}
