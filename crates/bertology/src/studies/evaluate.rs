//! How well a model does: on labelled examples, or on text.

use std::collections::BTreeMap;
use std::fmt;

use bertology_data::{MetricState, Target};
use bertology_model::{HeadMask, Masking};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::drive::sweep::{Accumulate, Answer, Said, Sweep, Wanted};
use crate::input::corpus::Truncation;
use crate::input::objective::Objective;
use crate::studies::masking::Metric;
use crate::watch::Pass;
use crate::{Corpus, Error, LoadedModel, Watch};

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

/// Predictions against labels, losses, and the counts of a pass: a partial result that can be saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) examples: u64,
    pub(crate) tokens: u64,
    pub(crate) truncation: Truncation,
    /// Labels or tokens predicted.
    targets: u64,
    /// Sum over the targets.
    loss: f64,
    /// Bytes of text that the predicted tokens stand for.
    bytes: u64,
    /// `label · classes + prediction` → examples.
    classes: BTreeMap<u64, u64>,
    /// `(prediction, label)`, regression only: ranks need every pair.
    values: Vec<(f64, f64)>,
}

impl Tally {
    pub(crate) fn observe(&mut self, answer: &Answer, classes: usize) {
        self.observe_as(answer, &answer.said, classes);
    }

    /// An answer with another prediction and loss.
    pub(crate) fn observe_as(&mut self, answer: &Answer, said: &Said, classes: usize) {
        self.examples += 1;
        self.tokens += answer.tokens as u64;
        if answer.truncated > 0 {
            self.truncation.examples += 1;
            self.truncation.tokens += answer.truncated as u64;
        }
        self.targets += answer.targets as u64;
        self.loss += said.loss * answer.targets as f64;
        self.bytes += answer.bytes as u64;
        let Some(verdict) = said.verdict else {
            return;
        };
        match (verdict.prediction, verdict.label) {
            (Target::Class(prediction), Target::Class(label)) => {
                let cell = (label * classes + prediction) as u64;
                *self.classes.entry(cell).or_default() += 1;
            }
            (Target::Value(prediction), Target::Value(label)) => {
                self.values.push((prediction, label));
            }
            // A prediction is made of the label's kind.
            _ => {}
        }
    }

    /// Refuses a saved part of more examples than there are.
    pub(crate) fn check_fits(&self, corpus: &Corpus) -> Result<(), Error> {
        if self.examples <= corpus.examples() {
            return Ok(());
        }
        Error::state_mismatch(
            "the number of examples",
            format!("at least {}", self.examples),
            corpus.examples().to_string(),
        )
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.examples += other.examples;
        self.tokens += other.tokens;
        self.truncation.examples += other.truncation.examples;
        self.truncation.tokens += other.truncation.tokens;
        self.targets += other.targets;
        self.loss += other.loss;
        self.bytes += other.bytes;
        for (cell, count) in &other.classes {
            *self.classes.entry(*cell).or_default() += count;
        }
        self.values.extend_from_slice(&other.values);
    }

    pub(crate) fn finish(&self, corpus: &Corpus) -> Result<Evaluation, Error> {
        if self.examples == 0 {
            return Err(Error::NoExamples);
        }
        let loss = self.loss / self.targets as f64;
        let metrics = match corpus.metric_state()? {
            Some(state) => self.label_metrics(state, corpus.classes())?,
            None => self.token_metrics(loss, corpus),
        };
        Ok(Evaluation {
            metrics,
            loss,
            examples: self.examples,
            targets: self.targets,
            tokens: self.tokens,
            truncation: self.truncation,
        })
    }

