//! How a tree, its leaves and their distances look as text and as a drawing.

use std::fmt::Write;

use bertology_code::{CodeError, Distances};
use bertology_report::{CodeLeaf, CodeNode, CodeTree, Figure, MOST_LEAVES, MOST_LEVELS};

use super::found::file_name;
use super::{Looked, typed};
use crate::failure::Failure;
use crate::show::escape;
use crate::show::text::{count, plural};

/// Rows of a matrix that a terminal has room for.
const ROWS: usize = 32;
/// Names of functions that are listed.
const NAMED: usize = 12;
/// Levels that are shown by moving to the right.
const INDENTED: u32 = 30;
/// Characters of a leaf's text.
const SAID: usize = 24;

impl Looked<'_> {
    /// What it is of, in one line.
    fn title(&self) -> String {
        let file = file_name(&self.found.path);
        let name = self.found.name.as_deref();
        let what = name.map_or_else(|| file.clone(), |name| format!("{name} of {file}"));
        format!("{what}, {}", self.args.reading.graph().name())
    }

    pub(super) fn text(&self) -> String {
        let (snippet, found) = (&self.snippet, &self.found);
        let (syntax, leaves) = (snippet.syntax(), snippet.leaves());
        let language = syntax.language();
        let file = found.path.display().to_string();
        let mut text = format!("{}, line {}", escape::name(&file), found.line);
        if let Some(name) = &found.name {
            let _ = write!(text, ": {}", escape::name(name));
        }
        let _ = writeln!(
            text,
            "\n{language} ({}), graph {}, strings {}, input {}",
            language.grammar,
            self.args.reading.graph().name(),
            typed(&self.args.reading.strings),
            typed(&self.args.reading.input)
        );
        let _ = writeln!(
            text,
            "{}, {}",
            plural(syntax.nodes().len() as u64, "node"),
            match leaves.len() {
                1 => "1 leaf".to_owned(),
                many => format!("{} leaves", count(many as u64)),
            },
        );
        if !found.functions.is_empty() {
            let named = found.functions.iter().take(NAMED);
            let named: Vec<String> = named
                .map(|(name, line)| format!("{} ({line})", escape::name(name)))
                .collect();
            let more = found.functions.len().saturating_sub(NAMED);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "functions by line, for --function: {}{more}",
                named.join(", ")
            );
        }
        let _ = writeln!(
            text,
            "\nThe model reads\n  {}\n",
            escape::name(snippet.model_text())
        );
        self.tree(&mut text);
        match &self.distances {
            Ok(distances) => self.matrix(&mut text, distances),
            Err(error) => {
                let _ = writeln!(text, "\nDistances: {error}");
            }
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn tree(&self, text: &mut String) {
        let (snippet, syntax) = (&self.snippet, self.snippet.syntax());
        let mut leaves = snippet.leaves().iter().enumerate().peekable();
        let mut before = vec![None; snippet.leaves().len()];
        for (a, b) in &self.flow {
            before[*b as usize] = Some(*a);
        }
        let mut hidden = 0;
        for (number, node) in syntax.nodes().iter().enumerate() {
            if number < hidden {
                continue;
            }
            let indent = "  ".repeat(node.depth.min(INDENTED) as usize);
            let level = match node.depth > INDENTED {
                true => format!("({}) ", node.depth),
                false => String::new(),
            };
            let _ = write!(text, "{indent}{level}{}", escape::name(syntax.kind(node)));
            if let Some((leaf, of)) = leaves.next_if(|(_, leaf)| leaf.node as usize == number) {
                // What is in a literal that is one leaf.
                hidden = node.last as usize;
                let said = snippet.leaf_text(leaf);
                if said != of.kind {
                    let _ = write!(text, " {}", escape::name(&shortened(said)));
                }
                let _ = write!(text, "  [{leaf}]");
                if let Some(Some(earlier)) = before.get(leaf) {
                    let _ = write!(text, " = [{earlier}]");
                }
                if snippet.spans().get(leaf).is_some_and(Option::is_none) {
                    text.push_str(" not read");
                }
            } else if node.is_missing() {
                text.push_str("  missing");
            } else if node.last as usize == number + 1 || syntax.is_comment(node) {
                hidden = node.last as usize;
                text.push_str("  no leaf");
            }
            text.push('\n');
        }
    }

    fn matrix(&self, text: &mut String, distances: &Distances) {
        let size = distances.size();
        let cells = (size * size - size).max(1) as f64;
        let mean = distances.sum() as f64 / cells;
        let _ = writeln!(
            text,
            "\nDistances in edges: at most {}, {mean:.2} on average between two leaves",
            distances.most()
        );
        if size > ROWS {
            let _ = writeln!(
                text,
                "The matrix of {size} leaves is too wide for a terminal: --svg FILE draws it, --json prints it."
            );
            return;
        }
        let wide = distances.most().max(size as u16).to_string().len() + 1;
        let words: Vec<String> = (0..size)
            .map(|leaf| shortened(&escape::name(self.snippet.leaf_text(leaf))))
            .collect();
        let longest = words
            .iter()
            .map(|word| word.chars().count())
            .max()
            .unwrap_or(0);
        let _ = write!(text, "{:longest$}    ", "");
        for column in 0..size {
            let _ = write!(text, "{column:wide$}");
        }
        text.push('\n');
        for (row, word) in words.iter().enumerate() {
            let _ = write!(text, "{word:longest$} {row:3}");
            for value in distances.row(row) {
                let _ = write!(text, "{value:wide$}");
            }
            text.push('\n');
        }
    }

    pub(super) fn figure(&self) -> Result<Figure, Failure> {
        let (snippet, syntax) = (&self.snippet, self.snippet.syntax());
        let leaves = snippet.leaves();
        let too_large = |what: String, most: usize| {
            Failure::input(format!(
                "--svg draws up to {most} {what}; --function NAME takes a part of the file"
            ))
        };
        if leaves.len() > MOST_LEAVES {
            let what = format!("leaves, and there are {}", leaves.len());
            return Err(too_large(what, MOST_LEAVES));
        }
        let distances = self.distances.as_ref().map_err(|error: &CodeError| {
            Failure::found(
                error.kind(),
                error,
                Some("--function NAME takes a part of the file"),
            )
        })?;
        // Only what is above a leaf is drawn.
        let mut spans: Vec<Option<(usize, usize)>> = vec![None; syntax.nodes().len()];
        for (number, leaf) in leaves.iter().enumerate() {
            let mut at = leaf.node;
            while let Some(node) = syntax.nodes().get(at as usize)
                && node.parent != at
            {
                at = node.parent;
                let span = &mut spans[at as usize];
                span.get_or_insert((number, number)).1 = number;
            }
        }
        let mut places = vec![0; syntax.nodes().len()];
        let mut nodes = Vec::new();
        for (number, node) in syntax.nodes().iter().enumerate() {
            let Some((first, last)) = spans[number] else {
                continue;
            };
            places[number] = nodes.len();
            nodes.push(CodeNode {
                kind: syntax.kind(node).to_owned(),
                parent: (number > 0).then(|| places[node.parent as usize]),
                depth: node.depth as usize,
                first,
                last,
            });
        }
        let levels = nodes.iter().map(|node| node.depth + 1).max().unwrap_or(0);
        if levels > MOST_LEVELS {
            return Err(too_large(
                format!("levels, and there are {levels}"),
                MOST_LEVELS,
            ));
        }
        let drawn = leaves.iter().enumerate().map(|(number, leaf)| {
            let node = syntax.nodes().get(leaf.node as usize);
            CodeLeaf {
                text: escape::name(snippet.leaf_text(number)).into_owned(),
                kind: leaf.kind.to_owned(),
                parent: node.map_or(0, |node| places[node.parent as usize]),
            }
        });
        let tree = CodeTree {
            title: self.title(),
            nodes,
            leaves: drawn.collect(),
            chain: self.args.reading.graph() != bertology_code::GraphKind::Ast,
            flow: self
                .flow
                .iter()
                .map(|(a, b)| (*a as usize, *b as usize))
                .collect(),
            distances: distances.values().to_vec(),
        };
        Ok(tree.draw())
    }
}

/// The beginning of a text that is long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SAID) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
