//! The options of `bertology edge-data`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use bertology::data::edge::Records;
use bertology::input::spans::{LongRecords, SpanOptions};
use bertology::input::treebank::InputMode;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::{InputArg, ModelArgs, threads};

pub(crate) const ABOUT: &str = "\
Labelled spans for edge probing: treebanks and other corpora as records, and a look at records with a model's eyes.

A record is a JSON object a line: `text`, words with a space between them, and `targets`, each with `span1` (and `span2`) as \
[first word, word behind the last] and a `label`, or a list of labels. OntoNotes comes in this form from the tools that \
the paper's authors published and needs no conversion.";

/// `bertology edge-data`
#[derive(Debug, Args)]
pub(crate) struct EdgeDataArgs {
    #[command(subcommand)]
    pub(crate) what: EdgeData,
}

/// What is made, or looked at.
#[derive(Debug, Subcommand)]
pub(crate) enum EdgeData {
    /// Dependencies of a treebank (CoNLL-U): a word, its head, their relation.
    UdDeps(UdDepsArgs),
    /// The treebank's own part of speech (XPOS) of every word.
    UdPos(ConvertArgs),
    /// The universal part of speech (UPOS) of every word.
    UdUpos(ConvertArgs),
    /// The features (FEATS) of every word, or the value of one feature.
    UdFeats(UdFeatsArgs),
    /// Coreference within sentences of a treebank with `Entity=` (CorefUD): two mentions, 1 or 0.
    Coref(CorefDataArgs),
    /// SemEval-2010 task 8: two nominals, their relation.
    Semeval(SemEvalArgs),
    /// Semantic proto-roles, release 1, from JSON with sentences: verb, argument, what is true of it.
    Spr1(SplitArgs),
    /// Semantic proto-roles, release 2, from its table and UD English EWT 1.2.
    Spr2(Spr2Args),
    /// Definite pronouns, recast as entailment: pronoun, candidate, entailed or not.
    Dpr(SplitArgs),
    /// Look at records as a model would read them: tokens, lengths, labels, what would be dropped.
    Check(Box<EdgeCheckArgs>),
}

/// A corpus, and where its records go.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The corpus.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the records go, one a line.
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: PathBuf,
    /// Replace a file that is there.
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,
}

/// What is done with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepArg {
    /// It stays.
    Keep,
    /// It is left out.
    Drop,
}

/// `bertology edge-data ud-deps`
#[derive(Debug, Args)]
pub(crate) struct UdDepsArgs {
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
    /// What of nmod:poss is the label.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "keep",
        help_heading = "Dependencies"
    )]
    pub(crate) subtypes: SubtypesArg,
    /// What of the word without a head.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "self",
        help_heading = "Dependencies"
    )]
    pub(crate) root: RootArg,
    /// What of punctuation.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "keep",
        help_heading = "Dependencies"
    )]
    pub(crate) punct: KeepArg,
    /// Repeat the faults of the published converter, for its counts on UD 2.2: sentences with empty nodes and the last
    /// sentence are left out, multiword tokens are refused.
    #[arg(long, help_heading = "Dependencies")]
    pub(crate) published_faults: bool,
}

/// What of `nmod:poss` is the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubtypesArg {
    /// All of it: the paper.
    Keep,
    /// nmod.
    Strip,
}

/// What of the word without a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RootArg {
    /// It is its own head: the paper.
    #[value(name = "self")]
    Itself,
    /// It is no target.
    Drop,
}

/// `bertology edge-data ud-feats`
#[derive(Debug, Args)]
pub(crate) struct UdFeatsArgs {
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
    /// Only this feature, such as Number: its value is the label of the words that have it.
    #[arg(long, value_name = "NAME", help_heading = "Features")]
    pub(crate) feature: Option<String>,
}

/// `bertology edge-data coref`
#[derive(Debug, Args)]
pub(crate) struct CorefDataArgs {
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
    /// What of entities that a document mentions once; OntoNotes marks none.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "keep",
        help_heading = "Coreference"
    )]
    pub(crate) singletons: KeepArg,
}

