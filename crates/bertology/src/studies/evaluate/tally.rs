//! What a pass has found so far: predictions against labels, losses and counts.

use std::collections::BTreeMap;

use bertology_data::{
    AnswerScore, AnswerSums, MetricError, MetricSet, MetricState, SpanGuess, TagCounts, Target,
    argmax,
};
use bertology_model::SequenceOutput;
use serde::{Deserialize, Serialize};

use super::intervals::{Intervals, Sample};
use super::{BITS_PER_BYTE, Evaluation, Metrics};
use crate::input::corpus::{Asked, ExampleItem, Gold, Tagged, Truncation};
use crate::objective::Objective;
use crate::watch::{Outcome, Verdict};
use crate::{Corpus, Error};

/// How predictions and losses become metrics; a part of the state, so that a result needs no data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Scorer {
    Labels {
        metrics: MetricSet,
        classes: usize,
        positive: Option<usize>,
    },
    Tokens {
        objective: Objective,
        /// Whether the tokens stand for bytes of text.
        text: bool,
        /// Whether questions may have no answer.
        may_lack: bool,
    },
}

impl Scorer {
    pub(crate) fn of(corpus: &Corpus) -> Self {
        match (corpus.metrics(), corpus.labels()) {
            (Some(metrics), Some(labels)) => Self::Labels {
                metrics,
                classes: corpus.classes(),
                positive: labels.positive(),
            },
            _ => Self::Tokens {
                objective: corpus.objective(),
                text: !corpus.source().has_token_ids(),
                may_lack: corpus.may_lack_answers(),
            },
        }
    }
}

/// Prediction and loss of one example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// For labelled examples.
    pub(crate) verdict: Option<Verdict>,
    /// For others that have more than a loss.
    said: Said,
    pub(crate) loss: f64,
}

/// What is predicted besides labels.
#[derive(Debug, Clone, Copy)]
enum Said {
    Nothing,
    /// How the labels of a sentence's words were found.
    Tags(TagCounts),
    /// The answer as this window has it.
    Span(SpanGuess),
}

impl Answer {
    fn of_loss(loss: f64) -> Self {
        Self {
            verdict: None,
            said: Said::Nothing,
            loss,
        }
    }

    /// With the prediction for an example, if every number is finite.
    pub(crate) fn of(output: &SequenceOutput<f32>, item: &ExampleItem) -> Result<Self, Error> {
        let (logits, loss) = (&output.logits, output.loss.unwrap_or(f64::NAN));
        if !loss.is_finite() {
            return Err(Error::NotFinite {
                what: "loss".to_owned(),
                value: loss,
            });
        }
        let scores = output.token_logits.as_deref().unwrap_or_default();
        let said = match &item.gold {
            Gold::Nothing => Said::Nothing,
            Gold::Tags(words) => Said::Tags(tags(scores, words)?),
            Gold::Answer(asked) => Said::Span(SpanGuess::of(scores, &asked.places)),
        };
        let prediction = match item.label {
            None => {
                return Ok(Self {
                    said,
                    ..Self::of_loss(loss)
                });
            }
            Some(Target::Class(_)) => Target::Class(argmax(logits)?),
            Some(Target::Value(_)) => {
                let value = logits.first();
                Target::Value(f64::from(*value.ok_or(MetricError::NoLogits)?))
            }
        };
        let verdict = item.label.map(|label| Verdict { label, prediction });
        Ok(Self {
            verdict,
            said,
            loss,
        })
    }
}

