//! Every head as a finder of antecedents (Clark et al. 2019, section 4.3, table 2).
//!
//! A mention is a span of words that refers to an entity; its antecedents are the earlier mentions of the same entity.
//! A head of the model is right about a mention if the mention's head word attends most to the head word of *one* of
//! its antecedents. The paper leaves open among which words that is decided; all three readings are counted
//! ([`Candidates`]).
//!
//! What else the paper leaves open, and what is done here: a mention's head word is the word of it that depends on a
//! word outside (the leftmost of several), and of mentions with the same head word the longest stands for all. Scored
//! are mentions with at least one antecedent in the window, which is the beginning of the document as far as it fits the
//! longest sequence, cut between words. A mention is a pronoun, a proper noun or nominal (everything else) by the tag of
//! its head word (UPOS `PRON`, `PROPN`). Of words to which a mention attends alike the first counts; where there is none
//! but those with no attention at all, the head abstains, which is not right.

mod baselines;
mod counts;
mod study;

use serde::{Deserialize, Serialize};

pub use crate::input::documents::{DocumentItem, DocumentPassages};
pub use crate::input::mentions::{Category, DocumentMention, MentionsIn};
pub use crate::input::passages::PAPER_LENGTH;
pub use baselines::AntecedentRule;
pub use counts::{CorefCounts, CorefTally};
pub use study::{CorefLens, CorefPart};

/// Among which words the one is sought to which a mention attends most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidates {
    /// All other words.
    All,
    /// All words before it.
    Preceding,
    /// The head words of all other mentions.
    MentionHeads,
}

impl Candidates {
    /// All, in the order of every table.
    pub const ALL: [Self; 3] = [Self::All, Self::Preceding, Self::MentionHeads];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Preceding => "preceding",
            Self::MentionHeads => "mention-heads",
        }
    }
}
