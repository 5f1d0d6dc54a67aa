//! Which nodes are the tokens of a program.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::docstring;
use crate::language::{LegacyStrings, STRING, STRING_PART};
use crate::syntax::Syntax;

/// How string literals become leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strings {
    /// A literal without interpolation is one leaf of its own kind. A row of literals (`"a" "b"`) is not one, since
    /// comments and ends of lines may stand in it.
    #[default]
    Collapse,
    /// Quotation marks, text and escapes are leaves of their own, as the grammar has them. Where a literal of Python
    /// has escapes, the text between them lies in no leaf.
    Expand,
    /// What the grammars of 2022 gave, for lists of kinds that were published then
    /// ([`LegacyStrings`](crate::LegacyStrings)).
    Legacy,
}

/// Whether docstrings are tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Docstrings {
    /// They are.
    Keep,
    /// They are dropped, as comments are.
    Drop,
}

/// A token of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Its node.
    pub node: u32,
    /// Its kind; that of a keyword or a sign is its text.
    pub kind: &'static str,
    /// First byte in the text of the tree.
    pub start: u32,
    /// The byte behind it.
    pub end: u32,
}

impl Leaf {
    /// Its place in the text of the tree, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The leaves of a tree, in the order of the text. They do not overlap, and none is empty.
///
/// A leaf is a node without children. Left out are those of no width (among them all that the parser found missing),
/// comments and everything in them, and what the language's row says ([`Language::dropped`](crate::Language::dropped)).
///
/// # Source
///
/// Chen et al. 2022; DIFFERENCE: their code drops only leaves whose own kind is `comment`, keeps empty ones, and has
/// the strings of the grammars of that time.
#[must_use]
pub fn leaves(syntax: &Syntax, text: &str, strings: Strings, docstrings: Docstrings) -> Vec<Leaf> {
    let hidden = match docstrings {
        Docstrings::Keep => Vec::new(),
        Docstrings::Drop => docstring::find(syntax, text),
    };
    let mut hidden = hidden.into_iter().peekable();
    let legacy = (strings == Strings::Legacy).then(|| syntax.language().legacy_strings);
    let collapse = strings == Strings::Collapse || legacy == Some(LegacyStrings::Collapsed);
    let quotes = legacy == Some(LegacyStrings::Quotes);
    let mut found = Vec::new();
    let mut number: u32 = 0;
    while let Some(node) = syntax.nodes().get(number as usize) {
        let (class, behind) = (syntax.class(node), node.last);
        while hidden.next_if(|at| *at < number).is_some() {}
        let is_hidden = hidden.next_if(|at| *at == number).is_some();
        if is_hidden || node.start == node.end || syntax.is_dropped(node) {
            number = behind;
            continue;
        }
        let part = quotes && class & STRING_PART != 0;
        let whole = collapse && class & STRING != 0 && is_plain(syntax, number);
        if !part && !whole && (behind > number + 1 || number == 0) {
            number += 1;
            continue;
        }
        let kind = syntax.kind(node);
        let kind = match (part, kind) {
            (true, "string_start" | "string_end") => Some("\""),
            (true, _) => None,
            _ => Some(kind),
        };
        found.extend(kind.map(|kind| Leaf {
            node: number,
            kind,
            start: node.start,
            end: node.end,
        }));
        number = behind;
    }
    found
}

/// Whether a literal has nothing in it but text.
pub(crate) fn is_plain(syntax: &Syntax, string: u32) -> bool {
    let last = syntax
        .nodes()
        .get(string as usize)
        .map_or(0, |node| node.last);
    let inside = syntax
        .nodes()
        .get(string as usize + 1..last as usize)
        .unwrap_or_default();
    inside
        .iter()
        .all(|node| !syntax.is_named(node) || syntax.class(node) & STRING_PART != 0)
}
