//! Results of the commands that score a model and its heads.

use std::collections::{BTreeMap, BTreeSet};

use super::{Grid, Metrics, Named, document, results_of};
use crate::studies::removals::{AndResults, KeepOneResults};

results_of! {
    ImportanceResults: "importance",
    AblateResults: "ablate",
    EvaluateResults: "evaluate",
    MaskResults: "mask",
    PruneResults: "prune",
    ExtractResults: "extract"
}

document! {
    /// Metrics, loss and counts of a pass.
    struct Evaluation {
        /// The task's metrics.
        metrics: Metrics,
        /// Of the metrics and of `loss`, by name: lower and upper end of the 95 % interval.
        #[serde(skip_serializing_if = "Named::is_empty")]
        intervals: Named<(f64, f64)>,
        /// Mean over targets, nats or squared error.
        loss: Option<f64>,
        /// Examples, or windows of language models.
        examples: u64,
        /// Labels or tokens that are predicted.
        targets: u64,
        /// Tokens that the model saw.
        tokens: u64,
        /// Examples that were cut.
        truncated_examples: u64,
        /// Tokens cut off.
        truncated_tokens: u64,
    }

    /// Of `bertology importance`.
    struct ImportanceResults {
        /// What is summed before the absolute value.
        granularity: String,
        /// Of the whole model.
        evaluation: Option<Evaluation>,
        /// Normalised as the options say.
        head_importance: Grid,
        /// Before any normalisation.
        head_importance_raw: Grid,
        /// Standard errors of the raw scores over examples; empty where there are none.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        head_importance_standard_error: Grid,
        /// The best rank of each head within its 95 % interval, 0 the most important.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        head_rank_low: Grid,
        /// The worst.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        head_rank_high: Grid,
        /// Nats.
        attn_entropy: Grid,
    }

    /// Of `bertology ablate`.
    struct AblateResults {
        /// That decides.
        metric: Option<String>,
        /// `higher` or `lower` is better.
        direction: String,
        /// Of the whole model.
        evaluation: Option<Evaluation>,
        /// Every head that was left out.
        heads: Vec<AblatedHead>,
        /// Change of the metric.
        head_ablation: Grid,
        /// Change of the mean loss, nats.
        head_ablation_loss: Grid,
        /// With each head as the only one of its layer, in the place of all but the first three.
        #[serde(skip_serializing_if = "Option::is_none")]
        keep_one: Option<KeepOneResults>,
        /// The same removals on a second set of data.
        #[serde(skip_serializing_if = "Option::is_none")]
        and: Option<AndResults>,
    }

    /// The model without one head.
    struct AblatedHead {
        /// Such as `L3H5`.
        head: String,
        /// Of the metric: the value without the head less the value with it.
        change: Option<f64>,
        /// Of the mean loss, nats.
        loss_change: Option<f64>,
        /// Of `loss_change`, over pairs of examples.
        loss_standard_error: Option<f64>,
        /// Predictions that are others; of classifiers.
        changed: Option<u64>,
        /// Predictions that are right with the head and wrong without it.
        right_to_wrong: Option<u64>,
        /// The other way round.
        wrong_to_right: Option<u64>,
        /// Of the exact two-sided sign test.
        p_value: Option<f64>,
        /// Without the head.
        metrics: Metrics,
        /// Mean loss without the head, nats.
        loss: Option<f64>,
    }

    /// Of `bertology evaluate`.
    struct EvaluateResults {
        /// Of the model with its mask.
        evaluation: Option<Evaluation>,
        /// Heads that the mask silences, if there is a mask.
        masked_heads: Option<Vec<String>>,
    }

    /// Of `bertology mask`, and of the search of `bertology prune`.
    struct MaskResults {
        /// What is summed before the absolute value.
        granularity: String,
        /// That decides.
        metric: Option<String>,
        /// Which way the metric improves.
        higher_is_better: bool,
        /// As the options say: `relative:0.9`.
        threshold: String,
        /// The value that the metric must not cross.
        bound: Option<f64>,
        /// With all heads.
        score_before: Option<f64>,
        /// With the heads that are left.
        score_after: Option<f64>,
        /// Before the search.
        heads_before: Option<u64>,
        /// After it.
        heads_left: Option<u64>,
        /// Heads masked at a step.
        heads_per_step: u64,
        /// Head by head, once a step has failed; nothing where it was not asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        refined: Option<bool>,
        /// What was to be reached, if anything: `heads_left:72`, `file_bytes:30000000` or `speedup:1.3`.
        #[serde(skip_serializing_if = "Option::is_none")]
        goal: Option<String>,
        /// Whether it was.
        #[serde(skip_serializing_if = "Option::is_none")]
        goal_reached: Option<bool>,
        /// Why the search ended.
        stop: Option<String>,
        /// Such as `L3H5`.
        masked_heads: Vec<String>,
        /// 1 keeps a head.
        head_mask: Vec<Vec<u8>>,
        /// Before any head is masked.
        head_importance: Option<Grid>,
        /// Every pass.
        steps: Vec<MaskStep>,
        /// Of a search on other data: the whole model and the masked one on the data of the run.
        #[serde(skip_serializing_if = "Option::is_none")]
        on_data: Option<ComparedResults>,
        /// Of a schedule in the place of a search: the curve of each order.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        curves: Vec<OrderCurve>,
    }

    /// The score as heads go in one order.
    struct OrderCurve {
        /// What the order is by.
        order: String,
        /// Of an order that is drawn.
        seed: Option<u64>,
        /// The heads, the first to go first, such as `L3H5`.
        heads: Vec<String>,
        /// Heads masked at each point.
        masked: Vec<u64>,
        /// The metric at each point.
        scores: Vec<Option<f64>>,
        /// Their 95 % intervals.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        intervals: Vec<Option<(f64, f64)>>,
    }

    /// A pass of the search.
    struct MaskStep {
        /// From 0, the pass with all heads.
        step: u64,
        /// Heads that are not masked.
        heads_left: u64,
        /// Of the metric that decides.
        score: Option<f64>,
        /// Whether the score keeps to the bound.
        passed: bool,
        /// Mean, nats.
        loss: Option<f64>,
        /// Of the pass.
        metrics: Metrics,
        /// Masked by this step besides those of the last that passed, least important first.
        masked_heads: Vec<String>,
        /// Where a size or a speed is to be reached: bytes of the weights file, or at least how many times as fast.
        #[serde(skip_serializing_if = "Option::is_none")]
        toward_goal: Option<f64>,
    }

    /// Two models on the same examples.
    struct ComparedResults {
        /// With all heads.
        evaluation_before: Option<Evaluation>,
        /// Without those that go.
        evaluation_after: Option<Evaluation>,
        /// Example by example.
        paired: Option<PairedChange>,
    }

    /// What differs between two models, example by example.
    struct PairedChange {
        /// Of the mean loss, nats.
        loss_change: Option<f64>,
        /// Of `loss_change`, over pairs of examples.
        loss_standard_error: Option<f64>,
        /// Predictions that are others; of classifiers.
        changed: Option<u64>,
        /// Predictions that are right before and wrong after.
        right_to_wrong: Option<u64>,
        /// The other way round.
        wrong_to_right: Option<u64>,
        /// Of the exact two-sided sign test.
        p_value: Option<f64>,
    }

    /// Of `bertology prune`.
    struct PruneResults {
        /// Such as `L3H5`.
        removed_heads: Vec<String>,
        /// Before and after.
        sizes: Option<Sizes>,
        /// What was written.
        checkpoint: Option<CheckpointWritten>,
        /// `pruned`, or `zeroed` with its full shape.
        export: String,
        /// Of the checkpoint.
        folder: String,
        /// With all heads.
        evaluation_before: Option<Evaluation>,
        /// Without those removed.
        evaluation_after: Option<Evaluation>,
        /// Before and after, example by example.
        #[serde(skip_serializing_if = "Option::is_none")]
        paired: Option<PairedChange>,
        /// Speed before and after.
        timing: Option<Timing>,
        /// The search, if there was one.
        masking: Option<MaskResults>,
    }

    /// Sizes of a model before and after.
    struct Sizes {
        /// Heads before.
        heads_before: u64,
        /// Heads after.
        heads_after: u64,
        /// Weights before.
        parameters_before: u64,
        /// Weights after.
        parameters_after: u64,
    }

    /// A checkpoint that was written and opened again.
    struct CheckpointWritten {
        /// What was written.
        report: CheckpointReport,
        /// Sequences on which it was compared.
        compared: u64,
        /// Of its outputs, against the pruned model in memory.
        largest_difference: Option<f64>,
    }

    /// The files of a checkpoint.
    struct CheckpointReport {
        /// Tensors that the model reads, in the source.
        before: WeightsSize,
        /// The same as written.
        after: WeightsSize,
        /// Of the source's weights files.
        file_bytes_before: u64,
        /// Of the weights file.
        file_bytes_after: u64,
        /// Names in `model/`.
        files: Vec<String>,
        /// Heads that no longer contribute, by layer.
        silent_heads: BTreeMap<usize, BTreeSet<usize>>,
        /// Layer and head of those written as zeros.
        zeroed_survivors: Vec<(usize, usize)>,
        /// Tensors of the source that repeat another one.
        left_out: Vec<String>,
    }

    /// A number of weights.
    struct WeightsSize {
        /// Numbers.
        parameters: u64,
        /// In the file.
        bytes: u64,
    }

    /// Forward passes of two models, turn about.
    struct Timing {
        /// In a pass.
        sequences: u64,
        /// In a pass.
        tokens: u64,
        /// At work.
        threads: u64,
        /// Where passes ran, unless that was the processor.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// Seconds of every pass before.
        before: Vec<f64>,
        /// Seconds of every pass after.
        after: Vec<f64>,
        /// How many times as fast the smaller model is.
        speedup: Option<f64>,
        /// The 95 % interval of that; in folders of older versions the least and largest ratio of a pair.
        range: Option<(f64, f64)>,
    }

    /// Of `bertology extract`.
    struct ExtractResults {
        /// What was read.
        counts: Option<ExtractCounts>,
        /// Shards.
        num_shards: u64,
        /// Values that the type of the files cannot hold.
        values_beyond_dtype: u64,
        /// Values that the model gave and that are NaN or infinite, where they were allowed.
        #[serde(skip_serializing_if = "Option::is_none")]
        values_not_finite: Option<u64>,
        /// The file that says what is in the shards.
        index: String,
    }

    /// What was read of texts.
    struct ExtractCounts {
        /// Texts.
        examples: u64,
        /// Texts, or their windows.
        sequences: u64,
        /// Of the sequences.
        tokens: u64,
        /// Of the texts.
        words: u64,
        /// Special tokens and the like.
        tokens_without_word: u64,
        /// Texts that were cut.
        cut_examples: u64,
        /// Cut off.
        cut_tokens: u64,
        /// Texts of more than one window.
        windowed_examples: u64,
        /// Texts without a token, of which nothing is written.
        #[serde(skip_serializing_if = "Option::is_none")]
        empty_examples: Option<u64>,
        /// Tokens of the longest sequence.
        longest: u64,
    }
}
