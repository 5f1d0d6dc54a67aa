//! Records of labelled spans as sequences of one model, every span as a range of their tokens.
//!
//! A span of words is the tokens from the first of its first word to the last of its last word. Which tokens a word
//! has is read from the characters that both came from: nothing is added for special tokens, and no text is aligned
//! with another.
//!
//! The model reads a record's words with single spaces between them ([`InputMode::Words`]), each as it would stand
//! within a text, the first one too; or, where the record keeps it, the text as it was written ([`InputMode::Text`]).
//! There two words may have a token in common.

use std::collections::{BTreeMap, HashMap};
use std::ops::{AddAssign, Range};
use std::path::Path;

use bertology_checkpoint::Family;
use bertology_data::DataError;
use bertology_data::edge::{Record, RecordFault, Target};
use bertology_tokenizer::Encoding;
use serde::{Deserialize, Serialize};

use crate::input::align::Aligner;
use crate::input::prepare::{PrepareOptions, Preparer};
use crate::input::treebank::InputMode;
use crate::input::words::Words;
use crate::{Error, LoadedModel, Outline};

/// What is done with records of more tokens than the model reads. No span is ever cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongRecords {
    /// They are errors that name the line.
    #[default]
    Error,
    /// The model reads the beginning; targets that reach beyond it are dropped.
    Drop,
    /// For every target the model reads as much as it can around both spans, which lie in the middle; targets whose
    /// spans do not fit together are dropped.
    Window,
}

/// How records become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanOptions {
    /// What of a record the model reads.
    pub input: InputMode,
    /// Longest sequence in tokens, special ones included; `None`: the model's limit.
    pub max_length: Option<usize>,
    /// What is done with longer ones.
    pub too_long: LongRecords,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not; `None`: for GPT-2, whose first
    /// position has states unlike those of any other.
    pub bos: Option<bool>,
}

impl Default for SpanOptions {
    /// The words, whole.
    fn default() -> Self {
        Self {
            input: InputMode::Words,
            max_length: None,
            too_long: LongRecords::Error,
            bos: None,
        }
    }
}

/// What it took to find the tokens of words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanCounts {
    /// Records.
    pub records: u64,
    /// Their words.
    pub words: u64,
    /// Their tokens, special ones not counted.
    pub pieces: u64,
    /// Words of several tokens.
    pub split_words: u64,
    /// Words that are one unknown token, though the tokenizer knows them.
    pub unknown_words: u64,
    /// Words of which the tokenizer leaves nothing, read as one unknown token.
    pub words_without_pieces: u64,
    /// Words that have a token in common with the word before.
    pub sharing_words: u64,
    /// Tokens of the longest record, special ones included.
    pub longest: u64,
    /// Records that are longer than the model reads.
    pub too_long: u64,
    /// Targets.
    pub targets: u64,
    /// Of these, targets that were dropped.
    pub dropped: u64,
}

impl AddAssign for SpanCounts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.words += other.words;
        self.pieces += other.pieces;
        self.split_words += other.split_words;
        self.unknown_words += other.unknown_words;
        self.words_without_pieces += other.words_without_pieces;
        self.sharing_words += other.sharing_words;
        self.longest = self.longest.max(other.longest);
        self.too_long += other.too_long;
        self.targets += other.targets;
        self.dropped += other.dropped;
    }
}

/// A record as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignedRecord {
    /// Token ids of what the model reads, special ones included: one sequence; of a long record several windows, or none
    /// if every target was dropped.
    pub sequences: Vec<Vec<u32>>,
    /// The targets in order; nothing for those that were dropped.
    pub targets: Vec<Option<AlignedTarget>>,
    /// What it took.
    pub counts: SpanCounts,
}

/// Where the spans of a target are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignedTarget {
    /// In which of the record's sequences.
    pub sequence: usize,
    /// Its tokens there, at least one.
    pub span1: Range<usize>,
    /// Likewise.
    pub span2: Option<Range<usize>>,
}

/// Makes sequences of records.
#[derive(Debug, Clone)]
pub struct SpanAligner {
    aligner: Aligner,
    input: InputMode,
    too_long: LongRecords,
    /// A space stands before the first word, so that it is encoded as all others are.
    spaced: bool,
    bos: bool,
    unknown: Option<(u32, String)>,
}

