//! How sure scores and ranks of heads are.

use serde::{Deserialize, Serialize};

use crate::studies::normalize::{Normalization, ranks};
use crate::studies::resample::{REPLICATES, interval, weights};
use crate::{Error, HeadTable};

/// What the examples of a run say of any examples: see [the module](super).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Standard error of each raw score.
    pub standard_error: HeadTable,
    /// Raw scores of each replicate of the examples.
    replicates: Vec<HeadTable>,
}

/// The middle 95 % of what the replicates say of every head, row-major `[layers, heads]`; `None` where a head has no score.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadIntervals {
    /// Of the normalised score.
    pub importance: Vec<Option<[f64; 2]>>,
    /// Of the rank, 0 the most important; ends included.
    pub ranks: Vec<Option<[usize; 2]>>,
}

impl Spread {
    /// Intervals of the scores that `normalization` makes of `raw`, which are the scores themselves. Each replicate is
    /// normalised for itself.
    #[must_use]
    pub fn intervals(&self, raw: &HeadTable, normalization: Normalization) -> HeadIntervals {
        let found = normalization.apply(raw);
        let all: Vec<HeadTable> = self
            .replicates
            .iter()
            .map(|table| normalization.apply(table))
            .collect();
        let places: Vec<Vec<Option<usize>>> = all.iter().map(ranks).collect();
        let cells = ranks(&found).into_iter().enumerate();
        let (mut importance, mut of_ranks) = (Vec::new(), Vec::new());
        for (at, rank) in cells {
            let known = rank.map(|rank| (rank as f64, found.values()[at]));
            importance.push(known.and_then(|(_, value)| {
                interval(all.iter().map(|table| table.values()[at]).collect(), value)
            }));
            of_ranks.push(known.and_then(|(rank, _)| {
                let of = places.iter().filter_map(|places| places[at]);
                let [low, high] = interval(of.map(|rank| rank as f64).collect(), rank)?;
                Some([low.floor() as usize, high.ceil() as usize])
            }));
        }
        HeadIntervals {
            importance,
            ranks: of_ranks,
        }
    }
}

/// Sums over examples, or batches of them, that a [`Spread`] is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    units: u64,
    /// Of squares, `[layers, heads]`.
    squares: Vec<f64>,
    /// How many units each replicate has.
    times: Vec<u64>,
    /// `[replicates, layers, heads]`.
    sums: Vec<f64>,
}

impl Sample {
    pub(super) fn new(cells: usize) -> Self {
        Self {
            units: 0,
            squares: vec![0.0; cells],
            times: vec![0; REPLICATES],
            sums: vec![0.0; REPLICATES * cells],
        }
    }

