//! Sums over snippets, and what chance would have made of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::frame::CURVE;
use super::measure::{HeadValues, Measure, Values};
use crate::random::Draws;

const RESAMPLE: u64 = 0x626f_6f74;

/// The sum of some numbers, and of their squares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn add(&mut self, value: f64) {
        self.merge(&Self {
            count: 1,
            sum: value,
            squares: value * value,
        });
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Of the mean; nothing for fewer than two.
    pub(crate) fn standard_error(&self) -> Option<f64> {
        let n = self.count as f64;
        let rest = self.squares - self.sum * self.sum / n;
        (self.count > 1).then(|| (rest.max(0.0) / (n - 1.0) / n).sqrt())
    }

    /// Whether these can be sums of so many numbers of [-`most`, `most`].
    pub(crate) fn possible(&self, numbers: u64, most: f64) -> bool {
        let (n, slack) = (self.count as f64, 1.0 + 1e-9);
        self.count <= numbers
            && self.sum.abs() <= n * most * slack
            && (0.0..=n * most * most * slack).contains(&self.squares)
            && self.sum * self.sum <= n * self.squares * slack + f64::MIN_POSITIVE
    }
}

/// Sums in which every snippet counts as often as a draw of Poisson's distribution with mean 1 says: the bootstrap,
/// for snippets that come one by one. Which draws a snippet has depends on the seed and on its number alone, and all
/// layers and measures have the same, so that differences are paired.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resampled {
    /// `[resamples, columns]`
    sums: Vec<f64>,
    weights: Vec<u64>,
    columns: usize,
}

impl Resampled {
    pub(crate) fn new(resamples: usize, columns: usize) -> Self {
        Self {
            sums: vec![0.0; resamples * columns],
            weights: vec![0; resamples * columns],
            columns,
        }
    }

    pub(crate) fn fits(&self, resamples: usize, columns: usize) -> bool {
        let size = resamples * columns;
        self.columns == columns && self.sums.len() == size && self.weights.len() == size
    }

    /// A snippet's values; those that are not numbers do not count.
    pub(crate) fn add(&mut self, seed: u64, index: u64, values: &[f64]) {
        let mut draws = Draws::of([seed, RESAMPLE, index]);
        let rows = self.sums.chunks_exact_mut(self.columns);
        for (sums, weights) in rows.zip(self.weights.chunks_exact_mut(self.columns)) {
            let times = poisson(draws.unit());
            if times == 0 {
                continue;
            }
            for ((sum, weight), value) in sums.iter_mut().zip(weights).zip(values) {
                if value.is_finite() {
                    *sum += times as f64 * value;
                    *weight += times;
                }
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        add(&mut self.sums, &other.sums);
        for (own, other) in self.weights.iter_mut().zip(&other.weights) {
            *own += other;
        }
    }

    /// What `of(means, sums)` is of each resample's columns; where nothing is, there is none.
    pub(crate) fn each(&self, of: impl Fn(&dyn Fn(usize) -> [f64; 2]) -> f64) -> Vec<f64> {
        let rows = self.sums.chunks_exact(self.columns);
        let rows = rows.zip(self.weights.chunks_exact(self.columns));
        let values = rows.map(|(sums, weights)| {
            of(&|column| [sums[column] / weights[column] as f64, sums[column]])
        });
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// The draw of Poisson's distribution with mean 1 that a uniform number stands for.
fn poisson(unit: f64) -> u64 {
    let (mut share, mut below, mut times) = ((-1.0_f64).exp(), 0.0, 0);
    // 1 / (e · 20!) is below what a unit can tell.
    while times < 20 {
        below += share;
        if unit < below {
            break;
        }
        times += 1;
        share /= times as f64;
    }
    times
}

pub(crate) fn add(own: &mut [f64], other: &[f64]) {
    for (own, other) in own.iter_mut().zip(other) {
        *own += other;
    }
}

/// A kind of leaf, over snippets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KindSums {
    /// Leaves of the kind.
    pub(crate) leaves: u64,
    /// Snippets with any.
    pub(crate) snippets: u64,
    /// Cells of their rows and columns.
    pub(crate) cells: u64,
    /// Of these, with high attention, by layer.
    pub(crate) high: Vec<u64>,
}

impl KindSums {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.leaves += other.leaves;
        self.snippets += other.snippets;
        self.cells += other.cells;
        self.high.resize(self.high.len().max(other.high.len()), 0);
        for (own, other) in self.high.iter_mut().zip(&other.high) {
            *own += other;
        }
    }
}

/// What a snippet contributes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// `[layers]`
    pub(crate) measures: Vec<Values>,
    /// `[layers, quantiles of the curve]`
    pub(crate) curve: Vec<f64>,
    /// `[layers]`
    pub(crate) threshold_near: Vec<u64>,
    /// `[layers · heads]`
    pub(crate) heads: Vec<HeadValues>,
    /// `[layers · heads]` of J under each permutation; empty where J is not defined.
    pub(crate) permuted: Vec<Vec<f32>>,
    /// By kind.
    pub(crate) kinds: BTreeMap<String, KindSums>,
}

/// Names of what is summed of every head.
pub(crate) const OF_HEADS: usize = 5;

impl HeadValues {
    pub(crate) fn all(&self) -> [Option<f64>; OF_HEADS] {
        let Self {
            cat,
            off_diagonal,
            adjusted,
            rho,
            partial_rho,
        } = *self;
        [cat, off_diagonal, adjusted, rho, partial_rho]
    }
}

/// Sums of snippets; see [`super::CatState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// Snippets.
    pub(crate) snippets: u64,
    /// Their leaves.
    pub(crate) leaves: u64,
    /// Leaves of the largest.
    pub(crate) most_leaves: u64,
    /// `[layers, measures]`
    pub(crate) measures: Vec<Moments>,
    pub(crate) resampled: Resampled,
    /// `[layers, quantiles of the curve]`
    pub(crate) curve: Vec<Moments>,
    /// `[layers]`
    pub(crate) threshold_near: Vec<u64>,
    /// `[layers · heads, OF_HEADS]`
    pub(crate) heads: Vec<Moments>,
    /// `[layers · heads, permutations]`: sums of J
    pub(crate) permuted: Vec<f64>,
    pub(crate) kinds: BTreeMap<String, KindSums>,
}