/// The likeliest class of each labelled word, compared with its label.
fn tags(scores: &[f32], words: &Tagged) -> Result<TagCounts, Error> {
    let classes = words.set.classes();
    let found = words.tokens.iter().map(|token| {
        let of_token = scores.get(token * classes..(token + 1) * classes);
        // The engine has counted the classes in u32.
        argmax(of_token.unwrap_or_default()).map(|class| class as u32)
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok(words.set.compare(&words.classes, &found))
}

/// What the model said to one example.
#[derive(Debug, Default)]
pub struct Reply {
    answer: Option<Answer>,
    logits: Vec<f32>,
}

impl Reply {
    pub(crate) fn hear(
        &mut self,
        item: &ExampleItem,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        self.answer = Some(Answer::of(output, item)?);
        self.logits.clone_from(&output.logits);
        Ok(())
    }

    /// Without an output, which no pass leaves out, nothing was said.
    pub(crate) fn answer(&self) -> Answer {
        self.answer.unwrap_or(Answer::of_loss(f64::NAN))
    }

    pub(crate) fn outcome(&self, item: &ExampleItem, tokens: usize) -> Outcome<'_> {
        let Answer { verdict, loss, .. } = self.answer();
        Outcome {
            index: item.index,
            line: item.line,
            window: item.window,
            verdict,
            logits: &self.logits,
            loss,
            targets: item.targets,
            tokens,
            truncated: item.truncated,
        }
    }
}

/// Predictions against labels, losses, and the counts of a pass: a partial result that can be saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(super) scorer: Scorer,
    pub(crate) examples: u64,
    pub(crate) tokens: u64,
    pub(crate) truncation: Truncation,
    /// Labels or tokens predicted.
    pub(super) targets: u64,
    /// Sum over the targets.
    loss: f64,
    /// Bytes of text that the predicted tokens stand for.
    bytes: u64,
    /// `label · classes + prediction` → examples.
    pub(super) classes: BTreeMap<u64, u64>,
    /// `(prediction, label)`, regression only: ranks need every pair.
    pub(super) values: Vec<(f64, f64)>,
    /// Labels of words only.
    tags: TagCounts,
    /// Answers to questions only.
    answers: AnswerSums,
    /// The windows so far of a question that has more: no unit ends within one.
    #[serde(skip)]
    asked: Option<SpanGuess>,
    /// Where intervals are wanted.
    sample: Option<Sample>,
}

impl Tally {
    /// Nothing seen yet.
    pub(crate) fn new(scorer: Scorer) -> Self {
        Self {
            scorer,
            examples: 0,
            tokens: 0,
            truncation: Truncation::default(),
            targets: 0,
            loss: 0.0,
            bytes: 0,
            classes: BTreeMap::new(),
            values: Vec::new(),
            tags: TagCounts::default(),
            answers: AnswerSums::default(),
            asked: None,
            sample: None,
        }
    }

    /// With the intervals of what it finds.
    pub(crate) fn with_intervals(scorer: Scorer) -> Self {
        Self {
            sample: Some(Sample::default()),
            ..Self::new(scorer)
        }
    }

    /// The same, nothing seen yet, with no intervals.
    pub(crate) fn without_intervals(&self) -> Self {
        Self::new(self.scorer)
    }

    pub(crate) fn empty(&self) -> Self {
        Self {
            sample: self.sample.as_ref().map(|_| Sample::default()),
            ..Self::new(self.scorer)
        }
    }

    /// Whether a unit may be several examples: the windows of a question.
    pub(crate) fn of_windows(&self) -> bool {
        let objective = match self.scorer {
            Scorer::Tokens { objective, .. } => Some(objective),
            Scorer::Labels { .. } => None,
        };
        objective == Some(Objective::Answers)
    }

