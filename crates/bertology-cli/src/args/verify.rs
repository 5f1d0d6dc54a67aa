//! `bertology verify`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{ComputingArgs, ModelArgs};

/// `bertology verify`
#[derive(Debug, Args, Serialize)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    /// What another program computed: a safetensors file, see docs/commands/verify.md.
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: PathBuf,
    /// Compare the results whose names begin so; repeat it to take inputs from other prefixes.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Vec<String>,
    /// Also print the largest error of every head.
    #[arg(long)]
    pub(crate) heads: bool,
    /// Largest error of values that passes, relative to the scale of their tensor [default: 2e-5; with --precision split
    /// 1e-4, bf16 5e-2].
    #[arg(long, value_name = "X")]
    #[arg(help_heading = "Tolerances", allow_negative_numbers = true)]
    pub(crate) tolerance: Option<f64>,
    /// The same for losses [default: 1e-5; split 1e-4, bf16 5e-2].
    #[arg(long, value_name = "X")]
    #[arg(help_heading = "Tolerances", allow_negative_numbers = true)]
    pub(crate) loss_tolerance: Option<f64>,
    /// The same for gradients [default: 1e-4; split 5e-4, bf16 0.5].
    #[arg(long, value_name = "X")]
    #[arg(help_heading = "Tolerances", allow_negative_numbers = true)]
    pub(crate) gradient_tolerance: Option<f64>,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}
