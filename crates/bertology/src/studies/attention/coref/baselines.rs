//! Rules that name an antecedent without any model.

use serde::{Deserialize, Serialize};

use crate::input::mentions::{DocumentMention, MentionsIn};

/// A rule of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AntecedentRule {
    /// The nearest earlier mention.
    Nearest,
    /// The nearest earlier mention with the same head word (in lower case).
    HeadMatch,
    /// Four sieves in order, and of the first that holds any earlier mention back the nearest: the same words; the same
    /// head word; number, gender and person that do not contradict; any mention.
    Sieves,
}

impl AntecedentRule {
    /// All, in the order of every table.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::HeadMatch, Self::Sieves];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::HeadMatch => "head-match",
            Self::Sieves => "sieves",
        }
    }

    fn sieves(self) -> &'static [Sieve] {
        match self {
            Self::Nearest => &[any],
            Self::HeadMatch => &[same_head],
            Self::Sieves => &[same_text, same_head, DocumentMention::agrees, any],
        }
    }

    /// The mention that the rule names for a mention: one with an earlier head word, if there is one that fits.
    #[must_use]
    pub fn antecedent(self, mentions: &MentionsIn, mention: usize) -> Option<&DocumentMention> {
        let this = &mentions.mentions[mention];
        let earlier = &mentions.mentions[..mention];
        let mut sieves = self.sieves().iter();
        sieves.find_map(|sieve| earlier.iter().rev().find(|other| sieve(this, other)))
    }

    /// Whether that is an antecedent.
    #[must_use]
    pub fn is_right(self, mentions: &MentionsIn, mention: usize) -> bool {
        let named = self.antecedent(mentions, mention);
        named.is_some_and(|named| named.entity == mentions.mentions[mention].entity)
    }
}

type Sieve = fn(&DocumentMention, &DocumentMention) -> bool;

fn same_text(a: &DocumentMention, b: &DocumentMention) -> bool {
    a.text == b.text
}

fn same_head(a: &DocumentMention, b: &DocumentMention) -> bool {
    a.head_form == b.head_form
}

fn any(_: &DocumentMention, _: &DocumentMention) -> bool {
    true
}
