//! What `bertology dynamics` writes.

use crate::registry::{File, Kind, file, rows};
use crate::results::{Metrics, document, results_of};
use crate::table::{More, Row as _, of_head, row};

/// Normalised importance of every head at every checkpoint.
pub const IMPORTANCE_STEPS: &str = "head_importance_steps.npy";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        DynamicsStepRow::FILE,
        rows::<DynamicsStepRow>(""),
        &["dynamics"],
        "score of every checkpoint, heads that it can do without, and how alike it ranks its heads to others",
    ),
    file(
        DynamicsRow::FILE,
        rows::<DynamicsRow>("the metrics, by name"),
        &["dynamics"],
        "the score of every checkpoint with more and more heads masked, in each order",
    ),
    file(
        HeadStepRow::FILE,
        rows::<HeadStepRow>(""),
        &["dynamics"],
        "importance and rank of every head at every checkpoint",
    ),
    file(
        IMPORTANCE_STEPS,
        Kind::Array {
            axes: &["checkpoint", "layer", "head"],
            dtype: "<f8",
        },
        &["dynamics"],
        "importance, normalised, at every checkpoint in the order of `dynamics_steps.csv`; NaN where a head has no score",
    ),
];

row! {
    /// A checkpoint.
    struct DynamicsStepRow in "dynamics_steps.csv" {
        /// Steps of the training before it.
        step: u64,
        /// What the checkpoint is called.
        name: String,
        /// Of the metric that decides, with all heads.
        score: Option<f64>,
        /// Mean loss with all heads.
        loss: f64,
        /// Spearman's ρ of the importance of heads with that of the checkpoint before.
        spearman_previous: Option<f64>,
        /// Kendall's τ-b, likewise.
        kendall_previous: Option<f64>,
        /// Spearman's ρ with the last checkpoint.
        spearman_last: Option<f64>,
        /// Kendall's τ-b, likewise.
        kendall_last: Option<f64>,
        /// Heads that can be masked, the least important first, before the score is worse by more than a tenth.
        dispensable: Option<usize>,
    }

    /// The score of a checkpoint with some heads masked, in one order. Metrics stand behind, by name.
    struct DynamicsRow in "dynamics.csv" {
        /// Steps of the training before the checkpoint.
        step: u64,
        /// `importance` or `random`; empty for the checkpoint with all heads.
        order: String,
        /// Of a random order.
        seed: Option<u64>,
        /// Heads masked.
        masked: usize,
        /// Of the metric that decides.
        score: Option<f64>,
        /// Lower end of the 95 % interval of `score`.
        score_low: Option<f64>,
        /// Its upper end.
        score_high: Option<f64>,
        /// The score over that with all heads; empty where that is not above 0.
        relative: Option<f64>,
        /// Mean loss.
        loss: f64,
        /// Metrics of the pass.
        metrics: More<Option<f64>>,
    }

    /// A head at a checkpoint.
    struct HeadStepRow in "heads_steps.csv" {
        /// Steps of the training before the checkpoint.
        step: u64,
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Before any normalisation.
        importance_raw: Option<f64>,
        /// Normalised as the run's options say.
        importance: Option<f64>,
        /// 0 is the most important.
        rank: Option<usize>,
    }
}

of_head!(HeadStepRow);

results_of! {
    DynamicsResults: "dynamics"
}

document! {
    /// Heads along a training.
    struct DynamicsResults {
        /// The metric that decides.
        metric: Option<String>,
        /// Which way it improves.
        higher_is_better: bool,
        /// What is summed before the absolute value.
        granularity: String,
        /// Heads of each checkpoint.
        heads: u64,
        /// Heads masked at each point of a curve.
        masked: Vec<u64>,
        /// Whether heads are ranked on the data that are scored.
        ranked_on_scored: bool,
        /// By ascending step.
        checkpoints: Vec<CheckpointDynamics>,
    }

    /// A checkpoint.
    struct CheckpointDynamics {
        /// Steps of the training before it.
        step: u64,
        /// What it is called.
        name: String,
        /// Of its weights.
        sha256: String,
        /// Of the metric that decides, with all heads.
        score: Option<f64>,
        /// Mean, with all heads.
        loss: Option<f64>,
        /// With all heads.
        metrics: Metrics,
        /// Spearman's ρ of the importance of heads with that of the checkpoint before.
        spearman_previous: Option<f64>,
        /// Kendall's τ-b, likewise.
        kendall_previous: Option<f64>,
        /// Spearman's ρ with the last checkpoint.
        spearman_last: Option<f64>,
        /// Kendall's τ-b, likewise.
        kendall_last: Option<f64>,
        /// Heads that can be masked, the least important first, before the score is worse by more than a tenth.
        dispensable: Option<u64>,
        /// All heads, the first to go first.
        order: Vec<String>,
        /// The metric at each point, in the order by importance.
        scores: Vec<Option<f64>>,
        /// The same in each order that is drawn.
        random: Vec<RandomDynamics>,
    }

    /// A curve of an order that is drawn.
    struct RandomDynamics {
        /// Of the order.
        seed: u64,
        /// The metric at each point.
        scores: Vec<Option<f64>>,
    }
}
