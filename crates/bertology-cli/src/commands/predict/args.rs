//! The options of `bertology predict`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::args::{StudyArgs, TextArgs};

pub(crate) const ABOUT: &str = "\
What a classifier says of texts: labels with their probabilities, the number of a regression, or a label of every word.

Texts stand behind MODEL, or in a file: --text with one a line, --data with --text-column for a table, --task for GLUE, whose test \
files have no labels. Labels that a file has are not read; `bertology evaluate` compares with them.";

/// `bertology predict`
pub(crate) type PredictArgs = StudyArgs<TextArgs, PredictOwn>;

/// Under which mask.
#[derive(Debug, Args, Serialize)]
pub(crate) struct PredictOwn {
    /// A head mask: .npy or .json, 1 keeps, 0 masks.
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,
    /// Heads to mask: 3.5, L3H5, 3:5, 0:1,3 or 5:0-4; may be repeated.
    #[arg(long, value_name = "HEADS", conflicts_with = "mask")]
    pub(crate) heads: Vec<String>,
}
