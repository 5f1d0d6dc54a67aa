//! Labelled examples for one model: read, mapped and encoded in constant memory, in file order.

use std::path::Path;

use bertology_checkpoint::{Problem, TaskHead};
use bertology_data::{
    DatasetInfo, Example, ExampleReader, LabelMap, LabelOrder, MetricSet, MetricState, Mode, Source,
};
use bertology_model::{Sequence, Target};
use bertology_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::{Error, LoadedModel};

/// The reference script's maximum length.
pub const DEFAULT_MAX_LENGTH: usize = 128;

/// Tokens put through the model at once, per thread.
pub const DEFAULT_BATCH_TOKENS: usize = 1024;

/// How examples become inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CorpusOptions {
    /// Longest input in tokens, special ones included; the longer text of a pair is cut first.
    /// `None`: the smaller of [`DEFAULT_MAX_LENGTH`] and the model's limit.
    pub max_length: Option<usize>,
    /// The order of MNLI's labels in a model that does not name them.
    pub label_order: LabelOrder,
    /// Tokens put through the model at once. Only speed and memory depend on it.
    pub batch_tokens: usize,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        Self {
            max_length: None,
            label_order: LabelOrder::Task,
            batch_tokens: DEFAULT_BATCH_TOKENS,
        }
    }
}

/// What was cut to fit the maximum length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// Examples that were cut.
    pub examples: u64,
    /// Tokens cut from them.
    pub tokens: u64,
}

/// Labelled examples as one model sees them.
///
/// Making it reads the file once to the end: every row and label is checked and counted before any
/// model runs. Nothing but the account of it is kept; each study reads the file again.
#[derive(Debug, Clone)]
pub struct Corpus {
    source: Source,
    labels: LabelMap,
    metrics: MetricSet,
    classes: usize,
    info: DatasetInfo,
    max_length: usize,
    batch_tokens: usize,
}

impl Corpus {
    /// Takes a file for a model, and checks all of it.
    ///
    /// # Errors
    /// A model without classifier or tokenizer, data without labels, labels that the model does not
    /// know, rows that are wrong, a maximum length that is too long.
    pub fn new(
        model: &LoadedModel,
        source: Source,
        options: &CorpusOptions,
    ) -> Result<Self, Error> {
        let arch = model.architecture();
        let path = || model.checkpoint().folder().to_owned();
        let (classes, problem) = match arch.head {
            TaskHead::SequenceClassification {
                num_labels,
                problem,
            } => (num_labels, problem),
            ref other => {
                return Err(Error::NoClassifier {
                    path: path(),
                    found: other.description(),
                });
            }
        };
        model.tokenizer()?;
        let max_length = match options.max_length {
            None => model.max_length().min(DEFAULT_MAX_LENGTH),
            given => model.checked_length(given)?,
        };
        if options.batch_tokens == 0 {
            return Err(Error::Option {
                option: "the number of tokens in a batch",
                value: "0".to_owned(),
                reason: "give at least 1",
            });
        }
        if !source.has_labels() {
            return Err(Error::NoLabels {
                path: source.path().to_owned(),
            });
        }
        let labels = LabelMap::new(&arch.labels, source.task(), options.label_order)?;
        let data = match (labels.mode(), problem) {
            (Mode::Classification, Problem::SingleLabel)
            | (Mode::Regression, Problem::Regression) => None,
            (Mode::Classification, _) => Some("class"),
            (Mode::Regression, _) => Some("number"),
        };
        if let Some(data) = data {
            return Err(Error::WrongProblem {
                path: path(),
                data,
                found: arch.head.description(),
            });
        }
        let metrics = source
            .task()
            .map_or_else(|| MetricSet::for_outputs(classes), MetricSet::for_task);
        MetricState::new(metrics, classes, labels.positive())?;
        let mut reader = source.open()?;
        for example in reader.by_ref() {
            labels.target(&example?, source.path())?;
        }
        Ok(Self {
            info: reader.finish()?,
            source,
            labels,
            metrics,
            classes,
            max_length,
            batch_tokens: options.batch_tokens,
        })
    }

