//! Leaves, texts and the search of the code that was released with the paper, faults included: for figures that were
//! recorded with it, and for nothing else.
//!
//! # Source
//!
//! Chen et al. 2022 and their code (CodeAttention, MIT, `attention.py` and `utils.py`), described and written anew. Its
//! faults are kept on purpose:
//!
//! - Tokens are found in leaves by looking for their text: one that stands in the text of a later leaf is given to it,
//!   and where only some kinds are looked at, to the next leaf of such a kind that happens to hold it.
//! - Columns of the parser are bytes, and are used as those of characters: behind a character of several bytes all texts of
//!   the line are wrong. Lines of one leaf are put together without what ends them.
//! - The kind of the first leaf is listed once a token, so that all kinds behind it are those of their neighbours.
//!
//! DIFFERENCE: the grammars are today's, with the strings that those of 2022 gave ([`Strings::Legacy`](crate::Strings))
//! and with all kinds of comments left out, which then had one name.

use std::collections::{BTreeSet, HashMap};

use crate::code::Code;
use crate::distance::Distances;
use crate::error::{CodeError, Refusal};
use crate::graph::{Graph, GraphKind};
use crate::language::{LegacyStrings, STRING, STRING_PART};
use crate::leaves::is_plain;
use crate::syntax::{Syntax, Wrapping};

/// Letter of byte-level tokenizers for a space, which the search takes out of tokens.
const SPACE: char = 'Ġ';
/// What stands for an end of text written in code.
const UNKNOWN: &str = "<unk>";
const END: &str = "</s>";

/// The leaves of a piece of code as the released code takes them: empty ones, too.
#[derive(Debug, Clone)]
pub struct LegacyLeaves {
    kinds: Vec<&'static str>,
    texts: Vec<String>,
    graph: Graph,
    model_text: String,
}

/// Which leaf every token was given to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacySearch {
    /// By token: the number of a leaf, ascending; nothing where none was found, or for special tokens.
    pub leaves: Vec<Option<usize>>,
    /// The kinds that the released code lists for the leaves that were found, in order. Of these the first leaf's may come
    /// several times, and then the list is longer than there are leaves.
    pub kinds: Vec<&'static str>,
}

impl LegacyLeaves {
    /// Parses a piece of code, with faults or without.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTokens`] of code without its list of tokens, which is what the model reads, and all of the parser.
    pub fn new(code: Code, max_bytes: usize) -> Result<Self, Refusal> {
        let tokens = code.tokens.as_deref().ok_or(Refusal::NoTokens)?;
        let model_text = model_text(tokens);
        let syntax = Syntax::parse(code.language, &code.text, Wrapping::Never, max_bytes)?;
        let (nodes, kinds) = leaves(&syntax);
        let texts = texts(&syntax, &code.text, &nodes);
        let mut flow = Vec::new();
        let mut before: HashMap<&str, u32> = HashMap::new();
        for (leaf, (kind, text)) in kinds.iter().zip(&texts).enumerate() {
            if *kind == "identifier"
                && let Some(earlier) = before.insert(text, leaf as u32)
            {
                flow.push((earlier, leaf as u32));
            }
        }
        let parents = syntax.nodes().iter().map(|node| node.parent).collect();
        Ok(Self {
            graph: Graph::of_parents(parents, nodes, flow, GraphKind::ChainFlow),
            kinds,
            texts,
            model_text,
        })
    }

    /// What the model reads: the list of tokens with single spaces.
    #[must_use]
    pub fn model_text(&self) -> &str {
        &self.model_text
    }

    /// The kind of every leaf.
    #[must_use]
    pub fn kinds(&self) -> &[&'static str] {
        &self.kinds
    }

    /// What the released code takes for the text of every leaf.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Distances between some leaves, ascending, in the tree with chain and flow.
    ///
    /// # Errors
    ///
    /// As [`Graph::distances`].
    pub fn distances(&self, leaves: &[usize]) -> Result<Distances, CodeError> {
        self.graph.distances(leaves)
    }

