//! Data for one model: read, given targets and encoded in constant memory, in file order.
//!
//! An *example* is what the model is given at once: a row of the file for labels; for language models a
//! window of a document, which is the whole document where it fits. See [`crate::input::objective`] for what
//! is asked of the model and [`crate::input::windows`] for documents that do not fit.

use std::path::Path;

use bertology_checkpoint::{Architecture, Problem, TaskHead};
use bertology_data::{
    DatasetInfo, Example, LabelMap, LabelOrder, MetricSet, MetricState, Mode, Source,
};
use bertology_model::{PackedBatch, Sequence, Target};
use bertology_tokenizer::Tokenizer;

use crate::input::objective::Objective;
use crate::input::windows::TooLong;
use crate::studies::evaluate::{LOSS, token_metrics};
use crate::{Error, LoadedModel};

pub use counts::{DocumentCounts, Truncation};
pub(crate) use documents::{hiding, never_predicted, special};
pub(crate) use jobs::{Job, Jobs};

mod counts;
mod documents;
mod jobs;

use documents::{TokenPlan, WindowReader};

/// The reference script's maximum length for labelled examples.
pub const DEFAULT_MAX_LENGTH: usize = 128;

/// Tokens put through the model at once, per thread: more make the products a little faster (measured: 2 % at
/// 1024, 6 % less at 512) and cost memory, for a backward pass about 40 bytes a token for every number of the
/// hidden size and every layer.
pub const DEFAULT_BATCH_TOKENS: usize = 704;

/// How data become inputs and targets.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct CorpusOptions {
    /// What the model is scored for; `None`: what its head was made for ([`Objective::of`]).
    pub objective: Option<Objective>,
    /// Longest input in tokens, special ones included. `None`: for labels the smaller of
    /// [`DEFAULT_MAX_LENGTH`] and the model's limit, for language models the model's limit.
    pub max_length: Option<usize>,
    /// What is done with longer inputs. `None`: labelled examples are cut (the longer text of a pair
    /// first), documents are read through windows.
    pub too_long: Option<TooLong>,
    /// Tokens from the beginning of one window to that of the next. `None`: half of what a window
    /// holds of a document (the maximum length less special tokens), rounded down, at least 1.
    pub stride: Option<usize>,
    /// The order of MNLI's labels in a model that does not name them.
    pub label_order: LabelOrder,
    /// Tokens put through the model at once. Only speed and memory depend on it.
    pub batch_tokens: usize,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        Self {
            objective: None,
            max_length: None,
            too_long: None,
            stride: None,
            label_order: LabelOrder::Task,
            batch_tokens: DEFAULT_BATCH_TOKENS,
        }
    }
}

/// A data file as one model sees it.
///
/// Making it reads the file once to the end: every row, label and token id is checked and counted
/// before any model runs. Nothing but the account of it is kept; each study reads the file again.
#[derive(Debug, Clone)]
pub struct Corpus {
    source: Source,
    objective: Objective,
    scoring: Scoring,
    info: DatasetInfo,
    examples: u64,
    max_length: usize,
    too_long: TooLong,
    batch_tokens: usize,
}

/// What the answers are compared with.
#[derive(Debug, Clone)]
enum Scoring {
    Labels {
        labels: LabelMap,
        metrics: MetricSet,
        classes: usize,
    },
    Tokens {
        plan: TokenPlan,
        counts: DocumentCounts,
    },
}

impl Corpus {
    /// Takes a file for a model, and checks all of it.
    ///
    /// # Errors
    /// A model whose head does not fit the objective or that lacks a tokenizer, data without labels or
    /// with labels that the model does not know, rows and token ids that are wrong, a maximum length
    /// or stride out of range, inputs that are too long where that is an error, documents of which
    /// none has a token to predict.
    pub fn new(
        model: &LoadedModel,
        source: Source,
        options: &CorpusOptions,
    ) -> Result<Self, Error> {
        let head = &model.architecture().head;
        let labels = source.has_labels().then_some(Objective::Labels);
        let objective = match options.objective.or(Objective::of(head)).or(labels) {
            Some(objective) => objective,
            None => {
                return Err(Error::NoObjective {
                    path: model.checkpoint().folder().to_owned(),
                    found: head.description(),
                });
            }
        };
        if options.batch_tokens == 0 {
            return Err(Error::Option {
                option: "the number of tokens in a batch",
                value: "0".to_owned(),
                reason: "give at least 1",
            });
        }
        match objective {
            Objective::Labels => Self::labelled(model, source, options),
            _ => Self::unlabelled(model, source, objective, options),
        }
    }