impl SpanAligner {
    /// An aligner for one model.
    ///
    /// # Errors
    /// A maximum length out of range or that leaves no room beside the special tokens, a model without tokenizer, or
    /// without beginning-of-text token where one is asked for.
    pub fn new(model: &LoadedModel, options: &SpanOptions) -> Result<Self, Error> {
        let family = model.architecture().family;
        let bos = options.bos.unwrap_or(family == Family::Gpt2);
        let prepare = PrepareOptions {
            max_length: options.max_length,
            bos,
            ..PrepareOptions::default()
        };
        let preparer = Preparer::new(model, &prepare)?;
        let tokenizer = model.tokenizer()?;
        let special = tokenizer.special_tokens(false) + usize::from(bos);
        if preparer.max_length() <= special {
            return Err(Error::Option {
                option: "the maximum length",
                value: preparer.max_length().to_string(),
                reason: "special tokens alone take that many; give more",
            });
        }
        // Byte-level tokenizers can say every word.
        let bytes = matches!(
            family,
            Family::Gpt2 | Family::Roberta | Family::ModernBert | Family::EuroBert
        );
        let unknown = tokenizer.unk_id().filter(|_| !bytes);
        let unknown = unknown.and_then(|id| Some((id, tokenizer.id_to_token(id)?)));
        Ok(Self {
            aligner: Aligner::new(preparer)?,
            input: options.input,
            too_long: options.too_long,
            spaced: bytes && options.input == InputMode::Words,
            bos,
            unknown,
        })
    }

    /// What of a record the model reads.
    #[must_use]
    pub fn input(&self) -> InputMode {
        self.input
    }

