//! How sure metrics are.

use std::collections::BTreeMap;

use bertology_data::{AnswerSums, MetricState, TagCounts, Target};
use serde::{Deserialize, Serialize};

use super::tally::{Scorer, Tally};
use super::{BITS_PER_BYTE, Evaluation, LOSS, Metrics};
use crate::Error;
use crate::objective::Objective;
use crate::studies::proportion::{NORMAL_975, Proportion};
use crate::studies::ratio::RatioSums;
use crate::studies::resample::{REPLICATES, counts, interval, weights};

/// The lower and the upper end of the 95 % interval of every metric and of the loss, by name; those lack that are not known:
/// of metrics that are not a number, and of a single example.
pub type Intervals = BTreeMap<String, [f64; 2]>;

/// What intervals need besides the sums that metrics are made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    loss: RatioSums,
    /// Of each replicate; none before the first sentence.
    tags: Vec<TagCounts>,
    /// Of each replicate; none before the first question.
    answers: Vec<AnswerSums>,
}

impl Sample {
    pub(super) fn loss(&mut self, loss: f64, targets: usize) {
        self.loss.observe(loss, targets);
    }

    /// One more sentence.
    pub(super) fn tags(&mut self, place: u64, found: TagCounts) {
        self.tags.resize(REPLICATES, TagCounts::default());
        for (sums, weight) in self.tags.iter_mut().zip(weights([place, 0])) {
            (0..weight).for_each(|_| sums.add(found));
        }
    }

    /// One more question.
    pub(super) fn answer(&mut self, place: u64, found: AnswerSums) {
        self.answers.resize(REPLICATES, AnswerSums::default());
        for (sums, weight) in self.answers.iter_mut().zip(weights([place, 0])) {
            (0..weight).for_each(|_| sums.add(found));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.loss.merge(&other.loss);
        let tags = self.tags.len().max(other.tags.len());
        self.tags.resize(tags, TagCounts::default());
        for (sums, more) in self.tags.iter_mut().zip(&other.tags) {
            sums.add(*more);
        }
        let answers = self.answers.len().max(other.answers.len());
        self.answers.resize(answers, AnswerSums::default());
        for (sums, more) in self.answers.iter_mut().zip(&other.answers) {
            sums.add(*more);
        }
    }

    /// Whether a corpus can give these sums.
    pub(super) fn possible(&self) -> bool {
        let fits = |replicates: usize| [0, REPLICATES].contains(&replicates);
        self.loss.possible()
            && fits(self.tags.len())
            && fits(self.answers.len())
            && self.tags.iter().all(TagCounts::possible)
            && self.answers.iter().all(AnswerSums::possible)
    }
}

impl Tally {
    /// Of these metrics and this loss, which are those of the tally.
    pub(super) fn intervals(
        &self,
        sample: &Sample,
        metrics: &Metrics,
        loss: f64,
    ) -> Result<Intervals, Error> {
        let mut found = Intervals::new();
        let error = sample.loss.standard_error();
        let of_loss = [loss - NORMAL_975 * error, loss + NORMAL_975 * error];
        if error.is_finite() {
            found.insert(LOSS.to_owned(), of_loss);
        }
        let mut resampled = Vec::new();
        match self.scorer {
            Scorer::Labels { .. } => resampled = self.label_replicates()?,
            Scorer::Tokens {
                objective: Objective::Tags,
                ..
            } => {
                let all = sample.tags.iter().filter(|counts| counts.words > 0);
                resampled.extend(all.map(|counts| counts.metrics().to_vec()));
            }
            Scorer::Tokens {
                objective: Objective::Answers,
                ..
            } => {
                let all = sample.answers.iter().filter(|sums| sums.questions() > 0);
                resampled.extend(all.map(|sums| sums.metrics().to_vec()));
            }
            Scorer::Tokens { .. } if error.is_finite() => {
                // All of them rise with the loss.
                for (name, value) in metrics.iter() {
                    let [low, high] = of_loss.map(|end| token_metric(name, end, value, loss));
                    found.insert(name.to_owned(), [low, high]);
                }
            }
            Scorer::Tokens { .. } => {}
        }
        for (at, (name, value)) in metrics.iter().enumerate() {
            let all: Vec<f64> = resampled
                .iter()
                .filter_map(|row| row.get(at).copied())
                .filter(|value| value.is_finite())
                .collect();
            // Few examples give replicates without a question of a kind, or with one class alone.
            let enough = all.len() * 2 > REPLICATES && value.is_finite();
            if let (true, Some(ends)) = (enough, interval(all, value)) {
                found.insert(name.to_owned(), ends);
            }
        }
        if let Some((name, right)) = self.accuracy()
            && let Some((low, high)) = right.interval()
        {
            found.insert(name.to_owned(), [low, high]);
        }
        Ok(found)
    }

