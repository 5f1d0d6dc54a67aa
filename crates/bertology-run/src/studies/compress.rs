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
    }
}
