//! Texts and how they become sequences: cut, windowed or refused where they are too long.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bertology_data::{DatasetInfo, Example, Mark, Source};
use bertology_model::{PackedBatch, Sequence, Target};

use super::ExtractOptions;
use super::request::GradientOf;
use crate::input::marks::Marks;
use crate::input::prepare::{Piece, PrepareOptions, Preparer};
use crate::input::supply::Fate;
use crate::input::target::{Targets, label_map, never_predicted};
use crate::input::windows::TooLong;
use crate::{Error, LoadedModel};

/// Texts to be extracted from: a file, or texts in memory.
#[derive(Debug, Clone)]
pub struct Texts {
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Origin {
    File(Source),
    Given(Arc<[Example]>),
}

impl From<Source> for Texts {
    /// The examples of a file, streamed.
    fn from(source: Source) -> Self {
        Self {
            origin: Origin::File(source),
        }
    }
}

impl Texts {
    /// Texts in memory.
    pub fn given(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let examples = (1..).zip(texts).map(|(line, text)| Example {
            text: text.into(),
            line,
            ..Example::default()
        });
        Self {
            origin: Origin::Given(examples.collect()),
        }
    }

    /// The file, or what stands in its place in a message.
    pub(crate) fn path(&self) -> &Path {
        match &self.origin {
            Origin::File(source) => source.path(),
            Origin::Given(_) => Path::new("the texts given"),
        }
    }

    /// Size of the file in bytes, to tell how far its reading is.
    pub(super) fn bytes(&self) -> u64 {
        match &self.origin {
            Origin::File(source) => std::fs::metadata(source.path()).map_or(0, |data| data.len()),
            Origin::Given(examples) => examples.iter().map(|e| e.text.len() as u64).sum(),
        }
    }

    pub(crate) fn has_token_ids(&self) -> bool {
        match &self.origin {
            Origin::File(source) => source.has_token_ids(),
            Origin::Given(_) => false,
        }
    }

    /// The examples from the last place of `marks` that is not behind number `first` on, and the number of the
    /// first of them.
    pub(crate) fn open(&self, first: u64, marks: &Marks<Mark>) -> Result<(u64, Reading), Error> {
        Ok(match (&self.origin, marks.before(first)) {
            (Origin::File(source), Some((begun, mark))) => {
                (begun, Reading::File(Box::new(source.open_at(mark)?)))
            }
            (Origin::File(source), None) => (0, Reading::File(Box::new(source.open()?))),
            (Origin::Given(examples), _) => {
                let reading = Reading::Given {
                    examples: Arc::clone(examples),
                    next: usize::try_from(first).unwrap_or(usize::MAX),
                    bytes: 0,
                };
                (first, reading)
            }
        })
    }
}

/// Examples one by one.
#[derive(Debug)]
pub(crate) enum Reading {
    File(Box<bertology_data::ExampleReader>),
    Given {
        examples: Arc<[Example]>,
        next: usize,
        bytes: u64,
    },
}

impl Reading {
    pub(super) fn bytes_read(&self) -> u64 {
        match self {
            Self::File(reader) => reader.bytes_read(),
            Self::Given { bytes, .. } => *bytes,
        }
    }

    /// Remembers the place behind the last example, which has `examples` before it.
    pub(crate) fn offer(&self, examples: u64, marks: &mut Marks<Mark>) {
        if let Self::File(reader) = self {
            marks.offer(examples, || reader.mark());
        }
    }

    /// The account of the file.
    pub(crate) fn finish(self) -> Result<Option<DatasetInfo>, Error> {
        match self {
            Self::File(reader) => Ok(Some(reader.finish()?)),
            Self::Given { .. } => Ok(None),
        }
    }
}

impl Iterator for Reading {
    type Item = Result<Example, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::File(reader) => reader.next().map(|example| example.map_err(Error::from)),
            Self::Given {
                examples,
                next,
                bytes,
            } => {
                let example = examples.get(*next)?;
                *next += 1;
                *bytes += example.text.len() as u64;
                Some(Ok(example.clone()))
            }
        }
    }
}

/// Consecutive tokens that are one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Which text of a pair.
    pub(super) text: i32,
    /// Number within the text.
    pub(super) number: i32,
    /// First token.
    pub(super) first: usize,
    /// Behind the last token.
    pub(super) end: usize,
    /// Characters.
    pub(super) start_char: i32,
    pub(super) end_char: i32,
}

/// One sequence as it goes through the model: an example, or a window of one.
#[derive(Debug, Clone)]
pub struct Item {
    pub(super) example: u64,
    pub(super) window: i32,
    pub(super) line: u64,
    pub(super) sequence: Sequence,
    /// `token_type_ids`, whether or not the model reads them.
    pub(super) segments: Vec<u32>,
    /// Per token: characters, word and text; -1 for none.
    pub(super) char_start: Vec<i32>,
    pub(super) char_end: Vec<i32>,
    pub(super) word: Vec<i32>,
    pub(super) text: Vec<i32>,
    pub(super) words: Vec<Word>,
    /// Tokens that were cut off.
    pub(super) cut: usize,
    /// Tokens that the window before has, too.
    pub(super) context: usize,
    pub(super) target: Option<Target>,
}

impl Item {
    /// Tokens over which the loss is a mean.
    pub(super) fn targets(&self) -> usize {
        match &self.target {
            Some(Target::Tokens(tokens)) => tokens.iter().flatten().count(),
            _ => 0,
        }
    }
}

