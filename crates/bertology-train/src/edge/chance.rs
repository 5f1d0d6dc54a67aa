//! How sure a number is: over seeds, over sentences, and whether two tasks can be ordered.

use bertology::random::{Draws, middle};
use bertology::student;
use serde::{Deserialize, Serialize};

use super::tally::{Counts, f1};

/// A number with its interval of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Both ends of the interval; `None` where too little is known for one.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// Whether the interval lies above or below 0. False without one.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.interval
            .is_some_and(|[low, high]| low > 0.0 || high < 0.0)
    }
}

/// Mean and t-interval of independent values, such as those of several seeds. Of one value there is no interval.
#[must_use]
pub fn over_seeds(values: &[f64]) -> Estimate {
    let value = mean(values);
    let interval = standard_error(values).map(|error| {
        let half = student::quantile(values.len() - 1) * error;
        [value - half, value + half]
    });
    Estimate { value, interval }
}

/// The standard error of a mean; `None` of fewer than two values.
#[must_use]
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let (count, mean) = (values.len() as f64, mean(values));
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The decisions of the probes of one seed: for each layer those of all sentences ([`Tally::sentences`](super::Tally)).
pub type Decisions<'a> = Vec<&'a [Counts]>;

/// A statistic of score curves under resampling of sentences: each resample draws as many sentences as there are, with
/// replacement, the same for all layers and all seeds, and scores them by micro-averaged F1.
///
/// `statistic` sees the curves `[seed][layer]`; resamples of which it makes nothing are left out. The estimate is that
/// of the sentences as they are, the interval is that between the 2.5th and the 97.5th percentile, or none where more
/// than a tenth of the resamples were left out.
#[must_use]
pub fn over_sentences(
    decisions: &[Decisions<'_>],
    resamples: usize,
    seed: u64,
    statistic: impl Fn(&[Vec<f64>]) -> Option<f64>,
) -> Option<Estimate> {
    let sentences = decisions.first()?.first()?.len();
    let value = statistic(&curves(decisions, &vec![1; sentences]))?;
    let mut found: Vec<f64> = draws(sentences, resamples, seed)
        .filter_map(|times| statistic(&curves(decisions, &times)))
        .collect();
    let enough = resamples > 0 && found.len() * 10 >= resamples * 9;
    found.sort_unstable_by(f64::total_cmp);
    let interval = middle(&found).filter(|_| enough);
    Some(Estimate { value, interval })
}

/// The first's statistic less the second's under resampling of sentences, which is of both at once where they are the same
/// sentences (`paired`) and of each by itself otherwise. `statistic` sees which of them it is asked of, 0 or 1, and the
/// curves `[seed][layer]`, of which both need not have as many; resamples are left out as in [`over_sentences`].
#[must_use]
pub fn difference_over_sentences(
    decisions: [&[Decisions<'_>]; 2],
    paired: bool,
    resamples: usize,
    statistic: impl Fn(usize, &[Vec<f64>]) -> Option<f64>,
) -> Option<Estimate> {
    let sizes = decisions.map(|of| {
        of.first()
            .and_then(|of| of.first())
            .map_or(0, |of| of.len())
    });
    let paired = paired && sizes[0] == sizes[1];
    let difference = |times: [&[u32]; 2]| {
        let first = statistic(0, &curves(decisions[0], times[0]))?;
        Some(first - statistic(1, &curves(decisions[1], times[1]))?)
    };
    let once = sizes.map(|size| vec![1; size]);
    let value = difference([&once[0], &once[1]])?;
    let first = draws(sizes[0], resamples, 0);
    let second = draws(sizes[1], resamples, u64::from(!paired));
    let both = first.zip(second);
    let mut found: Vec<f64> = both.filter_map(|(a, b)| difference([&a, &b])).collect();
    let enough = resamples > 0 && found.len() * 10 >= resamples * 9;
    found.sort_unstable_by(f64::total_cmp);
    let interval = middle(&found).filter(|_| enough);
    Some(Estimate { value, interval })
}

/// How often each resample draws each sentence.
fn draws(sentences: usize, resamples: usize, seed: u64) -> impl Iterator<Item = Vec<u32>> {
    (0..resamples as u64).map(move |resample| {
        let mut draws = Draws::of([seed, resample, 0x626f_6f74]);
        let mut times = vec![0; sentences];
        for _ in 0..sentences {
            times[draws.below(sentences)] += 1;
        }
        times
    })
}

fn curves(decisions: &[Decisions<'_>], times: &[u32]) -> Vec<Vec<f64>> {
    let score = |sentences: &&[Counts]| {
        let mut sum = [0; 3];
        for (counts, times) in sentences.iter().zip(times) {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += u64::from(*count) * u64::from(*times);
            }
        }
        f1(sum)
    };
    let of_seed = |layers: &Decisions<'_>| layers.iter().map(score).collect();
    decisions.iter().map(of_seed).collect()
}

/// Which of two tasks comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The first: all intervals of the difference lie below 0.
    First,
    /// The second: all lie above 0.
    Second,
    /// Neither can be said to.
    Undecided,
}

/// The difference of two tasks' layers and what can be said of their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first's less the second's, over seeds.
    pub over_seeds: Estimate,
    /// The same over sentences.
    pub over_sentences: Estimate,
    /// What both intervals say.
    pub order: Order,
}

impl Comparison {
    /// Of the layers of two tasks.
    ///
    /// `layers` holds those of the same seeds in the same order; of seeds for which there is none nothing may be left
    /// out in silence, so they are to be missing from both. The sentences are resampled for both tasks at once where they
    /// are the same ones (`paired`), and for each by itself otherwise.
    #[must_use]
    pub fn new(
        layers: [&[f64]; 2],
        decisions: [&[Decisions<'_>]; 2],
        paired: bool,
        resamples: usize,
        statistic: impl Fn(&[Vec<f64>]) -> Option<f64>,
    ) -> Option<Self> {
        let differences: Vec<f64> = layers[0]
            .iter()
            .zip(layers[1])
            .map(|(a, b)| a - b)
            .collect();
        if differences.is_empty() {
            return None;
        }
        let statistic = |_, curves: &[Vec<f64>]| statistic(curves);
        let over_sentences = difference_over_sentences(decisions, paired, resamples, statistic)?;
        let over_seeds = over_seeds(&differences);
        let sure = over_seeds.excludes_zero() && over_sentences.excludes_zero();
        let order = match (sure, over_seeds.value < 0.0, over_sentences.value < 0.0) {
            (true, true, true) => Order::First,
            (true, false, false) => Order::Second,
            _ => Order::Undecided,
        };
        Some(Self {
            over_seeds,
            over_sentences,
            order,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::summary::expected_layer;

    #[test]
    fn intervals_over_seeds() {
        let estimate = over_seeds(&[1.0, 2.0, 3.0]);
        assert_eq!(estimate.value, 2.0);
        let [low, high] = estimate.interval.unwrap();
        // 4.3027 · 1/√3
        assert!((high - 2.0 - 2.484_137_7).abs() < 1e-6 && (low + high - 4.0).abs() < 1e-12);
        assert!(!estimate.excludes_zero());
        assert_eq!(over_seeds(&[1.0]).interval, None);
        assert!(over_seeds(&[2.0, 2.1, 1.9]).excludes_zero());
    }

    /// Of n sentences of one decision each, right with probability p, F1 is their share: the interval is that of a
    /// binomial proportion.
    #[test]
    fn intervals_over_sentences() {
        let counts: Vec<Counts> = (0..400)
            .map(|i| if i % 5 == 0 { [0, 1, 1] } else { [1, 0, 0] })
            .collect();
        let decisions = [vec![&counts[..]]];
        let statistic = |curves: &[Vec<f64>]| Some(curves[0][0]);
        let estimate = over_sentences(&decisions, 2000, 3, statistic).unwrap();
        assert!((estimate.value - 0.8).abs() < 1e-12);
        let half = 1.96 * (0.16_f64 / 400.0).sqrt();
        let [low, high] = estimate.interval.unwrap();
        assert!(
            (low - (0.8 - half)).abs() < 0.006 && (high - (0.8 + half)).abs() < 0.006,
            "{low} {high}"
        );
        // The same draws, whoever asks.
        assert_eq!(
            over_sentences(&decisions, 2000, 3, statistic),
            Some(estimate)
        );
        assert_ne!(
            over_sentences(&decisions, 2000, 4, statistic),
            Some(estimate)
        );
        assert_eq!(over_sentences(&decisions, 10, 3, |_| None), None);
    }

    fn views(seeds: &[Vec<Vec<Counts>>]) -> Vec<Decisions<'_>> {
        let seeds = seeds.iter();
        seeds
            .map(|seed| seed.iter().map(Vec::as_slice).collect())
            .collect()
    }

    /// Curves of 3 layers whose gain lies at the first or at the last.
    #[test]
    fn order_is_claimed_where_intervals_allow_it() {
        let sentence = |right: bool| if right { [1, 0, 0] } else { [0, 1, 1] };
        // The share of right sentences a layer, in tenths, with a pattern of its own for each seed.
        let layer = |tenths: usize, seed: usize| -> Vec<Counts> {
            (0..300)
                .map(|i| sentence((i * 7 + seed) % 10 < tenths))
                .collect()
        };
        let make = |tenths: [usize; 3]| -> Vec<Vec<Vec<Counts>>> {
            (0..3)
                .map(|seed| tenths.iter().map(|t| layer(*t, seed)).collect())
                .collect()
        };
        let (early, late) = (make([4, 8, 9]), make([4, 5, 9]));
        let mean_layer = |curves: &[Vec<f64>]| {
            let layers: Option<Vec<f64>> = curves.iter().map(|c| expected_layer(c)).collect();
            layers.map(|layers| mean(&layers))
        };
        let (first, second) = (views(&early), views(&late));
        let layers = ([1.2, 1.21, 1.19], [1.8, 1.79, 1.81]);
        let both = [&layers.0[..], &layers.1[..]];
        let order = |layers, decisions, paired| {
            Comparison::new(layers, decisions, paired, 300, mean_layer).unwrap()
        };
        let found = order(both, [&first, &second], true);
        assert_eq!(found.order, Order::First, "{found:?}");
        assert!((found.over_sentences.value + 0.6).abs() < 1e-9, "{found:?}");
        let found = order([both[1], both[0]], [&second, &first], false);
        assert_eq!(found.order, Order::Second, "{found:?}");
        let found = order([both[0], both[0]], [&first, &first], true);
        assert_eq!(found.order, Order::Undecided);
        assert_eq!(found.over_sentences.interval, Some([0.0, 0.0]));
        // Seeds that disagree.
        let wide = [0.3, 1.2, 2.1];
        let found = order([&wide, both[1]], [&first, &second], true);
        assert_eq!(found.order, Order::Undecided);
    }
}
