//! Pearson's and Spearman's correlation.

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
