//! How texts, of whatever kind, become sequences: the same options with the same meaning everywhere.

use std::num::NonZeroUsize;

use bertology::TooLong;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::Failure;

/// How long sequences may be, and what stands before them.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct SequenceArgs {
    /// Longest sequence in tokens, special ones included [default: the model's limit; 128 if that is less
    /// with labels, of packed pairs and of coref's documents, 384 with questions].
    #[arg(
        long,
        value_name = "N",
        alias = "max-seq-length",
        help_heading = "Sequences"
    )]
    pub(crate) max_length: Option<NonZeroUsize>,
    /// What is done with longer inputs [default: cut with labels and in coref; window for language models and
    /// questions; error in extract; skip elsewhere].
    #[arg(long, value_name = "HOW", help_heading = "Sequences")]
    pub(crate) too_long: Option<TooLongArg>,
    /// Tokens from one window to the next [default: half of what a window holds; in extract all of it].
    #[arg(long, value_name = "N", help_heading = "Sequences")]
    pub(crate) stride: Option<NonZeroUsize>,
    /// Put the model's beginning-of-text token before every text (GPT, GPT-2). It draws much of the attention
    /// to itself; to a language model it makes the first token one to predict.
    #[arg(long, help_heading = "Sequences")]
    pub(crate) bos: bool,
}

/// What is done with inputs that are longer than the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TooLongArg {
    /// Refuse them, naming the line.
    Error,
    /// Leave them out and count them.
    Skip,
    /// Cut off their end and count what was cut.
    Cut,
    /// Read them through overlapping windows; every token counts once.
    Window,
}

impl SequenceArgs {
    /// The way with long inputs of a command that has one, so that it stands in the record.
    pub(crate) fn default_too_long(&mut self, how: TooLongArg) {
        self.too_long.get_or_insert(how);
    }

    pub(crate) fn max_length(&self) -> Option<usize> {
        self.max_length.map(usize::from)
    }

    pub(crate) fn too_long(&self) -> Option<TooLong> {
        self.too_long.map(|how| match how {
            TooLongArg::Error => TooLong::Error,
            TooLongArg::Skip => TooLong::Skip,
            TooLongArg::Cut => TooLong::Cut,
            TooLongArg::Window => TooLong::Window,
        })
    }

    pub(crate) fn stride(&self) -> Option<usize> {
        self.stride.map(usize::from)
    }

    /// For texts of which each has one answer.
    pub(crate) fn refuse_stride_of_answers(&self) -> Result<(), Failure> {
        match self.stride {
            None => Ok(()),
            Some(stride) => Err(Failure::input(format!(
                "--stride {stride}: windows alone have a stride, and a text has one answer; leave --stride out"
            ))),
        }
    }

    /// For inputs that are never read through windows.
    pub(crate) fn refuse_stride(&self) -> Result<(), Failure> {
        match self.stride {
            None => Ok(()),
            Some(stride) => Err(Failure::input(format!(
                "--stride {stride}: windows alone have a stride, and attention is studied in whole texts; \
                 leave --stride out"
            ))),
        }
    }
}
