//! How well a model does: on labelled examples, or on text.
//!
//! # Intervals
//! Metrics come with 95 % intervals, as if the examples were drawn independently: of accuracy Wilson's, of the loss and what
//! follows from it `± 1.96` standard errors of a mean of examples (windows of a text, windows of a question) that have several targets,
//! of all others the middle 95 % of 200 replicates of the examples, sentences or questions (the bootstrap with Poisson's
//! weights, the same at every run).

use std::fmt;

use bertology_model::{HeadId, HeadMask, Sequence, SequenceOutput};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::drive::{Contribution, Lens, Progress, Study, Wants, Work, drive};
use crate::input::corpus::{ExampleItem, Truncation};
use crate::input::supply::{Fate, Supply};
use crate::studies::metric::Metric;
use crate::watch::Purpose;
use crate::{Corpus, Error, LoadedModel, Watch};

mod intervals;
mod masked;
mod tally;

pub use crate::objective::{BITS_PER_BYTE, LOSS, PERPLEXITY, PSEUDO_PERPLEXITY};
pub use intervals::Intervals;
pub(crate) use masked::Factors;
pub use masked::MaskedModel;
pub use tally::Reply;
pub(crate) use tally::{Answer, Scorer, Tally};

/// Metrics by name, in the order of the reference scripts. Serialises as an object; a metric that
/// is not a number (a correlation of constants) as `null`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// From names and values.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = (impl Into<String>, f64)>) -> Self {
        Self(values.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// A metric by its full name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter().find(|(key, _)| *key == name).map(|(_, v)| v)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, &value.is_finite().then_some(value))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Metrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of metrics")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics, A::Error> {
                let mut values = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Option<f64>>()? {
                    values.push((key, value.unwrap_or(f64::NAN)));
                }
                Ok(Metrics(values))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// How a model did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The task's metrics, all the better the higher they are. For labels of words `precision`, `recall` and `f1` of
    /// entities as seqeval has them, and the `accuracy` of words; for answers `exact_match` and `f1` in percent as
    /// SQuAD's script has them, where questions may have no answer also of both kinds apart. For language models, all the better
    /// the lower: `perplexity` (causal) or `pseudo_perplexity` (masked), which is `exp(loss)`, and for
    /// causal models on text `bits_per_byte`, the loss in bits of all predicted tokens over the bytes
    /// of text that they stand for.
    pub metrics: Metrics,
    /// The 95 % intervals of the metrics and of the loss; see the [module](self). Empty for what is found without a head.
    #[serde(default)]
    pub intervals: Intervals,
    /// Mean loss per target, in nats: cross-entropy per example (squared error for regression), or
    /// for language models per predicted token of the whole file, per labelled word, or per window of a question.
    pub loss: f64,
    /// Examples; for language models and questions windows.
    pub examples: u64,
    /// Targets: labels, or predicted tokens.
    pub targets: u64,
    /// Tokens that the model saw, special ones included.
    pub tokens: u64,
    /// What was cut to fit the maximum length.
    pub truncation: Truncation,
    /// `[labels, answers]`: how often each class was answered for each label; empty unless classes are scored.
    #[serde(skip)]
    pub confusion: Vec<u64>,
}

impl Evaluation {
    /// A metric by name; `acc` also means MNLI's, and `loss` is the mean loss.
    ///
    /// # Errors
    /// A name that these data are not scored with, and the names that they are.
    pub fn score(&self, corpus: &Corpus, name: &str) -> Result<f64, Error> {
        let metric = Metric::of(corpus, Some(name))?;
        if metric.name == LOSS {
            return Ok(self.loss);
        }
        Ok(self.metrics.get(&metric.name).unwrap_or(f64::NAN))
    }
}

/// Scores on their way: they can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationState {
    factors: Factors,
    tally: Tally,
}

impl EvaluationState {
    /// The same, nothing scored yet, with no intervals.
    pub(crate) fn without_intervals(&self) -> Self {
        Self {
            factors: self.factors.clone(),
            tally: self.tally.without_intervals(),
        }
    }

    /// Nothing scored yet.
    #[must_use]
    pub fn new(model: &MaskedModel, corpus: &Corpus) -> Self {
        Self {
            factors: model.factors().clone(),
            tally: Tally::with_intervals(Scorer::of(corpus)),
        }
    }
}

/// Hears what the model says.
#[derive(Debug)]
pub struct EvaluationLens {
    factors: Factors,
}

impl Lens for EvaluationLens {
    type Item = ExampleItem;
    type Part = Reply;

    fn wants(&self) -> Wants<'_> {
        Wants {
            outputs: true,
            masking: self.factors.get(),
            ..Wants::default()
        }
    }

    fn begin(&self, _: &ExampleItem, _: &Sequence) -> Result<Reply, Error> {
        Ok(Reply::default())
    }

    fn output(
        &self,
        item: &ExampleItem,
        part: &mut Reply,
        _: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        part.hear(item, output)
    }
}

impl Study for EvaluationState {
    type Lens = EvaluationLens;
    type Found = Evaluation;

    const PURPOSE: Purpose = Purpose::Evaluation;

    fn lens(&self) -> EvaluationLens {
        EvaluationLens {
            factors: self.factors.clone(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            factors: self.factors.clone(),
            tally: self.tally.empty(),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        self.factors.agrees(&fresh.factors)?;
        self.tally.agrees(&fresh.tally)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        if let Fate::Studied(found) = fate {
            self.tally
                .observe(found.item, found.tokens, &found.part.answer());
        }
        Ok(())
    }

    fn tell(found: &Contribution<'_, Self>, watch: &mut dyn Watch) {
        watch.example(&found.part.outcome(found.item, found.tokens));
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        self.tally.merge(&next.tally);
        Ok(())
    }

    fn finish(&self) -> Result<Evaluation, Error> {
        self.tally.finish()
    }
}

/// Scores a model, with a head mask or without; masked heads are not computed.
///
/// # Errors
/// A mask that does not fit; an example that cannot be put through the model; an interruption.
pub fn evaluate(
    model: &LoadedModel,
    corpus: &Corpus,
    mask: Option<&HeadMask>,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Evaluation, Error> {
    evaluate_some(model, corpus, corpus, mask, work, watch)
}

/// [`evaluate`] on `some` of a corpus, a [`Sample`](crate::input::sample::Sample) of it for example.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_some<S: Supply<Item = ExampleItem>>(
    model: &LoadedModel,
    corpus: &Corpus,
    some: &S,
    mask: Option<&HeadMask>,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Evaluation, Error> {
    let masked = MaskedModel::new(model, mask, false)?;
    let mut progress = Progress::new(EvaluationState::new(&masked, corpus));
    drive(masked.model(), some, &mut progress, work, watch)?;
    progress.study().finish()
}
