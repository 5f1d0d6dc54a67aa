//! Softmax over rows, its backward pass, and the entropy of a row.

use std::ops::Range;

use crate::elementwise::{sum_by, sum_of};
use crate::{Real, vectorized};

/// Replaces each row of `scores` by its softmax.
///
/// # Shapes
/// `scores [rows, width]`, contiguous.
///
/// # Numerics
/// The row's maximum is subtracted first; the sum uses interleaved partial sums.
///
/// # Panics
/// If the length is no multiple of `width`.
#[track_caller]
pub fn softmax_rows<T: Real>(scores: &mut [T], width: usize) {
    if width == 0 {
        return;
    }
    assert_eq!(scores.len() % width, 0);
    vectorized!({
        for row in scores.chunks_exact_mut(width) {
            softmax(row);
        }
    });
}

/// [`softmax_rows`] of rows of which row `i` has entries in the columns `seen(i)` only; the others become exactly 0,
/// whatever they were.
///
/// # Shapes
/// `scores [rows, width]`, contiguous.
///
/// # Panics
/// If the length is no multiple of `width`, or a row sees further than that.
#[track_caller]
pub fn softmax_seen<T: Real>(scores: &mut [T], width: usize, seen: impl Fn(usize) -> Range<usize>) {
    if width == 0 {
        return;
    }
    assert_eq!(scores.len() % width, 0);
    vectorized!({
        for (i, row) in scores.chunks_exact_mut(width).enumerate() {
            let [before, inside, behind] = parted(row, &seen(i));
            softmax(inside);
            before.fill(T::ZERO);
            behind.fill(T::ZERO);
        }
    });
}

/// Which of `width` entries of row `i` are at most `reach` from its diagonal.
#[must_use]
#[inline(always)]
pub fn band(i: usize, reach: usize, width: usize) -> Range<usize> {
    i.saturating_sub(reach)..i.saturating_add(reach).saturating_add(1).min(width)
}

/// What is before, in and behind a part of a row.
#[inline(always)]
fn parted<'a, T>(row: &'a mut [T], part: &Range<usize>) -> [&'a mut [T]; 3] {
    let (until, behind) = row.split_at_mut(part.end);
    let (before, inside) = until.split_at_mut(part.start);
    [before, inside, behind]
}

#[inline(always)]
fn softmax<T: Real>(row: &mut [T]) {
    let width = row.len();
    let mut maxima = [T::LOWEST; 16];
    let blocks = width / 16;
    for block in 0..blocks {
        for lane in 0..16 {
            maxima[lane] = maxima[lane].max(row[block * 16 + lane]);
        }
    }
    let mut max = T::LOWEST;
    for value in maxima.iter().chain(&row[blocks * 16..]) {
        max = max.max(*value);
    }
    for value in row.iter_mut() {
        *value = (*value - max).exp();
    }
    let inverse = T::ONE / sum_by(width, |i| row[i]);
    for value in row.iter_mut() {
        *value *= inverse;
    }
}

/// Gradient of [`softmax_rows`]: `dz = p ⊙ (dp - Σ_k p_k dp_k)`.
///
/// # Shapes
/// `gradient [rows, width]` arrives as `dp` and leaves as `dz`; `probs [rows, width]`.
///
/// # Panics
/// If the lengths differ or are no multiple of `width`.
#[track_caller]
pub fn softmax_rows_backward<T: Real>(gradient: &mut [T], probs: &[T], width: usize) {
    if width == 0 {
        return;
    }
    assert_eq!(gradient.len(), probs.len());
    assert_eq!(gradient.len() % width, 0);
    let mut rows = gradient
        .chunks_exact_mut(width)
        .zip(probs.chunks_exact(width));
    vectorized!({
        for (d, p) in rows.by_ref() {
            softmax_backward(d, p);
        }
    });
}

/// Gradient of [`softmax_seen`]: entries that a row does not see become 0, whatever they were.
///
/// # Shapes
/// `gradient [rows, width]`, `probs [rows, width]`, contiguous.
///
/// # Panics
/// If the lengths differ or are no multiple of `width`, or a row sees further than that.
#[track_caller]
pub fn softmax_seen_backward<T: Real>(
    gradient: &mut [T],
    probs: &[T],
    width: usize,
    seen: impl Fn(usize) -> Range<usize>,
) {
    if width == 0 {
        return;
    }
    assert_eq!(gradient.len(), probs.len());
    assert_eq!(gradient.len() % width, 0);
    let mut rows = gradient
        .chunks_exact_mut(width)
        .zip(probs.chunks_exact(width))
        .enumerate();
    vectorized!({
        for (i, (d, p)) in rows.by_ref() {
            let seen = seen(i);
            let [before, inside, behind] = parted(d, &seen);
            softmax_backward(inside, &p[seen]);
            before.fill(T::ZERO);
            behind.fill(T::ZERO);
        }
    });
}

