//! Texts and how they become sequences: cut, windowed or refused where they are too long.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bertology_data::{DatasetInfo, Example, LabelMap, LabelOrder, Mode, Source};
use bertology_model::{PackedBatch, Sequence, Target};
use bertology_tokenizer::Encoding;

use super::request::Objective;
use super::{ExtractError, ExtractOptions};
use crate::input::corpus::{never_predicted, scored};
use crate::input::windows::{TooLong, windows};
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
    pub(super) fn path(&self) -> &Path {
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

    fn has_token_ids(&self) -> bool {
        match &self.origin {
            Origin::File(source) => source.has_token_ids(),
            Origin::Given(_) => false,
        }
    }

    pub(super) fn open(&self) -> Result<Reading, Error> {
        Ok(match &self.origin {
            Origin::File(source) => Reading::File(Box::new(source.open()?)),
            Origin::Given(examples) => Reading::Given {
                examples: Arc::clone(examples),
                next: 0,
                bytes: 0,
            },
        })
    }
}

/// Examples one by one.
#[derive(Debug)]
pub(super) enum Reading {
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

    /// The account of the file.
    pub(super) fn finish(self) -> Result<Option<DatasetInfo>, Error> {
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

/// Turns examples into sequences of one model.
#[derive(Debug, Clone)]
pub(super) struct Preparer {
    model: LoadedModel,
    path: PathBuf,
    too_long: TooLong,
    pub(super) max_length: usize,
    stride: usize,
    objective: Option<Objective>,
    labels: Option<LabelMap>,
    /// Tokens that a masked language model is never asked for.
    special_ids: Vec<u32>,
}

impl Preparer {
    pub(super) fn new(
        model: &LoadedModel,
        texts: &Texts,
        objective: Option<Objective>,
        options: &ExtractOptions,
    ) -> Result<Self, Error> {
        let max_length = model.checked_length(options.max_length)?;
        let special = if texts.has_token_ids() {
            0
        } else {
            model.tokenizer()?.special_tokens(false)
        };
        let room = max_length.saturating_sub(special);
        if options.too_long == TooLong::Window && room == 0 {
            return Err(Error::Option {
                option: "the maximum length",
                value: max_length.to_string(),
                reason: "special tokens alone take that many; give more",
            });
        }
        let stride = match options.stride {
            None => room,
            Some(stride) if options.too_long != TooLong::Window => {
                return Err(Error::StrideOfNothing { stride });
            }
            Some(stride) if (1..=room).contains(&stride) => stride,
            Some(stride) => {
                return Err(Error::Stride {
                    stride,
                    most: room,
                    length: max_length,
                });
            }
        };
        let labels = match objective {
            Some(Objective::Label) => Some(label_map(model, texts, options.label_order)?),
            _ => None,
        };
        Ok(Self {
            model: model.clone(),
            path: texts.path().to_owned(),
            too_long: options.too_long,
            max_length,
            stride,
            objective,
            labels,
            special_ids: model.tokenizer().map(never_predicted).unwrap_or_default(),
        })
    }

    /// The sequences of an example, checked against the model.
    pub(super) fn items(&self, index: u64, example: &Example) -> Result<Vec<Item>, Error> {
        let encodings = self.encodings(example)?;
        let mut items = Vec::with_capacity(encodings.len());
        for (window, (encoding, context)) in (0..).zip(encodings) {
            let target = self.target(example, &encoding, context)?;
            let item = Item {
                target,
                context,
                ..item(index, example.line, window, encoding)
            };
            let sequence = std::slice::from_ref(&item.sequence);
            PackedBatch::new(self.model.architecture(), sequence)?;
            items.push(item);
        }
        Ok(items)
    }

    fn target(
        &self,
        example: &Example,
        encoding: &Encoding,
        context: usize,
    ) -> Result<Option<Target>, Error> {
        let Some(objective) = self.objective else {
            return Ok(None);
        };
        Ok(Some(match (objective, &self.labels) {
            (Objective::Class(class), _) => Target::Label(class),
            (Objective::Logit(logit), _) => Target::Logit(logit),
            (Objective::Label, Some(labels)) => scored(labels.target(example, &self.path)?),
            // Made together with the objective.
            (Objective::Label, None) => return Ok(None),
            (Objective::Tokens, _) => {
                let counts = counted(encoding, context);
                let ids = encoding.ids.iter().zip(counts);
                let target = |(id, counts): (&u32, bool)| {
                    (counts && !self.special_ids.contains(id)).then_some(*id)
                };
                Target::Tokens(ids.map(target).collect())
            }
            (Objective::NextTokens, _) => {
                let counts = counted(encoding, context).into_iter();
                let ids = encoding.ids.iter().zip(counts).skip(1);
                let next = ids.map(|(id, counts)| counts.then_some(*id));
                Target::Tokens(next.chain([None]).take(encoding.len()).collect())
            }
        }))
    }

    /// The sequences of an example, each with the number of its tokens that the one before has.
    fn encodings(&self, example: &Example) -> Result<Vec<(Encoding, usize)>, Error> {
        let limit = self.max_length;
        let encoding = match &example.token_ids {
            Some(ids) => ready(ids),
            None => {
                let tokenizer = self.model.tokenizer()?;
                let most = (self.too_long == TooLong::Cut).then_some(limit);
                tokenizer.encode(&example.text, example.pair.as_deref(), most)?
            }
        };
        let tokens = encoding.len();
        if tokens <= limit {
            return Ok(vec![(encoding, 0)]);
        }
        match self.too_long {
            TooLong::Error => Err(Error::TooLong { tokens, limit }),
            // A text was cut when it was encoded.
            TooLong::Cut => {
                let rest = Encoding {
                    truncated: tokens - limit,
                    ..part(&encoding, 0..limit)
                };
                Ok(vec![(rest, 0)])
            }
            TooLong::Window if example.pair.is_some() => {
                Err(ExtractError::LongPair { tokens, limit }.into())
            }
            TooLong::Window => Ok(in_windows(&encoding, limit, self.stride)),
        }
    }
}

/// Which tokens are of the text and not context.
fn counted(encoding: &Encoding, context: usize) -> Vec<bool> {
    let mut context = context;
    let counts = encoding.special.iter().map(|special| {
        if *special || context > 0 {
            context -= usize::from(!*special);
            return false;
        }
        true
    });
    counts.collect()
}

fn label_map(model: &LoadedModel, texts: &Texts, order: LabelOrder) -> Result<LabelMap, Error> {
    let no_labels = || Error::NoLabels {
        path: texts.path().to_owned(),
        model: model.checkpoint().folder().to_owned(),
        found: model.architecture().head.description(),
    };
    let Origin::File(source) = &texts.origin else {
        return Err(no_labels());
    };
    if !source.has_labels() {
        return Err(no_labels());
    }
    let arch = model.architecture();
    let labels = LabelMap::new(&arch.labels, source.task(), order)?;
    let regression = arch.labels.len() == 1;
    if regression != (labels.mode() == Mode::Regression) {
        return Err(Error::WrongProblem {
            path: model.checkpoint().folder().to_owned(),
            data: if regression { "class" } else { "number" },
            found: arch.head.description(),
        });
    }
    Ok(labels)
}

/// Token ids that need no tokenizer: no characters, no words, nothing special.
fn ready(ids: &[u32]) -> Encoding {
    let len = ids.len();
    Encoding {
        ids: ids.to_vec(),
        segment_ids: vec![0; len],
        offsets: vec![(0, 0); len],
        sequence: vec![Some(0); len],
        special: vec![false; len],
        words: vec![None; len],
        truncated: 0,
    }
}

/// Some of the tokens, in order.
fn part(all: &Encoding, tokens: impl IntoIterator<Item = usize>) -> Encoding {
    let mut part = Encoding::default();
    for at in tokens {
        part.ids.push(all.ids[at]);
        part.segment_ids.push(all.segment_ids[at]);
        part.offsets.push(all.offsets[at]);
        part.sequence.push(all.sequence[at]);
        part.special.push(all.special[at]);
        part.words.push(all.words[at]);
    }
    part
}

/// A text in windows of at most `limit` tokens, see [`crate::input::windows`]; each has the special tokens
/// that stand before and behind the text.
fn in_windows(all: &Encoding, limit: usize, stride: usize) -> Vec<(Encoding, usize)> {
    let special = |flag: &&bool| **flag;
    let before = all.special.iter().take_while(special).count();
    let behind = all.special.iter().rev().take_while(special).count();
    let end = all.len() - behind;
    let room = limit.saturating_sub(before + behind);
    windows(end - before, room, stride)
        .map(|window| {
            let text = before + window.start..before + window.end;
            let tokens = (0..before).chain(text).chain(end..all.len());
            (part(all, tokens), window.fresh - window.start)
        })
        .collect()
}

fn number(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn item(example: u64, line: u64, window: i32, encoding: Encoding) -> Item {
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
        context: 0,
        sequence: LoadedModel::sequence(encoding),
        target: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[CLS] 0 1 2 … [SEP]`, two tokens a word.
    fn encoded(tokens: u32) -> Encoding {
        let mut all = ready(&(0..tokens + 2).collect::<Vec<_>>());
        let last = all.len() - 1;
        for at in [0, last] {
            (all.special[at], all.sequence[at]) = (true, None);
        }
        for at in 1..last {
            all.words[at] = Some((at as u32 - 1) / 2);
            all.offsets[at] = (at * 3, at * 3 + 2);
        }
        all
    }

    #[test]
    fn windows_have_special_tokens_and_know_their_context() {
        let found = |limit, stride| -> Vec<(Vec<u32>, usize)> {
            let windows = in_windows(&encoded(7), limit, stride).into_iter();
            windows
                .map(|(window, context)| (window.ids, context))
                .collect()
        };
        let expected = [
            (vec![0, 1, 2, 3, 8], 0),
            (vec![0, 4, 5, 6, 8], 0),
            (vec![0, 7, 8], 0),
        ];
        assert_eq!(found(5, 3), expected);
        let expected = [
            (vec![0, 1, 2, 3, 8], 0),
            (vec![0, 3, 4, 5, 8], 1),
            (vec![0, 5, 6, 7, 8], 1),
        ];
        assert_eq!(found(5, 2), expected);
        let (window, context) = &in_windows(&encoded(7), 5, 2)[1];
        assert_eq!(counted(window, *context), [false, false, true, true, false]);
    }

    #[test]
    fn words_are_runs_of_tokens_and_special_tokens_have_none() {
        let item = item(4, 9, 0, encoded(3));
        assert_eq!(item.word, [-1, 0, 0, 1, -1]);
        assert_eq!(item.text, [-1, 0, 0, 0, -1]);
        let spans = item.words.iter();
        let spans = spans.map(|w| (w.first, w.end, w.start_char, w.end_char));
        assert_eq!(spans.collect::<Vec<_>>(), [(1, 3, 3, 8), (3, 4, 9, 11)]);
    }
}