    /// Refuses a saved part that was scored otherwise.
    pub(crate) fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        Error::unless_possible(
            self.sample.is_some() == fresh.sample.is_some()
                && self.sample.as_ref().is_none_or(Sample::possible),
            "sample",
            "no corpus gives its sums",
        )?;
        if self.scorer == fresh.scorer {
            return self.check();
        }
        let say = |tally: &Self| format!("{:?}", tally.scorer);
        Error::state_mismatch("what the model is scored for", say(self), say(fresh))
    }

    /// Refuses counts that no corpus gives.
    fn check(&self) -> Result<(), Error> {
        let Scorer::Labels { classes, .. } = self.scorer else {
            return Error::unless_possible(
                self.classes.is_empty()
                    && self.values.is_empty()
                    && self.tags.possible()
                    && self.tags.words <= self.targets
                    && self.answers.possible()
                    && self.answers.questions() <= self.examples,
                "tally",
                "no corpus gives its counts",
            );
        };
        let cells = (classes as u64).saturating_mul(classes as u64);
        let counts = self.classes.values().copied();
        let mut counted = counts.chain([self.values.len() as u64]);
        let answers = counted.try_fold(0_u64, |sum, count| sum.checked_add(count));
        Error::unless_possible(
            self.classes.keys().all(|cell| *cell < cells)
                && answers == Some(self.examples)
                && self.targets == self.examples,
            "tally",
            "there are not as many answers as examples",
        )
    }

    pub(crate) fn observe(&mut self, item: &ExampleItem, tokens: usize, answer: &Answer) {
        self.examples += 1;
        self.tokens += tokens as u64;
        self.truncation.count(item.truncated);
        self.targets += item.targets as u64;
        self.loss += answer.loss * item.targets as f64;
        self.bytes += item.bytes as u64;
        if let Some(sample) = &mut self.sample {
            sample.loss(answer.loss, item.targets);
        }
        match (answer.said, &item.gold) {
            (Said::Tags(counts), _) => {
                self.tags.add(counts);
                if let Some(sample) = &mut self.sample {
                    sample.tags(item.index, counts);
                }
            }
            (Said::Span(window), Gold::Answer(asked)) => self.hear(item.index, window, asked),
            _ => {}
        }
        let Some(verdict) = answer.verdict else {
            return;
        };
        match (verdict.prediction, verdict.label, self.scorer) {
            (Target::Class(prediction), Target::Class(label), Scorer::Labels { classes, .. }) => {
                let cell = (label * classes + prediction) as u64;
                *self.classes.entry(cell).or_default() += 1;
            }
            (Target::Value(prediction), Target::Value(label), _) => {
                self.values.push((prediction, label));
            }
            // A prediction is made of the label's kind.
            _ => {}
        }
    }

    /// One more window of a question; with the last one the answer is complete.
    fn hear(&mut self, place: u64, window: SpanGuess, asked: &Asked) {
        let guess = self.asked.take();
        let guess = guess.map_or(window, |before| before.and(window));
        if !asked.last {
            self.asked = Some(guess);
            return;
        }
        let answer = guess.answer(&asked.question.text, asked.may_lack);
        let given = &asked.question.answers;
        let score = AnswerScore::of(&answer, given, asked.may_lack);
        let mut found = AnswerSums::default();
        found.observe(score, !given.given.is_empty());
        self.answers.add(found);
        if let Some(sample) = &mut self.sample {
            sample.answer(place, found);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.examples += other.examples;
        self.tokens += other.tokens;
        self.truncation.add(other.truncation);
        self.targets += other.targets;
        self.loss += other.loss;
        self.bytes += other.bytes;
        for (cell, count) in &other.classes {
            *self.classes.entry(*cell).or_default() += count;
        }
        self.values.extend_from_slice(&other.values);
        self.tags.add(other.tags);
        self.answers.add(other.answers);
        if let (Some(mine), Some(theirs)) = (&mut self.sample, &other.sample) {
            mine.merge(theirs);
        }
    }

    pub(crate) fn finish(&self) -> Result<Evaluation, Error> {
        if self.examples == 0 {
            return Err(Error::NoExamples);
        }
        let loss = self.loss / self.targets as f64;
        let metrics = match self.scorer {
            Scorer::Labels {
                metrics,
                classes,
                positive,
            } => {
                let state = MetricState::new(metrics, classes, positive)?;
                self.label_metrics(state, classes)?
            }
            Scorer::Tokens {
                objective: Objective::Tags,
                ..
            } => Metrics::new(TagCounts::METRICS.iter().copied().zip(self.tags.metrics())),
            Scorer::Tokens {
                objective: Objective::Answers,
                may_lack,
                ..
            } => {
                let names = match may_lack {
                    true => AnswerSums::METRICS_WITH_NONE,
                    false => AnswerSums::METRICS,
                };
                Metrics::new(names.iter().copied().zip(self.answers.metrics()))
            }
            Scorer::Tokens {
                objective,
                text,
                may_lack,
            } => self.token_metrics(loss, objective.own_metrics(text, may_lack)),
        };
        let intervals = match &self.sample {
            Some(sample) => self.intervals(sample, &metrics, loss)?,
            None => Intervals::new(),
        };
        Ok(Evaluation {
            metrics,
            intervals,
            loss,
            examples: self.examples,
            targets: self.targets,
            tokens: self.tokens,
            truncation: self.truncation,
            confusion: self.confusion(),
        })
    }

    fn confusion(&self) -> Vec<u64> {
        match self.scorer {
            Scorer::Labels {
                metrics, classes, ..
            } if !metrics.is_regression() => {
                let cells = 0..(classes * classes) as u64;
                let count = |cell| self.classes.get(&cell).copied().unwrap_or(0);
                cells.map(count).collect()
            }
            _ => Vec::new(),
        }
    }

    fn token_metrics(&self, loss: f64, names: &[&'static str]) -> Metrics {
        let values = names.iter().skip(1).map(|name| {
            let value = match *name {
                BITS_PER_BYTE => self.loss / std::f64::consts::LN_2 / self.bytes as f64,
                _ => loss.exp(),
            };
            (*name, value)
        });
        Metrics::new(values)
    }

    fn label_metrics(&self, mut state: MetricState, classes: usize) -> Result<Metrics, Error> {
        let classes = classes as u64;
        for (cell, count) in &self.classes {
            let prediction = Target::Class((cell % classes) as usize);
            let label = Target::Class((cell / classes) as usize);
            state.observe_times(prediction, label, *count)?;
        }
        for (prediction, label) in &self.values {
            state.observe(Target::Value(*prediction), Target::Value(*label))?;
        }
        Ok(Metrics::new(state.finish()))
    }
}
