//! The strongest partner of every row and column of a square of weights.

use crate::vectorized;

/// No weight was above 0.
pub const NONE: usize = usize::MAX;

/// Columns that are searched together.
const LANES: usize = 8;

/// Three choices for each of `n` things from weights `[n, n]` between them; buffers that are used again.
///
/// Only weights above 0 are chosen, the first of equal ones.
#[derive(Debug, Default, Clone)]
pub struct Strongest {
    n: usize,
    /// `[n, n]`, each row up to a multiple of [`LANES`]: of what lies behind it nothing is named.
    weights: Vec<f64>,
    /// The same with rows and columns exchanged.
    turned: Vec<f64>,
    by_row: Vec<usize>,
    by_column: Vec<usize>,
    by_both: Vec<usize>,
}

impl Strongest {
    /// Finds them anew; `row` writes the weights `[n]` of a row over whatever is there.
    pub fn find(&mut self, n: usize, mut row: impl FnMut(usize, &mut [f64])) {
        let width = n.next_multiple_of(LANES);
        self.n = n;
        self.turned.resize(n * width, 0.0);
        self.weights.resize(n * width, 0.0);
        for named in [&mut self.by_row, &mut self.by_column, &mut self.by_both] {
            named.resize(width, NONE);
        }
        if n == 0 {
            return;
        }
        for (i, weights) in self.weights.chunks_exact_mut(width).enumerate() {
            row(i, &mut weights[..n]);
            for (j, weight) in weights[..n].iter().enumerate() {
                self.turned[j * width + i] = *weight;
            }
        }
        vectorized!(self.search(width));
    }

    #[inline(always)]
    fn search(&mut self, width: usize) {
        for first in (0..width).step_by(LANES) {
            let mut by_row = Choice::new();
            let mut by_column = Choice::new();
            let mut by_both = Choice::new();
            for at in 0..self.n {
                let place = at * width + first;
                let (Some(row), Some(column)) = (
                    self.weights[place..].first_chunk::<LANES>(),
                    self.turned[place..].first_chunk::<LANES>(),
                ) else {
                    return;
                };
                let mut both = *row;
                for lane in 0..LANES {
                    both[lane] += column[lane];
                }
                by_row.offer(at, column);
                by_column.offer(at, row);
                by_both.offer(at, &both);
            }
            let range = first..first + LANES;
            self.by_row[range.clone()].copy_from_slice(&by_row.named);
            self.by_column[range.clone()].copy_from_slice(&by_column.named);
            self.by_both[range].copy_from_slice(&by_both.named);
        }
    }

    /// For every row the column of its greatest weight, or [`NONE`].
    #[must_use]
    pub fn by_row(&self) -> &[usize] {
        &self.by_row[..self.n]
    }

    /// For every column the row of its greatest weight, or [`NONE`].
    #[must_use]
    pub fn by_column(&self) -> &[usize] {
        &self.by_column[..self.n]
    }

    /// For every row the column where the sum of the weights in both directions is greatest, or [`NONE`].
    #[must_use]
    pub fn by_both(&self) -> &[usize] {
        &self.by_both[..self.n]
    }
}

/// What was best so far.
struct Choice {
    best: [f64; LANES],
    named: [usize; LANES],
}

impl Choice {
    #[inline(always)]
    fn new() -> Self {
        Self {
            best: [0.0; LANES],
            named: [NONE; LANES],
        }
    }

    /// Selections instead of jumps: which is greater is as good as random.
    #[inline(always)]
    fn offer(&mut self, at: usize, weights: &[f64; LANES]) {
        for (lane, weight) in weights.iter().enumerate() {
            let better = *weight > self.best[lane];
            self.best[lane] = if better { *weight } else { self.best[lane] };
            self.named[lane] = if better { at } else { self.named[lane] };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judge: the definition, one thing at a time.
    #[test]
    fn the_first_of_the_greatest_is_named() {
        let mut found = Strongest::default();
        for n in [0, 1, 2, 3, 7, 8, 17, 40] {
            // Few values, so that many are equal; some are 0.
            let weights: Vec<f64> = (0..n * n).map(|i| ((i * 7919) % 5) as f64).collect();
            let at = |i: usize, j: usize| weights[i * n + j];
            let first = |of: &dyn Fn(usize) -> f64| {
                let greatest = (0..n).map(of).fold(0.0, f64::max);
                (0..n)
                    .find(|j| of(*j) == greatest && greatest > 0.0)
                    .unwrap_or(NONE)
            };
            found.find(n, |i, row| row.copy_from_slice(&weights[i * n..][..n]));
            for i in 0..n {
                assert_eq!(found.by_row()[i], first(&|j| at(i, j)));
                assert_eq!(found.by_column()[i], first(&|j| at(j, i)));
                assert_eq!(found.by_both()[i], first(&|j| at(i, j) + at(j, i)));
            }
        }
    }

    #[test]
    fn nothing_is_chosen_where_nothing_is_above_0() {
        let mut found = Strongest::default();
        found.find(2, |i, row| {
            row.copy_from_slice(&[[0.0, -1.0], [f64::NAN, 0.0]][i])
        });
        for named in [found.by_row(), found.by_column(), found.by_both()] {
            assert_eq!(named, [NONE, NONE]);
        }
    }
}
