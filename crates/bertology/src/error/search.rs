//! Goals and bounds that a search for heads cannot have, with the evidence.

use bertology_error::Kind;

use super::extract::Size;

/// Why a search for heads would be in vain.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// More heads are to be left than there are.
    #[error(
        "{goal} heads are to be left, but the model has {heads}; give a number from {least} to {heads}"
    )]
    TooManyHeads {
        /// Heads to be left.
        goal: usize,
        /// Heads that there are.
        heads: usize,
        /// Fewest heads that may be left.
        least: usize,
    },
    /// Fewer heads are to be left than layers keep.
    #[error(
        "{goal} heads are to be left, but every layer keeps so many that {least} stay; give a number of at least \
         {least}, or let layers have fewer"
    )]
    TooFewHeads {
        /// Heads to be left.
        goal: usize,
        /// Heads that stay.
        least: usize,
    },
    /// The file is to be no smaller than it is.
    #[error(
        "the weights file has {} with all heads already, and {} are allowed: no head need go; give a smaller size",
        Size(*bytes), Size(*goal)
    )]
    FileSmallAlready {
        /// Bytes asked for.
        goal: u64,
        /// Bytes with all heads.
        bytes: u64,
    },
    /// The file is to be smaller than it can be.
    #[error(
        "the weights file without {} would still have {}, more than the {} that are asked for; give a larger size \
         (what is left is embeddings, feed-forward layers and one head of zeros where a layer has none)",
        if *all { "any head" } else { "all heads that may go" }, Size(*bytes), Size(*goal)
    )]
    FileTooLarge {
        /// Bytes asked for.
        goal: u64,
        /// Bytes of the smallest file.
        bytes: u64,
        /// Whether no head is left in it; else every layer keeps some.
        all: bool,
    },
    /// Whoever measures the masks does not know what the goal is about.
    #[error("the goal {goal} is not known where masks are measured; only heads are counted there")]
    UnknownGoal {
        /// The goal.
        goal: String,
    },
    /// A bound that every score passes.
    #[error(
        "{metric} is never below {least}, so no score can miss the bound {bound}, and every head would go; give a bound \
         above {least}, or a number of heads in the place of a bound"
    )]
    NeverMissed {
        /// The metric.
        metric: String,
        /// The bound; before the first score is known the highest that it can be.
        bound: f64,
        /// The least value of the metric.
        least: f64,
    },
}

impl SearchError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::TooManyHeads { .. }
            | Self::TooFewHeads { .. }
            | Self::FileSmallAlready { .. }
            | Self::FileTooLarge { .. }
            | Self::UnknownGoal { .. }
            | Self::NeverMissed { .. } => Kind::Input,
        }
    }
}
