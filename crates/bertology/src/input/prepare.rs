//! Texts, pairs of texts and ready token ids as sequences of one model.
//!
//! Everything that a model reads passes here: special tokens are put around it, and what is longer than may be
//! is refused, left out, cut or read through windows, as [`TooLong`] says.

use bertology_data::Example;
use bertology_tokenizer::{Encoding, Tokenizer};

use crate::input::supply::{Fate, LeftOut};
use crate::input::windows::{TooLong, Window, Windows, windows};
use crate::{Error, LoadedModel, Outline};

/// How texts become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Longest sequence in tokens, special ones included; `None`: the model's limit.
    pub max_length: Option<usize>,
    /// What is done with what is longer.
    pub too_long: TooLong,
    /// Tokens from the beginning of one window to that of the next; `None`: what a window holds of a text, so
    /// that no token comes twice.
    pub stride: Option<usize>,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2).
    pub bos: bool,
    /// The texts are token ids, which need no tokenizer.
    pub token_ids: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            max_length: None,
            too_long: TooLong::Error,
            stride: None,
            bos: false,
            token_ids: false,
        }
    }
}

/// Turns texts, pairs of texts and token ids into sequences of one model.
#[derive(Debug, Clone)]
pub struct Preparer {
    model: Outline,
    max_length: usize,
    too_long: TooLong,
    stride: usize,
    around: Around,
}

/// The special tokens of a text.
#[derive(Debug, Clone)]
enum Around {
    /// Those that the tokenizer puts there, with one in front if it is not there.
    Tokenizer { bos: Option<u32> },
    /// None of the tokenizer's: a document of a language model.
    Document {
        /// Before and behind each window.
        frame: Option<(u32, u32)>,
        /// In front of the document, of which it is a part.
        first: Option<u32>,
        /// Rows of the model's vocabulary, within which ready ids must be.
        vocabulary: usize,
    },
    /// Those that the tokenizer puts around a question and its text, which alone is divided.
    Question {
        /// Tokens of the text that two windows share.
        shared: usize,
    },
}

/// How a document of a language model becomes windows; all checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DocumentOptions {
    pub(crate) max_length: usize,
    pub(crate) too_long: TooLong,
    pub(crate) stride: Option<usize>,
    pub(crate) frame: Option<(u32, u32)>,
    pub(crate) first: Option<u32>,
}

/// A text that fits the model, or a window of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its tokens, special ones included. The first piece of a text that was cut knows how much.
    pub encoding: Encoding,
    /// Number of the window in its text, zero-based.
    pub number: usize,
    /// Which tokens of the text it holds, special ones around it not counted.
    pub window: Window,
}

impl Piece {
    /// Tokens of the text that the piece before holds, too.
    #[must_use]
    pub fn context(&self) -> usize {
        self.window.fresh - self.window.start
    }

    /// Which tokens are of the text and not context.
    #[must_use]
    pub fn counted(&self) -> Vec<bool> {
        let mut context = self.context();
        let counts = self.encoding.special.iter().map(|special| {
            if *special || context > 0 {
                context -= usize::from(!*special);
                return false;
            }
            true
        });
        counts.collect()
    }
}

impl Preparer {
    /// A preparer of texts with the special tokens that the tokenizer puts around them.
    ///
    /// # Errors
    /// A model without tokenizer where there are texts, or without beginning-of-text token where one is asked
    /// for; a maximum length or stride out of range, a stride where nothing is windowed.
    pub fn new(model: &LoadedModel, options: &PrepareOptions) -> Result<Self, Error> {
        let max_length = model.checked_length(options.max_length)?;
        let special = if options.token_ids {
            0
        } else {
            model.tokenizer()?.special_tokens(false)
        };
        let bos = options.bos.then(|| bos_of(model.outline())).transpose()?;
        let room = max_length.saturating_sub(special + usize::from(bos.is_some()));
        if options.too_long == TooLong::Window && room == 0 {
            return Err(Error::Option {
                option: "the maximum length",
                value: max_length.to_string(),
                reason: "special tokens alone take that many; give more",
            });
        }
        Ok(Self {
            model: model.outline().clone(),
            max_length,
            too_long: options.too_long,
            stride: stride(options.stride, options.too_long, room, room, max_length)?,
            around: Around::Tokenizer { bos },
        })
    }

