//! The options of `bertology finetune`.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use bertology_train::finetune::{Decline, Freeze, Keep};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::args::{
    ModelArgs, NoParts, ObjectiveArg, OutputArgs, ResumeArgs, SequenceArgs, SourceArgs, WorkArgs,
};

pub(crate) const ABOUT: &str = "\
Train a model for a task: GLUE, your own labels, labels of words, answers, masked or next words.

The output folder is an ordinary model folder, which transformers and every command here load. A head that the model lacks \
begins anew. Pruned models train as they are: so they recover, also from the logits of the unpruned model (--distill). \
What is dropped and in which order examples come depends on --seed alone, so that --threads changes nothing, and a \
training that was stopped comes to the same weights with --resume.";

/// `bertology finetune`
#[derive(Debug, Args, Serialize)]
pub(crate) struct FinetuneArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) source: SourceArgs,
    /// For token classifiers, sentences whose words have labels, as `importance` takes them.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["task", "data", "split", "text", "documents", "token_ids", "pair_column", "header"])]
    #[arg(conflicts_with_all = ["squad", "objective", "swapped_mnli_labels"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ner: Option<PathBuf>,
    /// For question answering, a file as `importance` takes it.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["task", "data", "split", "text", "documents", "token_ids", "text_column"])]
    #[arg(conflicts_with_all = ["pair_column", "label_column", "header", "label_order", "objective"])]
    #[arg(conflicts_with = "swapped_mnli_labels")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) squad: Option<PathBuf>,
    /// A file of the same kind to be scored on the way [default: GLUE's dev split; else none].
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) dev: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
    /// What the model is trained for [default: labels where the data have them, else what its head was made for].
    #[arg(long, value_name = "WHAT", help_heading = "Objective")]
    pub(crate) objective: Option<ObjectiveArg>,
    /// mlm: chance of each token to be predicted; others are drawn in each epoch [default: 0.15].
    #[arg(long, value_name = "P", help_heading = "Objective")]
    pub(crate) mlm_probability: Option<f64>,
    /// Begin with a new task head, although the model has one that fits.
    #[arg(long, help_heading = "Objective")]
    pub(crate) new_head: bool,
    /// Passes over the examples.
    #[arg(
        long,
        value_name = "N",
        default_value = "3",
        alias = "num-train-epochs",
        help_heading = "Training"
    )]
    pub(crate) epochs: NonZeroU32,
    /// End after so many steps; the schedule is laid out for them.
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) max_steps: Option<NonZeroU64>,
    /// Examples of a batch.
    #[arg(
        long,
        value_name = "N",
        default_value = "32",
        alias = "per-device-train-batch-size",
        help_heading = "Training"
    )]
    pub(crate) batch_size: NonZeroUsize,
    /// Batches whose gradients make one step.
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        alias = "gradient-accumulation-steps",
        help_heading = "Training"
    )]
    pub(crate) accumulate: NonZeroUsize,
    /// Highest learning rate of AdamW.
    #[arg(long, value_name = "RATE", default_value_t = 3e-5, value_parser = positive, help_heading = "Training")]
    pub(crate) learning_rate: f64,
    /// AdamW's weight decay, of matrices; biases and norms never decay.
    #[arg(long, value_name = "D", default_value_t = 0.01, value_parser = not_negative, help_heading = "Training")]
    pub(crate) weight_decay: f64,
    /// How the learning rate goes down after the warm-up.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "linear",
        alias = "lr-scheduler-type",
        help_heading = "Training"
    )]
    pub(crate) schedule: ScheduleArg,
    /// Share of all steps in which the learning rate goes up from 0.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share, alias = "warmup-ratio", help_heading = "Training")]
    pub(crate) warmup: f64,
    /// Scale gradients of a greater norm down to it; 0 for never.
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = not_negative, help_heading = "Training")]
    pub(crate) max_grad_norm: f64,
    /// Learning rate of each block, and of the embeddings, over that of the one above.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor, help_heading = "Training")]
    pub(crate) layer_decay: f64,
    /// Leave weights as they are: embeddings, encoder, or layers:N for the N lowest blocks; several with commas.
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = freeze, help_heading = "Training")]
    pub(crate) freeze: Vec<Freeze>,
    /// Drop nothing, whatever config.json says.
    #[arg(long, help_heading = "Training")]
    pub(crate) no_dropout: bool,
    /// Of the order of examples, of dropout, of masks and of new weights.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 42,
        help_heading = "Training"
    )]
    pub(crate) seed: u64,
    /// Score the dev data after every N steps [default: after each epoch].
    #[arg(long, value_name = "N", help_heading = "Evaluation")]
    pub(crate) evaluate_every: Option<NonZeroU64>,
    /// The score that decides [default: the task's own; loss for language models].
    #[arg(long, value_name = "NAME", help_heading = "Evaluation")]
    pub(crate) metric: Option<String>,
    /// End when the score was not better N times in a row.
    #[arg(long, value_name = "N", help_heading = "Evaluation")]
    pub(crate) patience: Option<NonZeroU32>,
    /// Which weights are written.
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "last",
        help_heading = "Evaluation"
    )]
    pub(crate) keep: KeepArg,
    /// Write the model to OUTPUT/checkpoints before the first step and whenever it is scored.
    #[arg(long, help_heading = "Evaluation")]
    pub(crate) checkpoints: bool,
    /// Learn from the logits of this model, too: for classes and numbers, the same labels in the same order.
    #[arg(long, value_name = "TEACHER", help_heading = "Distillation")]
    pub(crate) distill: Option<String>,
    /// Softens the distributions of both [default: 2].
    #[arg(long, value_name = "T", value_parser = positive, requires = "distill", help_heading = "Distillation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
    /// The teacher's share of the loss; the labels have the rest [default: 0.5].
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "distill", help_heading = "Distillation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distill_share: Option<f64>,
    /// Add the mean squared distance from the teacher's hidden states, times this: for a teacher of as many layers and hidden
    /// units that reads the same tokens [default: 0].
    #[arg(long, value_name = "WEIGHT", value_parser = not_negative, requires = "distill", help_heading = "Distillation")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distill_hidden: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) resume: ResumeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

