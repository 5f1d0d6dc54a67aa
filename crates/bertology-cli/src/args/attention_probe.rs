//! The options of `bertology attention-probe`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    ComputingArgs, InputArg, ModelArgs, NoParts, OutputArgs, ResumeArgs, RowModeArg, SequenceArgs,
    WorkArgs,
};

/// `bertology attention-probe`
#[derive(Debug, Args, Serialize)]
pub(crate) struct AttentionProbeArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    /// Treebank in CoNLL-U to train on.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) train: PathBuf,
    /// Treebank in CoNLL-U to score on.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) dev: PathBuf,
    /// Train on the first N sentences only.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
    /// Score on the first N sentences only.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) dev_limit: Option<usize>,
    /// What of a sentence the model reads [default: words for BERT and DistilBERT, text for the others].
    #[arg(long, value_name = "WHAT", help_heading = "Data")]
    pub(crate) input: Option<InputArg>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
    /// What attention from a word of several tokens is.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "mean",
        help_heading = "Data"
    )]
    pub(crate) row_mode: RowModeArg,
    /// Train only this probe; may be repeated [default: all three].
    #[arg(long, value_name = "NAME", help_heading = "Probes")]
    pub(crate) probe: Vec<ProbeArg>,
    /// Where the word vectors come from: a text file as GloVe writes them, or `embeddings` for the model's own
    /// table [default: embeddings].
    #[arg(long, value_name = "FILE", help_heading = "Probes")]
    pub(crate) vectors: Option<PathBuf>,
    /// Give candidates the vectors that they have in the released code of Clark et al.: each that of the next
    /// word.
    #[arg(long, help_heading = "Probes")]
    pub(crate) legacy_alignment: bool,
    /// Passes over the training sentences, in file order.
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Probes")]
    pub(crate) epochs: NonZeroUsize,
    /// Adam's learning rate.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.002,
        help_heading = "Probes"
    )]
    pub(crate) learning_rate: f64,
    /// Seed of the probes' first values.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 42,
        help_heading = "Probes"
    )]
    pub(crate) seed: u64,
    /// How exactly word maps are kept and read.
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "f16",
        help_heading = "Cache"
    )]
    pub(crate) cache_dtype: CacheDtypeArg,
    /// Room for word maps on disk, in MiB; sentences beyond it go through the model in every epoch.
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 2048,
        help_heading = "Cache"
    )]
    pub(crate) cache_limit: u64,
    /// Leave the word maps in OUTPUT/maps when the run is complete.
    #[arg(long, requires = "output", help_heading = "Cache")]
    pub(crate) keep_cache: bool,
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

/// What a probe reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeArg {
    /// Attention alone.
    Attention,
    /// Attention, weighted by the vectors of the two words.
    Words,
    /// The vectors and the distance of the two words; no attention.
    Distance,
}

/// How exactly word maps are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheDtypeArg {
    /// Half precision, as in the paper's code.
    F16,
    /// Single precision.
    F32,
}
