//! How fast models are, and whether one is faster than another: one way of timing, one interval for the ratio.
//!
//! What makes timings of one process differ from those of the next is not only noise from run to run: where the weights lie
//! in memory stays the same as long as they lie there, and the speed of a machine drifts. So the runs of two models are
//! interleaved (A B, B A, A B ...), and divided into [`STRETCHES`], for each of which the models are opened anew, now the
//! one first, now the other. The interval of the ratio looks at how the stretches differ.

use std::time::Instant;

use bertology_checkpoint::Architecture;
use bertology_model::{PackedBatch, PassOptions, Sequence, Workspace};
use serde::Serialize;

use crate::drive::Work;
use crate::random::Draws;
use crate::watch::Purpose;
use crate::{Error, LoadedModel, Watch};

/// Into so many stretches all rounds are divided.
pub const STRETCHES: usize = 10;
/// Without a number of rounds there are never more.
const MOST_ROUNDS: usize = 2000;
/// Resamples of the bootstrap.
const RESAMPLES: usize = 3999;
/// Ten numbers cannot tell more from a trend.
const MOST_CORRELATION: f64 = 0.75;
/// The clock of a machine may not tell shorter times from none.
const SHORTEST: f64 = 1e-9;

/// What a model is given in each run.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// The inputs, at least one.
    pub sequences: Vec<Sequence>,
    /// What the second model is given in their place, where it reads the same texts as other tokens; nothing: the same.
    pub of_second: Option<Vec<Sequence>>,
    /// Tokens put through a model at once; nothing: all sequences are one batch.
    pub batch_tokens: Option<usize>,
    /// Compute a language model's logits of every position.
    pub token_logits: bool,
}

/// How models are timed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TimingOptions {
    /// Runs of each model; of two models at least [`STRETCHES`]. Nothing: as many as take [`TimingOptions::seconds`], at
    /// least [`STRETCHES`] and at most 2,000.
    pub rounds: Option<usize>,
    /// Seconds of each load and model.
    pub seconds: f64,
    /// Threads, all at work inside one batch. 0: all that the machine offers.
    pub threads: usize,
}

impl Default for TimingOptions {
    fn default() -> Self {
        Self {
            rounds: None,
            seconds: 1.0,
            threads: 0,
        }
    }
}

/// Forward passes of one or two models over one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Times {
    /// Sequences in a run.
    pub sequences: usize,
    /// Tokens in a run.
    pub tokens: usize,
    /// Threads.
    pub threads: usize,
    /// `[model, round]`, seconds of each run; runs of one round come directly after each other.
    pub seconds: Vec<Vec<f64>>,
}

/// Measures `models` models, one or two, which `open` opens by their numbers, 0 and 1.
///
/// # Errors
/// No model or more than two, no sequences, too few rounds, sequences that do not fit, what `open` says, an interruption.
pub fn measure(
    mut open: impl FnMut(usize) -> Result<LoadedModel, Error>,
    models: usize,
    loads: &[Load],
    options: &TimingOptions,
    watch: &mut dyn Watch,
) -> Result<Vec<Times>, Error> {
    refuse(models, loads, options)?;
    let threads = Work::threads(options.threads).all();
    let mut rounds = vec![options.rounds.unwrap_or_default(); loads.len()];
    let mut found: Vec<Times> = Vec::new();
    let total = (STRETCHES * loads.len()) as u64;
    let mut done = 0;
    watch.begin(Purpose::Timing, 0, total);
    let mut workspace = Workspace::new();
    for stretch in 0..STRETCHES {
        let empty = |rounds: &usize| span(*rounds, STRETCHES, stretch).is_empty();
        if stretch > 0 && rounds.iter().all(empty) {
            continue;
        }
        let mut opened: Vec<(usize, LoadedModel)> = Vec::new();
        for at in in_turn(models, stretch) {
            opened.push((at, open(at)?));
        }
        opened.sort_by_key(|(at, _)| *at);
        for (number, load) in loads.iter().enumerate() {
            let batches =
                |(at, model): &(usize, LoadedModel)| batches(model.architecture(), load, *at);
            let batches: Vec<Vec<PackedBatch>> =
                opened.iter().map(batches).collect::<Result<_, _>>()?;
            let mut run = |at: usize| {
                let options = PassOptions {
                    threads,
                    token_logits: load.token_logits,
                    ..PassOptions::default()
                };
                let model = opened[at].1.model();
                let start = Instant::now();
                for batch in &batches[at] {
                    model.run(batch, &options, &mut workspace, &mut [])?;
                }
                Ok::<f64, Error>(start.elapsed().as_secs_f64())
            };
            if stretch == 0 {
                let mut slowest = 0.0_f64;
                for at in 0..models {
                    slowest = slowest.max(run(at)?);
                }
                if options.rounds.is_none() {
                    rounds[number] = rounds_of(options.seconds, slowest);
                }
                found.push(Times {
                    sequences: load.sequences.len(),
                    tokens: batches
                        .first()
                        .map_or(0, |all| all.iter().map(PackedBatch::tokens).sum()),
                    threads,
                    seconds: vec![Vec::new(); models],
                });
            }
            let own = span(rounds[number], STRETCHES, stretch);
            // Where a run takes long the first is like all others.
            if stretch > 0 && own.len() > 1 {
                for at in 0..models {
                    run(at)?;
                }
            }
            for round in own {
                for at in in_turn(models, round) {
                    let seconds = run(at)?;
                    found[number].seconds[at].push(seconds);
                }
                if watch.advance(done, total).is_break() {
                    return Err(Error::Interrupted { done, total });
                }
            }
            done = (stretch * loads.len() + number + 1) as u64;
            if watch.advance(done, total).is_break() {
                return Err(Error::Interrupted { done, total });
            }
        }
    }
    Ok(found)
}