#[inline(always)]
fn softmax_backward<T: Real>(d: &mut [T], p: &[T]) {
    let width = d.len().min(p.len());
    let projection = sum_by(width, |i| d[i] * p[i]);
    for i in 0..width {
        d[i] = p[i] * (d[i] - projection);
    }
}

/// `-Σ_j p_j ln p_j` of one row, in nats, with `0 ln 0 = 0`.
///
/// # Numerics
/// Terms in the row's own type; a probability below the smallest normal number counts as 0.
#[must_use]
pub fn entropy<T: Real>(row: &[T]) -> T {
    let tiny = T::from_f64(f64::from(f32::MIN_POSITIVE));
    vectorized!({
        -sum_of(row, |p| {
            // The logarithm is taken of a normal number whatever `p` is: no branch in the loop.
            let term = p * p.max(tiny).ln();
            if p < tiny { T::ZERO } else { term }
        })
    })
}

/// `ln Σ_j e^{z_j}` of one row.
///
/// # Numerics
/// Subtracts the maximum first; exponentials in the row's own type, summed in f64 over blocks of
/// 256: a vocabulary of 50,000 costs no more precision than a handful of labels.
#[must_use]
pub fn log_sum_exp<T: Real>(row: &[T]) -> f64 {
    let max = row
        .iter()
        .fold(f64::NEG_INFINITY, |max, z| max.max(z.to_f64()));
    if !max.is_finite() {
        // `max` skips NaN, a loss must not.
        return if row.iter().any(|z| z.to_f64().is_nan()) {
            f64::NAN
        } else {
            max
        };
    }
    let top = T::from_f64(max);
    let blocks = row
        .chunks(256)
        .map(|block| vectorized!(sum_by(block.len(), |i| (block[i] - top).exp())).to_f64());
    max + blocks.sum::<f64>().ln()
}

