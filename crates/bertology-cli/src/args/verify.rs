//! `bertology verify`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::ModelArgs;

/// `bertology verify`
#[derive(Debug, Args, Serialize)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    /// What another program computed: a safetensors file, see docs/commands/verify.md.
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: PathBuf,
    /// Compare the results whose names begin so; repeat it to take inputs from other prefixes.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Vec<String>,
    /// Also print the largest error of every head.
    #[arg(long)]
    pub(crate) heads: bool,
    /// Largest error of values that passes, relative to the scale of their tensor.
    #[arg(long, value_name = "X", default_value_t = 2e-5)]
    #[arg(help_heading = "Tolerances", allow_negative_numbers = true)]
    pub(crate) tolerance: f64,
    /// The same for losses.
    #[arg(long, value_name = "X", default_value_t = 1e-5)]
    #[arg(help_heading = "Tolerances", allow_negative_numbers = true)]
    pub(crate) loss_tolerance: f64,
    /// The same for gradients.
    #[arg(long, value_name = "X", default_value_t = 1e-4)]
    #[arg(help_heading = "Tolerances", allow_negative_numbers = true)]
    pub(crate) gradient_tolerance: f64,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = super::threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}
