//! `bertology cluster`

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{PassageArgs, StudyArgs};

pub(crate) const ABOUT: &str = "\
Which heads look at the same things: Jensen-Shannon distances between all heads, a map of them and \
clusters.

The maps of all heads are compared row by row; one sequence's maps are kept at a time (for each \
thread) and nothing else.";

/// `bertology cluster`
pub(crate) type ClusterArgs = StudyArgs<PassageArgs, ClusterOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ClusterOwn {
    /// What is done to attention before it is compared.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "paper",
        help_heading = "Distances"
    )]
    pub(crate) smoothing: SmoothingArg,
    /// Which distance the map and the clusters are made from.
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "mean",
        help_heading = "Distances"
    )]
    pub(crate) distance: DistanceArg,
    /// Compare only so many source tokens of each sequence, drawn at random.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "row_fraction",
        help_heading = "Distances"
    )]
    pub(crate) rows: Option<NonZeroUsize>,
    /// Compare only this share of the source tokens of each sequence, drawn at random.
    #[arg(long, value_name = "SHARE", help_heading = "Distances")]
    #[arg(allow_negative_numbers = true)]
    pub(crate) row_fraction: Option<f64>,
    /// GiB that the maps of one sequence may take, for each thread.
    #[arg(
        long,
        value_name = "GIB",
        default_value_t = 4.0,
        help_heading = "Distances"
    )]
    #[arg(allow_negative_numbers = true)]
    pub(crate) memory: f64,
    /// How many clusters, or `auto`: as many as have the best silhouette.
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        help_heading = "Clusters and map"
    )]
    pub(crate) clusters: ClustersArg,
    /// Random starts of the map, besides the one that is always the same.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        // Each is a start of its own, and its numbers are kept: a slip of the finger would run for years.
        value_parser = clap::value_parser!(u32).range(0..=100_000),
        help_heading = "Clusters and map"
    )]
    pub(crate) restarts: u32,
    /// Seed of the random starts and of the rows that are drawn.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 42,
        help_heading = "Clusters and map"
    )]
    pub(crate) seed: u64,
}

/// What is done to attention before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SmoothingArg {
    /// 0.999 of it, and 0.001 shared out evenly among the targets that can be seen.
    Paper,
    /// Nothing.
    None,
}

/// Which distance the map and the clusters are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DistanceArg {
    /// The mean divergence of a source token.
    Mean,
    /// Its square root, which is a metric.
    Sqrt,
}

/// How many clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ClustersArg {
    /// So many.
    Exactly(NonZeroUsize),
    /// As many as have the best silhouette.
    Auto,
}

impl std::str::FromStr for ClustersArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let number = text
            .parse()
            .map_err(|_| "give a number from 1 on, or auto")?;
        Ok(Self::Exactly(number))
    }
}