    /// The longest sequence in tokens, special ones included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.aligner.preparer().max_length()
    }

    /// What is done with longer records.
    #[must_use]
    pub fn too_long(&self) -> LongRecords {
        self.too_long
    }

    /// Whether a beginning-of-text token is put before texts.
    #[must_use]
    pub fn bos(&self) -> bool {
        self.bos
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &Outline {
        self.aligner.preparer().model()
    }

    /// A record as sequences. `path` is its file, for the message of an error.
    ///
    /// # Errors
    /// With file and line: a text that cannot be encoded, or is too long where that is an error; a word without
    /// tokens where there is no unknown token, or whose tokens are not in order; a record that does not keep its text
    /// where that is to be read.
    pub fn align(&self, path: &Path, record: &Record) -> Result<AlignedRecord, Error> {
        let blame = |source| Error::Example {
            path: path.to_owned(),
            line: record.line,
            source: Box::new(source),
        };
        let fault = |fault: RecordFault| {
            Error::Data(DataError::Record {
                path: path.to_owned(),
                line: record.line,
                fault: Box::new(fault),
            })
        };
        let text = match self.input {
            InputMode::Words => self.words(record),
            InputMode::Text => {
                let written = record.written().map_err(fault)?;
                let written = written.ok_or_else(|| fault(RecordFault::NotWritten))?;
                Text {
                    text: written.text,
                    spans: written.words,
                }
            }
        };
        self.align_text(text, record).map_err(blame)
    }

    /// A text of any length, and the tokens of its words.
    fn tokens(&self, text: &Text) -> Result<(Encoding, Vec<Range<usize>>), Error> {
        let aligned = self.aligner.align_whole(&text.text, &text.spans)?;
        let tokens = tokens_of_words(&aligned.encoding, &aligned.words, &text.spans);
        Ok((aligned.encoding, tokens))
    }

    fn words(&self, record: &Record) -> Text {
        let mut text = String::with_capacity(record.text.len() + 1);
        let mut spans = Vec::new();
        let mut at = 0;
        for word in record.words() {
            if !spans.is_empty() || self.spaced {
                text.push(' ');
                at += 1;
            }
            text.push_str(word);
            let end = at + word.chars().count();
            spans.push(at..end);
            at = end;
        }
        Text { text, spans }
    }

    fn align_text(&self, mut text: Text, record: &Record) -> Result<AlignedRecord, Error> {
        let mut counts = SpanCounts {
            records: 1,
            words: text.spans.len() as u64,
            targets: record.targets.len() as u64,
            ..SpanCounts::default()
        };
        let (mut encoding, mut tokens) = self.tokens(&text)?;
        let empty = |tokens: &[Range<usize>]| tokens.iter().position(Range::is_empty);
        if let (Some(_), Some((_, unknown))) = (empty(&tokens), &self.unknown) {
            let nothing = tokens.iter().zip(&text.spans);
            let nothing = nothing.filter(|(tokens, _)| tokens.is_empty());
            let nothing: Vec<Range<usize>> = nothing.map(|(_, span)| span.clone()).collect();
            counts.words_without_pieces = nothing.len() as u64;
            text = text.with(nothing, unknown);
            (encoding, tokens) = self.tokens(&text)?;
        }
        if let Some(word) = empty(&tokens) {
            return Err(word_error(record, word, "has no token"));
        }
        for (word, pair) in tokens.windows(2).enumerate() {
            if pair[1].start < pair[0].start || pair[1].end < pair[0].end {
                let reason = "has tokens before those of the word before it";
                return Err(word_error(record, word + 1, reason));
            }
            let same = text.spans[word] == text.spans[word + 1];
            counts.sharing_words += u64::from(!same && pair[1].start < pair[0].end);
        }
        for tokens in &tokens {
            counts.split_words += u64::from(tokens.len() > 1);
            let one = (tokens.len() == 1).then(|| encoding.ids[tokens.start]);
            let unknown = self.unknown.as_ref().map(|(id, _)| *id);
            counts.unknown_words += u64::from(one.is_some() && one == unknown);
        }
        // Those that were put there are known to be so.
        counts.unknown_words = counts
            .unknown_words
            .saturating_sub(counts.words_without_pieces);
        counts.longest = encoding.len() as u64;
        counts.pieces = encoding.special.iter().filter(|special| !**special).count() as u64;
        let spans: Vec<_> = record
            .targets
            .iter()
            .map(|target| spans_of(&tokens, target))
            .collect();
        let limit = self.max_length();
        let fitting = encoding.len() <= limit;
        counts.too_long = u64::from(!fitting);
        let mut found = AlignedRecord {
            sequences: Vec::new(),
            targets: Vec::with_capacity(spans.len()),
            counts,
        };
        if fitting {
            found.sequences.push(encoding.ids);
            found.targets = spans
                .into_iter()
                .map(|spans| Some(spans.at(0, 0)))
                .collect();
            return Ok(found);
        }
        if self.too_long == LongRecords::Error {
            let tokens = encoding.len();
            return Err(Error::LongRecord { tokens, limit });
        }
        let frame = Frame::of(&encoding, limit);
        let mut windows: HashMap<usize, usize> = HashMap::new();
        for spans in spans {
            let start = match self.too_long {
                LongRecords::Window => frame.around(spans.start(), spans.end()),
                _ => (spans.end() <= frame.begin + frame.room).then_some(frame.begin),
            };
            let Some(start) = start else {
                found.targets.push(None);
                found.counts.dropped += 1;
                continue;
            };
            let next = found.sequences.len();
            let sequence = *windows.entry(start).or_insert(next);
            if sequence == next {
                found.sequences.push(frame.cut(&encoding, start));
            }
            found
                .targets
                .push(Some(spans.at(sequence, start - frame.begin)));
        }
        Ok(found)
    }
}

/// A text and the characters of its words.
struct Text {
    text: String,
    spans: Vec<Range<usize>>,
}

impl Text {
    /// The same with another text in the place of some words.
    fn with(&self, places: Vec<Range<usize>>, other: &str) -> Self {
        let width = other.chars().count();
        let characters: Vec<char> = self.text.chars().collect();
        let mut text = String::new();
        let mut at = 0;
        // Where characters of the text begin in the new one, at the places that change.
        let mut moved: BTreeMap<usize, Range<usize>> = BTreeMap::new();
        let (mut shift_in, mut shift_out) = (0, 0);
        let mut shifts: Vec<(usize, usize, usize)> = Vec::new();
        for place in places {
            // Words that are written as one have one place.
            if moved.contains_key(&place.start) {
                continue;
            }
            text.extend(&characters[at..place.start]);
            text.push_str(other);
            let start = place.start + shift_in - shift_out;
            moved.insert(place.start, start..start + width);
            shift_in += width;
            shift_out += place.len();
            shifts.push((place.end, shift_in, shift_out));
            at = place.end;
        }
        text.extend(&characters[at..]);
        let spans = self.spans.iter().map(|span| {
            if let Some(there) = moved.get(&span.start) {
                return there.clone();
            }
            let before = shifts.partition_point(|(end, _, _)| *end <= span.start);
            let (more, less) = match before.checked_sub(1).and_then(|at| shifts.get(at)) {
                Some((_, more, less)) => (*more, *less),
                None => (0, 0),
            };
            span.start + more - less..span.end + more - less
        });
        Self {
            spans: spans.collect(),
            text,
        }
    }
}

