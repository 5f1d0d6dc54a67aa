//! The options of `bertology bench`.

use std::num::NonZeroUsize;

use clap::Args;
use serde::Serialize;

use crate::args::{ComputingArgs, ModelArgs, NoParts, OutputArgs, threads};

pub(crate) const ABOUT: &str = "\
How fast a model is, and whether another one is faster: latency, throughput, memory.

Forward passes up to the logits of batches of random tokens. With --against OTHER, a pruned model for example, the runs of both \
are interleaved, both are opened anew ten times, and the ratio of their times comes with an interval; where that spans 1 the \
answer is \"no measurable change\". Nothing else should run on the machine meanwhile.";

/// `bertology bench`
#[derive(Debug, Args, Serialize)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    /// Another model to be timed beside it, turn about.
    #[arg(long, value_name = "OTHER", help_heading = "Model")]
    pub(crate) against: Option<String>,
    /// Sequences of a batch; several with commas.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,4,16,64", value_parser = batch_size, help_heading = "Timing")]
    pub(crate) batch_sizes: Vec<NonZeroUsize>,
    /// Tokens of a sequence; several with commas [default: 128, or as many as the models read].
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Timing")]
    pub(crate) lengths: Vec<NonZeroUsize>,
    /// Batches that are timed of each model, size and length, at least 10 with --against [default: for about a second, 10 to
    /// 2000].
    #[arg(long, value_name = "N", help_heading = "Timing")]
    pub(crate) rounds: Option<NonZeroUsize>,
    /// Of the random tokens, and of the bootstrap of the interval.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 42,
        help_heading = "Timing"
    )]
    pub(crate) seed: u64,
    /// Threads, all inside one batch [default: all cores].
    #[arg(long, value_name = "N", help_heading = "Work", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

/// A batch is in memory at once.
fn batch_size(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 65_536;
    let number: NonZeroUsize = text.parse().map_err(|error| format!("{error}"))?;
    if number.get() > MOST {
        return Err(format!("{number} is more than {MOST}"));
    }
    Ok(number)
}
