//! The options of `bertology judge`.

use std::num::{NonZeroU64, NonZeroUsize};

use bertology::judge::Units;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::args::masking::part;
use crate::args::{DataArgs, DeviceArgs, ModelArgs, NoParts, OutputArgs, ResumeArgs, WorkArgs};

pub(crate) const ABOUT: &str = "\
Which measure of heads, neurons or layers deserves trust? Units go by each measure, least important first, and the score of what is \
left is looked at, for several draws of examples, beside units that go by chance.

Units are scored on the training data of a task, or as --choose-on says, and smaller models are judged on others. Nothing is tuned: \
a curve shows the order alone. Measures are compared by the area under their curves, pair by pair, with intervals over draws and over \
the judging examples.";

/// `bertology judge`
#[derive(Debug, Args, Serialize)]
pub(crate) struct JudgeArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) place: DeviceArgs,
    /// Measures, separated by commas; `random` is always among them.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "michel,fisher,taylor2,integrated,random",
        help_heading = "Judging"
    )]
    pub(crate) measures: Vec<JudgedMeasure>,
    /// What goes.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "heads",
        help_heading = "Judging"
    )]
    pub(crate) units: UnitsArg,
    /// Draws of examples by which units are scored; the first is that of --seed.
    #[arg(long, value_name = "N", default_value = "3", help_heading = "Judging")]
    pub(crate) seeds: NonZeroU64,
    /// Shares of the units that are left, at which the score is looked at.
    #[arg(
        long,
        value_name = "SHARES",
        value_delimiter = ',',
        value_parser = share,
        default_value = "90%,80%,70%,60%,50%,40%,30%,20%,10%",
        help_heading = "Judging"
    )]
    pub(crate) left: Vec<f64>,
    /// The metric of the curves [default: the task's own; loss for language models].
    #[arg(long, value_name = "NAME", help_heading = "Judging")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<String>,
    /// Parts of the judging examples that are left out in turn, from which it is known how much they matter.
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(2..=1000), help_heading = "Judging")]
    pub(crate) folds: u64,
    /// Score units on these data: a split of GLUE or a file of the kind of --data, and how many examples of it, as in
    /// train:2000 [default with --task: train, else the data that judge].
    #[arg(long, value_name = "DATA[:N]", help_heading = "Judging")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) choose_on: Option<String>,
    /// Examples of these by which units are scored, for each draw.
    #[arg(
        long,
        value_name = "N",
        default_value = "500",
        help_heading = "Judging"
    )]
    pub(crate) examples: NonZeroU64,
    /// Points of integrated gradients [default: 8].
    #[arg(long, value_name = "N", help_heading = "Measures")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) points: Option<NonZeroUsize>,
    /// Orders of heads for each example, each taken both ways, of Shapley values [default: 1].
    #[arg(long, value_name = "N", help_heading = "Measures")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) orders: Option<NonZeroUsize>,
    /// Steps of learning gates, of 32 examples each [default: 200].
    #[arg(long, value_name = "N", help_heading = "Measures")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gate_steps: Option<NonZeroUsize>,
    /// What all heads cost together while gates are learnt, in nats [default: 1].
    #[arg(long, value_name = "NATS", value_parser = nats, help_heading = "Measures")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gate_weight: Option<f64>,
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
    pub(crate) resume: ResumeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnitsArg {
    /// Heads.
    Heads,
    /// Neurons of the feed-forward blocks.
    Neurons,
    /// Whole layers.
    Layers,
}

impl UnitsArg {
    pub(super) fn units(self) -> Units {
        match self {
            Self::Heads => Units::Heads,
            Self::Neurons => Units::Neurons,
            Self::Layers => Units::Layers,
        }
    }
}

/// How units are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JudgedMeasure {
    /// Mean size of the gradient (Michel et al. 2019).
    Michel,
    /// Mean square of the gradient (Kwon et al. 2022).
    Fisher,
    /// Square of the mean gradient (Molchanov et al. 2019).
    Taylor,
    /// Second-order expansion of the loss.
    Taylor2,
    /// Gradients on the way from no unit to all (Sundararajan et al. 2017).
    Integrated,
    /// What the loss rises by without the unit; not of neurons.
    LeaveOneOut,
    /// What a head saves over all orders of heads; heads only.
    Shapley,
    /// Factors learnt under a penalty for their size; heads only.
    GatesL1,
    /// Factors learnt under a penalty for heads that stay (Louizos et al. 2018); heads only.
    GatesL0,
    /// Mean norm of the gradient of the queries; heads only.
    QueryNorm,
    /// Mean norm of the gradient of the keys; heads only.
    KeyNorm,
    /// Mean norm of the gradient of the values; heads only.
    ValueNorm,
    /// Draws: what any measure has to beat.
    Random,
}

impl JudgedMeasure {
    /// Whether it is one of these units.
    pub(super) fn is_of(self, units: UnitsArg) -> bool {
        match self {
            Self::Michel
            | Self::Fisher
            | Self::Taylor
            | Self::Taylor2
            | Self::Integrated
            | Self::Random => true,
            Self::LeaveOneOut => units != UnitsArg::Neurons,
            _ => units == UnitsArg::Heads,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match part(text) {
        Some(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("write shares of the units between 0 and 1, such as 90%,50%,0.1".into()),
    }
}

fn nats(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(nats) if nats > 0.0 && nats.is_finite() => Ok(nats),
        _ => Err("write a number above 0, in nats, such as 1".into()),
    }
}
