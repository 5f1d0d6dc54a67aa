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

/// The 95 % interval of Pearson's correlation `r` of so many pairs: `tanh(atanh r ± 1.96/√(n-3))`, Fisher's transform.
/// None for fewer than four pairs and where `r` is not a number.
///
/// Source: `scipy.stats.pearsonr(x, y).confidence_interval()`.
#[must_use]
pub fn correlation_interval(r: f64, pairs: usize) -> Option<(f64, f64)> {
    const NORMAL: f64 = 1.959_963_984_540_054;
    if r.is_nan() || pairs < 4 {
        return None;
    }
    let (middle, error) = (r.atanh(), NORMAL / ((pairs - 3) as f64).sqrt());
    Some(((middle - error).tanh(), (middle + error).tanh()))
}

/// How likely a correlation at least as far from 0 as `r` is, of so many pairs, if there is none: two-sided, by Student's
/// t with two degrees of freedom fewer than pairs. None for fewer than three pairs and where `r` is not a number.
///
/// With `ν` degrees of freedom and `s = |r|`, `x = 1 - r²` the tail is a series of positive terms: for even `ν`
/// `s Σ_{k ≥ ν/2} C(2k, k)/4^k x^k`, for odd `ν` `(2/π) s √x Σ_{k ≥ (ν-1)/2} Π_{i ≤ k} 2i/(2i+1) x^k`; what
/// stands before it, the finite sum of Abramowitz and Stegun 26.7.3 and 26.7.4, is taken from 1 where `s` is small.
///
/// Source: `scipy.stats.pearsonr(x, y).pvalue`.
#[must_use]
pub fn correlation_p_value(r: f64, pairs: usize) -> Option<f64> {
    /// Below this the tail has more terms than it is worth, and 1 less the rest loses no digit that matters.
    const SMALL: f64 = 0.3;
    if r.is_nan() || pairs < 3 {
        return None;
    }
    let freedom = pairs - 2;
    let s = r.abs().min(1.0);
    let x = (1.0 - s) * (1.0 + s);
    let odd = freedom % 2 == 1;
    let scale = match odd {
        true => std::f64::consts::FRAC_2_PI * s * x.sqrt(),
        false => s,
    };
    // The next term from the last one.
    let ratio = |k: usize| {
        let k = k as f64;
        match odd {
            true => 2.0 * k / (2.0 * k + 1.0) * x,
            false => (2.0 * k - 1.0) / (2.0 * k) * x,
        }
    };
    let first = freedom / 2;
    let (mut term, mut before) = (1.0, 0.0);
    for k in 1..=first {
        before += term;
        term *= ratio(k);
    }
    if s < SMALL {
        let angle = match odd {
            true => std::f64::consts::FRAC_2_PI * s.asin(),
            false => 0.0,
        };
        return Some((1.0 - angle - scale * before).clamp(0.0, 1.0));
    }
    let (mut k, mut tail) = (first, 0.0);
    while term > 0.0 && term > f64::EPSILON * 1e-2 * tail {
        tail += term;
        k += 1;
        term *= ratio(k);
    }
    Some((scale * tail).min(1.0))
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

    /// Values of `scipy.stats.pearsonr` (1.16): r, pairs, p-value, interval.
    #[test]
    fn probabilities_and_intervals_are_those_of_scipy() {
        let cases = [
            (-0.9209594503610823, 3, 0.25481386098718506, None),
            (
                0.8093979764541984,
                4,
                0.19060202354580147,
                Some((-0.6829825797853366, 0.9958282959032284)),
            ),
            (
                0.8275532632870748,
                7,
                0.021564715965708657,
                Some((0.19770250260027913, 0.9737651329988318)),
            ),
            (
                0.03525424683526218,
                16,
                0.8968693033099198,
                Some((-0.4686409195677543, 0.5218400471253534)),
            ),
            (
                0.628708315525388,
                17,
                0.006864782824522938,
                Some((0.2121817760954687, 0.8519164126888508)),
            ),
            (
                0.46373458404145573,
                72,
                4.085484297159866e-05,
                Some((0.259998358581136, 0.627941659237212)),
            ),
            (
                0.7114588635613868,
                144,
                1.6358935415851447e-23,
                Some((0.6200418888305763, 0.7838161878694412)),
            ),
        ];
        for (r, pairs, p, interval) in cases {
            let found = correlation_p_value(r, pairs).unwrap();
            assert!((found / p - 1.0).abs() < 1e-9, "{r} of {pairs}: {found}");
            assert_eq!(correlation_interval(r, pairs).is_some(), interval.is_some());
            if let (Some(found), Some(interval)) = (correlation_interval(r, pairs), interval) {
                near(found.0, interval.0);
                near(found.1, interval.1);
            }
        }
        // On both sides of where the series changes, with even and odd degrees of freedom, and the same for -r.
        for (r, pairs, p) in [
            (0.29, 9, 0.449069786242374),
            (0.31, 9, 0.41688611317130003),
            (0.1, 10, 0.7834244062499998),
            (0.56, 96, 2.9906267055428312e-9),
        ] {
            let found = correlation_p_value(-r, pairs).unwrap();
            assert!((found / p - 1.0).abs() < 1e-9, "{r} of {pairs}: {found}");
        }
        assert_eq!(correlation_p_value(1.0, 12), Some(0.0));
        assert_eq!(correlation_p_value(0.0, 12), Some(1.0));
        assert_eq!(correlation_interval(1.0, 12), Some((1.0, 1.0)));
        assert_eq!(correlation_p_value(f64::NAN, 12), None);
        assert_eq!(correlation_p_value(0.5, 2), None);
        assert_eq!(correlation_interval(0.5, 3), None);
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
