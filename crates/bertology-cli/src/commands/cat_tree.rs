//! `bertology cat-tree`: a program's tree, its leaves and their distances, to look at.

mod found;
mod shown;

use std::path::PathBuf;

use bertology_code::{
    CodeError, Distances, Docstrings, Faulty, GraphKind, InputMode, Language, LineFault, Reading,
    Refusal, Snippet, Strings, Tail,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Done;
use crate::failure::Failure;
use crate::pages;
use crate::show::Screen;

use found::Found;

pub(crate) const ABOUT: &str = "\
The tree of a program, its tokens and how far they are from each other: to look at.

A token is a leaf of the tree that tree-sitter gives. The graph joins every leaf to the next and every identifier to the one \
before with the same text (the U-AST of Chen et al. 2022); a distance is the least number of edges.";

/// `bertology cat-tree`
#[derive(Debug, Args)]
pub(crate) struct CatTreeArgs {
    /// Source code, or functions as JSON Lines (`code`, `language`, `func_name`).
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only this function: its name, with those of its classes before if there are several (Till.pay).
    #[arg(long, value_name = "NAME", help_heading = "Code")]
    pub(crate) function: Option<String>,
    /// Only the function that begins in this line.
    #[arg(long, value_name = "N", help_heading = "Code")]
    pub(crate) line: Option<u64>,
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
    /// Which text a model would read.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "joined",
        help_heading = "Tree"
    )]
    pub(crate) input: InputArg,
    /// Take docstrings as tokens, or drop them as comments are [default: keep for raw, else drop].
    #[arg(long, value_name = "HOW", help_heading = "Tree")]
    pub(crate) docstrings: Option<DocstringsArg>,
    /// Draw tree, edges and distances into this file.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) svg: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long, requires = "svg", help_heading = "Output")]
    pub(crate) overwrite: bool,
}

/// Which edges there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphArg {
    /// None.
    Ast,
    /// From every leaf to the next.
    Chain,
    /// And from every identifier to the one before with the same text.
    #[value(name = "chain+flow")]
    ChainFlow,
}

/// How string literals become leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StringsArg {
    /// One leaf, if nothing is interpolated.
    Collapse,
    /// As the grammar has them.
    Expand,
    /// As the grammars of 2022 had them.
    Legacy,
}

/// Which text a model would read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputArg {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocstringsArg {
    /// They are tokens.
    Keep,
    /// They are none.
    Drop,
}

impl CatTreeArgs {
    fn graph(&self) -> GraphKind {
        match self.graph {
            GraphArg::Ast => GraphKind::Ast,
            GraphArg::Chain => GraphKind::Chain,
            GraphArg::ChainFlow => GraphKind::ChainFlow,
        }
    }

    fn reading(&self) -> Reading {
        let reading = Reading::of(match self.input {
            InputArg::Joined => InputMode::Joined,
            InputArg::Normalised => InputMode::Normalised,
            InputArg::Raw => InputMode::Raw,
            InputArg::Tokens => InputMode::Tokens,
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

/// A piece of code with all that is said of it.
pub(super) struct Looked<'a> {
    args: &'a CatTreeArgs,
    found: Found,
    snippet: Snippet,
    /// Pairs of leaves that data flow joins.
    flow: Vec<(u32, u32)>,
    /// Of all leaves, or why there are none.
    distances: Result<Distances, CodeError>,
}

pub(crate) fn run(args: &CatTreeArgs, screen: &Screen) -> Result<Done, Failure> {
    if let Some(svg) = &args.svg {
        pages::check("--svg", svg, args.overwrite)?;
    }
    let language = args.language.as_deref().map(Language::named).transpose();
    let language = language.map_err(|error| failure(&error))?;
    let mut found = found::find(args, language)?;
    let code = found.code.take();
    let code = code.ok_or_else(|| Failure::work("no code was read; please report this"))?;
    let path = found.path.clone();
    let snippet = Snippet::new(code, &args.reading());
    let snippet = snippet.map_err(|refusal| {
        let line = found.line;
        failure(&CodeError::Refused {
            path,
            line,
            refusal,
        })
    })?;
    let all: Vec<usize> = (0..snippet.leaves().len()).collect();
    let graph = snippet.graph(args.graph(), Tail::Keep, &all);
    let flow = match args.graph() {
        GraphKind::ChainFlow => graph.flow().to_vec(),
        GraphKind::Ast | GraphKind::Chain => Vec::new(),
    };
    let looked = Looked {
        args,
        found,
        distances: graph.distances(&all),
        flow,
        snippet,
    };
    if looked.snippet.is_only_text() {
        screen.note(
            "the parser found no code, only text between programs; PHP begins with <?php, and its functions alone are \
             read from JSON Lines",
        );
    }
    if let Some(svg) = &args.svg {
        pages::write(svg, &looked.figure()?.file())?;
    }
    let document = document(&looked);
    screen.say(&looked.text());
    if let Some(svg) = &args.svg {
        screen.say(&format!("\nThe drawing is in {}", svg.display()));
    }
    Ok(document.into())
}

fn document(looked: &Looked<'_>) -> Value {
    let (snippet, found) = (&looked.snippet, &looked.found);
    let syntax = snippet.syntax();
    let nodes = syntax.nodes().iter().enumerate().map(|(number, node)| {
        json!({
            "kind": syntax.kind(node), "named": syntax.is_named(node), "depth": node.depth,
            "parent": (number > 0).then_some(node.parent), "start": node.start, "end": node.end,
        })
    });
    let leaves = snippet.leaves().iter().enumerate().map(|(number, leaf)| {
        let span = snippet.spans().get(number).cloned().flatten();
        json!({
            "kind": leaf.kind, "text": snippet.leaf_text(number), "node": leaf.node, "start": leaf.start,
            "end": leaf.end, "span": span.map(|span| [span.start, span.end]),
        })
    });
    let (distances, reason) = match &looked.distances {
        Ok(distances) => {
            let rows = (0..distances.size()).map(|row| distances.row(row));
            (Some(rows.collect::<Vec<_>>()), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    json!({
        "file": found.path.display().to_string(),
        "line": found.line,
        "function": found.name,
        "language": syntax.language().name,
        "grammar": syntax.language().grammar,
        "graph": looked.args.graph().name(),
        "strings": typed(&looked.args.strings),
        "input": typed(&looked.args.input),
        "functions": found.functions,
        "model_text": snippet.model_text(),
        "nodes": nodes.collect::<Vec<_>>(),
        "leaves": leaves.collect::<Vec<_>>(),
        "flow": looked.flow,
        "distances": distances,
        "no_distances": reason,
    })
}

/// The name under which a value is typed.
fn typed(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// A fault of code or of what was asked, with the option that does something about it.
fn failure(error: &CodeError) -> Failure {
    let remedy = match error {
        CodeError::UnknownExtension { .. } => Some("--language NAME says it"),
        CodeError::Refused { refusal, .. } => match refusal {
            Refusal::Faulty { .. } => Some("--keep-errors takes it all the same"),
            Refusal::NoTokens => Some("say another --input"),
            _ => None,
        },
        CodeError::Line {
            fault: LineFault::NoLanguage | LineFault::UnknownLanguage { .. },
            ..
        } => Some("--language NAME says it"),
        _ => None,
    };
    Failure::found(error.kind(), error, remedy)
}
