//! Data for one model: read, given targets and encoded in constant memory, in file order.
//!
//! An *example* is what the model is given at once: a row of the file for labels, a sentence for labels of words; for
//! language models a window of a document, and for questions one of a text, which is the whole where it fits. See [`crate::objective`] for what
//! is asked of the model and [`crate::input::windows`] for documents that do not fit.

use std::path::Path;

use bertology_checkpoint::{Architecture, TaskHead};
use bertology_data::{
    Assumption, DatasetInfo, Example, LabelMap, LabelOrder, Mark, MetricSet, MetricState, Mode,
    RawLabel, Source, Target,
};
use bertology_model::{PackedBatch, Sequence};

use crate::input::marks::Marks;
use crate::input::prepare::{Piece, PrepareOptions, Preparer};
use crate::input::supply::{Fate, Passage, Supply, Units, after, first_sequences};
use crate::input::target::{Targets, label_map, scored, source_holds};
use crate::input::windows::TooLong;
use crate::objective::{LOSS, Objective};
use crate::{Error, LoadedModel};

pub use crate::input::account::{DocumentCounts, Truncation};

mod documents;
mod questions;
mod tags;

use documents::WindowReader;
pub(crate) use questions::Asked;
pub use questions::{DEFAULT_QUESTION_LENGTH, DEFAULT_SHARED};
pub(crate) use tags::Tagged;

/// The reference script's maximum length for labelled examples.
pub const DEFAULT_MAX_LENGTH: usize = 128;

/// How data become inputs and targets.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CorpusOptions {
    /// What the model is scored for; `None`: what its head was made for ([`Objective::of`]).
    pub objective: Option<Objective>,
    /// Longest input in tokens, special ones included. `None`: for labels the smaller of
    /// [`DEFAULT_MAX_LENGTH`] and the model's limit, for questions that of [`DEFAULT_QUESTION_LENGTH`] and it, else
    /// the model's limit.
    pub max_length: Option<usize>,
    /// What is done with longer inputs. `None`: labelled examples are cut (the longer text of a pair
    /// first), documents are read through windows.
    pub too_long: Option<TooLong>,
    /// Tokens from the beginning of one window to that of the next. `None`: half of what a window
    /// holds of a document (the maximum length less special tokens), rounded down, at least 1.
    pub stride: Option<usize>,
    /// For questions: tokens of a text that two windows share. `None`: [`DEFAULT_SHARED`].
    pub shared: Option<usize>,
    /// The order of the labels in a model that does not name them.
    pub label_order: LabelOrder,
}

impl Default for CorpusOptions {
    fn default() -> Self {
        Self {
            objective: None,
            max_length: None,
            too_long: None,
            stride: None,
            shared: None,
            label_order: LabelOrder::Task,
        }
    }
}

/// A data file as one model sees it.
///
/// Making it reads the file once to the end: every row, label and token id is checked and counted
/// before any model runs. Nothing but the account of it is kept; each study reads the file again.
#[derive(Debug, Clone)]
pub struct Corpus {
    preparer: Preparer,
    source: Source,
    objective: Objective,
    scoring: Scoring,
    info: DatasetInfo,
    examples: u64,
    /// Places to go on from, by examples.
    marks: Marks<Mark>,
}

/// Why no row is left out.
const EVERY_ROW: &str =
    "every labelled text is scored; cut texts that are too long, or make them an error";

/// Why labelled texts are not windowed.
const NO_LABEL: &str = "a label belongs to a whole text, and its windows have none of their own; cut texts \
                        that are too long, or make them an error";

/// Why no document is left out.
const EVERY_DOCUMENT: &str = "every document is scored; read documents that are too long through windows, cut \
                              them, or make them an error";

