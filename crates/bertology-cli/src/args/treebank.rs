//! Which treebank attention is held against, and how its sentences become sequences.

use std::path::PathBuf;

use bertology::attention::RowMode;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{SequenceArgs, StudyArgs};

/// A treebank.
#[derive(Debug, Args, Serialize)]
pub(crate) struct TreebankArgs {
    /// The treebank, in CoNLL-U.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) conllu: PathBuf,
    /// What the model reads [default: words for BERT and DistilBERT, text for RoBERTa, GPT and GPT-2].
    #[arg(long, value_name = "WHAT", help_heading = "Data")]
    pub(crate) input: Option<InputArg>,
    /// What the attention from a word of several tokens is.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "mean",
        help_heading = "Attention"
    )]
    pub(crate) row_mode: RowModeArg,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
}

/// What of a sentence the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InputArg {
    /// Its words with single spaces between them: the paper.
    Words,
    /// Its text as it was written.
    Text,
}

/// What the attention from a word of several tokens is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowModeArg {
    /// The mean over its tokens: the paper.
    Mean,
    /// That of its first token: what the paper's released code does.
    First,
    /// That of its last token, which in a causal model has seen the whole word.
    Last,
    /// The greatest of its tokens, divided by the sum of the row.
    Max,
}

impl RowModeArg {
    pub(crate) fn mode(self) -> RowMode {
        match self {
            Self::Mean => RowMode::Mean,
            Self::First => RowMode::First,
            Self::Last => RowMode::Last,
            Self::Max => RowMode::Max,
        }
    }
}

/// `bertology syntax`
pub(crate) type SyntaxArgs = StudyArgs<TreebankArgs, SyntaxOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct SyntaxOwn {
    /// Choose heads and offsets on this treebank, and score them on that of --conllu.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) select: Option<PathBuf>,
    /// Read only the first N sentences (of each treebank).
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
    /// Leave subtypes away: nmod:poss counts as nmod.
    #[arg(long, help_heading = "Syntax")]
    pub(crate) base_relations: bool,
    /// Ask the possessive ending (XPOS POS) for the head of the possessor before it, as the paper's
    /// released code does.
    #[arg(long, help_heading = "Syntax")]
    pub(crate) possessive_clitic: bool,
    /// Count prepositions as Stanford Dependencies do, too: sd:prep and sd:pobj.
    #[arg(long, help_heading = "Syntax")]
    pub(crate) sd_view: bool,
    /// Baselines name the word at a fixed offset from -N to N.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Syntax")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) offsets: u16,
    /// Show relations of at least so many words [default: 100, of fewer than 10,000 words 20]; the
    /// files hold all.
    #[arg(long, value_name = "N", help_heading = "Syntax")]
    pub(crate) min_count: Option<u64>,
}

/// `bertology coref`
pub(crate) type CorefArgs = StudyArgs<TreebankArgs, CorefOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct CorefOwn {
    /// Read only the first N documents.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
}