    fn labelled(
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
        let tokenizer = model.tokenizer()?;
        let max_length = match options.max_length {
            None => model.max_length().min(DEFAULT_MAX_LENGTH),
            given => model.checked_length(given)?,
        };
        let refuse = |option, value: String, reason| {
            Err(Error::Option {
                option,
                value,
                reason,
            })
        };
        let too_long = options.too_long.unwrap_or(TooLong::Cut);
        if too_long == TooLong::Window {
            let reason = "a label belongs to a whole text, and its windows have none of their own; cut \
                          texts that are too long, or make them an error";
            return refuse("what is done with long texts", "window".to_owned(), reason);
        }
        if let Some(stride) = options.stride {
            let reason = "windows alone have a stride, and labelled texts are not read through windows; \
                          give no stride";
            return refuse("the stride", stride.to_string(), reason);
        }
        if !source.has_labels() {
            return Err(Error::NoLabels {
                path: source.path().to_owned(),
                model: path(),
                found: arch.head.description(),
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
            let example = example?;
            labels.target(&example, source.path())?;
            if too_long == TooLong::Error {
                check_length(tokenizer, &example, max_length)
                    .map_err(|error| blame(&source, example.line, error))?;
            }
        }
        let info = reader.finish()?;
        Ok(Self {
            examples: info.examples,
            info,
            source,
            objective: Objective::Labels,
            scoring: Scoring::Labels {
                labels,
                metrics,
                classes,
            },
            max_length,
            too_long,
            batch_tokens: options.batch_tokens,
        })
    }

    fn unlabelled(
        model: &LoadedModel,
        source: Source,
        objective: Objective,
        options: &CorpusOptions,
    ) -> Result<Self, Error> {
        let head = &model.architecture().head;
        if !objective.fits(head) {
            return Err(Error::WrongObjective {
                path: model.checkpoint().folder().to_owned(),
                found: head.description(),
                objective: objective.description(),
            });
        }
        if source.has_labels() {
            return Err(Error::LabelsForLm {
                path: source.path().to_owned(),
                found: head.description(),
            });
        }
        let max_length = model.checked_length(options.max_length)?;
        let too_long = options.too_long.unwrap_or(TooLong::Window);
        let plan = TokenPlan::new(
            model,
            &objective,
            source.has_token_ids(),
            max_length,
            too_long,
            options.stride,
        )?;
        let mut windows = WindowReader::new(&source, &plan, model)?;
        for window in windows.by_ref() {
            window?;
        }
        let counts = windows.counts;
        if counts.windows == 0 {
            return Err(Error::NoTargets {
                path: source.path().to_owned(),
                documents: counts.documents,
            });
        }
        Ok(Self {
            info: windows.into_reader().finish()?,
            examples: counts.windows,
            source,
            objective,
            scoring: Scoring::Tokens { plan, counts },
            max_length,
            too_long,
            batch_tokens: options.batch_tokens,
        })
    }

    /// How many examples there are: rows, or for language models windows.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// What the model is scored for.
    #[must_use]
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The account of the file, fit for a run's record.
    #[must_use]
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// What became of the documents; nothing for labelled examples.
    #[must_use]
    pub fn documents(&self) -> Option<&DocumentCounts> {
        match &self.scoring {
            Scoring::Labels { .. } => None,
            Scoring::Tokens { counts, .. } => Some(counts),
        }
    }

    /// The file and how its rows are read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the labels mean to the model; nothing for language models.
    #[must_use]
    pub fn labels(&self) -> Option<&LabelMap> {
        match &self.scoring {
            Scoring::Labels { labels, .. } => Some(labels),
            Scoring::Tokens { .. } => None,
        }
    }

    /// The metrics that labels are scored with; nothing for language models, which have the loss and
    /// what follows from it (see [`Evaluation`](crate::Evaluation)).
    #[must_use]
    pub fn metrics(&self) -> Option<MetricSet> {
        match &self.scoring {
            Scoring::Labels { metrics, .. } => Some(*metrics),
            Scoring::Tokens { .. } => None,
        }
    }

    /// Every name that a metric can be asked for by, the one that decides by default first; `loss`
    /// among them.
    #[must_use]
    pub fn metric_names(&self) -> Vec<&'static str> {
        let Some(metrics) = self.metrics() else {
            return token_metrics(self).to_vec();
        };
        let mut names = metrics.keys().to_vec();
        names.sort_by_key(|name| *name != metrics.default_key());
        names.push(LOSS);
        names
    }

    /// Outputs of the model for a sequence: classes, or 1 for regression; 0 for language models.
    #[must_use]
    pub fn classes(&self) -> usize {
        match &self.scoring {
            Scoring::Labels { classes, .. } => *classes,
            Scoring::Tokens { .. } => 0,
        }
    }

    /// Longest input in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// What is done with longer inputs.
    #[must_use]
    pub fn too_long(&self) -> TooLong {
        self.too_long
    }

    /// Tokens from the beginning of one window to that of the next, where there are windows.
    #[must_use]
    pub fn stride(&self) -> Option<usize> {
        match &self.scoring {
            Scoring::Tokens { plan, .. } if self.too_long == TooLong::Window => Some(plan.stride()),
            _ => None,
        }
    }

    /// The first `count` examples as inputs, for timing and comparison.
    ///
    /// # Errors
    /// What reading and encoding refuse.
    pub fn sequences(&self, model: &LoadedModel, count: usize) -> Result<Vec<Sequence>, Error> {
        match &self.scoring {
            Scoring::Labels { .. } => {
                let tokenizer = model.tokenizer()?;
                let examples = self.source.open()?.take(count).enumerate();
                examples
                    .map(|(index, example)| {
                        Ok(self.prepare(tokenizer, index as u64, &example?)?.sequence)
                    })
                    .collect()
            }
            Scoring::Tokens { plan, .. } => WindowReader::new(&self.source, plan, model)?
                .take(count)
                .map(|window| Ok(window?.sequence))
                .collect(),
        }
    }

    /// An empty score of labelled data.
    pub(crate) fn metric_state(&self) -> Result<Option<MetricState>, Error> {
        let Scoring::Labels {
            labels,
            metrics,
            classes,
        } = &self.scoring
        else {
            return Ok(None);
        };
        let state = MetricState::new(*metrics, *classes, labels.positive())?;
        Ok(Some(state))
    }

    /// Jobs for the workers, from example `skip` on.
    pub(crate) fn jobs<'a>(&'a self, model: &'a LoadedModel, skip: u64) -> Result<Jobs<'a>, Error> {
        let (tokens, length) = (self.batch_tokens, self.max_length);
        match &self.scoring {
            Scoring::Labels { .. } => Jobs::of_rows(self.source.open()?, skip, tokens, length),
            Scoring::Tokens { plan, .. } => {
                let windows = WindowReader::new(&self.source, plan, model)?;
                Jobs::of_windows(windows, skip, tokens, length)
            }
        }
    }

    /// Encodes a labelled example and maps its label.
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
        let label = match &self.scoring {
            Scoring::Labels { labels, .. } => Some(labels.target(example, self.source.path())?),
            Scoring::Tokens { .. } => None,
        };
        Ok(Prepared {
            index,
            line: example.line,
            window: 0,
            truncated: encoding.truncated,
            sequence: LoadedModel::sequence(encoding),
            target: match label {
                Some(label) => scored(label),
                None => Target::Tokens(Vec::new()),
            },
            label,
            targets: 1,
            bytes: 0,
        })
    }

