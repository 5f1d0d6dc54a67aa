//! Masking all heads step by step, in one order or another.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Args;
use serde::{Serialize, Serializer};

/// Curves in the place of a search.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ScheduleArgs {
    /// In the place of a search, the score with 10 %, 20 % ... of the heads masked (or another step), heads that go at random
    /// beside it: the paper's curves.
    #[arg(long, value_name = "STEP", value_parser = share_of_heads, help_heading = "Schedule")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<f64>,
    /// Which heads go first: those of least importance, those without which the score falls least (ablation), or those with
    /// the smallest numbers in a file (.npy, .json); several with commas.
    #[arg(long, value_name = "ORDER", value_delimiter = ',', default_value = "importance", value_parser = order)]
    #[arg(help_heading = "Schedule", requires = "schedule")]
    pub(crate) order: Vec<OrderArg>,
    /// Random orders to hold it against.
    #[arg(
        long,
        value_name = "N",
        default_value = "5",
        help_heading = "Schedule",
        requires = "schedule"
    )]
    pub(crate) seeds: NonZeroU16,
    /// Seed of the first random order; the others follow it.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 1,
        help_heading = "Schedule",
        requires = "schedule"
    )]
    pub(crate) first_seed: u64,
}

/// Which heads go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OrderArg {
    /// Those of least importance.
    Importance,
    /// Those that cost least.
    Ablation,
    /// Any; always there.
    Random,
    /// Those with the smallest numbers.
    File(PathBuf),
}

impl Serialize for OrderArg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Importance => serializer.serialize_str("importance"),
            Self::Ablation => serializer.serialize_str("ablation"),
            Self::Random => serializer.serialize_str("random"),
            Self::File(path) => path.serialize(serializer),
        }
    }
}

fn order(text: &str) -> Result<OrderArg, String> {
    match text {
        "importance" => Ok(OrderArg::Importance),
        "ablation" => Ok(OrderArg::Ablation),
        "random" => Ok(OrderArg::Random),
        path if path.ends_with(".npy") || path.ends_with(".json") => {
            Ok(OrderArg::File(path.into()))
        }
        _ => Err("write importance, ablation, random, or a file that ends in .npy or .json".into()),
    }
}

/// `10%` or `0.1`.
pub(crate) fn share_of_heads(text: &str) -> Result<f64, String> {
    match super::masking::part(text) {
        Some(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("write a share of the heads above 0 and at most 1, such as 10% or 0.1".into()),
    }
}
