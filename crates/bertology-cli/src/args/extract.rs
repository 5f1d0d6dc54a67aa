//! `bertology extract`

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{SequenceArgs, SourceArgs, StudyArgs};

pub(crate) const ABOUT: &str = "\
Write down what goes on inside: hidden states, neurons, attention, outputs and contributions of heads, \
logits, and the gradients of any of these, for a text, a file of lines, a table or a GLUE task.

Token ids, character offsets and word ids are always written. The size is counted and printed \
before anything is written; a disk that is too small is refused.";

/// Which texts.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct TextArgs {
    /// Texts, each for itself.
    #[arg(value_name = "TEXT", conflicts_with_all = ["text", "data", "task", "token_ids"])]
    pub(crate) texts: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
}

/// Which values. A choice of heads is `all`, layers (`3`, `0-4`) or heads (`3.5`, `L3H5`, `3:5`,
/// `0:1,3`); without a value it is `all`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct ValueArgs {
    /// Hidden states of all layers, or of these: 0 (the embeddings) to L; 0,4-6.
    #[arg(long, value_name = "LAYERS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) hidden_states: Option<String>,
    /// Neurons of the feed-forward blocks, behind the activation, of all layers, or of these: 0 to L − 1; 0,4-6.
    #[arg(long, value_name = "LAYERS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) mlp_inner: Option<String>,
    /// Attention probabilities of all heads, or of these: 3.5, L3H5, 3:5, 0:1,3, layers 0-4.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) attentions: Vec<String>,
    /// Attention scores, before the softmax.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) attention_scores: Vec<String>,
    /// Outputs of heads, before the output projection.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) head_outputs: Vec<String>,
    /// What heads add to the residual stream.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) head_contributions: Vec<String>,
    /// Queries of heads.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) queries: Vec<String>,
    /// Keys of heads.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) keys: Vec<String>,
    /// Values of heads, which attention averages.
    #[arg(long, value_name = "HEADS", help_heading = "Values")]
    #[arg(num_args = 0..=1, default_missing_value = "all")]
    pub(crate) values: Vec<String>,
    /// Logits of the task head.
    #[arg(long, help_heading = "Values")]
    pub(crate) logits: bool,
    /// Nothing but the tokens, which are always written.
    #[arg(long, help_heading = "Values")]
    pub(crate) tokens: bool,
    /// Gradients of the objective with respect to all values chosen, besides the values.
    #[arg(long, help_heading = "Values")]
    pub(crate) gradients: bool,
    /// The loss, which is written for each text: label (of the text's own label), class:K (of class K,
    /// whatever the label), logit:K (the logit itself), lm (of the next tokens) or mlm (of all tokens,
    /// unmasked).
    #[arg(long, value_name = "WHICH", help_heading = "Values")]
    pub(crate) objective: Option<String>,
    /// One row a word in place of one a token; special tokens are left out.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        help_heading = "Values"
    )]
    pub(crate) pool: PoolArg,
}

/// How the tokens of a word become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolArg {
    /// Every token is a row.
    None,
    /// The first token stands for the word.
    First,
    /// The last token stands for the word.
    Last,
    /// The mean of its tokens.
    Mean,
}

/// Format of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatArg {
    /// One safetensors file a shard.
    Safetensors,
    /// One NumPy archive a shard.
    Npz,
    /// Tables with one row a token, or a token and head.
    Parquet,
}

/// Type of the values on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DtypeArg {
    /// As computed.
    F32,
    /// Half precision: 11 bits, up to 65504.
    F16,
    /// 8 bits of precision, the range of f32; safetensors only.
    Bf16,
}

/// `bertology extract`
pub(crate) type ExtractArgs = StudyArgs<TextArgs, ExtractOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ExtractOwn {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) wanted: ValueArgs,
    /// Format of the shards.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "safetensors",
        help_heading = "Output"
    )]
    pub(crate) format: FormatArg,
    /// Type of the values on disk.
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "f32",
        help_heading = "Output"
    )]
    pub(crate) dtype: DtypeArg,
    /// Write values that are NaN or infinite, and count them; otherwise they are an error that names the place.
    #[arg(long, help_heading = "Output")]
    pub(crate) allow_nonfinite: bool,
    /// Texts in a shard.
    #[arg(
        long,
        value_name = "N",
        default_value = "1000",
        help_heading = "Output"
    )]
    pub(crate) shard_size: NonZeroUsize,
    /// Count the texts, print the size of the results, and write nothing.
    #[arg(long, help_heading = "Output", conflicts_with_all = ["resume", "overwrite"])]
    pub(crate) dry_run: bool,
}
