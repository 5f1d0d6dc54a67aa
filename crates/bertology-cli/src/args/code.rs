//! How programs become leaves, and sequences of a model.

use bertology_code::{Docstrings, Faulty, GraphKind, InputMode, Language, Reading, Strings};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::failure::Failure;

/// How a program becomes a tree, leaves and a text.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ReadingArgs {
    /// The language [default: what the name of the file says, or the line].
    #[arg(long, value_name = "NAME", help_heading = "Code")]
    pub(crate) language: Option<String>,
    /// Take code that has faults, too.
    #[arg(long, help_heading = "Code")]
    pub(crate) keep_errors: bool,
    /// Which edges there are besides those of the tree.
    #[arg(
        long,
        value_name = "EDGES",
        default_value = "chain+flow",
        help_heading = "Tree"
    )]
    pub(crate) graph: GraphArg,
    /// How string literals become leaves.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "collapse",
        help_heading = "Tree"
    )]
    pub(crate) strings: StringsArg,
    /// Which text a model reads.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "joined",
        help_heading = "Tree"
    )]
    pub(crate) input: CodeInputArg,
    /// Take docstrings as tokens, or drop them as comments are [default: keep for raw, else drop].
    #[arg(long, value_name = "HOW", help_heading = "Tree")]
    pub(crate) docstrings: Option<DocstringsArg>,
}

/// Which edges there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GraphArg {
    /// None.
    Ast,
    /// From every leaf to the next.
    Chain,
    /// And from every identifier to the one before with the same text.
    #[value(name = "chain+flow")]
    #[serde(rename = "chain+flow")]
    ChainFlow,
}

/// How string literals become leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StringsArg {
    /// One leaf, if nothing is interpolated.
    Collapse,
    /// As the grammar has them.
    Expand,
    /// As the grammars of 2022 had them.
    Legacy,
}

/// Which text a model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CodeInputArg {
    /// The tokens with one space between them.
    Joined,
    /// The code without comments, with each run of blanks as one space.
    Normalised,
    /// The code as it is.
    Raw,
    /// The `code_tokens` of the file, with one space between them.
    Tokens,
}

/// What is done with docstrings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DocstringsArg {
    /// They are tokens.
    Keep,
    /// They are none.
    Drop,
}

impl ReadingArgs {
    pub(crate) fn graph(&self) -> GraphKind {
        match self.graph {
            GraphArg::Ast => GraphKind::Ast,
            GraphArg::Chain => GraphKind::Chain,
            GraphArg::ChainFlow => GraphKind::ChainFlow,
        }
    }

    pub(crate) fn language(&self) -> Result<Option<&'static Language>, Failure> {
        let language = self.language.as_deref().map(Language::named).transpose();
        language.map_err(|error| crate::session::failure(&error.into()))
    }

    pub(crate) fn reading(&self) -> Reading {
        let reading = Reading::of(match self.input {
            CodeInputArg::Joined => InputMode::Joined,
            CodeInputArg::Normalised => InputMode::Normalised,
            CodeInputArg::Raw => InputMode::Raw,
            CodeInputArg::Tokens => InputMode::Tokens,
        });
        let docstrings = match self.docstrings {
            None => reading.docstrings,
            Some(DocstringsArg::Keep) => Docstrings::Keep,
            Some(DocstringsArg::Drop) => Docstrings::Drop,
        };
        let faulty = match self.keep_errors {
            true => Faulty::Keep,
            false => Faulty::Refuse,
        };
        reading
            .with_strings(match self.strings {
                StringsArg::Collapse => Strings::Collapse,
                StringsArg::Expand => Strings::Expand,
                StringsArg::Legacy => Strings::Legacy,
            })
            .with_docstrings(docstrings)
            .with_faulty(faulty)
    }
}