    /// Says in which line of the file something went wrong.
    pub(crate) fn blame(&self, line: u64, error: impl Into<Error>) -> Error {
        blame(&self.source, line, error)
    }

    pub(crate) fn path(&self) -> &Path {
        self.source.path()
    }

    pub(crate) fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }
}

/// A label as the engine's loss takes it.
pub(crate) fn scored(label: bertology_data::Target) -> Target {
    match label {
        bertology_data::Target::Class(class) => Target::Label(class),
        bertology_data::Target::Value(value) => Target::Value(value),
    }
}

/// Packs sequences; of what the model cannot take, `blame` is told which sequence it is.
pub(crate) fn packed(
    arch: &Architecture,
    sequences: &[Sequence],
    blame: impl Fn(usize, Error) -> Error,
) -> Result<PackedBatch, Error> {
    PackedBatch::new(arch, sequences).map_err(|error| {
        let wrong = sequences.iter().enumerate().find_map(|(at, sequence)| {
            let error = PackedBatch::new(arch, std::slice::from_ref(sequence)).err()?;
            Some(blame(at, error.into()))
        });
        wrong.unwrap_or(Error::Model(error))
    })
}

fn blame(source: &Source, line: u64, error: impl Into<Error>) -> Error {
    Error::Example {
        path: source.path().to_owned(),
        line,
        source: Box::new(error.into()),
    }
}

fn check_length(tokenizer: &Tokenizer, example: &Example, limit: usize) -> Result<(), Error> {
    let encoding = tokenizer.encode(&example.text, example.pair.as_deref(), None)?;
    if encoding.len() > limit {
        return Err(Error::TooLong {
            tokens: encoding.len(),
            limit,
        });
    }
    Ok(())
}

/// An example as the model takes it.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Place of the row or document in the file.
    pub(crate) index: u64,
    pub(crate) line: u64,
    /// Number of the window in its document.
    pub(crate) window: usize,
    pub(crate) sequence: Sequence,
    pub(crate) target: Target,
    /// For labelled examples.
    pub(crate) label: Option<bertology_data::Target>,
    /// What is predicted: 1 label, or so many tokens.
    pub(crate) targets: usize,
    /// Bytes of text that the predicted tokens stand for; 0 where that is not known.
    pub(crate) bytes: usize,
    pub(crate) truncated: usize,
}
