//! Which cells of a matrix are high, which are low, and how far two such choices agree.
//!
//! `[A > Q_q(A)]` and `[D < Q_(1-q)(D)]` with quantiles that interpolate between neighbours in the sorted list ("type
//! 7") and strict comparisons. A strict comparison never sees the interpolation: with the list sorted,
//! `A > Q_q(A)` is `A > v[⌊q(N-1)⌋]` and `D < Q_(1-q)(D)` is `D < v[⌈(1-q)(N-1)⌉]`. The quantile is a fraction, so that
//! those places are exact.

use serde::{Deserialize, Serialize};

use crate::Error;

/// A quantile as a fraction between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantile {
    numerator: u32,
    denominator: u32,
}

impl Quantile {
    /// The paper's: attention above the third quartile, distances below the first.
    pub const THIRD_QUARTILE: Self = Self::fixed(3, 4);

    /// `numerator / denominator`.
    ///
    /// # Errors
    /// What does not lie between 0 and 1, both left out.
    pub fn new(numerator: u32, denominator: u32) -> Result<Self, Error> {
        if numerator == 0 || numerator >= denominator {
            return Err(Error::Option {
                option: "the quantile",
                value: format!("{numerator}/{denominator}"),
                reason: "it is a fraction above 0 and below 1",
            });
        }
        Ok(Self {
            numerator,
            denominator,
        })
    }

    /// A fraction that is known to be one.
    pub(crate) const fn fixed(numerator: u32, denominator: u32) -> Self {
        Self {
            numerator,
            denominator,
        }
    }

    /// Its value.
    #[must_use]
    pub fn value(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// ⌊q(N-1)⌋: what is above `Q_q` is above the value at this place of the sorted list.
    fn place_above(self, count: usize) -> usize {
        let last = count.saturating_sub(1) as u128;
        (u128::from(self.numerator) * last / u128::from(self.denominator)) as usize
    }

    /// ⌈(1-q)(N-1)⌉: what is below `Q_(1-q)` is below the value at this place.
    fn place_below(self, count: usize) -> usize {
        let last = count.saturating_sub(1) as u128;
        let rest = u128::from(self.denominator - self.numerator);
        (rest * last).div_ceil(u128::from(self.denominator)) as usize
    }

    /// The value above which cells are high. `room` is scratch.
    pub(crate) fn high(self, values: &[f32], room: &mut Vec<f32>) -> f32 {
        room.clear();
        room.extend_from_slice(values);
        if room.is_empty() {
            return f32::INFINITY;
        }
        let place = self.place_above(room.len());
        *room.select_nth_unstable_by(place, f32::total_cmp).1
    }

    /// The distance below which cells are low.
    pub(crate) fn low(self, values: &[u16], room: &mut Vec<u16>) -> u16 {
        room.clear();
        room.extend_from_slice(values);
        if room.is_empty() {
            return 0;
        }
        let place = self.place_below(room.len());
        *room.select_nth_unstable(place).1
    }
}

impl Default for Quantile {
    fn default() -> Self {
        Self::THIRD_QUARTILE
    }
}

/// Which cells of a square matrix take part; rows are queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cells {
    /// All: the paper. Of a causal model, those on and below the diagonal; above there is no attention.
    Whole,
    /// The same without the diagonal.
    OffDiagonal,
}

impl Cells {
    /// Their places in a matrix of `n` rows, row by row.
    pub(crate) fn places(self, n: usize, causal: bool) -> Vec<u32> {
        let own = usize::from(self == Self::Whole);
        let row = |i: usize| {
            let end = if causal { i + own } else { n };
            (0..end).filter(move |j| own == 1 || *j != i)
        };
        (0..n)
            .flat_map(|i| row(i).map(move |j| (i * n + j) as u32))
            .collect()
    }
}

/// A choice of cells, a bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    words: Vec<u64>,
    ones: u64,
}

impl Mask {
    pub(crate) fn of(choice: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut mask = Self {
            words: vec![0; choice.len().div_ceil(64)],
            ones: 0,
        };
        for (at, chosen) in choice.enumerate() {
            mask.words[at / 64] |= u64::from(chosen) << (at % 64);
        }
        mask.ones = mask.words.iter().map(|w| u64::from(w.count_ones())).sum();
        mask
    }