    /// Looks for every token, special ones as nothing, in the leaves, or in those of some kinds alone.
    #[must_use]
    pub fn search(
        &self,
        tokens: &[Option<&str>],
        kinds: Option<&BTreeSet<String>>,
    ) -> LegacySearch {
        let count = self.texts.len();
        let mut found = LegacySearch::default();
        // Where the search stands, and where it found something last.
        let (mut at, mut last) = (0, 0);
        for token in tokens {
            let Some(token) = token.filter(|_| count > 0) else {
                found.leaves.push(None);
                continue;
            };
            let said = token.replace(SPACE, "");
            if at == count {
                at = last;
            }
            let holds = |leaf: &usize| {
                self.texts[*leaf].contains(&said)
                    && kinds.is_none_or(|kinds| kinds.contains(self.kinds[*leaf]))
            };
            at = (at..count).find(holds).unwrap_or(count);
            if at == count {
                found.leaves.push(None);
                continue;
            }
            if last != at || last == 0 {
                found.kinds.push(self.kinds[at]);
            }
            found.leaves.push(Some(at));
            last = at;
        }
        found
    }
}

/// White space as Python's `str.split` sees it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn model_text(tokens: &[String]) -> String {
    let all = tokens.join(" ");
    let words: Vec<&str> = all
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").replace(END, UNKNOWN)
}

/// Nodes and kinds of all leaves that are no comments.
fn leaves(syntax: &Syntax) -> (Vec<u32>, Vec<&'static str>) {
    let legacy = syntax.language().legacy_strings;
    let (mut nodes, mut kinds) = (Vec::new(), Vec::new());
    let mut number: u32 = 0;
    while let Some(node) = syntax.nodes().get(number as usize) {
        let class = syntax.class(node);
        let part = legacy == LegacyStrings::Quotes && class & STRING_PART != 0;
        let whole = legacy == LegacyStrings::Collapsed && class & STRING != 0;
        let whole = whole && is_plain(syntax, number);
        // The root is no leaf, even alone.
        if number == 0 || (!part && !whole && node.last > number + 1) {
            number += 1;
            continue;
        }
        let kind = match (part, syntax.kind(node)) {
            (true, "string_start" | "string_end") => Some("\""),
            (true, _) => None,
            (false, kind) => Some(kind),
        };
        if let Some(kind) = kind.filter(|_| !syntax.is_comment(node)) {
            nodes.push(number);
            kinds.push(kind);
        }
        number = node.last;
    }
    (nodes, kinds)
}

/// A line, and where its characters begin if any has several bytes.
struct Line<'a> {
    text: &'a str,
    chars: Option<Vec<usize>>,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let starts = || text.char_indices().map(|(at, _)| at).collect();
        Self {
            chars: (!text.is_ascii()).then(starts),
            text,
        }
    }

    /// Characters from one on to before another; both may be behind the end.
    fn slice(&self, from: usize, end: usize) -> &'a str {
        let place = |column: usize| match &self.chars {
            None => column.min(self.text.len()),
            Some(starts) => starts.get(column).copied().unwrap_or(self.text.len()),
        };
        self.text.get(place(from)..place(end)).unwrap_or_default()
    }
}

/// Slices of lines, with columns in bytes taken for columns in characters.
fn texts(syntax: &Syntax, text: &str, leaves: &[u32]) -> Vec<String> {
    let lines: Vec<Line<'_>> = text.split('\n').map(Line::new).collect();
    let mut starts = Vec::with_capacity(lines.len());
    let mut start = 0;
    for line in &lines {
        starts.push(start);
        start += line.text.len() + 1;
    }
    let place = |byte: usize| {
        let line = starts.partition_point(|start| *start <= byte) - 1;
        (line, byte - starts[line])
    };
    let of = |leaf: &u32| {
        let Some(node) = syntax.nodes().get(*leaf as usize) else {
            return String::new();
        };
        let ((first, from), (last, end)) = (place(node.start as usize), place(node.end as usize));
        if first == last {
            return lines[first].slice(from, end).to_owned();
        }
        let between = lines[first + 1..last].iter().map(|line| line.text);
        [lines[first].slice(from, usize::MAX)]
            .into_iter()
            .chain(between)
            .chain([lines[last].slice(0, end)])
            .collect()
    };
    leaves.iter().map(of).collect()
}