/// How the learning rate goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScheduleArg {
    /// In a straight line to 0.
    Linear,
    /// Half a cosine to 0.
    Cosine,
    /// Not at all.
    Constant,
}

impl ScheduleArg {
    pub(crate) fn value(self) -> Decline {
        match self {
            Self::Linear => Decline::Linear,
            Self::Cosine => Decline::Cosine,
            Self::Constant => Decline::Constant,
        }
    }
}

/// Which weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeepArg {
    /// Those after the last step.
    Last,
    /// Those with the best score on the dev data.
    Best,
}

impl KeepArg {
    pub(crate) fn value(self) -> Keep {
        match self {
            Self::Last => Keep::Last,
            Self::Best => Keep::Best,
        }
    }
}

fn number(text: &str, what: &str, fits: impl Fn(f64) -> bool) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if value.is_finite() && fits(value) {
        Ok(value)
    } else {
        Err(format!("it must be {what}"))
    }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "above 0", |value| value > 0.0)
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "0 or above", |value| value >= 0.0)
}

fn share(text: &str) -> Result<f64, String> {
    number(text, "from 0 to 1", |value| (0.0..=1.0).contains(&value))
}

fn factor(text: &str) -> Result<f64, String> {
    number(text, "above 0 and at most 1", |value| {
        value > 0.0 && value <= 1.0
    })
}

fn freeze(text: &str) -> Result<Freeze, String> {
    match text.split_once(':') {
        None if text == "embeddings" => Ok(Freeze::Embeddings),
        None if text == "encoder" => Ok(Freeze::Encoder),
        Some(("layers", number)) => number
            .parse()
            .map(Freeze::Layers)
            .map_err(|error| format!("{number}: {error}")),
        _ => Err("write embeddings, encoder or layers:N".into()),
    }
}