    /// How many cells are chosen.
    pub(crate) fn ones(&self) -> u64 {
        self.ones
    }

    /// How many are chosen by both.
    pub(crate) fn both(&self, other: &Self) -> u64 {
        let words = self.words.iter().zip(&other.words);
        words.map(|(a, b)| u64::from((a & b).count_ones())).sum()
    }

    pub(crate) fn holds(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }
}

/// How far high attention and small distance fall on the same cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overlap {
    /// Cells in all.
    pub(crate) cells: u64,
    /// With high attention.
    pub(crate) attended: u64,
    /// With small distance.
    pub(crate) near: u64,
    /// With both.
    pub(crate) both: u64,
}

impl Overlap {
    pub(crate) fn new(attended: &Mask, near: &Mask, cells: usize) -> Self {
        Self {
            cells: cells as u64,
            attended: attended.ones(),
            near: near.ones(),
            both: attended.both(near),
        }
    }

    /// Cells with either.
    pub(crate) fn either(&self) -> u64 {
        self.attended + self.near - self.both
    }

    /// The Jaccard index; nothing where no cell has either.
    pub(crate) fn jaccard(&self) -> Option<f64> {
        let either = self.either();
        (either > 0).then(|| self.both as f64 / either as f64)
    }

    /// J₀ of masks that know nothing of each other: `p q / (p + q - p q)`, a ratio of expectations.
    pub(crate) fn chance(&self) -> Option<f64> {
        let [p, q] = self.shares()?;
        let either = p + q - p * q;
        (either > 0.0).then(|| p * q / either)
    }

    /// J*: the most that masks of these sizes can reach.
    pub(crate) fn ceiling(&self) -> Option<f64> {
        let (few, many) = (self.attended.min(self.near), self.attended.max(self.near));
        (many > 0).then(|| few as f64 / many as f64)
    }

    /// `(J - J₀) / (J* - J₀)`; nothing where no cell is near, or nothing is left to reach.
    pub(crate) fn adjusted(&self) -> Option<f64> {
        if self.near == 0 {
            return None;
        }
        let (jaccard, chance, ceiling) = (self.jaccard()?, self.chance()?, self.ceiling()?);
        (ceiling > chance).then(|| (jaccard - chance) / (ceiling - chance))
    }

    /// Shares of the cells with high attention, and with small distance.
    pub(crate) fn shares(&self) -> Option<[f64; 2]> {
        (self.cells > 0)
            .then(|| [self.attended, self.near].map(|part| part as f64 / self.cells as f64))
    }