    /// A preparer of documents for a language model.
    pub(crate) fn documents(model: &LoadedModel, options: DocumentOptions) -> Result<Self, Error> {
        let DocumentOptions {
            max_length,
            too_long,
            frame,
            first,
            ..
        } = options;
        let room = max_length.saturating_sub(if frame.is_some() { 2 } else { 0 });
        // Without special tokens before it, a window that begins with a token that counts would have no
        // context for it.
        let most = room.saturating_sub(usize::from(frame.is_none()));
        if most == 0 {
            return Err(Error::Option {
                option: "the maximum length",
                value: max_length.to_string(),
                reason: "it leaves no token to predict; give at least 2 tokens for a causal and 3 for \
                         a masked language model",
            });
        }
        let half = (room / 2).max(1);
        Ok(Self {
            model: model.outline().clone(),
            max_length,
            too_long,
            stride: stride(options.stride, too_long, half, most, max_length)?,
            around: Around::Document {
                frame,
                first,
                vocabulary: model.architecture().vocab_size,
            },
        })
    }

    /// A preparer of questions with their texts, which are read through windows that share so many tokens.
    pub(crate) fn questions(
        model: &LoadedModel,
        max_length: usize,
        too_long: TooLong,
        shared: usize,
    ) -> Result<Self, Error> {
        let options = PrepareOptions {
            max_length: Some(max_length),
            too_long,
            ..PrepareOptions::default()
        };
        Ok(Self {
            around: Around::Question { shared },
            ..Self::new(model, &options)?
        })
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &Outline {
        &self.model
    }

    /// The longest sequence in tokens, special ones included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// What is done with longer ones.
    #[must_use]
    pub fn too_long(&self) -> TooLong {
        self.too_long
    }

    /// Tokens from the beginning of one window to that of the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The sequences of an example, at least one unless it is left out. A text that has no token, nor special ones
    /// around it, is left out whatever the options say: no model reads nothing.
    ///
    /// # Errors
    /// A text that cannot be encoded, or is too long where that is an error; a pair that would have to be read
    /// through windows; of language models' documents also pairs, and ids beyond the vocabulary.
    pub fn pieces(&self, example: &Example) -> Result<Fate<Pieces>, Error> {
        let encoding = match self.around {
            Around::Tokenizer { bos } => {
                let encoding = self.with_special(example, bos)?;
                if encoding.is_empty() {
                    return Ok(Fate::LeftOut(LeftOut::Empty));
                }
                encoding
            }
            Around::Document {
                frame,
                first,
                vocabulary,
            } => self.document(example, frame, first, vocabulary)?,
            Around::Question { shared } => return self.question(example, shared),
        };
        self.fit(encoding, example.pair.is_some())
    }

    /// A text with its special tokens, however long it is.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    pub(crate) fn whole(&self, text: &str) -> Result<Encoding, Error> {
        let mut encoding = self.tokenizer()?.encode(text, None, None)?;
        if let Around::Tokenizer { bos: Some(bos) } = self.around {
            put_bos(&mut encoding, bos);
        }
        Ok(encoding)
    }

    fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.model.tokenizer()
    }

    fn with_special(&self, example: &Example, bos: Option<u32>) -> Result<Encoding, Error> {
        let room = self.max_length.saturating_sub(usize::from(bos.is_some()));
        let most = (self.too_long == TooLong::Cut).then_some(room);
        let mut encoding = match &example.token_ids {
            Some(ids) => ready(ids.clone(), most),
            None if !example.words.is_empty() => {
                let words = example.words.iter().map(|tagged| tagged.word.as_str());
                let words: Vec<&str> = words.collect();
                self.tokenizer()?.encode_words(&words, most)?
            }
            None => {
                let pair = example.pair.as_deref();
                self.tokenizer()?.encode(&example.text, pair, most)?
            }
        };
        if let Some(bos) = bos {
            put_bos(&mut encoding, bos);
        }
        Ok(encoding)
    }

    /// A question and its text, or windows of it, each with the question.
    fn question(&self, example: &Example, shared: usize) -> Result<Fate<Pieces>, Error> {
        let (question, text) = (example.text.trim_start(), example.pair.as_deref());
        let encoding = self.tokenizer()?.encode(question, text, None)?;
        let (tokens, limit) = (encoding.len(), self.max_length);
        let asked = encoding.sequence.iter().filter(|side| **side == Some(0));
        let asked = asked.count();
        let pieces = Pieces::of_second(encoding);
        match (tokens <= limit, self.too_long, pieces.room(limit)) {
            (true, ..) => Ok(Fate::Studied(pieces)),
            (_, TooLong::Window, room) if room > shared => {
                Ok(Fate::Studied(pieces.windowed(limit, room - shared)))
            }
            (_, TooLong::Window, room) => Err(Error::LongQuestion {
                question: asked,
                room,
                limit,
                shared,
            }),
            _ => Err(Error::TooLong { tokens, limit }),
        }
    }

    fn document(
        &self,
        example: &Example,
        frame: Option<(u32, u32)>,
        first: Option<u32>,
        vocabulary: usize,
    ) -> Result<Encoding, Error> {
        if example.pair.is_some() {
            return Err(Error::PairOfTexts);
        }
        let mut encoding = match &example.token_ids {
            Some(ids) => {
                if let Some(at) = ids.iter().position(|id| *id as usize >= vocabulary) {
                    return Err(Error::TokenId {
                        id: ids[at],
                        column: at + 1,
                        vocabulary,
                    });
                }
                ready(without_frame(ids, frame).to_vec(), None)
            }
            None => self.tokenizer()?.encode_plain(&example.text)?,
        };
        if let Some(first) = first {
            insert(&mut encoding, 0, first, false);
        }
        if let Some((before, behind)) = frame {
            insert(&mut encoding, 0, before, true);
            let end = encoding.len();
            insert(&mut encoding, end, behind, true);
        }
        Ok(encoding)
    }

    fn fit(&self, encoding: Encoding, pair: bool) -> Result<Fate<Pieces>, Error> {
        let (tokens, limit) = (encoding.len(), self.max_length);
        let pieces = Pieces::new(encoding);
        if tokens <= limit {
            return Ok(Fate::Studied(pieces));
        }
        match self.too_long {
            TooLong::Error => Err(Error::TooLong { tokens, limit }),
            TooLong::Skip => Ok(Fate::LeftOut(LeftOut::TooLong { tokens })),
            TooLong::Cut => Ok(Fate::Studied(pieces.cut(limit))),
            TooLong::Window if pair => Err(Error::LongPair { tokens, limit }),
            TooLong::Window => Ok(Fate::Studied(pieces.windowed(limit, self.stride))),
        }
    }
}

