//! `bertology cat-tree`: a program's tree, its leaves and their distances, to look at.

mod found;
mod shown;

use std::path::PathBuf;

use bertology_code::{CodeError, Distances, GraphKind, Snippet, Tail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Done;
use crate::args::code::ReadingArgs;
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
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Draw tree, edges and distances into this file.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) svg: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long, requires = "svg", help_heading = "Output")]
    pub(crate) overwrite: bool,
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
    let language = args.reading.language()?;
    let mut found = found::find(args, language)?;
    let code = found.code.take();
    let code = code.ok_or_else(|| Failure::work("no code was read; please report this"))?;
    let path = found.path.clone();
    let snippet = Snippet::new(code, &args.reading.reading());
    let snippet = snippet.map_err(|refusal| {
        let line = found.line;
        failure(CodeError::Refused {
            path,
            line,
            refusal,
        })
    })?;
    let all: Vec<usize> = (0..snippet.leaves().len()).collect();
    let graph = snippet.graph(args.reading.graph(), Tail::Keep, &all);
    let flow = match args.reading.graph() {
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
        "graph": looked.args.reading.graph().name(),
        "strings": typed(&looked.args.reading.strings),
        "input": typed(&looked.args.reading.input),
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

/// A fault of code or of what was asked.
fn failure(error: CodeError) -> Failure {
    crate::session::failure(&error.into())
}
