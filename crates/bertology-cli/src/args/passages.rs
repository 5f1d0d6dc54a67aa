//! Which texts attention is studied on, and how they become sequences.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::SourceArgs;

/// Texts for a study of attention.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct PassageArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) source: SourceArgs,
    /// How texts become sequences.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "single",
        help_heading = "Data"
    )]
    pub(crate) packing: PackingArg,
    /// Seed of where pairs are split and what is cut from them [default: 42].
    #[arg(long, value_name = "SEED", help_heading = "Data")]
    pub(crate) packing_seed: Option<u64>,
    /// Longest sequence in tokens, special ones included [default: the model's limit; of pairs 128 if
    /// that is less].
    #[arg(
        long,
        value_name = "N",
        alias = "max-seq-length",
        help_heading = "Data"
    )]
    pub(crate) max_length: Option<NonZeroUsize>,
    /// What happens to longer texts.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "skip",
        help_heading = "Data"
    )]
    pub(crate) too_long: LongArg,
    /// Put the model's beginning-of-text token before every text (GPT-2); it draws much of the
    /// attention to itself.
    #[arg(long, help_heading = "Data")]
    pub(crate) bos: bool,
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

/// What happens to texts of more tokens than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LongArg {
    /// They are left out and counted.
    Skip,
    /// Their end is cut off.
    Cut,
    /// They are refused, naming the line.
    Error,
}