    /// How many examples there are.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.info.examples
    }

    /// The account of the file, fit for a run's record.
    #[must_use]
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// The file and how its rows are read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the labels mean to the model.
    #[must_use]
    pub fn labels(&self) -> &LabelMap {
        &self.labels
    }

    /// The metrics that these data are scored with.
    #[must_use]
    pub fn metrics(&self) -> MetricSet {
        self.metrics
    }

    /// Outputs of the model: classes, or 1 for regression.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Longest input in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The first `count` examples as inputs, for timing and comparison.
    ///
    /// # Errors
    /// What reading and encoding refuse.
    pub fn sequences(&self, model: &LoadedModel, count: usize) -> Result<Vec<Sequence>, Error> {
        let tokenizer = model.tokenizer()?;
        let examples = self.source.open()?.take(count).enumerate();
        examples
            .map(|(index, example)| Ok(self.prepare(tokenizer, index as u64, &example?)?.sequence))
            .collect()
    }

    /// An empty score of these data.
    pub(crate) fn metric_state(&self) -> Result<MetricState, Error> {
        let positive = self.labels.positive();
        Ok(MetricState::new(self.metrics, self.classes, positive)?)
    }

    /// Jobs for the workers, from example `skip` on.
    pub(crate) fn jobs(&self, skip: u64) -> Result<Jobs<'_>, Error> {
        let mut reader = self.source.open()?;
        for example in reader.by_ref().take(skip as usize) {
            example?;
        }
        Ok(Jobs {
            corpus: self,
            reader,
            next: skip,
        })
    }

    /// Encodes an example and maps its label.
    pub(crate) fn prepare(
        &self,
        tokenizer: &Tokenizer,
        index: u64,
        example: &Example,
    ) -> Result<Prepared, Error> {
        let encoding = tokenizer
            .encode(
                &example.text,
                example.pair.as_deref(),
                Some(self.max_length),
            )
            .map_err(|error| self.blame(example.line, error))?;
        let label = self.labels.target(example, self.source.path())?;
        Ok(Prepared {
            index,
            line: example.line,
            truncated: encoding.truncated,
            sequence: LoadedModel::sequence(encoding),
            label,
        })
    }

    /// Says in which line of the file something went wrong.
    pub(crate) fn blame(&self, line: u64, error: impl Into<Error>) -> Error {
        Error::Example {
            path: self.source.path().to_owned(),
            line,
            source: Box::new(error.into()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.source.path()
    }

    pub(crate) fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }
}

/// An example as the model takes it.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) index: u64,
    pub(crate) line: u64,
    pub(crate) sequence: Sequence,
    pub(crate) label: bertology_data::Target,
    pub(crate) truncated: usize,
}

impl Prepared {
    pub(crate) fn target(&self) -> Target {
        match self.label {
            bertology_data::Target::Class(class) => Target::Label(class),
            bertology_data::Target::Value(value) => Target::Value(value),
        }
    }
}

/// Examples not yet encoded, about a batch at a time: encoding is for the workers.
#[derive(Debug)]
pub(crate) struct Jobs<'a> {
    corpus: &'a Corpus,
    reader: ExampleReader,
    next: u64,
}

/// What one worker takes: examples with their place in the file.
pub(crate) type Job = Result<Vec<(u64, Example)>, Error>;

impl Iterator for Jobs<'_> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        let mut job = Vec::new();
        let mut tokens = 0;
        while tokens < self.corpus.batch_tokens {
            match self.reader.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error.into())),
                Some(Ok(example)) => {
                    // English has about four bytes a token; a worker splits what was more.
                    let bytes = example.text.len() + example.pair.as_ref().map_or(0, String::len);
                    tokens += (3 + bytes / 4).min(self.corpus.max_length);
                    job.push((self.next, example));
                    self.next += 1;
                }
            }
        }
        (!job.is_empty()).then_some(Ok(job))
    }
}
