//! Jensen-Shannon divergence of rows, for one pair and for all pairs of many maps.

use crate::elementwise::{LANES, add_pairwise};
use crate::{Real, vectorized};

/// `JS(P, Q) = H(M) - ½ H(P) - ½ H(Q)` with `M = (P + Q) / 2`, in nats, with `0 ln 0 = 0`.
///
/// Between 0 and ln 2 for rows that sum to 1, and exactly 0 for equal rows.
///
/// # Numerics
/// The three entropies are subtracted cell by cell, `½ p ln p + ½ q ln q - m ln m`, so that what is summed
/// is small where the rows are alike; a sum that rounding makes negative is 0. Terms in the row's own type;
/// a probability below the smallest normal number counts as 0.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[must_use]
pub fn jensen_shannon<T: Real>(p: &[T], q: &[T]) -> f64 {
    assert_eq!(p.len(), q.len());
    let mut sum = [0.0];
    add_divergences(&mut sum, &[p, q].concat(), 2);
    sum[0]
}

/// Adds, for every pair of maps, [`jensen_shannon`] summed over their rows. Rows are not told apart: the
/// sum over all cells is the sum over rows, of whatever lengths.
///
/// # Shapes
/// `maps [count, cells]`; `sums [count (count - 1) / 2]`, pairs in the order
/// `(0, 1), (0, 2), …, (1, 2), …`.
///
/// # Numerics
/// As [`jensen_shannon`]: a few hundred cells at a time are summed in the type of the maps, these sums
/// in f64.
///
/// # Cost
/// One logarithm per pair and cell. A copy of a block of cells of all maps is made, small enough for the
/// second-level cache.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn add_divergences<T: Real>(sums: &mut [f64], maps: &[T], count: usize) {
    assert_eq!(sums.len(), count * count.saturating_sub(1) / 2);
    if sums.is_empty() || maps.is_empty() {
        return;
    }
    assert_eq!(maps.len() % count, 0);
    let cells = maps.len() / count;
    let width = block_width::<T>(count).min(cells.next_multiple_of(LANES));
    let mut halves = vec![T::ZERO; count * width];
    let mut terms = vec![T::ZERO; count * width];
    for from in (0..cells).step_by(width) {
        let to = cells.min(from + width);
        let blocks = halves
            .chunks_exact_mut(width)
            .zip(terms.chunks_exact_mut(width));
        for ((halves, terms), map) in blocks.zip(maps.chunks_exact(cells)) {
            let row = &map[from..to];
            // Zeros behind the last cell add exactly 0.
            halves[row.len()..].fill(T::ZERO);
            halves[..row.len()].copy_from_slice(row);
            vectorized!(halve(halves, terms));
        }
        let mut rest = &mut *sums;
        for a in 0..count - 1 {
            let (pairs, behind) = std::mem::take(&mut rest).split_at_mut(count - 1 - a);
            rest = behind;
            let (p, others) = halves[a * width..].split_at(width);
            let (p_terms, other_terms) = terms[a * width..].split_at(width);
            vectorized!({
                let others = others
                    .chunks_exact(width)
                    .zip(other_terms.chunks_exact(width));
                for (sum, (q, q_terms)) in pairs.iter_mut().zip(others) {
                    let found = divergence([p, p_terms], [q, q_terms]).to_f64();
                    // Not `max`, which would make 0 of what is not a number.
                    *sum += if found < 0.0 { 0.0 } else { found };
                }
            });
        }
    }
}

/// Cells of a block of `count` maps: about 256 KiB together with their terms, and partial sums that are
/// neither too short to be worth their reduction nor so long that they lose digits.
fn block_width<T>(count: usize) -> usize {
    let fits = (256 << 10) / (2 * size_of::<T>() * count);
    (fits / LANES * LANES).clamp(2 * LANES, 16 * LANES)
}

/// `½ p` in the place of `p`, and `½ p ln p`.
#[inline(always)]
fn halve<T: Real>(p: &mut [T], terms: &mut [T]) {
    let half = T::from_f64(0.5);
    for (p, term) in p.iter_mut().zip(terms) {
        *term = half * plogp(*p);
        *p = half * *p;
    }
}

/// `p ln p`; the logarithm is taken of a normal number whatever `p` is, so there is no branch.
#[inline(always)]
fn plogp<T: Real>(p: T) -> T {
    p * p.max(T::from_f64(f64::from(f32::MIN_POSITIVE))).ln()
}