/// `gradient_j = weight · e^{z_j - normalizer}`: with [`log_sum_exp`] as the normaliser, the softmax
/// of a row times a weight.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn weighted_softmax<T: Real>(gradient: &mut [T], row: &[T], normalizer: f64, weight: f64) {
    assert_eq!(gradient.len(), row.len());
    let (normalizer, weight) = (T::from_f64(normalizer), T::from_f64(weight));
    vectorized!({
        for (g, z) in gradient.iter_mut().zip(row) {
            *g = weight * (*z - normalizer).exp();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_and_one_hot_rows() {
        for n in [1_usize, 2, 7, 16, 17, 100] {
            let mut row = vec![3.5_f32; n];
            softmax_rows(&mut row, n);
            assert!(
                row.iter()
                    .all(|p| (f64::from(*p) - 1.0 / n as f64).abs() < 1e-7)
            );
            assert!((f64::from(entropy(&row)) - (n as f64).ln()).abs() < 2e-6);
            let mut row = vec![0.0_f32; n];
            row[n / 2] = 1000.0;
            softmax_rows(&mut row, n);
            assert_eq!(row[n / 2], 1.0);
            assert_eq!(row.iter().sum::<f32>(), 1.0);
            assert_eq!(entropy(&row), 0.0);
        }
    }

    #[test]
    fn entropy_of_known_distribution() {
        // -(½ ln ½ + ¼ ln ¼ + ¼ ln ¼) = 1.5 ln 2
        let expected = 1.5 * std::f64::consts::LN_2;
        assert!((entropy(&[0.5_f64, 0.25, 0.0, 0.25]) - expected).abs() < 1e-15);
        assert!((f64::from(entropy(&[0.5_f32, 0.25, 0.0, 0.25])) - expected).abs() < 1e-6);
    }

    #[test]
    fn gradient_is_a_central_difference() {
        let z: Vec<f64> = (0..21)
            .map(|i| f64::from((i * 5) % 9) * 0.4 - 1.5)
            .collect();
        let c: Vec<f64> = (0..21).map(|i| f64::from((i * 11) % 13) - 6.0).collect();
        let loss = |z: &[f64]| -> f64 {
            let mut p = z.to_vec();
            softmax_rows(&mut p, 7);
            p.iter().zip(&c).map(|(a, b)| a * b).sum()
        };
        let mut p = z.clone();
        softmax_rows(&mut p, 7);
        let mut d = c.clone();
        softmax_rows_backward(&mut d, &p, 7);
        for i in 0..21 {
            let (mut up, mut down) = (z.clone(), z.clone());
            up[i] += 1e-5;
            down[i] -= 1e-5;
            let expected = (loss(&up) - loss(&down)) / 2e-5;
            assert!((d[i] - expected).abs() < 1e-8);
        }
    }

    #[test]
    fn causal_rows_see_what_stands_before() {
        let n = 19;
        let scores: Vec<f64> = (0..n * n).map(|i| f64::from((i * 7 % 11) as u32)).collect();
        let mut all = scores.clone();
        softmax_seen(&mut all, n, |i| 0..i + 1);
        for i in 0..n {
            let mut seen = scores[i * n..][..i + 1].to_vec();
            softmax_rows(&mut seen, i + 1);
            assert_eq!(all[i * n..][..i + 1], seen);
            assert!(all[i * n..(i + 1) * n][i + 1..].iter().all(|p| *p == 0.0));
        }
        assert_eq!(all[0], 1.0);
        let mut d: Vec<f64> = (0..n * n).map(|i| f64::from((i * 5 % 13) as u32)).collect();
        let mut expected = d.clone();
        softmax_rows_backward(&mut expected, &all, n);
        d[1] = f64::NAN;
        softmax_seen_backward(&mut d, &all, n, |i| 0..i + 1);
        assert!(d.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
        // What stands behind may be anything.
        let mut wild = [2.0_f32, f32::NAN, 1.0, 1.0];
        softmax_seen(&mut wild, 2, |i| 0..i + 1);
        assert_eq!(wild, [1.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn softmax_of_a_large_vocabulary() {
        // 50,257 equal logits: ln n, and 1/n each.
        let row = vec![-3.0_f32; 50_257];
        let normalizer = log_sum_exp(&row);
        assert!((normalizer + 3.0 - 50_257.0_f64.ln()).abs() < 1e-6);
        let mut gradient = vec![0.0; row.len()];
        weighted_softmax(&mut gradient, &row, normalizer, 0.5);
        let sum: f64 = gradient.iter().map(|g| f64::from(*g)).sum();
        assert!((sum - 0.5).abs() < 1e-6);
    }

    #[test]
    fn log_sum_exp_is_stable() {
        assert!((log_sum_exp(&[1000.0_f32, 1000.0]) - (1000.0 + 2.0_f64.ln())).abs() < 1e-9);
        assert!(log_sum_exp(&[f32::NAN]).is_nan());
        assert!(log_sum_exp(&[1.0, f32::NAN]).is_nan());
    }

    /// What is outside the band is as if it were −∞.
    #[test]
    fn a_band_is_a_row_with_the_rest_hidden() {
        let width = 37;
        let value = |at: usize| ((at * 29 + 7) % 23) as f64 / 5.0 - 2.0;
        for reach in [0, 1, 5, 36, 100, usize::MAX] {
            let far = |at: &usize| (at / width).abs_diff(at % width) > reach;
            let mut band: Vec<f64> = (0..width * width).map(value).collect();
            let mut hidden = band.clone();
            for at in (0..width * width).filter(far) {
                hidden[at] = f64::NEG_INFINITY;
                band[at] = f64::NAN;
            }
            let near = |i| super::band(i, reach, width);
            softmax_seen(&mut band, width, near);
            softmax_rows(&mut hidden, width);
            for (a, b) in band.iter().zip(&hidden) {
                assert!((a - b).abs() < 1e-15, "{reach}: {a} {b}");
            }
            let mut down: Vec<f64> = (0..width * width).map(|at| value(at * 3)).collect();
            let mut whole = down.clone();
            for at in (0..width * width).filter(far) {
                down[at] = f64::NAN;
                whole[at] = 0.0;
            }
            softmax_seen_backward(&mut down, &band, width, near);
            softmax_rows_backward(&mut whole, &hidden, width);
            for (a, b) in down.iter().zip(&whole) {
                assert!((a - b).abs() < 1e-14, "{reach}: {a} {b}");
            }
        }
    }
}
