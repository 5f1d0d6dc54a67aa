//! So many of so many, and what that tells about a share.

use serde::{Deserialize, Serialize};

use crate::input::account::MOST;

/// The 97.5 % point of the normal distribution.
pub(crate) const NORMAL_975: f64 = 1.959_963_984_540_054;

/// `part` of `whole`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proportion {
    /// At most `whole`.
    pub part: u64,
    /// All.
    pub whole: u64,
}

impl Proportion {
    /// `part / whole`; none of nothing.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }

    /// Wilson's 95 % score interval of the share, as if the instances were independent draws; none of nothing.
    ///
    /// Source: Wilson 1927, *Probable Inference, the Law of Succession, and Statistical Inference*.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        let share = self.share()?;
        let n = self.whole as f64;
        let z2 = NORMAL_975 * NORMAL_975;
        let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let spread = (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let half = NORMAL_975 / (1.0 + z2 / n) * spread;
        // Rounding must not put the ends on the wrong side of what they enclose.
        Some((
            (middle - half).clamp(0.0, share),
            (middle + half).clamp(share, 1.0),
        ))
    }
}

/// Whether a sum can be what it says: finite, not negative and at most `most`, but for the rounding of the values
/// that were summed.
pub(crate) fn possible(sum: f64, most: f64) -> bool {
    /// A row of attention in f32 sums to 1 within about 1e-6, and its entropy can be as much below 0.
    const ROUNDING: f64 = 1e-4;
    let slack = if most.is_finite() {
        ROUNDING * most
    } else {
        0.0
    };
    sum.is_finite() && sum >= -slack && sum <= most + slack
}

/// Whether every count of each row is at most that of its column: `counts` is `[rows, columns]`.
pub(crate) fn within(counts: &[u64], columns: &[u64]) -> bool {
    let rows = counts.chunks_exact(columns.len().max(1));
    columns.iter().all(|most| *most <= MOST)
        && rows
            .flat_map(|row| row.iter().zip(columns))
            .all(|(count, most)| count <= most)
}

/// Adds counts cell by cell.
pub(crate) fn add_all(counts: &mut [u64], more: &[u64]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.proportion.proportion_confint(…, method="wilson")`.
    #[test]
    fn intervals_are_wilsons() {
        let interval = |part, whole| Proportion { part, whole }.interval().unwrap();
        for (part, whole, low, high) in [
            (8, 10, 0.490_162_47, 0.943_317_85),
            (0, 20, 0.0, 0.161_125_16),
            (20, 20, 0.838_874_98, 1.0),
        ] {
            let (a, b) = interval(part, whole);
            assert!((a - low).abs() < 1e-6 && (b - high).abs() < 1e-6, "{a} {b}");
        }
        assert_eq!(Proportion::default().share(), None);
        assert_eq!(Proportion::default().interval(), None);
    }
}
