//! `bertology view`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{ComputingArgs, ModelArgs};

pub(crate) const ABOUT: &str = "\
Look at the attention of one text, of a pair of texts, or of several one after the other: one HTML file that \
needs no network, with every head as ribbons, as a matrix and as a small map among all others, what each query \
and key contributes, and what the model would say without each head.

Without --output the page is opened in the browser.";

/// `bertology view`
#[derive(Debug, Args, Serialize)]
pub(crate) struct ViewArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    /// The text, and a second one to make a pair; with --each any number, each on its own.
    #[arg(value_name = "TEXT", num_args = 0..)]
    pub(crate) texts: Vec<String>,
    /// Show every TEXT on its own, up to 100 of them, and choose between them in the page.
    #[arg(long, help_heading = "Text")]
    pub(crate) each: bool,
    /// Show the texts of this file: one a line, or a pair with a tab between, up to 100; blank lines are
    /// skipped. Of a .fasta, .fa or .faa its sequences.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "each",
        help_heading = "Text"
    )]
    pub(crate) text: Option<PathBuf>,
    /// Cut the text to so many tokens, special ones included [default: a text beyond the model's limit
    /// is an error].
    #[arg(
        long,
        value_name = "N",
        alias = "max-seq-length",
        help_heading = "Text"
    )]
    pub(crate) max_length: Option<NonZeroUsize>,
    /// Show these layers only: 0,4-6.
    #[arg(long, value_name = "LAYERS", help_heading = "Page")]
    pub(crate) layers: Option<String>,
    /// Show these heads only, besides those of --layers: 3.5, L3H5, 3:5, 0:1,3 or 5:0-4; may be repeated.
    #[arg(long, value_name = "HEADS", help_heading = "Page")]
    pub(crate) heads: Vec<String>,
    /// Dim heads by importance: the folder of a run of `bertology importance`, or its
    /// head_importance.npy.
    #[arg(long, value_name = "RUN", help_heading = "Page")]
    pub(crate) importance: Option<PathBuf>,
    /// Keep queries and keys of these layers for the neuron view, whatever they weigh, or of `none`
    /// [default: of all layers if they fit, else of as many as do].
    #[arg(long, value_name = "LAYERS", help_heading = "Page")]
    pub(crate) neuron_layers: Option<String>,
    /// Do not compute the prediction without each head.
    #[arg(long, help_heading = "Page")]
    pub(crate) no_masking: bool,
    /// Largest file in megabytes: of long texts only the largest weights of each token are kept, as many as
    /// fit [default: 4 for a text to 128 tokens, 12 for one beyond, 40 at most for several].
    #[arg(long, value_name = "MB", help_heading = "Page")]
    pub(crate) size_limit: Option<NonZeroUsize>,
    /// Threads; the results do not depend on it [default: all cores].
    #[arg(long, value_name = "N", help_heading = "Work", value_parser = super::threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Write the page to this file, and open nothing.
    #[arg(long, short, value_name = "FILE.html", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long, requires = "output", help_heading = "Output")]
    pub(crate) overwrite: bool,
}