fn refuse(models: usize, loads: &[Load], options: &TimingOptions) -> Result<(), Error> {
    let wrong = |option, value: String, reason| {
        Err(Error::Option {
            option,
            value,
            reason,
        })
    };
    let few = |number: usize| number.to_string();
    if !(1..=2).contains(&models) {
        let what = "the number of models to be timed";
        return wrong(what, few(models), "give one or two");
    }
    let empty = |load: &Load| {
        let second = load.of_second.as_ref();
        load.sequences.is_empty() || second.is_some_and(Vec::is_empty)
    };
    if loads.iter().any(empty) {
        let what = "the number of timed sequences";
        return wrong(what, few(0), "give at least 1");
    }
    match options.rounds {
        Some(rounds) if models > 1 && rounds < STRETCHES => wrong(
            "the number of rounds",
            few(rounds),
            "give at least 10 where two models are compared",
        ),
        Some(0) => wrong("the number of rounds", few(0), "give at least 1"),
        None if !(options.seconds > 0.0 && options.seconds.is_finite()) => wrong(
            "the number of seconds to be timed",
            options.seconds.to_string(),
            "give a number above 0",
        ),
        _ => Ok(()),
    }
}

/// Models in the order of this round.
fn in_turn(models: usize, round: usize) -> impl Iterator<Item = usize> {
    let last = models.saturating_sub(1);
    (0..models).map(move |at| {
        if round.is_multiple_of(2) {
            at
        } else {
            last - at
        }
    })
}

/// Rounds that take about so many seconds: whole pairs of rounds in every stretch, or one round in each.
fn rounds_of(seconds: f64, one: f64) -> usize {
    let wanted = (seconds / one.max(SHORTEST)).min(MOST_ROUNDS as f64) as usize;
    if wanted <= STRETCHES {
        return STRETCHES;
    }
    let step = 2 * STRETCHES;
    wanted.next_multiple_of(step).min(MOST_ROUNDS)
}

/// The rounds of a stretch, where all are divided into so many that differ by one at most.
fn span(rounds: usize, stretches: usize, stretch: usize) -> std::ops::Range<usize> {
    rounds * stretch / stretches..rounds * (stretch + 1) / stretches
}

fn batches(arch: &Architecture, load: &Load, model: usize) -> Result<Vec<PackedBatch>, Error> {
    let most = load.batch_tokens.unwrap_or(usize::MAX);
    let mut batches = Vec::new();
    let mut rest = match &load.of_second {
        Some(own) if model > 0 => &own[..],
        _ => &load.sequences[..],
    };
    while !rest.is_empty() {
        let mut tokens = 0_usize;
        let fitting = rest.iter().take_while(|sequence| {
            let first = tokens == 0;
            tokens += sequence.len();
            first || tokens <= most
        });
        let (batch, after) = rest.split_at(fitting.count().max(1));
        batches.push(PackedBatch::new(arch, batch)?);
        rest = after;
    }
    Ok(batches)
}

/// How many times as fast the second of two models is as the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpeedRatio {
    /// Above 1 the second is faster.
    pub ratio: f64,
    /// Where the interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

