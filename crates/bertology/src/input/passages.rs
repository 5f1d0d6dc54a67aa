//! Texts as sequences for studies of attention: one text a sequence, or the paper's two-segment packing.
//!
//! Clark et al. 2019, section 3: segments of at most 128 tokens, `[CLS] paragraph [SEP] next paragraph [SEP]`,
//! nothing masked. The released code packs sentences instead: it fills a chunk up to the budget, splits it
//! between two sentences at random, and cuts tokens from the longer side. [`Packing::Pairs`] does so with a
//! random generator of its own (the code's cannot be repeated elsewhere) and without three of its
//! accidents: a chunk with an empty side does not end its document, a last document without a blank line
//! behind it counts, and the second text has segment id 1 where the model knows segments.

use std::path::Path;

use bertology_data::{DatasetInfo, Example, ExampleReader, LabelOrder, Mark, Source};
use bertology_model::Target;
use bertology_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use super::pairs::{Frame, Pairs};
use crate::input::marks::Marks;
use crate::input::prepare::{Pieces, PrepareOptions, Preparer, bos_of};
use crate::input::supply::{Fate, LeftOut, Passage, Supply, Units, after};
use crate::input::target::Targets;
use crate::input::windows::TooLong;
use crate::{Error, LoadedModel, Objective, Outline};

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

/// How a file's texts are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextOptions {
    /// How texts become sequences.
    pub packing: Packing,
    /// Longest sequence in tokens, special ones included; `None`: the model's limit, with
    /// [`Packing::Pairs`] 128 if that is less.
    pub max_length: Option<usize>,
    /// What is done with longer ones; packed pairs always fit. Windows are refused: attention is studied in
    /// whole texts.
    pub too_long: TooLong,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2). It receives
    /// much of the attention: say which when numbers are compared.
    pub bos: bool,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            packing: Packing::Single,
            max_length: None,
            too_long: TooLong::Skip,
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
    preparer: Preparer,
    source: Source,
    options: TextOptions,
    /// With [`Packing::Pairs`].
    pairs: Option<Pairs>,
    /// Where gradients are studied.
    targets: Option<Targets>,
    info: DatasetInfo,
    total: u64,
    /// Places to go on from, by units.
    marks: Marks<Mark>,
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
        if options.too_long == TooLong::Window {
            return options.too_long.refused(
                "attention is studied in whole texts; leave texts that are too long out, cut them, or make \
                 them an error",
            );
        }
        let preparer = Preparer::new(
            model,
            &PrepareOptions {
                max_length: Some(max_length),
                too_long: options.too_long,
                stride: None,
                bos: options.bos,
                token_ids: source.has_token_ids(),
            },
        )?;
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
                let bos = options.bos.then(|| bos_of(model.outline())).transpose()?;
                let frame = Frame::of(model.tokenizer()?, bos)?;
                Some(Pairs::new(frame, max_length, seed)?)
            }
        };
        let mut reading = Reading::new(model.outline(), &source, pairs.as_ref(), None)?;
        let mut total = 0;
        for raw in reading.by_ref() {
            raw?;
            total += 1;
        }
        let marks = reading.marks;
        let info = reading.reader.finish()?;
        if total == 0 {
            return Err(Error::NoTexts {
                path: source.path().to_owned(),
            });
        }
        Ok(Self {
            preparer,
            source,
            options,
            pairs,
            targets: None,
            info,
            total,
            marks,
        })
    }

    /// With a loss of every sequence, so that gradients can be studied: the mean over its targets. `order` says
    /// what the numbers in the file mean where labels are scored.
    ///
    /// # Errors
    /// A model whose head does not give that loss, data without labels where labels are scored.
    pub fn objective(mut self, objective: Objective, order: LabelOrder) -> Result<Self, Error> {
        let targets = Targets::new(self.model(), &self.source, objective, &order)?;
        self.targets = Some(targets);
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
        self.preparer.max_length()
    }

    /// How the texts are prepared.
    #[must_use]
    pub fn options(&self) -> &TextOptions {
        &self.options
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &Outline {
        self.preparer.model()
    }

    fn pieces(&self, content: &mut Content) -> Result<Fate<Pieces>, Error> {
        match (content, &self.pairs) {
            (Content::Example(example), _) => self.preparer.pieces(example),
            (Content::Pair(sides), Some(pairs)) => {
                let sides = std::mem::take(sides);
                Ok(Fate::Studied(Pieces::new(pairs.encoding(sides))))
            }
            // Pairs are made by what packs them.
            (Content::Unpaired | Content::Pair(_), _) => Ok(Fate::LeftOut(LeftOut::Unpaired)),
        }
    }
}

/// The paper's longest sequence.
pub const PAPER_LENGTH: usize = 128;

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
        let place = self.marks.before(first);
        let begun = place.map_or(0, |(unit, _)| unit);
        after(
            first - begun,
            Reading::new(self.model(), &self.source, pairs, place)?,
        )
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
                    (3 + bytes / 4).min(self.max_length())
                }
            },
        }
    }

    fn line(&self, raw: &RawText) -> u64 {
        raw.line
    }

    fn prepare(&self, mut raw: RawText) -> Result<Fate<Vec<Passage<TextItem>>>, Error> {
        let pieces = match self.pieces(&mut raw.content)? {
            Fate::Studied(pieces) => pieces,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let example = match &raw.content {
            Content::Example(example) => Some(example),
            Content::Pair(_) | Content::Unpaired => None,
        };
        let mut passages = Vec::with_capacity(1);
        for mut piece in pieces {
            let target = match &self.targets {
                Some(targets) => targets.of(&mut piece, example, self.path(), raw.index)?,
                None => None,
            };
            if let Some(Target::Tokens(tokens)) = &target
                && tokens.iter().all(Option::is_none)
            {
                return Ok(Fate::LeftOut(LeftOut::NothingToPredict));
            }
            passages.push(Passage {
                target,
                item: TextItem {
                    ids: piece.encoding.ids.clone(),
                    special: piece.encoding.special.clone(),
                    cut: piece.encoding.truncated,
                },
                sequence: LoadedModel::sequence(piece.encoding),
            });
        }
        Ok(Fate::Studied(passages))
    }
}

/// The units of a file in order.
struct Reading<'a> {
    model: &'a Outline,
    source: &'a Source,
    pairs: Option<&'a Pairs>,
    reader: ExampleReader,
    /// Of the document that was read last.
    ready: std::vec::IntoIter<RawText>,
    documents: u64,
    units: u64,
    marks: Marks<Mark>,
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
            let reader = &self.reader;
            self.marks.offer(self.units, || reader.mark());
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
    /// `place`: where to begin, and how many units there are before.
    fn new(
        model: &'a Outline,
        source: &'a Source,
        pairs: Option<&'a Pairs>,
        place: Option<(u64, &Mark)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            model,
            source,
            pairs,
            reader: match place {
                Some((_, mark)) => source.open_at(mark)?,
                None => source.open()?,
            },
            ready: Vec::new().into_iter(),
            documents: place.map_or(0, |(_, mark)| mark.examples()),
            units: place.map_or(0, |(unit, _)| unit),
            marks: Marks::default(),
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