/// How large sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) resamples: usize,
    pub(crate) permutations: usize,
}

impl Sums {
    pub(crate) fn new(size: Size) -> Self {
        let Size {
            layers,
            heads,
            resamples,
            permutations,
        } = size;
        let columns = layers * Measure::ALL.len();
        Self {
            snippets: 0,
            leaves: 0,
            most_leaves: 0,
            measures: vec![Moments::default(); columns],
            resampled: Resampled::new(resamples, columns),
            curve: vec![Moments::default(); layers * CURVE.len()],
            threshold_near: vec![0; layers],
            heads: vec![Moments::default(); layers * heads * OF_HEADS],
            permuted: vec![0.0; layers * heads * permutations],
            kinds: BTreeMap::new(),
        }
    }

    /// A measure of a layer.
    pub(crate) fn measure(&self, layer: usize, measure: Measure) -> &Moments {
        &self.measures[layer * Measure::ALL.len() + measure as usize]
    }

    /// Whether a state that was read back has this size and holds numbers that can be.
    pub(crate) fn possible(&self, size: Size) -> bool {
        let fresh = Self::new(size);
        let columns = size.layers * Measure::ALL.len();
        let sizes = |sums: &Self| {
            (
                sums.measures.len(),
                sums.curve.len(),
                sums.threshold_near.len(),
                sums.heads.len(),
                sums.permuted.len(),
            )
        };
        let cells = (self.most_leaves as f64).powi(2);
        let most = |at: usize| match Measure::ALL[at % Measure::ALL.len()] {
            Measure::Both | Measure::Either => cells,
            // Below chance by as much as chance is above 0; the ceiling may be close to chance.
            Measure::Adjusted => 1e100,
            _ => 1.0,
        };
        sizes(self) == sizes(&fresh)
            && self.resampled.fits(size.resamples, columns)
            && self.most_leaves <= self.leaves
            && (self.snippets > 0) == (self.leaves > 0)
            && self
                .measures
                .iter()
                .enumerate()
                .all(|(at, sums)| sums.possible(self.snippets, most(at)))
            && self
                .curve
                .iter()
                .all(|sums| sums.possible(self.snippets, 1.0))
            && self.heads.iter().all(|sums| sums.count <= self.snippets)
            && self
                .permuted
                .iter()
                .all(|sum| (0.0..=self.snippets as f64 + 1.0).contains(sum))
            && self.kinds.values().all(|kind| {
                kind.high.len() == size.layers
                    && kind.snippets <= self.snippets.min(kind.leaves)
                    && kind.leaves <= self.leaves
                    && kind.high.iter().all(|high| *high <= kind.cells)
            })
    }

