//! How models of code attend to its structure: the CAT-score (Chen et al. 2022, *CAT-probing*).
//!
//! A function's leaves have attention between them, and distances in its tree. The score is the Jaccard index of the
//! cells with high attention and those with small distance. Most of it is position: neighbours are near in any tree, so
//! that attention 1/(1 + |i-j|), which knows no structure, scores about a half. Every score therefore stands beside
//! its controls ([`Measure`]).

mod frame;
mod frequent;
#[cfg(feature = "code")]
mod legacy;
mod masks;
mod measure;
mod ranks;
mod scores;
mod shown;
mod study;
mod sums;

pub use crate::input::snippet::{AlignmentCounts, LeafMean, LeafTokens, SnippetItem, Stranger};
pub use frame::Choice;
pub use frequent::FrequentKinds;
#[cfg(feature = "code")]
pub use legacy::{LegacyChoice, LegacyScore, LegacyScores, legacy_scores};
pub use masks::Quantile;
pub use measure::Measure;
pub use scores::{
    CONTROLS, CatScores, Difference, HeadScores, KindScores, LayerScores, Mean, quantiles,
};
pub use shown::leaf_attention;
pub use study::{CatLens, CatOptions, CatPart, CatState};
