//! Which units of a group go, once it is known how many: units that do the same work are not all taken.
//!
//! With `F = (1/n) Σ_e g[e] g[e]ᵀ` the block of the Fisher information of a group and `z` 1 for what goes, the objective is
//! `zᵀ F z`, of which a search by the diagonal sees `Σ F[i,i]` alone (Kwon et al. 2022, section 4.3). From that search on units
//! are exchanged one for one as long as the objective falls.

use bertology_model::kernels::product::Product;
use bertology_model::{Matrix, MatrixMut};

/// Passes over all that go; exchanges end long before.
const PASSES: usize = 20;

/// Exchanges units until no exchange of one for one is an improvement; gives the objective before and after.
///
/// `gradients` is `[examples, units]`.
///
/// # Panics
/// If `keep` is not as long as there are units.
pub fn rearrange(gradients: Matrix<'_, f32>, keep: &mut [bool]) -> [f64; 2] {
    let units = gradients.cols();
    assert_eq!(units, keep.len());
    let mut fisher = vec![0.0_f32; units * units];
    let product = Product {
        scale: 1.0 / gradients.rows().max(1) as f32,
        accumulate: false,
        threads: 1,
    };
    let into = MatrixMut::new(&mut fisher, units, units);
    product.run(into, gradients.transposed(), gradients);
    let at = |i: usize, j: usize| f64::from(fisher[i * units + j]);
    // F z
    let mut pull: Vec<f64> = (0..units)
        .map(|i| (0..units).filter(|j| !keep[*j]).map(|j| at(i, j)).sum())
        .collect();
    let objective =
        |keep: &[bool], pull: &[f64]| (0..units).filter(|i| !keep[*i]).map(|i| pull[i]).sum();
    let before: f64 = objective(keep, &pull);
    // A gain below rounding would go round for ever.
    let least = 1e-9 * before.abs().max(f64::MIN_POSITIVE);
    for _ in 0..PASSES {
        let mut moved = false;
        for gone in 0..units {
            if keep[gone] {
                continue;
            }
            // z loses `gone` and gains `stays`.
            let change = |stays: usize| {
                at(gone, gone) - 2.0 * pull[gone] + 2.0 * pull[stays] + at(stays, stays)
                    - 2.0 * at(gone, stays)
            };
            let best = (0..units)
                .filter(|unit| keep[*unit])
                .map(|unit| (unit, change(unit)))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((stays, _)) = best.filter(|(_, change)| *change < -least) else {
                continue;
            };
            keep[gone] = true;
            keep[stays] = false;
            moved = true;
            for (unit, pull) in pull.iter_mut().enumerate() {
                *pull += at(unit, stays) - at(unit, gone);
            }
        }
        if !moved {
            break;
        }
    }
    // Anew: the sums were moved along exchange by exchange.
    let pull: Vec<f64> = (0..units)
        .map(|i| (0..units).filter(|j| !keep[*j]).map(|j| at(i, j)).sum())
        .collect();
    [before, objective(keep, &pull)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draws;

    fn objective(gradients: &[f32], units: usize, keep: &[bool]) -> f64 {
        let rows = gradients.chunks(units);
        let n = rows.len() as f64;
        let of_row = |row: &[f32]| -> f64 {
            let gone = row.iter().zip(keep).filter(|(_, stays)| !**stays);
            gone.map(|(g, _)| f64::from(*g)).sum::<f64>().powi(2)
        };
        rows.map(of_row).sum::<f64>() / n
    }

    #[test]
    fn twins_do_not_both_go_and_nothing_gets_worse() {
        // Units 0 and 1 do the same work, small by itself; 2 and 3 work apart.
        let mut draws = Draws::new(1);
        let rows: Vec<f32> = (0..64)
            .flat_map(|_| {
                let shared = 0.9 * draws.normal() as f32;
                [shared, shared, draws.normal() as f32, draws.normal() as f32]
            })
            .collect();
        let mut keep = [false, false, true, true];
        let [before, after] = rearrange(Matrix::new(&rows, 64, 4), &mut keep);
        assert!(after < before);
        assert_eq!(keep.iter().filter(|stays| **stays).count(), 2);
        assert_ne!(keep[0], keep[1]);
        for seed in 0..50 {
            let mut draws = Draws::new(seed);
            let units = 3 + draws.below(9);
            let rows: Vec<f32> = (0..20 * units).map(|_| draws.normal() as f32).collect();
            let mut keep: Vec<bool> = (0..units).map(|_| draws.unit() < 0.5).collect();
            let (first, kept) = (keep.clone(), keep.iter().filter(|stays| **stays).count());
            let [before, after] = rearrange(Matrix::new(&rows, 20, units), &mut keep);
            assert_eq!(keep.iter().filter(|stays| **stays).count(), kept);
            assert!((before - objective(&rows, units, &first)).abs() < 1e-4 * (1.0 + before));
            assert!((after - objective(&rows, units, &keep)).abs() < 1e-4 * (1.0 + after));
            assert!(after <= before);
            // No exchange of one for one is left that would gain.
            for i in 0..units {
                for j in 0..units {
                    if keep[i] && !keep[j] {
                        let mut other = keep.clone();
                        other.swap(i, j);
                        assert!(objective(&rows, units, &other) > after - 1e-4 * (1.0 + after));
                    }
                }
            }
        }
    }
}
