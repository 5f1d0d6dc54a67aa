//! What became of the input, for a run's record.
//!
//! | account | of |
//! | --- | --- |
//! | [`SequenceCounts`] | the texts of a study of attention: studied, cut, left out |
//! | [`DocumentCounts`] | the documents of a language model: cut, windowed, without anything to predict |
//! | [`Truncation`] | the examples that a score is of: cut |
//! | [`TextCounts`] | the texts of an extraction: cut, windowed, their words |

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::input::supply::LeftOut;

/// More of anything than any corpus has; sums of such counts do not overflow.
pub(crate) const MOST: u64 = 1 << 48;

/// Units of the input by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SequenceCounts {
    /// Sequences studied.
    pub sequences: u64,
    /// Their tokens, special ones included.
    pub tokens: u64,
    /// Sequences studied whose end was cut off.
    pub cut: u64,
    /// Tokens cut off.
    pub tokens_cut: u64,
    /// Left out: more tokens than may be.
    pub too_long: u64,
    /// Left out: no token.
    pub empty: u64,
    /// Left out: sentences of which no pair could be made.
    pub unpaired: u64,
    /// Left out: nothing to predict.
    pub nothing_to_predict: u64,
    /// Left out: programs that are not of their language.
    #[serde(default)]
    pub with_errors: u64,
    /// Left out: programs that are too large for their parser, or on which it gave up.
    #[serde(default)]
    pub not_parsed: u64,
    /// Left out: programs of fewer leaves than are asked for.
    #[serde(default)]
    pub too_few_leaves: u64,
}

impl SequenceCounts {
    /// One more was studied.
    pub fn study(&mut self, tokens: usize, cut: usize) {
        self.sequences += 1;
        self.tokens += tokens as u64;
        self.cut += u64::from(cut > 0);
        self.tokens_cut += cut as u64;
    }

    /// One more was left out.
    pub fn leave_out(&mut self, why: LeftOut) {
        *match why {
            LeftOut::TooLong { .. } => &mut self.too_long,
            LeftOut::Empty => &mut self.empty,
            LeftOut::Unpaired => &mut self.unpaired,
            LeftOut::NothingToPredict => &mut self.nothing_to_predict,
            LeftOut::WithErrors => &mut self.with_errors,
            LeftOut::NotParsed => &mut self.not_parsed,
            LeftOut::TooFewLeaves { .. } => &mut self.too_few_leaves,
        } += 1;
    }

    /// Units left out, for whatever reason.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.too_long
            + self.empty
            + self.unpaired
            + self.nothing_to_predict
            + self.with_errors
            + self.not_parsed
            + self.too_few_leaves
    }

    /// All units so far.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.sequences + self.left_out()
    }

    /// Refuses numbers that no texts have. A text can be several sequences, so that there may be more of them than
    /// `units`.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self {
            sequences,
            tokens,
            cut,
            tokens_cut,
            too_long,
            empty,
            unpaired,
            nothing_to_predict,
            with_errors,
            not_parsed,
            too_few_leaves,
        } = *self;
        let all = [
            sequences,
            tokens,
            cut,
            tokens_cut,
            too_long,
            empty,
            unpaired,
            nothing_to_predict,
            with_errors,
            not_parsed,
            too_few_leaves,
        ];
        Error::unless_possible(
            all.iter().all(|count| *count <= MOST),
            "counts",
            "a number is larger than any corpus",
        )?;
        Error::unless_possible(
            sequences <= tokens && (sequences > 0 || tokens == 0),
            "counts",
            "the tokens cannot be those of as many sequences",
        )?;
        Error::unless_possible(
            cut <= sequences && cut <= tokens_cut && (cut > 0 || tokens_cut == 0),
            "counts",
            "the tokens cut off cannot be those of as many sequences",
        )
    }

    /// Refuses fewer sequences, with those left out, than there were units.
    pub(crate) fn covers(&self, units: &Range<u64>) -> Result<(), Error> {
        let given = units.end.saturating_sub(units.start);
        Error::unless_possible(
            self.units() >= given && (given > 0 || self.units() == 0),
            "counts",
            "there are not the sequences of all texts that are done",
        )
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sequences: self.sequences + other.sequences,
            tokens: self.tokens + other.tokens,
            cut: self.cut + other.cut,
            tokens_cut: self.tokens_cut + other.tokens_cut,
            too_long: self.too_long + other.too_long,
            empty: self.empty + other.empty,
            unpaired: self.unpaired + other.unpaired,
            nothing_to_predict: self.nothing_to_predict + other.nothing_to_predict,
            with_errors: self.with_errors + other.with_errors,
            not_parsed: self.not_parsed + other.not_parsed,
            too_few_leaves: self.too_few_leaves + other.too_few_leaves,
        }
    }
}

/// What was cut to fit the maximum length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// Examples (for language models: documents) that were cut.
    pub examples: u64,
    /// Tokens cut from them.
    pub tokens: u64,
}

impl Truncation {
    /// One more example, of which so many tokens were cut: perhaps none.
    pub(crate) fn count(&mut self, tokens: usize) {
        self.examples += u64::from(tokens > 0);
        self.tokens += tokens as u64;
    }

    /// Those of both.
    pub(crate) fn add(&mut self, other: Self) {
        self.examples += other.examples;
        self.tokens += other.tokens;
    }
}

/// What became of the documents of a language model's data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCounts {
    /// Documents read.
    pub documents: u64,
    /// Documents skipped because they have no token to predict: too short, or special tokens only.
    pub without_targets: u64,
    /// Documents that were cut to the maximum length.
    pub cut: u64,
    /// Tokens cut from them.
    pub tokens_cut: u64,
    /// Documents read through more than one window.
    pub windowed: u64,
    /// Windows put through the model; each is an example.
    pub windows: u64,
    /// Windows skipped because every token that counts there is a special one.
    pub windows_without_targets: u64,
    /// Tokens predicted.
    pub targets: u64,
}

/// What became of the texts of an extraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextCounts {
    /// Texts, or pairs of texts.
    pub examples: u64,
    /// Sequences put through the model: examples, or their windows.
    pub sequences: u64,
    /// Tokens of all sequences, special ones included.
    pub tokens: u64,
    /// Words of all sequences.
    pub words: u64,
    /// Tokens that belong to no word: special ones.
    pub tokens_without_word: u64,
    /// Examples that were cut.
    pub cut_examples: u64,
    /// Tokens cut from them.
    pub cut_tokens: u64,
    /// Examples that were taken in windows.
    pub windowed_examples: u64,
    /// Examples without a token, of which there is nothing: the tokenizer puts none around them either.
    #[serde(default)]
    pub empty_examples: u64,
    /// Tokens of the longest sequence.
    pub longest: u64,
}

impl TextCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.examples += other.examples;
        self.sequences += other.sequences;
        self.tokens += other.tokens;
        self.words += other.words;
        self.tokens_without_word += other.tokens_without_word;
        self.cut_examples += other.cut_examples;
        self.cut_tokens += other.cut_tokens;
        self.windowed_examples += other.windowed_examples;
        self.empty_examples += other.empty_examples;
        self.longest = self.longest.max(other.longest);
    }
}
