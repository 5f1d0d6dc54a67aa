//! Pearson's, Spearman's and Kendall's correlation.

/// Pearson's correlation of pairs `(x, y)`, from -1 to 1.
///
/// NaN for fewer than two pairs, when a side is constant, and when a value is not finite. Two-pass
/// in f64, over the pairs in sorted order, so that the result does not depend on theirs.
///
/// Source: `scipy.stats.pearsonr`.
#[must_use]
pub fn pearson(pairs: &[(f64, f64)]) -> f64 {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let Some(&(first_x, first_y)) = sorted.first() else {
        return f64::NAN;
    };
    // A constant side must be told by comparison: its mean may be off by a rounding error.
    let constant =
        sorted.iter().all(|pair| pair.0 == first_x) || sorted.iter().all(|pair| pair.1 == first_y);
    let finite = sorted
        .iter()
        .all(|pair| pair.0.is_finite() && pair.1.is_finite());
    if constant || !finite {
        return f64::NAN;
    }
    let n = sorted.len() as f64;
    // Divided before summing: a sum of values near the largest number would overflow.
    let mean_x: f64 = sorted.iter().map(|pair| pair.0 / n).sum();
    let mean_y: f64 = sorted.iter().map(|pair| pair.1 / n).sum();
    let scale = |value: f64, deviation: f64| value.max(deviation.abs());
    let scale_x = sorted.iter().map(|pair| pair.0 - mean_x).fold(0.0, scale);
    let scale_y = sorted.iter().map(|pair| pair.1 - mean_y).fold(0.0, scale);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for &(x, y) in &sorted {
        let (x, y) = ((x - mean_x) / scale_x, (y - mean_y) / scale_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)
}

/// Spearman's rank correlation of pairs `(x, y)`: Pearson's of the ranks, equal values sharing the
/// average of theirs.
///
/// NaN where [`pearson`] is. Source: `scipy.stats.spearmanr`.
#[must_use]
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    if pairs
        .iter()
        .any(|pair| !pair.0.is_finite() || !pair.1.is_finite())
    {
        return f64::NAN;
    }
    let x: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
    let y: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let ranks: Vec<(f64, f64)> = average_ranks(&x)
        .into_iter()
        .zip(average_ranks(&y))
        .collect();
    pearson(&ranks)
}

/// Kendall's rank correlation τ-b of pairs `(x, y)`: `(C - D) / √((P - X)(P - Y))` with `C` concordant and `D`
/// discordant among all `P` pairs of pairs, `X` tied in x and `Y` tied in y.
///
/// NaN for fewer than two pairs, when a side is constant, and when a value is not finite. Counts are exact;
/// the time is that of sorting (Knight 1966).
///
/// Source: `scipy.stats.kendalltau`.
#[must_use]
pub fn kendall(pairs: &[(f64, f64)]) -> f64 {
    let finite = |pair: &(f64, f64)| pair.0.is_finite() && pair.1.is_finite();
    if !pairs.iter().all(finite) {
        return f64::NAN;
    }
    // Plain comparison, so that -0.0 and 0.0 tie; the values are finite.
    let order = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| order(a.0, b.0).then(order(a.1, b.1)));
    let tied_x = tied(sorted.chunk_by(|a, b| a.0 == b.0));
    let tied_both = tied(sorted.chunk_by(|a, b| a == b));
    let mut y: Vec<f64> = sorted.iter().map(|pair| pair.1).collect();
    let discordant = inversions(&mut y);
    let tied_y = tied(y.chunk_by(|a, b| a == b));
    let n = pairs.len() as u64;
    let all = n * n.saturating_sub(1) / 2;
    if all == tied_x || all == tied_y {
        return f64::NAN;
    }
    // Tied in both are taken off twice, and added first: ties may be most of the pairs.
    let untied = (all + tied_both - tied_x - tied_y) as f64;
    let spread = ((all - tied_x) as f64).sqrt() * ((all - tied_y) as f64).sqrt();
    ((untied - 2.0 * discordant as f64) / spread).clamp(-1.0, 1.0)
}

/// Pairs inside runs of equal values.
fn tied<'a, T: 'a>(runs: impl Iterator<Item = &'a [T]>) -> u64 {
    runs.map(|run| {
        let n = run.len() as u64;
        n * (n - 1) / 2
    })
    .sum()
}

