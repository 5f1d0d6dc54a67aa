//! What `bertology predict` writes.

use crate::registry::File;
use crate::results::{Named, TextCounts, document, results_of};
use crate::table::{More, row};

/// The table is that of all predictions, which `evaluate` writes too.
pub(crate) const FILES: &[File] = &[];

row! {
    /// What a classifier says of a text that has no label. Probabilities and logits stand behind, `p_` and `logit_` with the
    /// names of the classes.
    struct SaidRow in "predictions.csv" {
        /// Of the text, from 0.
        index: u64,
        /// Of the file, or among the texts of the command line, from 1.
        line: u64,
        /// Of the sequence.
        tokens: u64,
        /// The likeliest class; of a multi-label classifier those of a probability of at least a half, with `;` between.
        label: String,
        /// Of the likeliest class; empty for multi-label classifiers.
        probability: Option<f64>,
        /// Of all classes, and logits.
        more: More<Option<f64>>,
    }

    /// What a regression says of a text. Where it gives several numbers they stand behind, `value_` with their names.
    struct SaidValueRow in "predictions.csv" {
        /// Of the text, from 0.
        index: u64,
        /// Of the file, or among the texts of the command line, from 1.
        line: u64,
        /// Of the sequence.
        tokens: u64,
        /// The number, or the first.
        value: f64,
        /// All numbers, where there are several.
        more: More<Option<f64>>,
    }

    /// What a token classifier says of a word.
    struct SaidWordRow in "predictions.csv" {
        /// Of the text, from 0.
        index: u64,
        /// Of the file, or among the texts of the command line, from 1.
        line: u64,
        /// Of the second text of a pair 1, else 0.
        text: u64,
        /// Of the word in the text, from 0.
        word: u64,
        /// Its first character in the text.
        start: u64,
        /// Behind its last one.
        end: u64,
        /// The likeliest class.
        label: String,
        /// Of this class.
        probability: Option<f64>,
        /// Of all classes, and logits.
        more: More<Option<f64>>,
    }
}

results_of! {
    PredictResults: "predict"
}

document! {
    /// What a model said.
    struct PredictResults {
        /// `class`, `labels`, `value` or `words`.
        answer: String,
        /// Names of the classes, or of the numbers.
        classes: Vec<String>,
        /// What became of the texts.
        counts: Option<TextCounts>,
        /// Rows of the table.
        rows: u64,
        /// How often each class was given.
        given: Named<u64>,
        /// Heads that a mask silences, if there is a mask.
        masked_heads: Option<Vec<String>>,
        /// The first hundred rows.
        predictions: Vec<Said>,
    }

    /// A row.
    struct Said {
        /// Of the text, from 0.
        index: u64,
        /// Of the file, or among the texts of the command line, from 1.
        line: u64,
        /// Of a token classifier: the word.
        #[serde(skip_serializing_if = "Option::is_none")]
        word: Option<SaidWord>,
        /// The classes that are given; none for numbers.
        labels: Vec<String>,
        /// By class.
        probabilities: Named<f64>,
        /// By class, or the numbers.
        logits: Named<f64>,
    }

    /// A word.
    struct SaidWord {
        /// Of the second text of a pair 1, else 0.
        text: u64,
        /// Its number in the text, from 0.
        number: u64,
        /// Its first character.
        start: u64,
        /// Behind its last one.
        end: u64,
    }
}
