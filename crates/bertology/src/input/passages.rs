//! Texts as sequences for studies of attention: one text a sequence, or the paper's two-segment packing.
//!
//! Clark et al. 2019, section 3: segments of at most 128 tokens, `[CLS] paragraph [SEP] next paragraph [SEP]`,
//! nothing masked. The released code packs sentences instead: it fills a chunk up to the budget, splits it
//! between two sentences at random, and cuts tokens from the longer side. [`Packing::Pairs`] does so with a
//! random generator of its own (the code's cannot be repeated elsewhere) and without three of its
//! accidents: a chunk with an empty side does not end its document, a last document without a blank line
//! behind it counts, and the second text has segment id 1 where the model knows segments.

use std::path::Path;

use bertology_data::{DatasetInfo, Example, ExampleReader, LabelMap, LabelOrder, Source};
use bertology_model::Target;
use bertology_tokenizer::{Encoding, Tokenizer};
use serde::{Deserialize, Serialize};

use super::pairs::{Frame, Pairs};
use crate::input::corpus::{hiding, never_predicted, scored, special};
use crate::input::objective::Hiding;
use crate::input::supply::{Fate, LeftOut, Passage, Supply, Units, after};
use crate::random::Draws;
use crate::{Error, LoadedModel, Objective};

/// How texts become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Every text (or pair of texts) is a sequence.
    Single,
    /// Every document's lines are sentences, which are packed into pairs of segments; see the
    /// [module](self). The source's documents must be paragraphs.
    Pairs {
        /// Of where chunks are split and what is cut.
        seed: u64,
    },
}

/// What is done with a text of more tokens than may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Long {
    /// It is left out and counted: the paper.
    #[default]
    Skip,
    /// Its end is cut off; what was cut is counted.
    Cut,
    /// It is an error that names the line.
    Error,
}

/// How a file's texts are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextOptions {
    /// How texts become sequences.
    pub packing: Packing,
    /// Longest sequence in tokens, special ones included; `None`: the model's limit, with
    /// [`Packing::Pairs`] 128 if that is less.
    pub max_length: Option<usize>,
    /// What is done with longer ones; packed pairs always fit.
    pub long: Long,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2). It receives
    /// much of the attention: say which when numbers are compared.
    pub bos: bool,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            packing: Packing::Single,
            max_length: None,
            long: Long::Skip,
            bos: false,
        }
    }
}

/// What a study knows of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextItem {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Tokens that the tokenizer put there.
    pub special: Vec<bool>,
    /// Tokens that were cut off.
    pub cut: usize,
}

/// The texts of a file as sequences of one model.
#[derive(Debug)]
pub struct TextPassages {
    model: LoadedModel,
    source: Source,
    options: TextOptions,
    max_length: usize,
    bos: Option<u32>,
    /// With [`Packing::Pairs`].
    pairs: Option<Pairs>,
    targets: Targets,
    info: DatasetInfo,
    total: u64,
}

/// What gradients are of.
#[derive(Debug)]
enum Targets {
    None,
    Labels(LabelMap),
    Next,
    /// Places that special tokens do not hold: all of them, or some, hidden.
    Tokens {
        hiding: Option<(Hiding, u64)>,
        special: Vec<u32>,
    },
}

/// A text as it is read.
#[derive(Debug)]
pub struct RawText {
    /// Its place in the input.
    index: u64,
    line: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Example(Example),
    /// Two sides in tokens.
    Pair([Vec<u32>; 2]),
    /// Sentences of which no pair can be made.
    Unpaired,
}

impl TextPassages {
    /// Reads the file once to the end: every row is checked and counted before any model runs.
    ///
    /// # Errors
    /// Rows that are wrong, a maximum length out of range, a model without tokenizer for texts or without
    /// beginning-of-text token where one is asked for; a file without a single text.
    pub fn new(model: &LoadedModel, source: Source, options: TextOptions) -> Result<Self, Error> {
        let max_length = match (options.max_length, options.packing) {
            (None, Packing::Pairs { .. }) => model.max_length().min(PAPER_LENGTH),
            (given, _) => model.checked_length(given)?,
        };
        let bos = options.bos.then(|| bos_of(model)).transpose()?;
        let pairs = match options.packing {
            Packing::Single => None,
            Packing::Pairs { .. } if source.has_token_ids() || source.has_labels() => {
                return Err(Error::Option {
                    option: "the packing",
                    value: "pairs".to_owned(),
                    reason: "sentences of plain text are packed, one a line and documents between blank \
                             lines; give such a file, or take every text as a sequence",
                });
            }
            Packing::Pairs { seed } => {
                let frame = Frame::of(model.tokenizer()?, bos)?;
                Some(Pairs::new(frame, max_length, seed)?)
            }
        };
        if !source.has_token_ids() {
            model.tokenizer()?;
        }
        let mut reading = Reading::new(model, &source, pairs.as_ref())?;
        let mut total = 0;
        for raw in reading.by_ref() {
            raw?;
            total += 1;
        }
        let info = reading.reader.finish()?;
        if total == 0 {
            return Err(Error::NoTexts {
                path: source.path().to_owned(),
            });
        }
        Ok(Self {
            model: model.clone(),
            source,
            options,
            max_length,
            bos,
            pairs,
            targets: Targets::None,
            info,
            total,
        })
    }

