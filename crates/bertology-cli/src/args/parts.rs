//! `bertology merge` and `bertology status`

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

/// `bertology merge`
#[derive(Debug, Args, Serialize)]
pub(crate) struct MergeArgs {
    /// The folders of all parts of one run, in any order.
    #[arg(value_name = "PART", required = true)]
    pub(crate) parts: Vec<PathBuf>,
    /// Folder for the whole run.
    #[arg(long, short, value_name = "DIR", alias = "output-dir")]
    pub(crate) output: PathBuf,
    /// Replace the results of an earlier run in that folder.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// `bertology status`
#[derive(Debug, Args, Serialize)]
pub(crate) struct StatusArgs {
    /// The folders of parts of one run.
    #[arg(value_name = "PART", required = true)]
    pub(crate) parts: Vec<PathBuf>,
}
