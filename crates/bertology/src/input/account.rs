//! What became of the texts of a study.

use serde::{Deserialize, Serialize};

use crate::input::supply::LeftOut;

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
        } += 1;
    }

    /// Units left out, for whatever reason.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.too_long + self.empty + self.unpaired + self.nothing_to_predict
    }

    /// All units so far.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.sequences + self.left_out()
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
        }
    }
}