impl SpeedRatio {
    /// Whether the interval leaves out 1.
    #[must_use]
    pub fn measurable(&self) -> bool {
        !(self.low <= 1.0 && 1.0 <= self.high)
    }
}

/// The ratio of the times of two models with an interval of this coverage (0.95, say), from times that lie beside each
/// other: `before[i]` was taken directly before or after `after[i]`. Nothing for fewer than 5 pairs, lists of two lengths, or
/// times that are no numbers.
///
/// # Method
/// The pairs, in order, are divided into [`STRETCHES`] (or as many as there are pairs), and of each the median of
/// `ln(before/after)` is taken, which no single slow run moves. The ratio is the exponential of their mean. The interval is
/// the symmetric bootstrap-t over stretches (Hall 1988, "On symmetric bootstrap confidence intervals"): with so few of them a
/// plain percentile interval would be too narrow. Runs within a stretch may depend on each other as they like; where a stretch
/// resembles the one before it, the interval is widened by `√((1+ρ)/(1−ρ))`, the factor of a first-order autoregression, with
/// their correlation `ρ` corrected for its bias in short series (Kendall 1954) and kept within 0 and 0.75.
#[must_use]
pub fn speed_ratio(before: &[f64], after: &[f64], coverage: f64, seed: u64) -> Option<SpeedRatio> {
    if before.len() != after.len() || before.len() < 5 {
        return None;
    }
    let logarithms: Vec<f64> = before
        .iter()
        .zip(after)
        .map(|(before, after)| (before.max(SHORTEST) / after.max(SHORTEST)).ln())
        .collect();
    if before.iter().chain(after).any(|time| !time.is_finite()) {
        return None;
    }
    let stretches = STRETCHES.min(logarithms.len());
    let medians: Vec<f64> = (0..stretches)
        .map(|stretch| {
            let mut own = logarithms[span(logarithms.len(), stretches, stretch)].to_vec();
            own.sort_by(f64::total_cmp);
            percentile(&own, 0.5)
        })
        .collect();
    let (centre, error) = mean_and_error(&medians);
    let half = error * widening(&medians, coverage, seed) * dependence(&medians);
    Some(SpeedRatio {
        ratio: centre.exp(),
        low: (centre - half).exp(),
        high: (centre + half).exp(),
    })
}

/// By how much the error of a mean is greater than if neighbours did not depend on each other.
fn dependence(values: &[f64]) -> f64 {
    let (centre, error) = mean_and_error(values);
    if error <= 0.0 {
        return 1.0;
    }
    let count = values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    let products = |pair: &[f64]| (pair[0] - centre) * (pair[1] - centre);
    let found = values.windows(2).map(products).sum::<f64>() / squares;
    let correlation = (found + (1.0 + 4.0 * found) / count).clamp(0.0, MOST_CORRELATION);
    ((1.0 + correlation) / (1.0 - correlation)).sqrt()
}

/// By how many standard errors the mean of resamples misses that of these numbers in so large a share of cases.
fn widening(values: &[f64], coverage: f64, seed: u64) -> f64 {
    let (centre, error) = mean_and_error(values);
    if error <= 0.0 {
        return 0.0;
    }
    let mut draws = Draws::of([seed, 0x0074_696d_6573]);
    let mut resample = vec![0.0; values.len()];
    let mut missed: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for value in &mut resample {
                *value = values[draws.below(values.len())];
            }
            let (mean, own) = mean_and_error(&resample);
            // All alike, which is rare: as far off as can be, or not at all.
            match (own > 0.0, mean == centre) {
                (true, _) => (mean - centre).abs() / own,
                (false, true) => 0.0,
                (false, false) => f64::INFINITY,
            }
        })
        .collect();
    missed.sort_by(f64::total_cmp);
    let at = (coverage.clamp(0.0, 1.0) * (RESAMPLES + 1) as f64).ceil() as usize;
    missed[at.clamp(1, RESAMPLES) - 1]
}

/// Mean, and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// The number below which this share of ascending numbers lies, between neighbours in a straight line as numpy's default
/// has it; NaN of no numbers.
#[must_use]
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (below, rest) = (place.floor() as usize, place.fract());
    sorted[below] * (1.0 - rest) + sorted[(below + 1).min(last)] * rest
}

