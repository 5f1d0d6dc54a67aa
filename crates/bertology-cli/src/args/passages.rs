//! Which texts attention is studied on, and how they become sequences.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{InputArg, SequenceArgs, SourceArgs};

/// Texts for a study of attention.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct PassageArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) source: SourceArgs,
    /// The sentences of a treebank in CoNLL-U as texts.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["text", "data", "task", "token_ids", "text_column"])]
    pub(crate) conllu: Option<PathBuf>,
    /// What the model reads of a treebank [default: words for BERT and DistilBERT, text for RoBERTa, GPT and
    /// GPT-2].
    #[arg(long, value_name = "WHAT", help_heading = "Data", requires = "conllu")]
    // What is required is forgiven where it conflicts with what is given.
    #[arg(conflicts_with_all = ["text", "data", "task", "token_ids", "text_column"])]
    pub(crate) input: Option<InputArg>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
    /// How texts become sequences.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "single",
        help_heading = "Sequences"
    )]
    pub(crate) packing: PackingArg,
    /// Seed of where pairs are split and what is cut from them [default: 42].
    #[arg(long, value_name = "SEED", help_heading = "Data")]
    pub(crate) packing_seed: Option<u64>,
}

/// How texts become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PackingArg {
    /// Every text (or pair of texts) is one.
    Single,
    /// Sentences, one a line, are packed into pairs of segments, as Clark et al. do; documents stand
    /// between blank lines.
    Pairs,
}
