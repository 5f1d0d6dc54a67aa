//! What `bertology compress` writes.

use crate::registry::{File, Kind, file, rows};
use crate::results::{
    CheckpointWritten, Evaluation, PairedChange, Sizes, Timing, document, results_of,
};
use crate::table::{Row as _, row};

/// Which neurons stay.
pub const NEURON_MASK: &str = "neuron_mask.npy";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        LayerRow::FILE,
        rows::<LayerRow>(""),
        &["compress"],
        "what each layer has lost, what it costs now, and what its tuning did",
    ),
    file(
        PointRow::FILE,
        rows::<PointRow>(""),
        &["compress"],
        "every smaller model that was tried on the way to a score",
    ),
    file(
        NEURON_MASK,
        Kind::Array {
            axes: &["layer", "neuron"],
            dtype: "<f4",
        },
        &["compress"],
        "1 keeps a neuron of a feed-forward block, 0 removes it",
    ),
    file(
        VocabularyRow::FILE,
        rows::<VocabularyRow>(""),
        &["compress"],
        "every token that stays, its ids before and after, and how often the texts have it",
    ),
];

row! {
    /// A layer before and after.
    struct LayerRow in "layer_costs.csv" {
        /// From 0.
        layer: usize,
        /// Heads before.
        heads_before: usize,
        /// Heads after.
        heads_after: usize,
        /// Neurons of the feed-forward block before.
        neurons_before: usize,
        /// Neurons after.
        neurons_after: usize,
        /// Multiply-adds per token before.
        operations_before: f64,
        /// After.
        operations_after: f64,
        /// Share of what attention should add to the stream that is missed without factors, in squares.
        attention_missed: Option<f64>,
        /// With them.
        attention_missed_tuned: Option<f64>,
        /// The same of the feed-forward block.
        feed_forward_missed: Option<f64>,
        /// With factors.
        feed_forward_missed_tuned: Option<f64>,
    }

    /// A token that stays.
    struct VocabularyRow in "vocabulary_map.csv" {
        /// In the smaller vocabulary.
        id: usize,
        /// In the whole one.
        old_id: usize,
        /// As the tokenizer writes it; empty for a row that no token has.
        token: String,
        /// How often it occurs in the texts that it was chosen on, special tokens around them included; 0 of what stays for
        /// another reason.
        count: u64,
    }

    /// A smaller model that was tried.
    struct PointRow in "compression.csv" {
        /// In the order in which they were tried, from 0, which is the whole model.
        point: usize,
        /// Share of the operations of the blocks.
        operations: f64,
        /// Heads left.
        heads: usize,
        /// Neurons left.
        neurons: usize,
        /// Of the metric, on examples that neither chose units nor tuned them.
        score: Option<f64>,
        /// Whether that keeps to what may be lost.
        passed: bool,
    }
}

results_of! {
    CompressResults: "compress"
}

document! {
    /// What was taken out, and what that did.
    struct CompressResults {
        /// What was to be reached, such as `operations:0.6`.
        goal: String,
        /// How units were scored.
        measure: String,
        /// Examples whose gradients were taken.
        examples: u64,
        /// Texts on which factors were tuned; 0: none were.
        tuned_on: u64,
        /// Of the draws of examples.
        seed: u64,
        /// Tokens of a text at which attention costs what it costs on average.
        length: Option<f64>,
        /// Multiply-adds of the blocks per token, before and after.
        operations: Option<(f64, f64)>,
        /// Neurons of all layers, before and after.
        neurons: Option<(u64, u64)>,
        /// Heads and weights.
        sizes: Option<Sizes>,
        /// `z F z`, the loss that is expected of what goes, before units were exchanged and after.
        objective: Option<(f64, f64)>,
        /// The metric that may lose so much, where that was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        metric: Option<String>,
        /// The least that it may be.
        #[serde(skip_serializing_if = "Option::is_none")]
        bound: Option<f64>,
        /// The whole model on the data that are scored.
        evaluation_before: Option<Evaluation>,
        /// The smaller one.
        evaluation_after: Option<Evaluation>,
        /// Example by example.
        paired: Option<PairedChange>,
        /// Speed at batches of 1 and of 16 texts.
        timing: Vec<Timing>,
        /// What was written.
        checkpoint: Option<CheckpointWritten>,
        /// Neurons of each layer, in the checkpoint.
        widths: Vec<u64>,
        /// `compact`, `uniform` or `zeroed`.
        export: String,
        /// Of the checkpoint.
        folder: String,
        /// The smaller vocabulary, where there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        vocabulary: Option<VocabularyResults>,
    }

    /// What became of the vocabulary.
    struct VocabularyResults {
        /// Texts that it was chosen on, a pair being two.
        texts: u64,
        /// Tokens of these texts, special tokens around them included.
        text_tokens: u64,
        /// Different tokens of these.
        distinct: u64,
        /// Tokens of the tokenizer before and after.
        tokens: (u64, u64),
        /// Rows of the token embedding before and after.
        rows: (u64, u64),
        /// Bytes of the weights file with the smaller vocabulary and all heads and neurons.
        file_bytes: u64,
        /// Texts of which all that the two models compute was compared; pieces were of all.
        compared: u64,
        /// Files of the tokenizer that have no place beside fewer tokens.
        left_behind: Vec<String>,
        /// Of the data that are scored.
        scored: Option<MissingTokens>,
    }

    /// Texts that the vocabulary need not have been chosen on.
    struct MissingTokens {
        /// Inputs.
        inputs: u64,
        /// Tokens that the whole vocabulary makes of them.
        tokens: u64,
        /// Of these, tokens that are gone.
        gone: u64,
        /// Inputs with such a token.
        changed: u64,
        /// Tokens that the smaller vocabulary makes of them.
        tokens_now: u64,
        /// Unknown tokens before and after.
        unknown: (u64, u64),
    }
}
