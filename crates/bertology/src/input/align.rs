//! Texts whose words are known as sequences whose tokens are known to be of which word.
//!
//! ```
//! use bertology::input::align::Aligner;
//! use bertology::input::prepare::{PrepareOptions, Preparer};
//! use bertology::input::supply::Fate;
//! use bertology::{LoadedModel, TooLong};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
//! let model = LoadedModel::open(folder)?;
//! let options = PrepareOptions { too_long: TooLong::Skip, ..PrepareOptions::default() };
//! let aligner = Aligner::new(Preparer::new(&model, &options)?)?;
//! // The characters of the words; leaves of a program's tree would do as well.
//! let Fate::Studied(aligned) = aligner.align("She won.", &[0..3, 4..7, 7..8])? else {
//!     return Err("too long for the model".into());
//! };
//! assert_eq!(aligned.words.len(), 3);
//! let first = aligned.words.tokens_of(aligned.words.words().start);
//! assert_eq!(first.start, 1); // behind [CLS]
//! assert_eq!(aligned.words.of_tokens()[1], Some(0));
//! # Ok(())
//! # }
//! ```

use std::ops::Range;

use bertology_tokenizer::Encoding;

use crate::Error;
use crate::input::prepare::Preparer;
use crate::input::supply::{Fate, LeftOut};
use crate::input::windows::TooLong;
use crate::input::words::{Alignment, Words};

/// A text as a sequence, every token with the word that it is a piece of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned {
    /// The tokens, special ones included.
    pub encoding: Encoding,
    /// The tokens of the words that were kept.
    pub words: Words,
    /// Words that were cut off.
    pub beyond: usize,
    /// Kept words without any token.
    pub without_tokens: usize,
    /// Tokens with characters of two words.
    pub straddling: usize,
}

impl Aligned {
    /// Of the first `kept` words.
    fn new(encoding: Encoding, spans: &[Range<usize>], kept: usize) -> Self {
        let Alignment {
            words,
            without_tokens,
            straddling,
        } = Words::align(&encoding, &spans[..kept]);
        Self {
            encoding,
            words,
            beyond: spans.len() - kept,
            without_tokens,
            straddling,
        }
    }
}

/// Makes sequences of texts whose words (or leaves of a tree, or spans of any kind) are known.
#[derive(Debug, Clone)]
pub struct Aligner {
    preparer: Preparer,
}

impl Aligner {
    /// An aligner with the special tokens, the longest sequence and the way with longer ones of `preparer`. What
    /// is cut is cut between words.
    ///
    /// # Errors
    /// [`TooLong::Window`]: a window would divide words.
    pub fn new(preparer: Preparer) -> Result<Self, Error> {
        match preparer.too_long() {
            TooLong::Window => preparer.too_long().refused(
                "words are aligned in whole texts; leave texts that are too long out, cut them, or make them an \
                 error",
            ),
            TooLong::Error | TooLong::Skip | TooLong::Cut => Ok(Self { preparer }),
        }
    }

    /// What makes the sequences.
    #[must_use]
    pub fn preparer(&self) -> &Preparer {
        &self.preparer
    }

    /// Encodes a text and finds the tokens of its words. `spans` are the words' characters (Unicode scalar
    /// values) in the text, ascending; see [`Words::align`].
    ///
    /// # Errors
    /// A text that cannot be encoded, or is too long where that is an error.
    pub fn align(&self, text: &str, spans: &[Range<usize>]) -> Result<Fate<Aligned>, Error> {
        let whole = self.preparer.whole(text)?;
        let (tokens, limit) = (whole.len(), self.preparer.max_length());
        let (encoding, kept) = if tokens <= limit {
            (whole, spans.len())
        } else {
            match self.preparer.too_long() {
                TooLong::Cut => self.beginning(&whole, text, spans)?,
                TooLong::Error => return Err(Error::TooLong { tokens, limit }),
                // Windows were refused.
                TooLong::Skip | TooLong::Window => {
                    return Ok(Fate::LeftOut(LeftOut::TooLong { tokens }));
                }
            }
        };
        Ok(Fate::Studied(Aligned::new(encoding, spans, kept)))
    }

    /// [`Aligner::align`] of a text of any length: who calls it deals with what is too long.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    pub fn align_whole(&self, text: &str, spans: &[Range<usize>]) -> Result<Aligned, Error> {
        let whole = self.preparer.whole(text)?;
        Ok(Aligned::new(whole, spans, spans.len()))
    }

    /// The longest beginning of a text, up to the end of a word, that has at most so many tokens, and its words.
    fn beginning(
        &self,
        whole: &Encoding,
        text: &str,
        spans: &[Range<usize>],
    ) -> Result<(Encoding, usize), Error> {
        let limit = self.preparer.max_length();
        let special = whole.special.iter().filter(|special| **special).count();
        let room = limit.saturating_sub(special);
        let text_tokens = (0..whole.len()).filter(|at| !whole.special[*at]);
        let end = text_tokens
            .take(room)
            .last()
            .map_or(0, |at| whole.offsets[at].1);
        let mut words = spans.partition_point(|span| span.end <= end);
        loop {
            let characters = match words.checked_sub(1) {
                None => 0,
                Some(last) => spans[last].end,
            };
            let end = text
                .char_indices()
                .nth(characters)
                .map_or(text.len(), |(at, _)| at);
            let encoding = self.preparer.whole(&text[..end])?;
            if encoding.len() <= limit || words == 0 {
                return Ok((encoding, words));
            }
            words -= 1;
        }
    }
}
