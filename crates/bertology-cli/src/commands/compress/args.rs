//! The options of `bertology compress`.

use std::num::NonZeroU64;

use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;

use crate::args::masking::{DropArg, loss_of_score, part, size};
use crate::args::{DataArgs, DeviceArgs, ModelArgs, NoParts, OutputArgs, WorkArgs};

pub(crate) const ABOUT: &str = "\
Smaller and faster without training: heads and neurons of the feed-forward blocks that matter least go, what stays is weighed anew, \
a smaller checkpoint is written. With --trim-vocabulary tokens go that some texts do not need, too, or alone.

How much each matters is told by the gradients of some examples; which go, by a search under the cost that is asked for; \
what stays gets factors so that each half of a layer does what it did (Kwon et al. 2022). Minutes on a CPU. Units are chosen on the \
training data of a task, or as --choose-on says, and the smaller model is scored on others.";

/// `bertology compress`
#[derive(Debug, Args, Serialize)]
#[command(group = ArgGroup::new("goal"))]
pub(crate) struct CompressArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) place: DeviceArgs,
    /// Share of the operations of the layers that may be left: 60% or 0.6.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Goals", group = "goal")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flops: Option<f64>,
    /// How many times as fast the model is to be, by times of layers that are measured first; 1.5.
    #[arg(long, value_name = "TIMES", value_parser = times, help_heading = "Goals", group = "goal")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) speedup: Option<f64>,
    /// With --speedup: measure the times of layers, although they are known of this machine.
    #[arg(long, help_heading = "Goals")]
    #[serde(skip)]
    pub(crate) time_again: bool,
    /// The largest weights file that may be written: 30MB, 28.5MiB, 500kB, 1GB.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Goals", group = "goal")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<u64>,
    /// How much the score may lose: 1pt is one point, a hundredth of the metric's greatest value; 1% is a hundredth of the first
    /// score (a loss may grow by it). The smallest model that keeps to it on examples of its own is taken.
    #[arg(long, value_name = "DROP", value_parser = loss_of_score, help_heading = "Goals", group = "goal")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_drop: Option<DropArg>,
    /// With --max-drop: the metric that may fall so much [default: the task's own; loss for language models].
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "Goals",
        requires = "max_drop"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<String>,
    /// Keep the tokens of these texts alone, and what they are made of: files of plain text, a text a line, or with --task a
    /// split of it (train). Without a goal, heads and neurons stay as they are.
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Vocabulary")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) trim_vocabulary: Vec<String>,
    /// Take out heads only.
    #[arg(long, help_heading = "Compression")]
    pub(crate) heads_only: bool,
    /// Take out neurons only.
    #[arg(long, help_heading = "Compression", conflicts_with = "heads_only")]
    pub(crate) neurons_only: bool,
    /// Leave as many neurons in every layer, so that transformers 4.57 loads the checkpoint as it is.
    #[arg(long, help_heading = "Compression", conflicts_with_all = ["heads_only", "keep_shape"])]
    pub(crate) uniform: bool,
    /// Write a checkpoint of full shape with zeros for what is taken out, which loads in any transformers.
    #[arg(long, help_heading = "Compression", conflicts_with = "max_size")]
    pub(crate) keep_shape: bool,
    /// How units are scored.
    #[arg(
        long,
        value_name = "MEASURE",
        default_value = "fisher",
        help_heading = "Compression"
    )]
    pub(crate) measure: MeasureArg,
    /// Do not exchange units that do the same work for others.
    #[arg(long, help_heading = "Compression")]
    pub(crate) no_exchange: bool,
    /// Do not weigh what stays anew.
    #[arg(long, help_heading = "Compression")]
    pub(crate) no_tune: bool,
    /// Choose units on these data: a split of GLUE or a file of the kind of --data, and how many examples of it, as in
    /// train:2000 [default with --task: train, else the data that are scored].
    #[arg(long, value_name = "DATA[:N]", help_heading = "Compression")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) choose_on: Option<String>,
    /// Examples of these whose gradients are taken, drawn by --seed.
    #[arg(
        long,
        value_name = "N",
        default_value = "2000",
        help_heading = "Compression"
    )]
    pub(crate) examples: NonZeroU64,
    /// Examples on which what stays is weighed anew, the first of those.
    #[arg(
        long,
        value_name = "N",
        default_value = "512",
        help_heading = "Compression"
    )]
    pub(crate) tune_examples: NonZeroU64,
    /// Train the smaller checkpoint on the data that units are chosen on, as `finetune` does by default, with the whole model
    /// as teacher; it goes to OUTPUT/finetuned.
    #[arg(long, value_name = "WHAT", help_heading = "Compression")]
    #[serde(skip)]
    pub(crate) then: Option<ThenArg>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

impl CompressArgs {
    /// What is to be reached, as the record has it.
    pub(super) fn goal(&self) -> Option<String> {
        let flops = self.flops.map(|share| format!("operations:{share}"));
        flops
            .or(self.speedup.map(|times| format!("speedup:{times}")))
            .or(self.max_size.map(|size| format!("file_bytes:{size}")))
            .or(self.max_drop.map(|drop| format!("max_drop:{drop}")))
    }
}

/// What is done with the smaller checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThenArg {
    /// It is trained.
    Finetune,
}

/// A formula for how much a head or neuron matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MeasureArg {
    /// Mean square of the gradient (Kwon et al. 2022).
    Fisher,
    /// Mean size of the gradient (Michel et al. 2019).
    Michel,
    /// Square of the mean gradient (Molchanov et al. 2019).
    Taylor,
    /// Second-order expansion of the loss.
    Taylor2,
    /// Draws: what any measure has to beat.
    Random,
}

fn share(text: &str) -> Result<f64, String> {
    match part(text) {
        Some(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("write a share of the operations between 0 and 1, such as 60% or 0.6".into()),
    }
}

fn times(text: &str) -> Result<f64, String> {
    match text.trim_end_matches(['x', '×']).trim().parse::<f64>() {
        Ok(times) if times > 1.0 && times.is_finite() => Ok(times),
        _ => Err("write how many times as fast, a number above 1, such as 1.5".into()),
    }
}