    /// With a loss of every sequence, so that gradients can be studied: the mean over its targets. `order` says
    /// what the numbers in the file mean where labels are scored.
    ///
    /// # Errors
    /// A model whose head does not give that loss, data without labels where labels are scored.
    pub fn objective(mut self, objective: Objective, order: LabelOrder) -> Result<Self, Error> {
        let arch = self.model.architecture();
        let path = || self.model.checkpoint().folder().to_owned();
        if !objective.fits(&arch.head) {
            return Err(Error::WrongObjective {
                path: path(),
                found: arch.head.description(),
                objective: objective.description(),
            });
        }
        self.targets = match objective {
            Objective::Labels if !self.source.has_labels() => {
                return Err(Error::NoLabels {
                    path: self.source.path().to_owned(),
                    model: path(),
                    found: arch.head.description(),
                });
            }
            Objective::Labels => {
                Targets::Labels(LabelMap::new(&arch.labels, self.source.task(), order)?)
            }
            Objective::CausalLm { .. } => Targets::Next,
            Objective::MaskedLm { masking } => Targets::Tokens {
                hiding: hiding(&self.model, masking)?,
                special: never_predicted(self.model.tokenizer()?),
            },
        };
        Ok(self)
    }

    /// The account of the file.
    #[must_use]
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How the texts are prepared.
    #[must_use]
    pub fn options(&self) -> &TextOptions {
        &self.options
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    fn encoded(&self, content: Content) -> Result<Result<Encoding, LeftOut>, Error> {
        let limit = self.max_length;
        let room = limit.saturating_sub(usize::from(self.bos.is_some()));
        let cut = self.options.long == Long::Cut;
        let mut encoding = match content {
            Content::Unpaired => return Ok(Err(LeftOut::Unpaired)),
            Content::Pair(sides) => match &self.pairs {
                Some(pairs) => return Ok(Ok(pairs.encoding(sides))),
                // Made by it.
                None => return Ok(Err(LeftOut::Unpaired)),
            },
            Content::Example(example) => match example.token_ids {
                Some(ids) => ready(ids, cut.then_some(room)),
                None => {
                    let (text, pair) = (&example.text, example.pair.as_deref());
                    self.model
                        .tokenizer()?
                        .encode(text, pair, cut.then_some(room))?
                }
            },
        };
        if let Some(bos) = self.bos {
            put_bos(&mut encoding, bos);
        }
        let tokens = encoding.len();
        if tokens <= limit {
            return Ok(Ok(encoding));
        }
        match self.options.long {
            Long::Skip => Ok(Err(LeftOut::TooLong { tokens })),
            Long::Cut | Long::Error => Err(Error::TooLong { tokens, limit }),
        }
    }

    /// What the loss of a sequence is; hides tokens.
    fn target(&self, ids: &mut [u32], index: u64, label: Option<Target>) -> Option<Target> {
        match &self.targets {
            Targets::None => None,
            Targets::Labels(_) => label,
            Targets::Next => Some(Target::next_tokens(ids)),
            Targets::Tokens { hiding, special } => {
                let original = ids.to_vec();
                let places: Vec<usize> = (0..ids.len())
                    .filter(|at| !special.contains(&ids[*at]))
                    .collect();
                let selected = match hiding {
                    None => places,
                    Some((hiding, seed)) => {
                        hiding.hide(ids, &places, &mut Draws::of_window(*seed, index, 0))
                    }
                };
                let mut targets = vec![None; ids.len()];
                for at in selected {
                    targets[at] = Some(original[at]);
                }
                Some(Target::Tokens(targets))
            }
        }
    }
}

/// The paper's longest sequence.
const PAPER_LENGTH: usize = 128;

/// The token that a model knows as the beginning of a text.
pub(super) fn bos_of(model: &LoadedModel) -> Result<u32, Error> {
    let id = model.tokenizer()?.bos_id();
    special(model, id, "beginning-of-text", "take the texts without it")
}

/// Puts it before a text whose tokenizer did not.
pub(super) fn put_bos(encoding: &mut Encoding, bos: u32) {
    if encoding.ids.first() == Some(&bos) {
        return;
    }
    encoding.ids.insert(0, bos);
    encoding.segment_ids.insert(0, 0);
    encoding.offsets.insert(0, (0, 0));
    encoding.sequence.insert(0, None);
    encoding.special.insert(0, true);
    encoding.words.insert(0, None);
}

/// Token ids that need no tokenizer.
fn ready(mut ids: Vec<u32>, most: Option<usize>) -> Encoding {
    let truncated = most.map_or(0, |most| ids.len().saturating_sub(most));
    ids.truncate(ids.len() - truncated);
    let n = ids.len();
    Encoding {
        ids,
        segment_ids: vec![0; n],
        offsets: vec![(0, 0); n],
        sequence: vec![Some(0); n],
        special: vec![false; n],
        words: vec![None; n],
        truncated,
    }
}

impl Supply for TextPassages {
    type Raw = RawText;
    type Item = TextItem;