/// `bertology edge-data semeval`
#[derive(Debug, Args)]
pub(crate) struct SemEvalArgs {
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
    /// Which examples: the organisers made no development split, the paper made one of the training file.
    #[arg(
        long,
        value_name = "PART",
        default_value = "all",
        help_heading = "Relations"
    )]
    pub(crate) part: PartArg,
}

/// Which examples of SemEval's training file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartArg {
    /// All: of the test file.
    All,
    /// The paper's training split.
    Train,
    /// The paper's development split.
    Dev,
}

/// `bertology edge-data spr1` and `dpr`
#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
    /// Only this split of the file: train, dev or test [default: all].
    #[arg(long, value_name = "SPLIT", help_heading = "Data")]
    pub(crate) split: Option<String>,
}

/// `bertology edge-data spr2`
#[derive(Debug, Args)]
pub(crate) struct Spr2Args {
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
    /// A file of UD English EWT 1.2, whose sentences the table speaks of.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) conllu: PathBuf,
    /// Which of the release's files that is: train, dev or test [default: what its name says].
    #[arg(long, value_name = "SPLIT", help_heading = "Data")]
    pub(crate) split: Option<String>,
}

/// `bertology edge-data check`
#[derive(Debug, Args)]
pub(crate) struct EdgeCheckArgs {
    /// The records.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The records that a probe would be trained on: labels that they do not have are named.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) train: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: EdgeReadingArgs,
    /// Threads; the results do not depend on it [default: all cores].
    #[arg(long, value_name = "N", help_heading = "Work", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}

/// How records become sequences, in every command that reads them.
#[derive(Debug, Args, Serialize)]
pub(crate) struct EdgeReadingArgs {
    /// Take every target as one of a single span.
    #[arg(long, help_heading = "Data")]
    pub(crate) one_span: bool,
    /// What of a record the model reads; text needs records that keep it.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "words",
        help_heading = "Sequences"
    )]
    pub(crate) input: InputArg,
    /// Longest sequence in tokens, special ones included [default: the model's limit].
    #[arg(
        long,
        value_name = "N",
        alias = "max-seq-length",
        help_heading = "Sequences"
    )]
    pub(crate) max_length: Option<NonZeroUsize>,
    /// What is done with longer records; no span is ever cut [default: drop in edge-data check, error in
    /// edge-probe].
    #[arg(long, value_name = "HOW", help_heading = "Sequences")]
    pub(crate) too_long: Option<LongArg>,
    /// Begin with the model's beginning-of-text token [default: yes for GPT-2].
    #[arg(long, value_name = "WHETHER", help_heading = "Sequences")]
    pub(crate) bos: Option<BosArg>,
}

impl EdgeReadingArgs {
    /// As options of the library; `otherwise` is the command's own way with long records.
    pub(crate) fn options(&self, otherwise: LongRecords) -> SpanOptions {
        SpanOptions {
            input: match self.input {
                InputArg::Words => InputMode::Words,
                InputArg::Text => InputMode::Text,
            },
            max_length: self.max_length.map(usize::from),
            too_long: match self.too_long {
                None => otherwise,
                Some(LongArg::Error) => LongRecords::Error,
                Some(LongArg::Drop) => LongRecords::Drop,
                Some(LongArg::Window) => LongRecords::Window,
            },
            bos: self.bos.map(|bos| bos == BosArg::Yes),
        }
    }

    pub(crate) fn records(&self, path: &Path) -> Records {
        let records = Records::new(path);
        if self.one_span {
            records.with_one_span()
        } else {
            records
        }
    }
}

/// What is done with records of more tokens than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LongArg {
    /// Refuse them, naming the line.
    Error,
    /// Read their beginning and drop the targets beyond it.
    Drop,
    /// Read a window around both spans of each target.
    Window,
}

/// Whether a beginning-of-text token stands before texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BosArg {
    /// It does.
    Yes,
    /// It does not, unless the tokenizer puts one there.
    No,
}