    /// One more unit, whose `place` is that of no other, with what it adds to every score.
    pub(super) fn observe(&mut self, place: [u64; 2], values: &[f64]) {
        self.units += 1;
        for (sum, value) in self.squares.iter_mut().zip(values) {
            *sum += value * value;
        }
        let replicates = self.sums.chunks_exact_mut(values.len().max(1));
        for ((sums, times), weight) in replicates.zip(&mut self.times).zip(weights(place)) {
            *times += u64::from(weight);
            if weight > 0 {
                let weight = f64::from(weight);
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += weight * value;
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.units += other.units;
        super::add(&mut self.squares, &other.squares);
        super::add(&mut self.sums, &other.sums);
        for (times, more) in self.times.iter_mut().zip(&other.times) {
            *times += more;
        }
    }

    /// Refuses sums that no corpus gives.
    pub(super) fn check(&self, cells: usize) -> Result<(), Error> {
        let fits = self.squares.len() == cells
            && self.times.len() == REPLICATES
            && self.sums.len() == REPLICATES * cells;
        Error::unless_possible(
            fits && super::not_negative(&self.squares) && super::not_negative(&self.sums),
            "sample",
            "no corpus gives its sums",
        )
    }

    /// Of scores that are `sums` over the units divided by `divisor`; nothing of fewer than two units.
    pub(super) fn finish(&self, table: &HeadTable, sums: &[f64], divisor: f64) -> Option<Spread> {
        if self.units < 2 {
            return None;
        }
        let units = self.units as f64;
        let heads = table.heads();
        let standard_error = table.map(|id, _| {
            let at = id.layer * heads + id.head;
            let squares = self.squares[at] - sums[at] * sums[at] / units;
            // Rounding can leave a little less than nothing.
            (units / (units - 1.0) * squares.max(0.0)).sqrt() / divisor
        });
        let replicates = self.sums.chunks_exact(sums.len().max(1)).zip(&self.times);
        let replicates = replicates.filter(|(_, times)| **times > 0);
        let replicates = replicates.map(|(sums, times)| {
            let scale = units / *times as f64 / divisor;
            table.map(|id, _| sums[id.layer * heads + id.head] * scale)
        });
        Some(Spread {
            standard_error,
            replicates: replicates.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draws;

    const PLAIN: Normalization = Normalization {
        by_layer: false,
        global: false,
    };

    fn spread(units: &[Vec<f64>], heads: usize) -> (HeadTable, Spread) {
        let mut sample = Sample::new(heads);
        let mut sums = vec![0.0; heads];
        for (at, values) in units.iter().enumerate() {
            sample.observe([at as u64, 0], values);
            super::super::add(&mut sums, values);
        }
        let n = units.len() as f64;
        let zeros = HeadTable::from_values(1, heads, vec![0.0; heads]);
        let raw = zeros.map(|id, _| sums[id.head] / n);
        let found = sample.finish(&zeros, &sums, n).unwrap();
        (raw, found)
    }

    /// Of 1, 2, 3, 4 the standard error of the mean is √(5/3)/2.
    #[test]
    fn standard_errors_are_those_of_means() {
        let units: Vec<Vec<f64>> = (1..=4).map(|v| vec![f64::from(v), 7.0]).collect();
        let (_, found) = spread(&units, 2);
        let errors = found.standard_error.values();
        assert!((errors[0] - (5.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-14);
        assert!(errors[1].abs() < 1e-7);
        assert!(
            Sample::new(2)
                .finish(&found.standard_error, &[0.0; 2], 1.0)
                .is_none()
        );
    }

    /// Scores are drawn with known means: the intervals of a mean and of a rank hold the truth in about 95 of 100 samples, and
    /// the interval of a mean is as wide as normal theory has it.
    #[test]
    fn intervals_hold_the_truth() {
        // Neighbours are 0.15 apart, each mean is known to 0.1: their ranks are not sure.
        let means: Vec<f64> = (0..12).map(|head| 4.0 - 0.15 * f64::from(head)).collect();
        let (samples, units) = (150, 100);
        let (mut held, mut ranked, mut width) = (0, 0, 0.0);
        for seed in 0..samples {
            let mut draws = Draws::of([seed, 99]);
            let drawn =
                (0..units).map(|_| means.iter().map(|mean| mean + draws.normal()).collect());
            let units: Vec<Vec<f64>> = drawn.collect();
            let (raw, found) = spread(&units, means.len());
            let found = found.intervals(&raw, PLAIN);
            for (head, mean) in means.iter().enumerate() {
                let [low, high] = found.importance[head].unwrap();
                held += usize::from((low..=high).contains(mean));
                width += high - low;
                let [low, high] = found.ranks[head].unwrap();
                ranked += usize::from((low..=high).contains(&head));
            }
        }
        let all = samples as f64 * means.len() as f64;
        let (held, ranked) = (held as f64 / all, ranked as f64 / all);
        assert!((0.92..0.97).contains(&held), "{held}");
        assert!(ranked > 0.93, "{ranked}");
        let expected = 2.0 * 1.96 / f64::from(units).sqrt();
        assert!(
            (width / all / expected - 1.0).abs() < 0.05,
            "{}",
            width / all
        );
    }

    #[test]
    fn sure_ranks_have_no_width() {
        let units: Vec<Vec<f64>> = (0..50)
            .map(|at| vec![1.0, 5.0 + f64::from(at % 2), 3.0])
            .collect();
        let (raw, found) = spread(&units, 3);
        let ranks = found.intervals(&raw, Normalization::default()).ranks;
        assert_eq!(ranks, [Some([2, 2]), Some([0, 0]), Some([1, 1])]);
    }
}
