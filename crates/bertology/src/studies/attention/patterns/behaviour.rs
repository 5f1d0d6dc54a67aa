//! What a head does, in a word.

use serde::{Deserialize, Serialize};

/// What a head does, by the thresholds of the paper's code; a later one overrides an earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Behaviour {
    /// Looks at the token behind.
    Next,
    /// Looks at the token before.
    Previous,
    /// Looks everywhere.
    Broad,
    /// Looks at the first position (causal models; not in the paper).
    First,
    /// Looks at `[CLS]`.
    Cls,
    /// Looks at `[SEP]`.
    Sep,
    /// Looks at punctuation.
    Punctuation,
}

impl Behaviour {
    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Previous => "previous",
            Self::Broad => "broad",
            Self::First => "first",
            Self::Cls => "cls",
            Self::Sep => "sep",
            Self::Punctuation => "punct",
        }
    }
}

/// What is more than this makes a behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Mean attention to the next or the previous token.
    pub neighbour: f64,
    /// Mean entropy in nats. That of the paper's code is for segments of 128 tokens, whose uniform rows have
    /// 4.85; where all texts are shorter than 45 tokens nothing reaches it.
    pub broad: f64,
    /// Mean attention to `[CLS]`, `[SEP]`, punctuation or the first position.
    pub class: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            neighbour: 0.5,
            broad: 3.8,
            class: 0.6,
        }
    }
}
