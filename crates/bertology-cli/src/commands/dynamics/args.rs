//! The options of `bertology dynamics`.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::args::{
    ComputingArgs, DataArgs, ModelArgs, NoParts, OutputArgs, ResumeArgs, ScoreArgs, WorkArgs,
    share_of_heads,
};

pub(crate) const ABOUT: &str = "\
Importance of every head and pruning curves at every checkpoint of a training.

FOLDER holds checkpoints, as `bertology finetune --checkpoints` and transformers' Trainer leave them, or is one itself; hub ids \
will do as well. The last number of a checkpoint's name is its step, 20k is 20,000 and 1m a million; STEP=FOLDER says it for \
names without one. Each checkpoint masks its own least important heads, 10 %, 20 % ... of them, and beside it heads that go at \
random, the same at all checkpoints (Michel, Levy and Neubig 2019, section 6).";

/// `bertology dynamics`
#[derive(Debug, Args, Serialize)]
pub(crate) struct DynamicsArgs {
    /// A folder of checkpoints, a checkpoint, or a hub id; STEP=FOLDER for one whose name says no step.
    #[arg(value_name = "FOLDER", required = true)]
    pub(crate) folders: Vec<String>,
    /// Use the cache only, never the network (as HF_HUB_OFFLINE=1).
    #[arg(long, help_heading = "Model")]
    pub(crate) offline: bool,
    /// Where downloaded models are kept [default: the Hugging Face cache].
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Leave out tensors that config.json does not explain, instead of refusing the checkpoint.
    #[arg(long, help_heading = "Model")]
    pub(crate) allow_unexpected: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) data: DataArgs,
    /// The score of the curves [default: the task's own; loss for language models].
    #[arg(long, value_name = "NAME", help_heading = "Curves")]
    pub(crate) metric: Option<String>,
    /// Heads are masked in steps of this share of them.
    #[arg(long, value_name = "STEP", default_value = "10%", value_parser = share_of_heads, help_heading = "Curves")]
    pub(crate) schedule: f64,
    /// Random orders beside that by importance.
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Curves")]
    pub(crate) seeds: NonZeroU16,
    /// Seed of the first random order; the others follow it.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 1,
        help_heading = "Curves"
    )]
    pub(crate) first_seed: u64,
    /// Rank heads on other data than are scored: a split of GLUE or a file of the kind of --data, and how many examples of it,
    /// as in train:2000.
    #[arg(long, value_name = "DATA[:N]", help_heading = "Curves")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) choose_on: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) score: ScoreArgs,
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

impl DynamicsArgs {
    /// One of the checkpoints, as the options about models want it opened.
    pub(super) fn model(&self, name: &str) -> ModelArgs {
        ModelArgs {
            model: Some(name.to_owned()),
            model_name_or_path: None,
            revision: None,
            offline: self.offline,
            cache_dir: self.cache_dir.clone(),
            allow_unexpected: self.allow_unexpected,
        }
    }

    /// Of the random orders.
    pub(super) fn seeds(&self) -> Vec<u64> {
        let seeds = 0..u64::from(self.seeds.get());
        seeds.map(|at| self.first_seed.wrapping_add(at)).collect()
    }
}