    /// The accuracy of examples, if they are scored with it.
    fn accuracy(&self) -> Option<(&'static str, Proportion)> {
        let Scorer::Labels {
            metrics, classes, ..
        } = self.scorer
        else {
            return None;
        };
        let names = metrics.keys().iter().copied();
        let name = names
            .into_iter()
            .find(|name| *name == "acc" || name.ends_with("/acc"))?;
        let diagonal = (0..classes as u64).map(|class| class * classes as u64 + class);
        let part = diagonal.filter_map(|cell| self.classes.get(&cell)).sum();
        let whole = self.examples;
        Some((name, Proportion { part, whole }))
    }

    /// The metrics of each replicate of the examples: `[replicates, metrics]`.
    fn label_replicates(&self) -> Result<Vec<Vec<f64>>, Error> {
        let Scorer::Labels {
            metrics,
            classes,
            positive,
        } = self.scorer
        else {
            return Ok(Vec::new());
        };
        let fresh = MetricState::new(metrics, classes, positive)?;
        let values = |state: &MetricState| -> Vec<f64> {
            state.finish().into_iter().map(|(_, value)| value).collect()
        };
        if metrics.is_regression() {
            let mut states = vec![fresh; REPLICATES];
            for (at, (prediction, label)) in self.values.iter().enumerate() {
                let (prediction, label) = (Target::Value(*prediction), Target::Value(*label));
                for (state, times) in states.iter_mut().zip(weights([at as u64, 0])) {
                    state.observe_times(prediction, label, u64::from(times))?;
                }
            }
            return Ok(states.iter().map(values).collect());
        }
        // An accuracy alone needs none.
        if metrics.keys().len() == 1 && self.accuracy().is_some() {
            return Ok(Vec::new());
        }
        let cells: Vec<u64> = self.classes.keys().copied().collect();
        let all: Vec<u64> = self.classes.values().copied().collect();
        let replicates = counts(&all).map(|drawn| {
            let mut state = fresh.clone();
            for (cell, times) in cells.iter().zip(drawn) {
                let (label, prediction) = (cell / classes as u64, cell % classes as u64);
                let class = |at: u64| Target::Class(at as usize);
                state.observe_times(class(prediction), class(label), times)?;
            }
            Ok(values(&state))
        });
        replicates.collect()
    }
}

/// A metric of tokens that is `value` at this loss, at another one.
fn token_metric(name: &str, at: f64, value: f64, loss: f64) -> f64 {
    match name {
        BITS_PER_BYTE if loss > 0.0 => value * at / loss,
        BITS_PER_BYTE => value,
        _ => at.exp(),
    }
}

impl Evaluation {
    /// The 95 % interval of a metric by its full name, or of `loss`: lower and upper end; see [`Self::intervals`].
    #[must_use]
    pub fn interval(&self, name: &str) -> Option<[f64; 2]> {
        self.intervals.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use bertology_data::{MetricSet, correlation_interval};

    use super::*;
    use crate::random::Draws;

    fn tally(metrics: MetricSet, classes: usize) -> Tally {
        Tally::with_intervals(Scorer::Labels {
            metrics,
            classes,
            positive: Some(1),
        })
    }

    fn found(tally: &Tally) -> Evaluation {
        let sample = Sample::default();
        let mut evaluation = tally.finish().unwrap();
        evaluation.intervals = tally
            .intervals(&sample, &evaluation.metrics, evaluation.loss)
            .unwrap();
        evaluation
    }

    /// Of 1000 examples with 400 true positives, 60 false and 90 missed: accuracy by Wilson, F1 by the delta method, `F = 2a/(2a+e)` with
    /// `a` the share of true positives and `e` of both errors, drawn together.
    #[test]
    fn intervals_of_classes_have_closed_forms() {
        let mut tally = tally(MetricSet::AccuracyAndF1, 2);
        tally.classes = [(3, 400), (1, 60), (2, 90), (0, 450)].into();
        (tally.examples, tally.targets) = (1000, 1000);
        let evaluation = found(&tally);
        let [low, high] = evaluation.interval("acc").unwrap();
        let wilson = Proportion {
            part: 850,
            whole: 1000,
        };
        assert_eq!(Some((low, high)), wilson.interval());
        let (a, e, n) = (0.4_f64, 0.15_f64, 1000.0);
        let scale = (2.0 * a + e).powi(2);
        let (da, de) = (2.0 * e / scale, -2.0 * a / scale);
        let mean = da * a + de * e;
        let error = ((da * da * a + de * de * e - mean * mean) / n).sqrt();
        let f1 = 2.0 * a / (2.0 * a + e);
        assert!((evaluation.metrics.get("f1").unwrap() - f1).abs() < 1e-12);
        let [low, high] = evaluation.interval("f1").unwrap();
        // 200 replicates know the ends of an interval to about a tenth of its width.
        for (end, expected) in [(low, f1 - 1.96 * error), (high, f1 + 1.96 * error)] {
            assert!((end - expected).abs() < 0.6 * error, "{end} {expected}");
        }
        assert!(evaluation.interval("acc_and_f1").is_some());
    }

    /// Of values drawn from a normal distribution Fisher's interval is right.
    #[test]
    fn intervals_of_correlations_are_as_wide_as_fishers() {
        let mut tally = tally(MetricSet::Correlations, 0);
        let mut draws = Draws::new(5);
        for _ in 0..800 {
            let (x, noise) = (draws.normal(), draws.normal());
            tally.values.push((x, 0.6 * x + 0.8 * noise));
        }
        (tally.examples, tally.targets) = (800, 800);
        let evaluation = found(&tally);
        let r = evaluation.metrics.get("pearson").unwrap();
        let (fisher_low, fisher_high) = correlation_interval(r, 800).unwrap();
        let [low, high] = evaluation.interval("pearson").unwrap();
        let width = fisher_high - fisher_low;
        assert!((low - fisher_low).abs() < 0.2 * width, "{low} {fisher_low}");
        assert!(
            (high - fisher_high).abs() < 0.2 * width,
            "{high} {fisher_high}"
        );
    }

    /// A perplexity is the exponential of the loss, and so are its ends.
    #[test]
    fn intervals_of_perplexities_follow_the_loss() {
        let mut sample = Sample::default();
        for loss in [1.0, 2.0, 3.0, 4.0] {
            sample.loss(loss, 1);
        }
        let tally = Tally::with_intervals(Scorer::Tokens {
            objective: Objective::CausalLm { bos: false },
            text: true,
            may_lack: false,
        });
        let metrics = Metrics::new([("perplexity", 2.5_f64.exp()), ("bits_per_byte", 0.5)]);
        let found = tally.intervals(&sample, &metrics, 2.5).unwrap();
        let half = NORMAL_975 * (5.0_f64 / 3.0).sqrt() / 2.0;
        let [low, high] = found["perplexity"];
        assert!((low - (2.5 - half).exp()).abs() < 1e-9);
        assert!((high - (2.5 + half).exp()).abs() < 1e-9);
        assert!((found["bits_per_byte"][1] - 0.5 * (2.5 + half) / 2.5).abs() < 1e-12);
    }
}