    /// The exact mean of J over all choices of `attended` cells out of all: `both` is hypergeometric.
    pub(crate) fn mean_of_noise(&self) -> Option<f64> {
        let Self {
            cells,
            attended,
            near,
            ..
        } = *self;
        if attended + near == 0 {
            return None;
        }
        // From the least likely start on by ratios of neighbours, so that nothing large is formed.
        let least = (attended + near).saturating_sub(cells);
        let most = attended.min(near);
        let [n, a, d] = [cells, attended, near].map(|count| count as f64);
        let ratio = |k: f64| (a - k) * (d - k) / ((k + 1.0) * (n - a - d + k + 1.0));
        let (mut log, mut logs) = (0.0_f64, vec![0.0_f64]);
        for k in least..most {
            log += ratio(k as f64).ln();
            logs.push(log);
        }
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut mean) = (0.0, 0.0);
        for (k, log) in (least..=most).zip(&logs) {
            let (weight, k) = ((log - top).exp(), k as f64);
            sum += weight;
            mean += weight * k / (a + d - k);
        }
        Some(mean / sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.quantile` of the specification's two lists is 0 and 3.25.
    #[test]
    fn strict_comparisons_do_not_see_the_interpolation() {
        let quarter = Quantile::new(1, 4).unwrap();
        let three = Quantile::THIRD_QUARTILE;
        let mut room = Vec::new();
        // Above 3.25 of 1, 2, 3, 4 is 4 alone; so is what is above 3.
        assert_eq!(three.high(&[4.0, 1.0, 3.0, 2.0], &mut room), 3.0);
        // Above 0 of 0, 0, 1, 2 are 1 and 2.
        assert_eq!(quarter.high(&[2.0, 0.0, 1.0, 0.0], &mut room), 0.0);
        // Below 0 is none.
        assert_eq!(three.low(&[2, 0, 1, 0], &mut Vec::new()), 0);
    }

    /// Interpolated quantiles in f64, as numpy has them, choose the same cells, with and without ties.
    #[test]
    fn both_ways_to_choose_are_the_same() {
        let mut draws = crate::random::Draws::of([5]);
        for round in 0..2000 {
            let count = 1 + draws.below(90);
            let ties = if round % 2 == 0 { 5 } else { 100_000 };
            let values: Vec<u16> = (0..count).map(|_| draws.below(ties) as u16).collect();
            let floats: Vec<f32> = values.iter().map(|value| f32::from(*value)).collect();
            let (numerator, denominator) = [(3, 4), (1, 2), (4, 5), (19, 20)][round % 4];
            let quantile = Quantile::new(numerator, denominator).unwrap();
            let mut sorted: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            sorted.sort_by(f64::total_cmp);
            let interpolated = |up: u64, down: u64| {
                // In whole numbers, so that the fraction is exact.
                let scaled = up * (count as u64 - 1);
                let (place, rest) = ((scaled / down) as usize, (scaled % down) as f64);
                let next = sorted.get(place + 1).copied().unwrap_or(sorted[place]);
                sorted[place] + (next - sorted[place]) * (rest / down as f64)
            };
            let (up, down) = (u64::from(numerator), u64::from(denominator));
            let (above, below) = (interpolated(up, down), interpolated(down - up, down));
            let high = quantile.high(&floats, &mut Vec::new());
            let low = quantile.low(&values, &mut Vec::new());
            for value in &values {
                let own = f64::from(*value);
                assert_eq!(own > above, f32::from(*value) > high, "{values:?}");
                assert_eq!(own < below, *value < low, "{values:?}");
            }
        }
    }

    #[test]
    fn cells_of_a_causal_model_lie_below_the_diagonal() {
        assert_eq!(Cells::Whole.places(2, false), [0, 1, 2, 3]);
        assert_eq!(Cells::OffDiagonal.places(2, false), [1, 2]);
        assert_eq!(Cells::Whole.places(3, true), [0, 3, 4, 6, 7, 8]);
        assert_eq!(Cells::OffDiagonal.places(3, true), [3, 6, 7]);
        assert!(Cells::OffDiagonal.places(1, false).is_empty());
    }

    #[test]
    fn chance_and_ceiling() {
        let overlap = |cells, attended, near, both| Overlap {
            cells,
            attended,
            near,
            both,
        };
        // 8 leaves, 16 attended, 8 near: a ratio of expectations of 0.0909, a mean ratio of 0.0940.
        let eight = overlap(64, 16, 8, 2);
        assert!((eight.chance().unwrap() - 0.0909).abs() < 5e-5);
        assert!((eight.mean_of_noise().unwrap() - 0.0940).abs() < 5e-5);
        assert_eq!(eight.ceiling(), Some(0.5));
        let quarter = overlap(16, 4, 4, 4);
        assert_eq!(quarter.chance(), Some(1.0 / 7.0));
        assert_eq!(quarter.adjusted(), Some(1.0));
        assert_eq!(overlap(16, 4, 0, 0).adjusted(), None);
        assert_eq!(overlap(16, 4, 0, 0).jaccard(), Some(0.0));
        assert_eq!(overlap(16, 0, 0, 0).jaccard(), None);
        // By enumeration: 2 of 4 cells attended, cells 0 and 1 near.
        let all = [(1.0, 1.0), (4.0, 1.0 / 3.0), (1.0, 0.0)];
        let mean: f64 = all.iter().map(|(count, j)| count * j).sum::<f64>() / 6.0;
        let found = overlap(4, 2, 2, 0).mean_of_noise().unwrap();
        assert!((found - mean).abs() < 1e-15, "{found} {mean}");
        // Sizes whose binomials do not fit into a float.
        let large = overlap(40_000, 10_000, 8_000, 0).mean_of_noise().unwrap();
        assert!((large - 0.125).abs() < 1e-4, "{large}");
    }
}
