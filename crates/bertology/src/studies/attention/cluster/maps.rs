//! One sequence's attention, kept until all heads have been seen: only the rows and targets compared.

use bertology_model::Matrix;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::random::Draws;

/// What is done to a row of attention before it is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Smoothing {
    /// `α' = 0.999 α + 0.001 / n`, as the paper's released code, which cannot take the logarithm of 0; for a
    /// causal model over the `i + 1` targets that row `i` can see.
    #[default]
    Paper,
    /// Nothing: `0 ln 0` is 0.
    None,
}

impl Smoothing {
    /// The share of a row that is spread over the targets that can be seen.
    pub(super) fn share(self) -> f64 {
        match self {
            Self::Paper => 0.001,
            Self::None => 0.0,
        }
    }

    /// Smooths a row of the targets that can be seen.
    pub fn apply(self, row: &mut [f32]) {
        if self == Self::Paper {
            let share = (self.share() / row.len() as f64) as f32;
            row.iter_mut().for_each(|p| *p = 0.999 * *p + share);
        }
    }
}

/// Which source tokens are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "value")]
pub enum RowChoice {
    /// Every one.
    #[default]
    All,
    /// This share of each sequence, drawn at random; at least one.
    Fraction(f64),
    /// So many of each sequence, drawn at random, or all that it has.
    Count(usize),
}

impl RowChoice {
    /// Refuses what draws nothing or means nothing.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn check(self) -> Result<(), Error> {
        let refuse = |option, value, reason| {
            Err(Error::Option {
                option,
                value,
                reason,
            })
        };
        match self {
            Self::Fraction(share) if !(share > 0.0 && share <= 1.0) => refuse(
                "the share of rows",
                share.to_string(),
                "it must be above 0 and at most 1",
            ),
            Self::Count(0) => refuse("the number of rows", "0".to_owned(), "draw at least one"),
            _ => Ok(()),
        }
    }

    /// How many rows of so many tokens.
    #[must_use]
    pub fn count(self, tokens: usize) -> usize {
        let count = match self {
            Self::All => tokens,
            Self::Fraction(share) => ((share * tokens as f64).round() as usize).max(1),
            Self::Count(count) => count,
        };
        count.min(tokens)
    }

    /// The rows of a sequence of these tokens, ascending: every set of as many is equally likely, over
    /// the seeds. The same tokens give the same rows, wherever in the file they stand.
    #[must_use]
    pub fn choose(self, ids: &[u32], seed: u64) -> Vec<usize> {
        let tokens = ids.len();
        let count = self.count(tokens);
        let mut rows: Vec<usize> = (0..tokens).collect();
        if count == tokens {
            return rows;
        }
        let mut draws = Draws::of(std::iter::once(seed).chain(ids.iter().map(|id| u64::from(*id))));
        for at in 0..count {
            rows.swap(at, at + draws.below(tokens - at));
        }
        rows.truncate(count);
        rows.sort_unstable();
        rows
    }
}

/// Attention of all heads in some rows of one sequence, each row cut to the targets that it can see.
#[derive(Debug, Clone)]
pub struct PackedMaps {
    heads: usize,
    tokens: usize,
    rows: Vec<usize>,
    causal: bool,
    smoothing: Smoothing,
    /// `[heads, cells]`.
    values: Vec<f32>,
}

impl PackedMaps {
    /// For `heads` heads and these rows of a sequence of `tokens` tokens.
    ///
    /// # Panics
    /// If a row is not in the sequence.
    #[track_caller]
    #[must_use]
    pub fn new(
        heads: usize,
        tokens: usize,
        rows: Vec<usize>,
        causal: bool,
        smoothing: Smoothing,
    ) -> Self {
        assert!(
            rows.iter().all(|row| *row < tokens),
            "{rows:?} of {tokens} rows"
        );
        let mut maps = Self {
            heads,
            tokens,
            rows,
            causal,
            smoothing,
            values: Vec::new(),
        };
        maps.values = vec![0.0; heads * maps.cells()];
        maps
    }

    /// Numbers kept of each head.
    fn cells(&self) -> usize {
        self.rows.iter().map(|row| self.seen(*row)).sum()
    }

    /// Targets that a row can see.
    fn seen(&self, row: usize) -> usize {
        if self.causal { row + 1 } else { self.tokens }
    }

    /// Keeps the attention of one head, `[query, key]`.
    ///
    /// # Panics
    /// If there is no such head, or the map is not one of this sequence.
    #[track_caller]
    pub fn put(&mut self, head: usize, map: Matrix<'_, f32>) {
        assert_eq!((map.rows(), map.cols()), (self.tokens, self.tokens));
        let mut at = head * self.cells();
        for &row in &self.rows {
            let seen = self.seen(row);
            let kept = &mut self.values[at..at + seen];
            kept.copy_from_slice(&map.row(row)[..seen]);
            self.smoothing.apply(kept);
            at += seen;
        }
    }

    /// How many heads there are.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Tokens of the sequence.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Source tokens kept.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// `[heads, cells]`.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_evenly_and_the_same_again() {
        let choice = RowChoice::Count(3);
        let ids: Vec<u32> = (0..10).collect();
        assert_eq!(choice.choose(&ids[..2], 0), [0, 1]);
        assert_eq!(RowChoice::All.choose(&ids[..3], 0), [0, 1, 2]);
        assert_eq!(RowChoice::Fraction(0.01).choose(&ids, 0).len(), 1);
        assert_eq!(RowChoice::Fraction(0.5).choose(&ids[..9], 0).len(), 5);
        let mut counts = [0_u32; 10];
        for first in 0..10_000 {
            let ids = [&[first], &ids[1..]].concat();
            let rows = choice.choose(&ids, 5);
            assert_eq!(rows, choice.choose(&ids, 5));
            assert!(rows.len() == 3 && rows.is_sorted());
            rows.iter().for_each(|row| counts[*row] += 1);
        }
        // Binomial, 10,000 draws at 0.3: within five standard deviations.
        assert!(
            counts.iter().all(|count| count.abs_diff(3000) < 230),
            "{counts:?}"
        );
        assert_ne!(choice.choose(&ids, 5), choice.choose(&ids, 6));
    }

    #[test]
    fn choices_that_mean_nothing_are_refused() {
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(RowChoice::Fraction(share).check().is_err(), "{share}");
        }
        assert!(RowChoice::Count(0).check().is_err());
        assert!(RowChoice::Fraction(1.0).check().is_ok());
    }

    #[test]
    fn only_what_is_compared_is_kept() {
        let map: Vec<f32> = (0..9).map(|v| v as f32).collect();
        let map = Matrix::new(&map, 3, 3);
        let mut all = PackedMaps::new(2, 3, vec![0, 2], false, Smoothing::None);
        all.put(1, map);
        assert_eq!(all.values()[..6], [0.0; 6]);
        assert_eq!(all.values()[6..], [0.0, 1.0, 2.0, 6.0, 7.0, 8.0]);
        let mut causal = PackedMaps::new(1, 3, vec![0, 1, 2], true, Smoothing::None);
        causal.put(0, map);
        assert_eq!(causal.values(), [0.0, 3.0, 4.0, 6.0, 7.0, 8.0]);
    }

    #[test]
    fn smoothing_is_confined_to_what_a_row_sees() {
        let map = Matrix::new(&[1.0, 0.0, 0.0, 1.0], 2, 2);
        let mut causal = PackedMaps::new(1, 2, vec![0, 1], true, Smoothing::Paper);
        causal.put(0, map);
        let expected = [1.0, 0.0005, 0.9995];
        for (found, expected) in causal.values().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{:?}", causal.values());
        }
    }
}