    fn token_metrics(&self, loss: f64, corpus: &Corpus) -> Metrics {
        let values = token_metrics(corpus).iter().skip(1).map(|name| {
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
            for _ in 0..*count {
                state.observe(prediction, label)?;
            }
        }
        for (prediction, label) in &self.values {
            state.observe(Target::Value(*prediction), Target::Value(*label))?;
        }
        Ok(Metrics::new(state.finish()))
    }
}

/// How a model did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The task's metrics, all the better the higher they are. For language models, all the better
    /// the lower: `perplexity` (causal) or `pseudo_perplexity` (masked), which is `exp(loss)`, and for
    /// causal models on text `bits_per_byte`, the loss in bits of all predicted tokens over the bytes
    /// of text that they stand for.
    pub metrics: Metrics,
    /// Mean loss per target, in nats: cross-entropy per example (squared error for regression), or
    /// for language models per predicted token of the whole file.
    pub loss: f64,
    /// Examples; for language models windows.
    pub examples: u64,
    /// Targets: labels, or predicted tokens.
    pub targets: u64,
    /// Tokens that the model saw, special ones included.
    pub tokens: u64,
    /// What was cut to fit the maximum length.
    pub truncation: Truncation,
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

/// The name under which the mean loss can be asked for like a metric.
pub const LOSS: &str = "loss";

/// `exp` of the loss of a causal language model: the perplexity of its text.
pub const PERPLEXITY: &str = "perplexity";

/// `exp` of the loss of a masked language model: over the tokens selected, each given a text of which
/// parts are hidden. It is no probability of the text, and comparable only under one masking.
pub const PSEUDO_PERPLEXITY: &str = "pseudo_perplexity";

/// The loss of all tokens predicted by a causal language model in bits, over the bytes of text that
/// they stand for: comparable between vocabularies.
pub const BITS_PER_BYTE: &str = "bits_per_byte";

/// What a language model is scored with, in order, the loss first.
pub(crate) fn token_metrics(corpus: &Corpus) -> &'static [&'static str] {
    match corpus.objective() {
        Objective::CausalLm { .. } if corpus.source().has_token_ids() => &[LOSS, PERPLEXITY],
        Objective::CausalLm { .. } => &[LOSS, PERPLEXITY, BITS_PER_BYTE],
        _ => &[LOSS, PSEUDO_PERPLEXITY],
    }
}

/// A model ready for a mask: masked heads taken out, other factors applied in the pass.
pub(crate) struct Masked<'a> {
    pub(crate) model: LoadedModel,
    mask: Option<&'a HeadMask>,
}

impl<'a> Masked<'a> {
    pub(crate) fn new(
        model: &LoadedModel,
        mask: Option<&'a HeadMask>,
        compute_masked: bool,
    ) -> Result<Self, Error> {
        let Some(mask) = mask else {
            return Ok(Self {
                model: model.clone(),
                mask: None,
            });
        };
        mask.check(model.model())?;
        let model = if compute_masked {
            model.clone()
        } else {
            model.without_heads(mask.masked())?
        };
        let trivial = model.model().heads().all(|id| mask.get(id) == 1.0);
        Ok(Self {
            model,
            mask: (!trivial).then_some(mask),
        })
    }

    pub(crate) fn masking(&self) -> Masking<'_> {
        self.mask.map_or(Masking::None, Masking::Shared)
    }
}

/// Scores a model, with a head mask or without; masked heads are not computed.
///
/// `threads` 0 means all that the machine offers; the result does not depend on it.
///
/// # Errors
/// A mask that does not fit; an example that cannot be put through the model; an interruption.
pub fn evaluate(
    model: &LoadedModel,
    corpus: &Corpus,
    mask: Option<&HeadMask>,
    threads: usize,
    watch: &mut dyn Watch,
) -> Result<Evaluation, Error> {
    let masked = Masked::new(model, mask, false)?;
    watch.begin(Pass::Evaluation, 0, corpus.examples());
    evaluate_quietly(&masked, corpus, threads, watch)
}

/// [`evaluate`] without announcing the pass.
pub(crate) fn evaluate_quietly(
    masked: &Masked<'_>,
    corpus: &Corpus,
    threads: usize,
    watch: &mut dyn Watch,
) -> Result<Evaluation, Error> {
    let sweep = Sweep {
        model: &masked.model,
        corpus,
        masking: masked.masking(),
        wanted: Wanted::Answers,
        threads,
        skip: 0,
    };
    let mut tallied = Tallied {
        tally: Tally::default(),
        classes: corpus.classes(),
    };
    sweep.run(watch, &mut tallied)?;
    tallied.tally.finish(corpus)
}

/// A tally while a pass fills it.
struct Tallied {
    tally: Tally,
    classes: usize,
}

impl Accumulate for Tallied {
    fn add(&mut self, answer: &Answer) {
        self.tally.observe(answer, self.classes);
    }
}