/// Pairs that stand in the wrong order; sorts the values.
fn inversions(values: &mut [f64]) -> u64 {
    let middle = values.len() / 2;
    if middle == 0 {
        return 0;
    }
    let (left, right) = values.split_at_mut(middle);
    let mut count = inversions(left) + inversions(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(a), Some(b)) = (lefts.peek(), rights.peek()) {
        if a <= b {
            merged.extend(lefts.next());
        } else {
            count += lefts.len() as u64;
            merged.extend(rights.next());
        }
    }
    merged.extend(lefts);
    merged.extend(rights);
    values.copy_from_slice(&merged);
    count
}

/// Ranks from 1; equal values get the average of the ranks they take up together.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values
        .iter()
        .enumerate()
        .map(|(at, &value)| (value, at))
        .collect();
    // Plain comparison, so that -0.0 and 0.0 tie; the values are finite.
    order.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for run in order.chunk_by(|a, b| a.0 == b.0) {
        let rank = before as f64 + (run.len() as f64 + 1.0) / 2.0;
        for &(_, at) in run {
            if let Some(slot) = ranks.get_mut(at) {
                *slot = rank;
            }
        }
        before += run.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn kendall_is_that_of_its_definition() {
        let ranks = |y: &[f64]| -> Vec<(f64, f64)> {
            y.iter()
                .enumerate()
                .map(|(at, y)| (at as f64, *y))
                .collect()
        };
        near(kendall(&ranks(&[1.0, 2.0, 3.0, 4.0])), 1.0);
        near(kendall(&ranks(&[4.0, 3.0, 2.0, 1.0])), -1.0);
        // One exchange of neighbours among n: 1 - 4 / (n (n - 1)).
        near(
            kendall(&ranks(&[1.0, 3.0, 2.0, 4.0, 5.0])),
            1.0 - 4.0 / 20.0,
        );
        // Ties in x (36 pairs) and in y (28, all of them in x too) are more than the 45 pairs there are; the last
        // goes with each of the nine others.
        let mut tied = vec![(1.0, 5.0); 8];
        tied.extend([(1.0, 6.0), (2.0, 7.0)]);
        near(kendall(&tied), 9.0 / (9.0_f64 * 17.0).sqrt());
        assert!(kendall(&[(1.0, 1.0)]).is_nan());
        assert!(kendall(&[(1.0, 1.0), (1.0, 2.0)]).is_nan());
        assert!(kendall(&[(1.0, f64::NAN), (1.0, 2.0)]).is_nan());
        // Pairs by pairs, with many ties.
        let pairs: Vec<(f64, f64)> = (0..60_u32)
            .map(|i| (f64::from(i * 7 % 13), f64::from(i * i % 17)))
            .collect();
        let (mut score, mut x, mut y) = (0.0, 0.0_f64, 0.0_f64);
        for (at, a) in pairs.iter().enumerate() {
            for b in &pairs[at + 1..] {
                let sign = |d: f64| if d == 0.0 { 0.0 } else { d.signum() };
                let (dx, dy) = (sign(a.0 - b.0), sign(a.1 - b.1));
                score += dx * dy;
                x += dx * dx;
                y += dy * dy;
            }
        }
        near(kendall(&pairs), score / (x * y).sqrt());
    }

    #[test]
    fn rank_correlations_are_those_of_scipy() {
        for (x, y, rho, tau) in GOLDEN {
            let pairs: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
            near(spearman(&pairs), *rho);
            near(kendall(&pairs), *tau);
        }
    }

    type Case = (&'static [f64], &'static [f64], f64, f64);

    /// `scipy.stats.spearmanr` and `kendalltau` of scipy 1.17.1.
    const GOLDEN: &[Case] = &[
        (
            &[12.0, 2.0, 1.0, 12.0, 2.0],
            &[1.0, 4.0, 7.0, 1.0, 0.0],
            -0.5407380704358752,
            -0.4714045207910316,
        ),
        (
            &[0.1, 0.4, 0.4, 0.4, 0.9, 0.2, 0.0],
            &[3.0, 3.0, 1.0, 2.0, 8.0, 5.0, 5.0],
            -0.056613851707229795,
            -0.10814761408717502,
        ),
        (
            &[-1.5, 0.0, 2.5, 2.5, 7.0, -3.0, 1e-09, 4.0],
            &[0.5, 0.5, 0.25, 0.75, 1.0, -2.0, 0.5, 0.0],
            0.4172485896227436,
            0.3079201435678004,
        ),
    ];
}