    fn path(&self) -> &Path {
        self.source.path()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn open(&self, first: u64) -> Result<Units<'_, RawText>, Error> {
        let pairs = self.pairs.as_ref();
        after(first, Reading::new(&self.model, &self.source, pairs)?)
    }

    fn size(&self, raw: &RawText) -> usize {
        match &raw.content {
            Content::Pair(sides) => sides.iter().map(Vec::len).sum(),
            Content::Unpaired => 1,
            Content::Example(example) => match &example.token_ids {
                Some(ids) => ids.len(),
                // English has about four bytes a token.
                None => {
                    let bytes = example.text.len() + example.pair.as_ref().map_or(0, String::len);
                    (3 + bytes / 4).min(self.max_length)
                }
            },
        }
    }

    fn line(&self, raw: &RawText) -> u64 {
        raw.line
    }

    fn prepare(&self, raw: RawText) -> Result<Fate<Vec<Passage<TextItem>>>, Error> {
        let label = match (&self.targets, &raw.content) {
            (Targets::Labels(labels), Content::Example(example)) => {
                Some(scored(labels.target(example, self.source.path())?))
            }
            _ => None,
        };
        let encoding = match self.encoded(raw.content)? {
            Ok(encoding) => encoding,
            Err(why) => return Ok(Fate::LeftOut(why)),
        };
        let (special, cut) = (encoding.special.clone(), encoding.truncated);
        let mut sequence = LoadedModel::sequence(encoding);
        let target = self.target(&mut sequence.ids, raw.index, label);
        if let Some(Target::Tokens(tokens)) = &target
            && tokens.iter().all(Option::is_none)
        {
            return Ok(Fate::LeftOut(LeftOut::NothingToPredict));
        }
        Ok(Fate::one(Passage {
            item: TextItem {
                ids: sequence.ids.clone(),
                special,
                cut,
            },
            sequence,
            target,
        }))
    }
}

/// The units of a file in order.
struct Reading<'a> {
    model: &'a LoadedModel,
    source: &'a Source,
    pairs: Option<&'a Pairs>,
    reader: ExampleReader,
    /// Of the document that was read last.
    ready: std::vec::IntoIter<RawText>,
    documents: u64,
    units: u64,
}

impl Iterator for Reading<'_> {
    type Item = Result<RawText, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(mut raw) = self.ready.next() {
                raw.index = self.units;
                self.units += 1;
                return Some(Ok(raw));
            }
            let example = match self.reader.next()? {
                Ok(example) => example,
                Err(error) => return Some(Err(error.into())),
            };
            let line = example.line;
            let unit = |content| RawText {
                index: 0,
                line,
                content,
            };
            let units = match self.pairs {
                None => vec![unit(Content::Example(example))],
                Some(pairs) => match self.packed(pairs, &example) {
                    Ok(found) => found
                        .into_iter()
                        .map(|sides| unit(sides.map_or(Content::Unpaired, Content::Pair)))
                        .collect(),
                    Err(error) => {
                        return Some(Err(Error::Example {
                            path: self.source.path().to_owned(),
                            line,
                            source: Box::new(error),
                        }));
                    }
                },
            };
            self.ready = units.into_iter();
        }
    }
}

impl<'a> Reading<'a> {
    fn new(
        model: &'a LoadedModel,
        source: &'a Source,
        pairs: Option<&'a Pairs>,
    ) -> Result<Self, Error> {
        Ok(Self {
            model,
            source,
            pairs,
            reader: source.open()?,
            ready: Vec::new().into_iter(),
            documents: 0,
            units: 0,
        })
    }

    /// A document's sentences, packed.
    fn packed(
        &mut self,
        pairs: &Pairs,
        document: &Example,
    ) -> Result<Vec<Option<[Vec<u32>; 2]>>, Error> {
        let tokenizer: &Tokenizer = self.model.tokenizer()?;
        let sentences = document
            .text
            .lines()
            .map(|line| Ok(tokenizer.encode_plain(line.trim())?.ids))
            .collect::<Result<Vec<_>, Error>>()?;
        let number = self.documents;
        self.documents += 1;
        Ok(pairs.of_document(&sentences, number))
    }
}
