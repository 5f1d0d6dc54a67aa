//! What was studied of a file, and what was not.

use serde::{Deserialize, Serialize};

use super::survey::{Contribution, Fate, LeftOut};

/// Counts of the units of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Sequences studied.
    pub sequences: u64,
    /// Their tokens, special ones included.
    pub tokens: u64,
    /// Left out: more tokens than may be.
    pub too_long: u64,
    /// Left out: no token.
    pub empty: u64,
    /// Left out: a single sentence, of which no pair can be packed.
    pub unpaired: u64,
    /// Left out: nothing to predict.
    pub nothing_to_predict: u64,
}

impl Account {
    /// Counts one unit.
    pub fn add<I, P>(&mut self, fate: &Fate<Contribution<I, P>>) {
        match fate {
            Fate::Studied(found) => {
                self.sequences += 1;
                self.tokens += found.tokens as u64;
            }
            Fate::LeftOut(LeftOut::TooLong { .. }) => self.too_long += 1,
            Fate::LeftOut(LeftOut::Empty) => self.empty += 1,
            Fate::LeftOut(LeftOut::Unpaired) => self.unpaired += 1,
            Fate::LeftOut(LeftOut::NothingToPredict) => self.nothing_to_predict += 1,
        }
    }

    /// Adds the counts of the units that follow.
    pub fn merge(&mut self, other: &Self) {
        self.sequences += other.sequences;
        self.tokens += other.tokens;
        self.too_long += other.too_long;
        self.empty += other.empty;
        self.unpaired += other.unpaired;
        self.nothing_to_predict += other.nothing_to_predict;
    }

    /// Units left out, for whatever reason.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.too_long + self.empty + self.unpaired + self.nothing_to_predict
    }

    /// All units.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.sequences + self.left_out()
    }
}