/// `Σ ½ p ln p + ½ q ln q - m ln m`, given `½ p` and `½ p ln p` and the same of `q`.
///
/// Logarithms and sums apart: the compiler vectorises what it leaves alone in one loop.
#[inline(always)]
fn divergence<T: Real>(p: [&[T]; 2], q: [&[T]; 2]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let [p, p_terms] = p;
    let [q, q_terms] = q;
    for at in (0..p.len()).step_by(LANES) {
        let (p, q) = (&p[at..at + LANES], &q[at..at + LANES]);
        let mut mixed = [T::ZERO; LANES];
        for ((m, p), q) in mixed.iter_mut().zip(p).zip(q) {
            *m = *p + *q;
        }
        for m in &mut mixed {
            *m = plogp(*m);
        }
        let terms = p_terms[at..at + LANES].iter().zip(&q_terms[at..at + LANES]);
        for ((sum, (p, q)), m) in lanes.iter_mut().zip(terms).zip(&mixed) {
            *sum += (*p + *q) - *m;
        }
    }
    add_pairwise(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::LN_2;

    /// f32 logarithms err by up to 3e-7 of a nat, on both sides of a subtraction.
    const F32: f64 = 1e-6;

    /// By the definition, `½ KL(P‖M) + ½ KL(Q‖M)`: another formula, other sums.
    fn naive(p: &[f64], q: &[f64]) -> f64 {
        let to = |p: f64, m: f64| if p > 0.0 { p * (p / m).ln() } else { 0.0 };
        let pairs = p.iter().zip(q);
        0.5 * pairs
            .map(|(p, q)| to(*p, (p + q) / 2.0) + to(*q, (p + q) / 2.0))
            .sum::<f64>()
    }

    /// Rows of probabilities, some 0, some tiny, the same on every machine.
    fn rows(count: usize, n: usize) -> Vec<Vec<f64>> {
        let weight = |a: usize, i: usize| match (a * 31 + i * 7919 + a * i * 13) % 1013 {
            0..200 => 0.0,
            w => (w as f64 / 50.0 - 20.0).exp(),
        };
        (0..count)
            .map(|a| {
                let weights: Vec<f64> = (0..n).map(|i| weight(a, i) + 1e-30).collect();
                let sum: f64 = weights.iter().sum();
                weights.iter().map(|w| w / sum).collect()
            })
            .collect()
    }

    fn narrow(values: &[f64]) -> Vec<f32> {
        values.iter().map(|v| *v as f32).collect()
    }

    #[test]
    fn closed_forms() {
        let one_hot = |n: usize, at: usize| {
            let mut row = vec![0.0_f64; n];
            row[at] = 1.0;
            row
        };
        let uniform = |n: usize| vec![1.0 / n as f64; n];
        let cases = [
            (vec![0.5, 0.5, 0.0], vec![0.0, 0.5, 0.5], 0.5 * LN_2),
            (one_hot(8, 1), one_hot(8, 5), LN_2),
            (one_hot(128, 127), one_hot(128, 0), LN_2),
            (one_hot(8, 3), uniform(8), 0.496_929),
            (one_hot(128, 3), uniform(128), 0.670_272),
        ];
        for (p, q, expected) in cases {
            // The constants above are given to six places.
            assert!(
                (jensen_shannon(&p, &q) - expected).abs() < 5e-7,
                "{expected}"
            );
            let found = jensen_shannon(&narrow(&p), &narrow(&q));
            assert!((found - expected).abs() < F32, "{found} {expected}");
        }
    }

    #[test]
    fn zero_on_itself_symmetric_and_bounded() {
        for n in [1, 2, 31, 32, 33, 100, 700] {
            let rows = rows(5, n);
            for p in &rows {
                assert_eq!(jensen_shannon(&narrow(p), &narrow(p)), 0.0);
                for q in &rows {
                    let there = jensen_shannon(&narrow(p), &narrow(q));
                    assert_eq!(there, jensen_shannon(&narrow(q), &narrow(p)));
                    assert!((0.0..LN_2 + F32).contains(&there), "{there}");
                    assert!((there - naive(p, q)).abs() < F32, "{n}: {there}");
                    // f64 rounding of sums of hundreds of terms.
                    assert!((jensen_shannon(p, q) - naive(p, q)).abs() < 1e-13);
                }
            }
        }
    }

    #[test]
    fn the_root_obeys_the_triangle_inequality() {
        let rows = rows(12, 50);
        let root = |a: usize, b: usize| jensen_shannon(&rows[a], &rows[b]).sqrt();
        for (a, b, c) in (0..12).flat_map(|a| (0..144).map(move |i| (a, i / 12, i % 12))) {
            assert!(root(a, c) <= root(a, b) + root(b, c) + 1e-12);
        }
    }

    #[test]
    fn all_pairs_are_added_over_all_rows() {
        for (count, cells) in [(1, 40), (2, 1), (3, 31), (5, 64), (40, 1100), (1200, 65)] {
            let maps = rows(count, cells);
            let flat: Vec<f32> = maps.iter().flat_map(|map| narrow(map)).collect();
            let pairs = count * (count - 1) / 2;
            let mut sums = vec![0.25; pairs];
            add_divergences(&mut sums, &flat, count);
            let mut at = 0;
            for a in 0..count {
                for b in a + 1..count {
                    if at % (pairs / 50 + 1) == 0 {
                        let expected = 0.25 + naive(&maps[a], &maps[b]);
                        assert!((sums[at] - expected).abs() < F32, "{a} {b}: {}", sums[at]);
                    }
                    at += 1;
                }
            }
        }
        let mut none = [];
        add_divergences::<f32>(&mut none, &[], 0);
    }

    #[test]
    fn a_number_that_is_none_stays_none() {
        assert!(jensen_shannon(&[f32::NAN, 0.5], &[0.5, 0.5]).is_nan());
    }
}