/// What the answers are compared with.
#[derive(Debug, Clone)]
enum Scoring {
    Labels {
        labels: LabelMap,
        metrics: MetricSet,
        classes: usize,
        /// Examples of each class; empty for regression.
        counts: Vec<u64>,
        /// Whether `false` and `true` were taken for classes 0 and 1.
        booleans: bool,
    },
    Tokens {
        targets: Targets,
        counts: DocumentCounts,
    },
    Tags(tags::Tags),
    Answers(questions::Questions),
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
        let of_data = match (source.has_tags(), source.has_questions()) {
            (true, _) => Some(Objective::Tags),
            (_, true) => Some(Objective::Answers),
            _ => options.objective,
        };
        let objective = match of_data.or(Objective::of(head)).or(labels) {
            Some(objective) => objective,
            None => {
                return Err(Error::NoObjective {
                    path: model.checkpoint().folder().to_owned(),
                    found: head.description(),
                });
            }
        };
        match objective {
            Objective::Labels => Self::labelled(model, source, options),
            Objective::Tags => Self::tagged(model, source, options),
            Objective::Answers => Self::asked(model, source, options),
            _ => Self::unlabelled(model, source, objective, options),
        }
    }

    fn labelled(
        model: &LoadedModel,
        source: Source,
        options: &CorpusOptions,
    ) -> Result<Self, Error> {
        let arch = model.architecture();
        let classes = match arch.head {
            TaskHead::SequenceClassification { num_labels, .. } => num_labels,
            ref other => {
                return Err(Error::NoClassifier {
                    path: model.checkpoint().folder().to_owned(),
                    found: other.description(),
                    scored: Objective::of(other),
                });
            }
        };
        let max_length = match options.max_length {
            None => model.max_length().min(DEFAULT_MAX_LENGTH),
            Some(given) => given,
        };
        let too_long = options.too_long.unwrap_or(TooLong::Cut);
        match too_long {
            TooLong::Error | TooLong::Cut => {}
            TooLong::Skip => return too_long.refused(EVERY_ROW),
            TooLong::Window => return too_long.refused(NO_LABEL),
        }
        let preparer = Preparer::new(
            model,
            &PrepareOptions {
                max_length: Some(max_length),
                too_long,
                stride: options.stride,
                bos: false,
                token_ids: false,
            },
        )?;
        let labels = label_map(
            model.outline(),
            source.path(),
            Some(&source),
            &options.label_order,
        )?;
        let metrics = source
            .task()
            .map_or_else(|| MetricSet::for_outputs(classes), MetricSet::for_task);
        MetricState::new(metrics, classes, labels.positive())?;
        let mut counts = match labels.mode() {
            Mode::Classification => vec![0; classes],
            Mode::Regression => Vec::new(),
        };
        let assumes = labels.assumption() == Some(&Assumption::Booleans);
        let mut booleans = false;
        let (info, marks) = first_reading(&source, &preparer, |example| {
            booleans |= assumes && example.label.as_ref().is_some_and(RawLabel::is_boolean);
            if let Target::Class(class) = labels.target(example, source.path())?
                && let Some(count) = counts.get_mut(class)
            {
                *count += 1;
            }
            Ok(())
        })?;
        Ok(Self {
            examples: info.examples,
            info,
            marks,
            preparer,
            source,
            objective: Objective::Labels,
            scoring: Scoring::Labels {
                labels,
                metrics,
                classes,
                counts,
                booleans,
            },
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
        if too_long == TooLong::Skip {
            return too_long.refused(EVERY_DOCUMENT);
        }
        let (preparer, targets) =
            documents::plan(model, &source, objective, max_length, too_long, options)?;
        let mut windows = WindowReader::new(&source, &preparer, &targets, None)?;
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
        let (reader, marks) = windows.into_parts();
        Ok(Self {
            info: reader.finish()?,
            marks,
            examples: counts.windows,
            preparer,
            source,
            objective,
            scoring: Scoring::Tokens { targets, counts },
        })
    }

    /// Refuses data that the head is not scored on.
    fn check_head(model: &LoadedModel, source: &Source) -> Result<(), Error> {
        let (head, holds) = (&model.architecture().head, source_holds(source));
        match Objective::of(head) {
            Some(needs) if needs.data() == holds => Ok(()),
            Some(needs) => Err(Error::OtherData {
                path: source.path().to_owned(),
                holds,
                found: head.description(),
                needs,
            }),
            None => Err(Error::NoObjective {
                path: model.checkpoint().folder().to_owned(),
                found: head.description(),
            }),
        }
    }

    /// How many units there are that studies go through: rows, sentences, questions, or for language models windows.
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
            Scoring::Tokens { counts, .. } => Some(counts),
            _ => None,
        }
    }

    /// The file and how its rows are read.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the labels of whole texts mean to the model.
    #[must_use]
    pub fn labels(&self) -> Option<&LabelMap> {
        match &self.scoring {
            Scoring::Labels { labels, .. } => Some(labels),
            _ => None,
        }
    }

    /// What the classes of words are called, by id; nothing for other data.
    #[must_use]
    pub fn tag_names(&self) -> Option<&[String]> {
        match &self.scoring {
            Scoring::Tags(tags) => Some(tags.names()),
            _ => None,
        }
    }

    /// Sentences that are left out, because none of their words has a label.
    #[must_use]
    pub fn without_targets(&self) -> u64 {
        match &self.scoring {
            Scoring::Tags(tags) => tags.without_targets,
            _ => 0,
        }
    }

    /// Whether questions may have no answer, by the rules of SQuAD 2.0: the file has, or marks, such questions.
    #[must_use]
    pub fn may_lack_answers(&self) -> bool {
        matches!(&self.scoring, Scoring::Answers(questions) if questions.may_lack)
    }

    /// Answers that do not stand where the file says; the place is what counts for the loss.
    #[must_use]
    pub fn misplaced_answers(&self) -> u64 {
        match &self.scoring {
            Scoring::Answers(questions) => questions.misplaced,
            _ => 0,
        }
    }

    /// The same with other tokens hidden, those that `seed` draws; as it is where nothing is hidden at random.
    #[must_use]
    pub fn masked_anew(&self, seed: u64) -> Self {
        let mut corpus = self.clone();
        if let Scoring::Tokens { targets, .. } = &mut corpus.scoring {
            targets.draw_anew(seed);
        }
        corpus
    }

    /// Examples of each class by its id; empty for regression and for language models.
    #[must_use]
    pub fn label_counts(&self) -> &[u64] {
        match &self.scoring {
            Scoring::Labels { counts, .. } => counts,
            _ => &[],
        }
    }

    /// Whether labels are `false` and `true` and were taken for classes 0 and 1, because the model does not name
    /// its classes.
    #[must_use]
    pub fn boolean_labels(&self) -> bool {
        matches!(self.scoring, Scoring::Labels { booleans: true, .. })
    }

    /// The metrics that labels of whole texts are scored with; other data have metrics of their own (see
    /// [`Evaluation`](crate::Evaluation)).
    #[must_use]
    pub fn metrics(&self) -> Option<MetricSet> {
        match &self.scoring {
            Scoring::Labels { metrics, .. } => Some(*metrics),
            _ => None,
        }
    }

    /// Every name that a metric can be asked for by, the one that decides by default first; `loss`
    /// among them.
    #[must_use]
    pub fn metric_names(&self) -> Vec<&'static str> {
        let Some(metrics) = self.metrics() else {
            return self.own_metrics().to_vec();
        };
        let mut names = metrics.keys().to_vec();
        names.sort_by_key(|name| *name != metrics.default_key());
        names.push(LOSS);
        names
    }

    /// Outputs of the model for a sequence: classes, or 1 for regression; 0 where tokens are predicted.
    #[must_use]
    pub fn classes(&self) -> usize {
        match &self.scoring {
            Scoring::Labels { classes, .. } => *classes,
            _ => 0,
        }
    }

    /// Longest input in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.preparer.max_length()
    }

    /// What is done with longer inputs.
    #[must_use]
    pub fn too_long(&self) -> TooLong {
        self.preparer.too_long()
    }

    /// Tokens from the beginning of one window to that of the next, where there are windows.
    #[must_use]
    pub fn stride(&self) -> Option<usize> {
        let windows = self.too_long() == TooLong::Window && self.shared().is_none();
        windows.then(|| self.preparer.stride())
    }

    /// Tokens of a text that two windows share, where a text stands behind a question.
    #[must_use]
    pub fn shared(&self) -> Option<usize> {
        match &self.scoring {
            Scoring::Answers(questions) => Some(questions.shared),
            _ => None,
        }
    }

    /// The first `count` examples as inputs, for timing and comparison.
    ///
    /// # Errors
    /// What reading and encoding refuse.
    pub fn sequences(&self, count: usize) -> Result<Vec<Sequence>, Error> {
        first_sequences(self, count)
    }

    /// What the model is scored with in the place of a task's metrics, the one that decides by default first.
    pub(crate) fn own_metrics(&self) -> &'static [&'static str] {
        let text = !self.source.has_token_ids();
        self.objective.own_metrics(text, self.may_lack_answers())
    }

    /// Encodes a labelled example and maps its label.
    fn labelled_passage(
        &self,
        index: u64,
        example: &Example,
    ) -> Result<Fate<Vec<Passage<ExampleItem>>>, Error> {
        let pieces = match self.preparer.pieces(example)? {
            Fate::Studied(pieces) => pieces,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let label = match &self.scoring {
            Scoring::Labels { labels, .. } => Some(labels.target(example, self.source.path())?),
            _ => None,
        };
        let passage = |piece: Piece| Passage {
            item: ExampleItem {
                label,
                ..ExampleItem::of(index, example, &piece)
            },
            sequence: LoadedModel::sequence(piece.encoding),
            target: label.map(scored),
        };
        Ok(Fate::Studied(pieces.map(passage).collect()))
    }
}