/// Turns examples into items.
#[derive(Debug, Clone)]
pub(super) struct ItemMaker {
    preparer: Preparer,
    path: PathBuf,
    targets: Option<Targets>,
}

impl ItemMaker {
    pub(super) fn new(
        model: &LoadedModel,
        texts: &Texts,
        of: Option<GradientOf>,
        options: &ExtractOptions,
    ) -> Result<Self, Error> {
        if options.too_long == TooLong::Skip {
            return options.too_long.refused(
                "every text has its place in the shards; cut texts that are too long, read them through windows, \
                 or make them an error",
            );
        }
        let preparer = Preparer::new(
            model,
            &PrepareOptions {
                max_length: options.max_length,
                too_long: options.too_long,
                stride: options.stride,
                bos: options.bos,
                token_ids: texts.has_token_ids(),
            },
        )?;
        let targets = match of {
            None => None,
            Some(GradientOf::Class(class)) => Some(Targets::Class(class)),
            Some(GradientOf::Logit(logit)) => Some(Targets::Logit(logit)),
            Some(GradientOf::NextTokens) => Some(Targets::Next),
            Some(GradientOf::Tokens) => Some(Targets::Tokens {
                hiding: None,
                special: model.tokenizer().map(never_predicted).unwrap_or_default(),
            }),
            Some(GradientOf::Label) => {
                let source = match &texts.origin {
                    Origin::File(source) => Some(source),
                    Origin::Given(_) => None,
                };
                let labels =
                    label_map(model.outline(), texts.path(), source, &options.label_order)?;
                Some(Targets::Labels(labels))
            }
        };
        Ok(Self {
            preparer,
            path: texts.path().to_owned(),
            targets,
        })
    }

    pub(super) fn max_length(&self) -> usize {
        self.preparer.max_length()
    }

    /// The sequences of an example, checked against the model.
    pub(super) fn items(&self, index: u64, example: &Example) -> Result<Fate<Vec<Item>>, Error> {
        let pieces = match self.preparer.pieces(example)? {
            Fate::Studied(pieces) => pieces,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let mut items = Vec::with_capacity(1);
        for mut piece in pieces {
            let target = match &self.targets {
                Some(targets) => targets.of(&mut piece, Some(example), &self.path, index)?,
                None => None,
            };
            let item = Item {
                target,
                ..item(index, example.line, piece)
            };
            let sequence = std::slice::from_ref(&item.sequence);
            PackedBatch::new(self.preparer.model().architecture(), sequence)?;
            items.push(item);
        }
        Ok(Fate::Studied(items))
    }
}

fn number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn item(example: u64, line: u64, piece: Piece) -> Item {
    let (window, context) = (number(piece.number), piece.context());
    let encoding = piece.encoding;
    let word = |at: usize| match (encoding.sequence[at], encoding.words[at]) {
        (Some(text), Some(word)) if !encoding.special[at] => {
            Some((i32::from(text), number(word as usize)))
        }
        _ => None,
    };
    let mut words: Vec<Word> = Vec::new();
    for at in 0..encoding.len() {
        let Some((text, number_)) = word(at) else {
            continue;
        };
        let (start, end) = encoding.offsets[at];
        match words.last_mut() {
            Some(last) if last.end == at && (last.text, last.number) == (text, number_) => {
                last.end = at + 1;
                last.end_char = number(end);
            }
            _ => words.push(Word {
                text,
                number: number_,
                first: at,
                end: at + 1,
                start_char: number(start),
                end_char: number(end),
            }),
        }
    }
    Item {
        example,
        window,
        line,
        char_start: encoding
            .offsets
            .iter()
            .map(|(start, _)| number(*start))
            .collect(),
        char_end: encoding
            .offsets
            .iter()
            .map(|(_, end)| number(*end))
            .collect(),
        word: (0..encoding.len())
            .map(|at| word(at).map_or(-1, |(_, word)| word))
            .collect(),
        text: encoding
            .sequence
            .iter()
            .map(|text| text.map_or(-1, i32::from))
            .collect(),
        words,
        segments: encoding.segment_ids.clone(),
        cut: encoding.truncated,
        context,
        sequence: LoadedModel::sequence(encoding),
        target: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bertology_tokenizer::Encoding;

    use crate::input::prepare::Pieces;

    #[test]
    fn words_are_runs_of_tokens_and_special_tokens_have_none() {
        let special = vec![true, false, false, false, true];
        let encoding = Encoding {
            ids: (0..5).collect(),
            segment_ids: vec![0; 5],
            offsets: vec![(0, 0), (3, 5), (6, 8), (9, 11), (0, 0)],
            sequence: special
                .iter()
                .map(|special| (!special).then_some(0))
                .collect(),
            words: vec![None, Some(0), Some(0), Some(1), None],
            special,
            truncated: 0,
        };
        let piece = Pieces::new(encoding).next().expect("one piece");
        let item = item(4, 9, piece);
        assert_eq!(item.word, [-1, 0, 0, 1, -1]);
        assert_eq!(item.text, [-1, 0, 0, 0, -1]);
        let spans = item.words.iter();
        let spans = spans.map(|w| (w.first, w.end, w.start_char, w.end_char));
        assert_eq!(spans.collect::<Vec<_>>(), [(1, 3, 3, 8), (3, 4, 9, 11)]);
    }
}
