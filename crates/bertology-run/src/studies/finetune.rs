//! What `bertology finetune` writes.

use crate::registry::{File, Kind, checkpoint, file, on_the_way, rows};
use crate::results::{Metrics, document, results_of};
use crate::table::{More, Row as _, row};

/// The file of a training that is not over.
pub const TRAINING: &str = "training.state";

/// Every file.
pub(crate) const FILES: &[File] = &[
    checkpoint(
        &["finetune"],
        "the trained model, with `model.safetensors` and the tokenizer's files beside it: transformers loads the folder",
    ),
    on_the_way(
        &["finetune"],
        "models on the way, by the steps before them, where they are asked for",
    ),
    file(
        TrainingStepRow::FILE,
        rows::<TrainingStepRow>(""),
        &["finetune"],
        "loss, learning rate and size of the gradient of every step",
    ),
    file(
        TrainingScoreRow::FILE,
        rows::<TrainingScoreRow>("the metrics, by name"),
        &["finetune"],
        "scores on the dev set, look by look",
    ),
    file(
        TRAINING,
        Kind::State,
        &["finetune"],
        "weights and the optimiser's memory of a training that is not over",
    ),
];

row! {
    /// A step of the optimiser.
    struct TrainingStepRow in "training.csv" {
        /// From 1.
        step: u64,
        /// Passes over the examples by then, as a fraction.
        epoch: f64,
        /// Mean loss of the step's examples before it.
        loss: f64,
        /// Learning rate.
        rate: f64,
        /// Norm of the gradient before it was clipped.
        norm: f64,
    }

    /// A look at the dev set.
    struct TrainingScoreRow in "training_scores.csv" {
        /// Steps by then.
        step: u64,
        /// Passes over the examples by then, as a fraction.
        epoch: f64,
        /// Mean loss.
        loss: f64,
        /// Whether these weights are the result.
        chosen: bool,
        /// Metrics, by name.
        metrics: More<Option<f64>>,
    }
}

results_of! {
    FinetuneResults: "finetune"
}

document! {
    /// A model as it was written.
    struct WrittenModel {
        /// Its folder: that of the run.
        folder: String,
        /// Its files.
        files: Vec<String>,
        /// Folders of models on the way, relative to it.
        on_the_way: Vec<String>,
        /// Numbers in it.
        parameters: u64,
    }

    /// What a training came to.
    struct FinetuneResults {
        /// Steps taken.
        steps: u64,
        /// Steps of an epoch.
        steps_per_epoch: u64,
        /// Examples trained on.
        examples: u64,
        /// Units of the file that were not.
        left_out: u64,
        /// The metric that decides.
        metric: Option<String>,
        /// Its value for the weights that are the result.
        score: Option<f64>,
        /// All scores of these weights.
        metrics: Metrics,
        /// Whether it ended before its last step.
        stopped_early: bool,
        /// Parameters that the file did not have and that began anew.
        begun: Vec<String>,
        /// The model.
        checkpoint: WrittenModel,
    }
}
