//! Every head as a predictor of syntactic heads (Clark et al. 2019, section 4.2, table 1).
//!
//! For every word a head of the model names another word: the one to which the word attends most
//! ([`Direction::DependentToHead`]), or the one that attends most to it ([`Direction::HeadToDependent`]). It is right
//! if that is the word's head in the treebank. Of the attention between words ([`Words`](super::Words)) special
//! tokens and a word's attention to itself are left out, without dividing by what is left; of equals the first
//! counts; where nothing is left the head abstains, which is never right. Attention never names the root, so that a
//! root is always wrong; the row `all` counts it nevertheless, as the paper's released code does.
//!
//! Beside each head stands the best of the baselines that name the word at a fixed offset, those beyond the end the
//! last word and those before the beginning the root.
//!
//! [`SyntaxCounts`] holds nothing but whole numbers, so that no order of adding changes them.

mod arcs;
mod counts;
mod study;
mod table;

use serde::{Deserialize, Serialize};

use crate::input::words::RowMode;

pub use arcs::{ALL, ALL_WITHOUT_PUNCT, Rows, SD_OBJECT, SD_PREPOSITION};
pub use counts::{SyntaxCounts, Tally};
pub use study::{SyntaxLens, SyntaxPart};
pub use table::{Baseline, BestHead, RelationScores};

/// Who attends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// The dependent attends to its head: where the row of the dependent is greatest.
    #[serde(rename = "dep->head")]
    DependentToHead,
    /// The head attends to its dependent: where the column of the dependent is greatest.
    #[serde(rename = "head<-dep")]
    HeadToDependent,
    /// The sum of the two.
    #[serde(rename = "both")]
    Both,
}

impl Direction {
    /// All, in the order of every table.
    pub const ALL: [Self; 3] = [Self::DependentToHead, Self::HeadToDependent, Self::Both];
    /// Those among which the paper chooses.
    pub const PAPER: [Self; 2] = [Self::DependentToHead, Self::HeadToDependent];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DependentToHead => "dep->head",
            Self::HeadToDependent => "head<-dep",
            Self::Both => "both",
        }
    }

    /// Whether a model in which no word sees those behind it can name, for the word `dependent`, the word `head`.
    #[must_use]
    pub fn reaches(self, dependent: usize, head: usize) -> bool {
        match self {
            Self::DependentToHead => head < dependent,
            Self::HeadToDependent => head > dependent,
            Self::Both => true,
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntaxOptions {
    /// What the attention from a word of several tokens is.
    pub rows: RowMode,
    /// Relations without their subtypes: `nmod:poss` counts as `nmod`.
    pub base_relations: bool,
    /// The head of a possessor (`nmod:poss`) before a possessive ending (XPOS `POS`) is asked of the ending, for
    /// heads and baselines alike: the special case of the paper's released code.
    pub possessive_clitic: bool,
    /// Count besides the relations of Stanford Dependencies that UD has turned round, [`SD_PREPOSITION`] and
    /// [`SD_OBJECT`]; they are not in the rows of all words.
    pub sd_view: bool,
    /// Baselines name the word this far ahead, from −`offsets` to `offsets`.
    pub offsets: u16,
}

impl Default for SyntaxOptions {
    fn default() -> Self {
        Self {
            rows: RowMode::Mean,
            base_relations: false,
            possessive_clitic: false,
            sd_view: false,
            offsets: 5,
        }
    }
}

impl SyntaxOptions {
    /// The baselines' offsets, ascending.
    #[must_use]
    pub fn all_offsets(&self) -> Vec<i64> {
        (-i64::from(self.offsets)..=i64::from(self.offsets)).collect()
    }
}
