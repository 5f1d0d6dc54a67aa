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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(layers: usize, heads: usize, values: &[f64]) -> HeadTable {
        HeadTable::from_values(layers, heads, values.to_vec())
    }

    fn close(a: &HeadTable, b: &[f64]) {
        for (a, b) in a.values().iter().zip(b) {
            assert!((a - b).abs() < 1e-15, "{a} {b}");
        }
    }

    #[test]
    fn layers_get_unit_norm_and_zeros_stay() {
        let raw = table(3, 2, &[3.0, 4.0, 0.0, 0.0, 0.0, 7.0]);
        close(&layer_l2(&raw), &[0.6, 0.8, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn tiny_and_huge_scores_do_not_vanish_or_overflow() {
        let raw = table(2, 2, &[3e-200, 4e-200, 3e200, 4e200]);
        close(&layer_l2(&raw), &[0.6, 0.8, 0.6, 0.8]);
    }

    #[test]
    fn extremes_become_zero_and_one_and_equal_scores_zero() {
        close(&min_max(&table(1, 3, &[2.0, 6.0, 3.0])), &[0.0, 1.0, 0.25]);
        close(&min_max(&table(2, 2, &[5.0; 4])), &[0.0; 4]);
        close(&script_normalization(&table(2, 2, &[0.0; 4])), &[0.0; 4]);
    }

    #[test]
    fn scaling_changes_nothing_and_order_stays() {
        let raw = table(2, 3, &[0.3, 0.1, 0.2, 0.05, 0.9, 0.4]);
        let scaled = raw.map(|_, v| v * 1e-7);
        close(
            &script_normalization(&scaled),
            script_normalization(&raw).values(),
        );
        assert_eq!(ranks(&layer_l2(&raw)), ranks(&script_normalization(&raw)));
        assert_eq!(ranks(&raw), ranks(&min_max(&raw)));
    }

    /// A masked head takes no part, whatever its value was.
    #[test]
    fn only_live_heads_count() {
        let raw = table(2, 2, &[3.0, 100.0, 3.0, 4.0]);
        let live = raw.restricted(|id| (id.layer, id.head) != (0, 1));
        let normalised = layer_l2(&live);
        close(&normalised, &[1.0, 0.0, 0.6, 0.8]);
        let gone = HeadId { layer: 0, head: 1 };
        assert_eq!(normalised.get(gone), None);
        close(&min_max(&normalised), &[1.0, 0.0, 0.0, 0.5]);
        assert_eq!(ranks(&normalised), [Some(0), None, Some(2), Some(1)]);
        // Nothing left: nothing to divide by.
        let none = raw.restricted(|_| false);
        close(&script_normalization(&none), &[0.0; 4]);
        assert_eq!(ranks(&none), [None; 4]);
    }

    #[test]
    fn ties_rank_by_layer_then_head() {
        let raw = table(2, 2, &[1.0, 2.0, 2.0, 1.0]);
        assert_eq!(ranks(&raw), [Some(2), Some(0), Some(1), Some(3)]);
    }

    #[test]
    fn the_two_steps_can_be_turned_off() {
        let raw = table(2, 2, &[3.0, 4.0, 30.0, 40.0]);
        let only = |by_layer, global| Normalization { by_layer, global }.apply(&raw);
        close(&only(false, false), raw.values());
        close(&only(true, false), &[0.6, 0.8, 0.6, 0.8]);
        close(&only(false, true), min_max(&raw).values());
    }
}