fn word_error(record: &Record, word: usize, reason: &'static str) -> Error {
    let form = record.words().nth(word).unwrap_or_default();
    Error::WordPieces {
        word,
        form: form.chars().take(40).collect(),
        reason,
    }
}

/// The tokens of every word: those that are its alone, and those with some of its characters.
fn tokens_of_words(
    encoding: &Encoding,
    words: &Words,
    spans: &[Range<usize>],
) -> Vec<Range<usize>> {
    let mut from = 0;
    let units = words.words();
    let mut found: Vec<Range<usize>> = units.map(|unit| words.tokens_of(unit)).collect();
    for (token, &(start, end)) in encoding.offsets.iter().enumerate() {
        if encoding.special[token] || start >= end {
            continue;
        }
        while from < spans.len() && spans[from].end <= start {
            from += 1;
        }
        for (span, range) in spans.iter().zip(&mut found).skip(from) {
            if span.start >= end {
                break;
            }
            *range = if range.start == range.end {
                token..token + 1
            } else {
                range.start.min(token)..range.end.max(token + 1)
            };
        }
    }
    found
}

/// Tokens of a target in the whole text.
struct Spans {
    span1: Range<usize>,
    span2: Option<Range<usize>>,
}

fn spans_of(tokens: &[Range<usize>], target: &Target) -> Spans {
    let span = |words: &Range<usize>| tokens[words.start].start..tokens[words.end - 1].end;
    Spans {
        span1: span(&target.span1),
        span2: target.span2.as_ref().map(span),
    }
}

impl Spans {
    fn start(&self) -> usize {
        let other = self.span2.as_ref().map_or(usize::MAX, |span| span.start);
        self.span1.start.min(other)
    }

    fn end(&self) -> usize {
        let other = self.span2.as_ref().map_or(0, |span| span.end);
        self.span1.end.max(other)
    }

    /// In a sequence from which so many tokens of the text were left out in front.
    fn at(self, sequence: usize, before: usize) -> AlignedTarget {
        let there = |span: Range<usize>| span.start - before..span.end - before;
        AlignedTarget {
            sequence,
            span1: there(self.span1),
            span2: self.span2.map(there),
        }
    }
}

/// The special tokens of a long text, and what of it fits between them.
struct Frame {
    /// The first token of the text.
    begin: usize,
    /// Behind its last one.
    end: usize,
    /// Tokens of the text that fit.
    room: usize,
}

impl Frame {
    fn of(encoding: &Encoding, limit: usize) -> Self {
        let special = |at: &usize| encoding.special[*at];
        let begin = (0..encoding.len()).take_while(special).count();
        let behind = (begin..encoding.len()).rev().take_while(special).count();
        Self {
            begin,
            end: encoding.len() - behind,
            room: limit.saturating_sub(begin + behind),
        }
    }

    /// Where a window begins that has these tokens in its middle.
    fn around(&self, start: usize, end: usize) -> Option<usize> {
        let free = self.room.checked_sub(end - start)?;
        let last = self.end.saturating_sub(self.room).max(self.begin);
        let first = start.saturating_sub(free / 2);
        Some(first.clamp(self.begin, last))
    }

    /// The window that begins at a token.
    fn cut(&self, encoding: &Encoding, start: usize) -> Vec<u32> {
        let end = self.end.min(start + self.room);
        let ids = &encoding.ids;
        [&ids[..self.begin], &ids[start..end], &ids[self.end..]].concat()
    }
}