/// The stride asked for, checked.
fn stride(
    given: Option<usize>,
    too_long: TooLong,
    default: usize,
    most: usize,
    length: usize,
) -> Result<usize, Error> {
    match given {
        None => Ok(default),
        Some(stride) if too_long != TooLong::Window => Err(Error::StrideOfNothing { stride }),
        Some(stride) if (1..=most).contains(&stride) => Ok(stride),
        Some(stride) => Err(Error::Stride {
            stride,
            most,
            length,
        }),
    }
}

/// The pieces of a text in order, each made when it is asked for.
#[derive(Debug, Clone)]
pub struct Pieces {
    whole: Encoding,
    /// Special tokens before the text.
    before: usize,
    /// Where those behind it begin.
    end: usize,
    rest: Rest,
    number: usize,
}

#[derive(Debug, Clone)]
enum Rest {
    Whole,
    Windows(Windows),
    Nothing,
}

impl Pieces {
    /// A text that is one piece.
    pub(crate) fn new(whole: Encoding) -> Self {
        let special = |flag: &&bool| **flag;
        let before = whole.special.iter().take_while(special).count();
        let text = &whole.special[before..];
        let behind = text.iter().rev().take_while(special).count();
        Self {
            before,
            end: whole.len() - behind,
            whole,
            rest: Rest::Whole,
            number: 0,
        }
    }

    /// A pair of which the second text is divided, and the first is before every piece of it.
    fn of_second(whole: Encoding) -> Self {
        let second = |side: &Option<u8>| *side == Some(1);
        let (first, last) = (
            whole.sequence.iter().position(second),
            whole.sequence.iter().rposition(second),
        );
        Self {
            before: first.unwrap_or(whole.len()),
            end: last.map_or(whole.len(), |last| last + 1),
            whole,
            rest: Rest::Whole,
            number: 0,
        }
    }

    /// All tokens of the text, special ones included, until the last piece is taken.
    #[must_use]
    pub fn whole(&self) -> &Encoding {
        &self.whole
    }

    fn room(&self, limit: usize) -> usize {
        let special = self.before + self.whole.len() - self.end;
        limit.saturating_sub(special)
    }

    /// The end of the text cut off.
    fn cut(self, limit: usize) -> Self {
        let end = self.end.min(self.before + self.room(limit));
        let tokens = (0..end).chain(self.end..self.whole.len());
        let mut rest = part(&self.whole, tokens);
        rest.truncated = self.whole.truncated + self.end - end;
        Self::new(rest)
    }

