//! What a search for heads is to reach, besides keeping the score.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A search ends as soon as a mask that passes has reached it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
#[non_exhaustive]
pub enum Goal {
    /// So many heads left, exactly.
    HeadsLeft(usize),
    /// A weights file of at most so many bytes, as [`pruning::write`](crate::pruning::write) writes it.
    FileBytes(u64),
    /// So many times as fast as the whole model: the lower end of the interval of
    /// [`pruning::compare_speed`](crate::pruning::compare_speed), on this machine. Above 1.
    Speedup(f64),
}

impl Goal {
    /// Whether a mask has reached it of which
    /// [`Evaluator::toward`](super::Evaluator::toward) has told `found`.
    #[must_use]
    pub fn reached(self, found: f64) -> bool {
        match self {
            Self::HeadsLeft(heads) => found <= heads as f64,
            Self::FileBytes(bytes) => found <= bytes as f64,
            Self::Speedup(times) => found >= times,
        }
    }

    /// Whether it is taken in blocks of heads only: times differ from run to run, and no number of heads is the exact one.
    pub(super) fn in_blocks(self) -> bool {
        matches!(self, Self::Speedup(_))
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadsLeft(heads) => write!(f, "heads_left:{heads}"),
            Self::FileBytes(bytes) => write!(f, "file_bytes:{bytes}"),
            Self::Speedup(times) => write!(f, "speedup:{times}"),
        }
    }
}