/// `count` sequences of `length` tokens drawn from the first `vocabulary` ids, `left_out` excepted.
///
/// # Errors
/// A length of 0; no id that may be drawn.
pub fn random_sequences(
    vocabulary: usize,
    left_out: &[u32],
    count: usize,
    length: usize,
    seed: u64,
) -> Result<Vec<Sequence>, Error> {
    let ids: Vec<u32> = (0..u32::try_from(vocabulary).unwrap_or(u32::MAX))
        .filter(|id| !left_out.contains(id))
        .collect();
    let wrong = |option| Error::Option {
        option,
        value: "0".into(),
        reason: "at least 1 is needed",
    };
    if ids.is_empty() {
        return Err(wrong("the number of tokens that are not special"));
    }
    if length == 0 {
        return Err(wrong("the length of a sequence"));
    }
    let mut draws = Draws::of([seed, count as u64, length as u64]);
    let mut sequence = || Sequence::new((0..length).map(|_| ids[draws.below(ids.len())]).collect());
    Ok((0..count).map(|_| sequence()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coverages, and what Python found.
    const EXACT: [(f64, f64); 4] = [
        (0.5, 0.758_098),
        (0.8, 1.650_274),
        (0.9, 2.151_411),
        (0.95, 2.8),
    ];

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile([3, 5, 6, 10], [0, 50, 90, 99, 100])
        let sorted = [3.0, 5.0, 6.0, 10.0];
        for (share, wanted) in [
            (0.0, 3.0),
            (0.5, 5.5),
            (0.9, 8.8),
            (0.99, 9.88),
            (1.0, 10.0),
        ] {
            assert!((percentile(&sorted, share) - wanted).abs() < 1e-12);
        }
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn stretches_hold_all_rounds() {
        for rounds in [10, 11, 19, 20, 137] {
            let all: Vec<usize> = (0..10).flat_map(|at| span(rounds, 10, at)).collect();
            assert_eq!(all, (0..rounds).collect::<Vec<_>>());
            assert!((0..10).all(|at| span(rounds, 10, at).len() >= rounds / 10));
        }
        assert_eq!(rounds_of(1.0, 3.0), 10);
        assert_eq!(rounds_of(1.0, 0.1), 10);
        assert_eq!(rounds_of(1.0, 0.03), 40);
        assert_eq!(rounds_of(1.0, 0.0), 2000);
        assert_eq!(in_turn(2, 0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(in_turn(2, 1).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn a_constant_ratio_has_no_width() {
        let before: Vec<f64> = (0..40).map(|at| 1.0 + f64::from(at) * 0.1).collect();
        let after: Vec<f64> = before.iter().map(|time| time / 1.25).collect();
        let found = speed_ratio(&before, &after, 0.95, 1).unwrap();
        for value in [found.ratio, found.low, found.high] {
            assert!((value - 1.25).abs() < 1e-9, "{found:?}");
        }
        assert!(found.measurable());
        let same = speed_ratio(&before, &before, 0.95, 1).unwrap();
        assert_eq!((same.low, same.ratio, same.high), (1.0, 1.0, 1.0));
        assert!(!same.measurable());
        assert_eq!(speed_ratio(&before[..4], &after[..4], 0.95, 1), None);
        assert_eq!(speed_ratio(&before, &after[1..], 0.95, 1), None);
        let mut broken = before.clone();
        broken[3] = f64::NAN;
        assert_eq!(speed_ratio(&broken, &after, 0.95, 1), None);
    }

    #[test]
    fn exchanged_models_have_the_reciprocal() {
        let mut noise = Noise::new(3);
        let (before, after) = noise.pairs(60, 1.1);
        let there = speed_ratio(&before, &after, 0.95, 1).unwrap();
        let back = speed_ratio(&after, &before, 0.95, 1).unwrap();
        assert!((there.ratio * back.ratio - 1.0).abs() < 1e-12);
        assert!((there.low * back.high - 1.0).abs() < 1e-12);
        assert!(there.low < there.ratio && there.ratio < there.high);
    }

    /// All 3,125 resamples of five numbers, counted in Python.
    #[test]
    fn the_bootstrap_is_that_of_all_resamples() {
        let values = [0.01_f64, 0.03, -0.02, 0.05, 0.02];
        for (coverage, wanted) in EXACT {
            let found = widening(&values, coverage, 1);
            assert!(
                (found / wanted - 1.0).abs() < 0.1,
                "{coverage}: {found} {wanted}"
            );
        }
        let before: Vec<f64> = values.iter().map(|value| value.exp()).collect();
        let found = speed_ratio(&before, &[1.0; 5], 0.8, 1).unwrap();
        assert!((found.ratio.ln() - 0.018).abs() < 1e-12);
    }

    /// Worked by hand: of (1, 2, 3, 4, 5) squares add to 10 and products of neighbours to 2 + 0 + 0 + 2; 0.4, corrected 0.92.
    #[test]
    fn what_resembles_its_neighbour_widens() {
        let found = dependence(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((found - 7.0_f64.sqrt()).abs() < 1e-12, "{found}");
        // Neighbours (0, 1), (1, 0), (0, 0), (0, -1), (-1, 0): products 0, corrected 1/6.
        let found = dependence(&[0.0, 1.0, 0.0, 0.0, -1.0, 0.0]);
        assert!((found - 1.4_f64.sqrt()).abs() < 1e-12, "{found}");
        assert_eq!(dependence(&[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]), 1.0);
    }

    #[test]
    fn slow_runs_by_chance_move_little() {
        let mut noise = Noise::new(5);
        let (before, mut after) = noise.pairs(200, 1.0);
        let calm = speed_ratio(&before, &after, 0.95, 1).unwrap();
        for at in (3..200).step_by(20) {
            after[at] *= 30.0;
        }
        let found = speed_ratio(&before, &after, 0.95, 1).unwrap();
        assert!((found.ratio / calm.ratio - 1.0).abs() < 0.01);
        assert!(found.high / found.low < 1.1, "{found:?}");
    }

    /// Times of a machine whose speed drifts, with models that lie now better, now worse in memory.
    struct Noise(Draws);

    impl Noise {
        fn new(seed: u64) -> Self {
            Self(Draws::of([seed]))
        }

        fn pairs(&mut self, rounds: usize, ratio: f64) -> (Vec<f64>, Vec<f64>) {
            let (mut machine, mut own) = (0.0, [0.0; 2]);
            let mut lie = [0.0; 2];
            let mut times = [Vec::new(), Vec::new()];
            for round in 0..rounds {
                if round == 0 || (round * 10 / rounds) != ((round - 1) * 10 / rounds) {
                    lie = [0.01 * self.0.normal(), 0.01 * self.0.normal()];
                }
                machine = 0.95 * machine + 0.02 * self.0.normal();
                for at in 0..2 {
                    own[at] = 0.5 * own[at] + 0.01 * self.0.normal();
                    let now_and_then = if self.0.unit() < 0.03 { 0.5 } else { 0.0 };
                    let sum: f64 = machine + own[at] + lie[at] + now_and_then;
                    times[at].push(sum.exp() * if at == 0 { ratio } else { 1.0 });
                }
            }
            let [before, after] = times;
            (before, after)
        }
    }

    #[test]
    fn copies_are_seldom_told_apart_and_true_ratios_are_held() {
        let cases = 200;
        for rounds in [10, 40, 200] {
            let mut noise = Noise::new(rounds as u64);
            let (mut told, mut missed, mut seen) = (0, 0, 0);
            for case in 0..cases {
                let (before, after) = noise.pairs(rounds, 1.0);
                let same = speed_ratio(&before, &after, 0.95, case).unwrap();
                told += u64::from(same.measurable());
                let (before, after) = noise.pairs(rounds, 1.2);
                let found = speed_ratio(&before, &after, 0.95, case).unwrap();
                missed += u64::from(!(found.low..=found.high).contains(&1.2));
                seen += u64::from(found.measurable());
            }
            // 5 % of 200, and two standard errors of that.
            assert!(told <= 16 && missed <= 16, "{rounds}: {told} {missed}");
            // A slow run among ten pairs leaves little to say.
            let wanted = if rounds == 10 { 20 } else { 190 };
            assert!(seen >= wanted, "{rounds}: {seen}");
        }
    }

    #[test]
    fn drawn_ids_are_ordinary_ones() {
        let drawn = random_sequences(7, &[0, 3, 6], 20, 9, 1).unwrap();
        assert_eq!(drawn.len(), 20);
        let ids: std::collections::BTreeSet<u32> =
            drawn.iter().flat_map(|one| one.ids.clone()).collect();
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert!(drawn.iter().all(|one| one.len() == 9));
        assert_eq!(drawn, random_sequences(7, &[0, 3, 6], 20, 9, 1).unwrap());
        assert_ne!(drawn, random_sequences(7, &[0, 3, 6], 20, 9, 2).unwrap());
        assert!(random_sequences(2, &[0, 1], 1, 9, 1).is_err());
        assert!(random_sequences(7, &[], 1, 0, 1).is_err());
    }
}
