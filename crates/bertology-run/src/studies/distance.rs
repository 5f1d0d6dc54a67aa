//! What `bertology distance` writes.

use crate::registry::{File, file, per_head, rows};
use crate::results::{AveragePattern, Named, document, results_of};
use crate::table::{Row as _, of_head, row};

/// Mean distance of attention between tokens.
pub const TOKENS: &str = "distance_tokens.npy";
/// The same without special tokens.
pub const TOKENS_WITHOUT_SPECIAL: &str = "distance_tokens_without_special.npy";
/// Mean distance of attention between words.
pub const WORDS: &str = "distance_words.npy";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        DistanceRow::FILE,
        rows::<DistanceRow>(""),
        &["distance"],
        "how far each head looks, in tokens and in words",
    ),
    file(
        TOKENS,
        per_head("<f8"),
        &["distance"],
        "mean distance of attention, in tokens; NaN for heads without any",
    ),
    file(
        TOKENS_WITHOUT_SPECIAL,
        per_head("<f8"),
        &["distance"],
        "the same without attention from or to special tokens",
    ),
    file(
        WORDS,
        per_head("<f8"),
        &["distance"],
        "mean distance of attention between words, in words",
    ),
];

row! {
    /// How far a head looks.
    struct DistanceRow in "attention_distance.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Mean distance between all tokens, in tokens.
        tokens: Option<f64>,
        /// Of `tokens`, over sentences.
        tokens_standard_error: Option<f64>,
        /// Mean distance between tokens that are not special, in tokens.
        tokens_without_special: Option<f64>,
        /// Of `tokens_without_special`, over sentences.
        tokens_without_special_standard_error: Option<f64>,
        /// Mean distance between words, in words.
        words: Option<f64>,
        /// Of `words`, over sentences.
        words_standard_error: Option<f64>,
        /// Sentences in which the head has attention between words.
        sentences: u64,
    }
}

of_head!(DistanceRow);

results_of! {
    DistanceResults: "distance"
}

document! {
    /// Of `bertology distance`.
    struct DistanceResults {
        /// What was read.
        counts: Option<DistanceCounts>,
        /// How a word's attention is made of that of its tokens.
        row_mode: String,
        /// `words` or `text`.
        input: String,
        /// By `tokens`, `tokens_without_special` and `words`.
        distances: Named<AveragePattern>,
    }

    /// What was read of a treebank.
    struct DistanceCounts {
        /// Studied.
        sentences: u64,
        /// Sentences left out as too long.
        too_long: u64,
        /// Sentences without a token.
        empty: u64,
        /// Of the sentences studied.
        tokens: u64,
        /// Of the sentences studied.
        words: u64,
    }
}