    pub(crate) fn add(&mut self, seed: u64, index: u64, leaves: usize, found: &Found) {
        self.snippets += 1;
        self.leaves += leaves as u64;
        self.most_leaves = self.most_leaves.max(leaves as u64);
        let values = found.measures.as_flattened();
        let finite = |sums: &mut [Moments], values: &[f64]| {
            for (sums, value) in sums.iter_mut().zip(values) {
                if value.is_finite() {
                    sums.add(*value);
                }
            }
        };
        finite(&mut self.measures, values);
        finite(&mut self.curve, &found.curve);
        self.resampled.add(seed, index, values);
        for (own, near) in self.threshold_near.iter_mut().zip(&found.threshold_near) {
            *own += near;
        }
        let of_heads = found.heads.iter().flat_map(HeadValues::all);
        for (sums, value) in self.heads.iter_mut().zip(of_heads) {
            if let Some(value) = value {
                sums.add(value);
            }
        }
        if !found.permuted.is_empty() {
            let width = self.permuted.len() / found.permuted.len();
            for (sums, of_head) in self
                .permuted
                .chunks_exact_mut(width.max(1))
                .zip(&found.permuted)
            {
                for (sum, j) in sums.iter_mut().zip(of_head) {
                    *sum += f64::from(*j);
                }
            }
        }
        for (kind, sums) in &found.kinds {
            self.kinds.entry(kind.clone()).or_default().merge(sums);
        }
    }

    pub(crate) fn merge(&mut self, next: &Self) {
        self.snippets += next.snippets;
        self.leaves += next.leaves;
        self.most_leaves = self.most_leaves.max(next.most_leaves);
        for (own, next) in [
            (&mut self.measures, &next.measures),
            (&mut self.curve, &next.curve),
            (&mut self.heads, &next.heads),
        ] {
            own.iter_mut()
                .zip(next)
                .for_each(|(own, next)| own.merge(next));
        }
        self.resampled.merge(&next.resampled);
        for (own, next) in self.threshold_near.iter_mut().zip(&next.threshold_near) {
            *own += next;
        }
        add(&mut self.permuted, &next.permuted);
        for (kind, sums) in &next.kinds {
            self.kinds.entry(kind.clone()).or_default().merge(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::middle;

    #[test]
    fn draws_are_poissons() {
        let mut draws = Draws::of([1]);
        let mut counts = [0.0_f64; 21];
        (0..200_000).for_each(|_| counts[poisson(draws.unit()) as usize] += 1.0);
        for (times, share) in [
            (0, 0.367_879),
            (1, 0.367_879),
            (2, 0.183_940),
            (3, 0.061_313),
        ] {
            assert!(
                (counts[times] / 200_000.0 - share).abs() < 0.004,
                "{counts:?}"
            );
        }
        assert_eq!(poisson(0.0), 0);
        assert!(poisson(1.0 - f64::EPSILON) >= 10);
    }

    /// The spread of the resampled mean is the standard error, and the spread of a paired difference its own.
    #[test]
    fn resamples_spread_as_the_standard_error_says() {
        let mut sums = Resampled::new(2000, 2);
        let (mut moments, mut difference) = (Moments::default(), Moments::default());
        let mut draws = Draws::of([2]);
        for index in 0..400 {
            let (common, own) = (draws.unit(), draws.unit());
            sums.add(7, index, &[common, common + 0.1 * own]);
            moments.add(common);
            difference.add(0.1 * own);
        }
        let spread = |values: &[f64]| {
            let [low, high] = middle(values).unwrap();
            (high - low) / 2.0 / 1.96
        };
        let mean = sums.each(|of| of(0)[0]);
        let paired = sums.each(|of| of(1)[0] - of(0)[0]);
        for (values, moments) in [(mean, moments), (paired, difference)] {
            let share = spread(&values) / moments.standard_error().unwrap();
            assert!((0.92..1.08).contains(&share), "{share}");
        }
    }

    #[test]
    fn a_standard_error() {
        let mut moments = Moments::default();
        [1.0, 2.0, 3.0, 4.0]
            .into_iter()
            .for_each(|value| moments.add(value));
        // √(5/3) / 2
        let expected = (5.0_f64 / 3.0).sqrt() / 2.0;
        assert!((moments.standard_error().unwrap() - expected).abs() < 1e-15);
        assert!(moments.possible(4, 4.0) && !moments.possible(3, 4.0) && !moments.possible(4, 2.0));
    }
}