    fn windowed(mut self, limit: usize, stride: usize) -> Self {
        let all = windows(self.end - self.before, self.room(limit), stride);
        self.rest = Rest::Windows(all);
        self
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let (encoding, window) = match &mut self.rest {
            Rest::Nothing => return None,
            Rest::Whole => {
                self.rest = Rest::Nothing;
                let window = Window {
                    start: 0,
                    fresh: 0,
                    end: self.end - self.before,
                };
                (std::mem::take(&mut self.whole), window)
            }
            Rest::Windows(windows) => {
                let window = windows.next()?;
                let text = self.before + window.start..self.before + window.end;
                let special = self.end..self.whole.len();
                let tokens = (0..self.before).chain(text).chain(special);
                (part(&self.whole, tokens), window)
            }
        };
        let number = self.number;
        self.number += 1;
        Some(Piece {
            encoding,
            number,
            window,
        })
    }
}

/// The token that a model knows as the beginning of a text.
pub(crate) fn bos_of(model: &Outline) -> Result<u32, Error> {
    let id = model.tokenizer()?.bos_id();
    special(model, id, "beginning-of-text", "take the texts without it")
}

/// The id of a special token, if the model has a row for it.
pub(crate) fn special(
    model: &Outline,
    id: Option<u32>,
    token: &'static str,
    hint: &'static str,
) -> Result<u32, Error> {
    let rows = model.architecture().vocab_size;
    match id {
        Some(id) if (id as usize) < rows => Ok(id),
        _ => Err(Error::NoSpecialToken {
            path: model.checkpoint().folder().to_owned(),
            token,
            hint,
        }),
    }
}

/// Puts it before a text whose tokenizer did not.
pub(crate) fn put_bos(encoding: &mut Encoding, bos: u32) {
    if encoding.ids.first() != Some(&bos) {
        insert(encoding, 0, bos, true);
    }
}

/// Puts in a token that stands for no characters.
pub(crate) fn insert(encoding: &mut Encoding, at: usize, id: u32, special: bool) {
    encoding.ids.insert(at, id);
    encoding.segment_ids.insert(at, 0);
    encoding.offsets.insert(at, (0, 0));
    encoding.sequence.insert(at, None);
    encoding.special.insert(at, special);
    encoding.words.insert(at, None);
}

/// Ids that come with their own special tokens around them get them back in every window.
fn without_frame(ids: &[u32], frame: Option<(u32, u32)>) -> &[u32] {
    match (ids, frame) {
        ([first, text @ .., last], Some((before, behind)))
            if *first == before && *last == behind =>
        {
            text
        }
        _ => ids,
    }
}

/// Token ids that need no tokenizer: no characters, no words, nothing special; cut to `most`.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `[CLS] 1 2 … [SEP]`.
    fn encoded(tokens: u32) -> Encoding {
        let mut all = ready((0..tokens + 2).collect(), None);
        let last = all.len() - 1;
        for at in [0, last] {
            (all.special[at], all.sequence[at]) = (true, None);
        }
        all
    }

    #[test]
    fn windows_have_special_tokens_and_know_their_context() {
        let found = |limit, stride| -> Vec<(Vec<u32>, usize)> {
            let pieces = Pieces::new(encoded(7)).windowed(limit, stride);
            pieces
                .map(|piece| {
                    let context = piece.context();
                    (piece.encoding.ids, context)
                })
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
        let second = Pieces::new(encoded(7)).windowed(5, 2).nth(1);
        let counted = second.map(|piece| piece.counted());
        assert_eq!(counted, Some(vec![false, false, true, true, false]));
    }

    #[test]
    fn a_cut_text_keeps_the_special_tokens_around_it() {
        let mut pieces = Pieces::new(encoded(7)).cut(5);
        let piece = pieces.next().expect("one piece");
        assert_eq!(piece.encoding.ids, [0, 1, 2, 3, 8]);
        assert_eq!((piece.encoding.truncated, piece.window.end), (4, 3));
        assert_eq!(pieces.next(), None);
    }

    #[test]
    fn a_token_put_in_front_is_not_put_there_twice() {
        let mut encoding = ready(vec![5, 6], None);
        put_bos(&mut encoding, 9);
        put_bos(&mut encoding, 9);
        assert_eq!(encoding.ids, [9, 5, 6]);
        assert_eq!(encoding.special, [true, false, false]);
    }

    #[test]
    fn ids_lose_special_tokens_of_their_own() {
        assert_eq!(without_frame(&[1, 5, 2], Some((1, 2))), [5]);
        assert_eq!(without_frame(&[1, 2], Some((1, 2))), [0_u32; 0]);
        assert_eq!(without_frame(&[1, 5], Some((1, 2))), [1, 5]);
        assert_eq!(without_frame(&[1, 5, 2], None), [1, 5, 2]);
        assert_eq!(without_frame(&[1], Some((1, 1))), [1]);
    }
}