/// A row or a window as it is read.
#[derive(Debug)]
pub enum RawExample {
    /// A row and its place in the file, not yet encoded: that is for the workers.
    Row(u64, Box<Example>),
    /// A window. A document is encoded before it is divided, so that a long one is shared between the
    /// workers.
    Window(Box<Passage<ExampleItem>>),
}

impl Supply for Corpus {
    type Raw = RawExample;
    type Item = ExampleItem;

    fn path(&self) -> &Path {
        self.source.path()
    }

    fn total(&self) -> u64 {
        self.examples
    }

    fn open(&self, first: u64) -> Result<Units<'_, RawExample>, Error> {
        let place = self.marks.before(first);
        let begun = place.map_or(0, |(unit, _)| unit);
        match &self.scoring {
            Scoring::Labels { .. } | Scoring::Tags(_) | Scoring::Answers(_) => {
                let rows = match place {
                    Some((_, mark)) => self.source.open_at(mark)?,
                    None => self.source.open()?,
                };
                let rows = (begun..).zip(rows);
                after(
                    first - begun,
                    rows.map(|(index, row)| Ok(RawExample::Row(index, Box::new(row?)))),
                )
            }
            Scoring::Tokens { targets, .. } => {
                let windows = WindowReader::new(&self.source, &self.preparer, targets, place)?;
                after(
                    first - begun,
                    windows.map(|window| Ok(RawExample::Window(Box::new(window?)))),
                )
            }
        }
    }

    fn size(&self, raw: &RawExample) -> usize {
        match raw {
            RawExample::Row(_, example) => {
                // English has about four bytes a token; a worker splits what was more.
                let bytes = example.text.len() + example.pair.as_ref().map_or(0, String::len);
                let tokens = 3 + bytes / 4 + example.words.len() * 4 / 3;
                match self.scoring {
                    // In several windows.
                    Scoring::Answers(_) => tokens,
                    _ => tokens.min(self.max_length()),
                }
            }
            RawExample::Window(window) => window.sequence.len(),
        }
    }

    fn line(&self, raw: &RawExample) -> u64 {
        match raw {
            RawExample::Row(_, example) => example.line,
            RawExample::Window(window) => window.item.line,
        }
    }

    fn prepare(&self, raw: RawExample) -> Result<Fate<Vec<Passage<ExampleItem>>>, Error> {
        match raw {
            RawExample::Row(index, example) => match &self.scoring {
                Scoring::Tags(tags) => self.tagged_passage(tags, index, &example),
                Scoring::Answers(questions) => self.question_passages(questions, index, *example),
                _ => self.labelled_passage(index, &example),
            },
            RawExample::Window(window) => Ok(Fate::one(*window)),
        }
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

/// Reads a file once: `see` is shown every example, places to begin at later are marked, and what is longer than may be
/// is refused where that is an error.
fn first_reading(
    source: &Source,
    preparer: &Preparer,
    mut see: impl FnMut(&Example) -> Result<(), Error>,
) -> Result<(DatasetInfo, Marks<Mark>), Error> {
    let mut reader = source.open()?;
    let mut marks = Marks::default();
    while let Some(example) = reader.next() {
        let example = example?;
        marks.offer(reader.examples(), || reader.mark());
        see(&example)?;
        if preparer.too_long() == TooLong::Error {
            let pieces = preparer.pieces(&example);
            pieces.map_err(|error| blame(source, example.line, error))?;
        }
    }
    Ok((reader.finish()?, marks))
}

fn blame(source: &Source, line: u64, error: impl Into<Error>) -> Error {
    Error::Example {
        path: source.path().to_owned(),
        line,
        source: Box::new(error.into()),
    }
}

/// What is known of an example.
#[derive(Debug, Clone)]
pub struct ExampleItem {
    /// Place of the row or document in the file, zero-based.
    pub index: u64,
    /// Its (first) line, from 1.
    pub line: u64,
    /// Number of the window in its document, zero-based; 0 for labelled examples.
    pub window: usize,
    /// For labelled examples.
    pub label: Option<bertology_data::Target>,
    /// What is known of words or of an answer.
    pub(crate) gold: Gold,
    /// What is predicted: 1 label, or so many tokens.
    pub targets: usize,
    /// Bytes of text that the predicted tokens stand for; 0 where that is not known.
    pub bytes: usize,
    /// Tokens cut off to fit the maximum length (of a document: told with its first window).
    pub truncated: usize,
}

/// What a prediction is compared with, where it is not a label.
#[derive(Debug, Clone, Default)]
pub(crate) enum Gold {
    #[default]
    Nothing,
    Tags(Tagged),
    Answer(Asked),
}

impl ExampleItem {
    /// Of a piece of a row that has one target, of which no more is known.
    fn of(index: u64, example: &Example, piece: &Piece) -> Self {
        Self {
            index,
            line: example.line,
            window: piece.number,
            label: None,
            gold: Gold::Nothing,
            targets: 1,
            bytes: 0,
            truncated: piece.encoding.truncated,
        }
    }
}
