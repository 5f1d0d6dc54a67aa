//! The text that a model reads, and where the leaves are in it.

use std::ops::Range;

use crate::docstring;
use crate::language::STRING_PART;
use crate::leaves::{Docstrings, Leaf};
use crate::syntax::Syntax;

/// A text with a place for each leaf that is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelText {
    pub(crate) text: String,
    pub(crate) spans: Vec<Option<Range<usize>>>,
    /// Tokens that are not in the code.
    pub(crate) strange: usize,
}

/// Space, tab, LF, VT, FF, CR. Other white space is text: a parser and a tokenizer may not agree on it.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The code as it is. A leaf of blanks only has no place, here and in all others: no piece ever belongs to it.
pub(crate) fn raw(text: &str, leaves: &[Leaf]) -> ModelText {
    let spans = leaves.iter().map(|leaf| {
        let said = text.get(leaf.range())?;
        (!said.bytes().all(is_blank)).then(|| leaf.range())
    });
    ModelText {
        text: text.to_owned(),
        spans: spans.collect(),
        strange: 0,
    }
}

/// The leaves with one space between them.
pub(crate) fn joined(text: &str, leaves: &[Leaf]) -> ModelText {
    let mut all = ModelText::default();
    for leaf in leaves {
        let said = text.get(leaf.range()).unwrap_or_default();
        if said.bytes().all(is_blank) {
            all.spans.push(None);
            continue;
        }
        if !all.text.is_empty() {
            all.text.push(' ');
        }
        let start = all.text.len();
        all.text.push_str(said);
        all.spans.push(Some(start..all.text.len()));
    }
    all
}

/// The code without comments, each run of blanks outside of leaves and of the text of strings as one space.
pub(crate) fn normalised(
    syntax: &Syntax,
    text: &str,
    leaves: &[Leaf],
    docstrings: Docstrings,
) -> ModelText {
    let mut writer = Writer {
        out: String::with_capacity(text.len()),
        blank: false,
    };
    let mut spans = vec![None; leaves.len()];
    let mut leaf = 0;
    let mut done = 0;
    for (range, keeps) in regions(syntax, text, leaves, docstrings) {
        writer.loose(text.get(done..range.start).unwrap_or_default());
        done = range.end;
        if !keeps {
            writer.blank = true;
            continue;
        }
        let start = writer.exact(text.get(range.clone()).unwrap_or_default());
        while let Some(inside) = leaves.get(leaf).map(Leaf::range)
            && inside.start < range.end
        {
            let is_inside = inside.start >= range.start;
            let said = text.get(inside.clone()).unwrap_or_default();
            if is_inside && !said.bytes().all(is_blank) {
                let from = start + inside.start - range.start;
                spans[leaf] = Some(from..from + inside.len());
            }
            leaf += 1;
        }
    }
    writer.loose(text.get(done..).unwrap_or_default());
    ModelText {
        text: writer.out,
        spans,
        strange: 0,
    }
}

struct Writer {
    out: String,
    /// Blanks were passed since the last byte.
    blank: bool,
}

impl Writer {
    fn exact(&mut self, said: &str) -> usize {
        if std::mem::take(&mut self.blank) && !self.out.is_empty() {
            self.out.push(' ');
        }
        let start = self.out.len();
        self.out.push_str(said);
        start
    }

    fn loose(&mut self, said: &str) {
        for (at, run) in said
            .split(|c: char| u8::try_from(c).is_ok_and(is_blank))
            .enumerate()
        {
            self.blank |= at > 0;
            if !run.is_empty() {
                self.exact(run);
            }
        }
    }
}

/// What is written as it is, and what is left out, in order; neither is within the other.
fn regions(
    syntax: &Syntax,
    text: &str,
    leaves: &[Leaf],
    docstrings: Docstrings,
) -> Vec<(Range<usize>, bool)> {
    let hidden = match docstrings {
        Docstrings::Keep => Vec::new(),
        Docstrings::Drop => docstring::find(syntax, text),
    };
    let mut hidden = hidden.into_iter().peekable();
    let mut leaves = leaves.iter().peekable();
    let mut found = Vec::new();
    let mut number: u32 = 0;
    while let Some(node) = syntax.nodes().get(number as usize) {
        while hidden.next_if(|at| *at < number).is_some() {}
        while leaves.next_if(|leaf| leaf.node < number).is_some() {}
        let is_left_out = hidden.next_if(|at| *at == number).is_some() || syntax.is_comment(node);
        let is_leaf = leaves.next_if(|leaf| leaf.node == number).is_some();
        let is_part = syntax.class(node) & STRING_PART != 0;
        let said = text.get(node.range()).unwrap_or_default();
        let is_blank_leaf = is_leaf && said.bytes().all(is_blank);
        if is_left_out || (is_leaf && !is_blank_leaf) || is_part {
            if node.start < node.end {
                found.push((node.range(), !is_left_out));
            }
            number = node.last;
        } else {
            number += 1;
        }
    }
    found
}

/// The tokens with one space between them, and where in them the leaves are.
///
/// Tokens and code are walked side by side. Where they disagree, the code is ahead by what is no leaf (comments,
/// docstrings) or by a few tokens, or the token is not in the code at all.
pub(crate) fn tokens(syntax: &Syntax, text: &str, leaves: &[Leaf], tokens: &[String]) -> ModelText {
    /// Leaves that may be passed over in search of a token.
    const AHEAD: usize = 64;
    let mut all = ModelText {
        spans: vec![None; leaves.len()],
        ..ModelText::default()
    };
    let left_out = left_out(syntax, text);
    let mut comments = left_out.iter().peekable();
    let (mut at, mut leaf) = (0, 0);
    for token in tokens {
        let words: Vec<&str> = token
            .split(|c: char| u8::try_from(c).is_ok_and(is_blank))
            .filter(|word| !word.is_empty())
            .collect();
        if words.is_empty() {
            continue;
        }
        let token = words.join(" ");
        if !all.text.is_empty() {
            all.text.push(' ');
        }
        let written = all.text.len();
        all.text.push_str(&token);
        // Here, or behind what the list may leave out, or at one of the next leaves.
        let mut found = matched(text, at, &token);
        while found.is_none() {
            let next = skip_blanks(text, at);
            while comments.next_if(|range| range.end <= next).is_some() {}
            let Some(range) = comments.next_if(|range| range.start <= next) else {
                break;
            };
            at = range.end;
            found = matched(text, at, &token);
        }
        while leaves.get(leaf).is_some_and(|leaf| leaf.end as usize <= at) {
            leaf += 1;
        }
        if found.is_none() {
            let next = leaves.get(leaf..).unwrap_or_default().iter();
            let mut begins = next
                .map(|leaf| leaf.start as usize)
                .filter(|start| *start >= at);
            found = begins
                .by_ref()
                .take(AHEAD)
                .find_map(|start| matched(text, start, &token));
        }
        let Some(pairs) = found else {
            all.strange += 1;
            continue;
        };
        for (code, offset) in pairs {
            while leaves
                .get(leaf)
                .is_some_and(|leaf| leaf.end as usize <= code)
            {
                leaf += 1;
            }
            at = code + 1;
            let Some(range) = leaves.get(leaf).map(Leaf::range) else {
                continue;
            };
            if range.contains(&code) {
                let place = written + offset;
                let span = all.spans[leaf].get_or_insert(place..place);
                span.end = place + 1;
            }
        }
    }
    all
}

/// Bytes of a token that are the code's from a place on, blanks of both aside: pairs of places in the code and in the
/// token.
fn matched(text: &str, from: usize, token: &str) -> Option<Vec<(usize, usize)>> {
    let mut code = text
        .bytes()
        .enumerate()
        .skip(from)
        .filter(|(_, byte)| !is_blank(*byte));
    let mut pairs = Vec::with_capacity(token.len());
    for (offset, byte) in token
        .bytes()
        .enumerate()
        .filter(|(_, byte)| !is_blank(*byte))
    {
        let (place, _) = code.next().filter(|(_, found)| *found == byte)?;
        pairs.push((place, offset));
    }
    Some(pairs)
}

fn skip_blanks(text: &str, from: usize) -> usize {
    let rest = text.bytes().enumerate().skip(from);
    let mut seen = rest.skip_while(|(_, byte)| is_blank(*byte));
    seen.next().map_or(text.len(), |(at, _)| at)
}

/// Comments and docstrings, in order.
fn left_out(syntax: &Syntax, text: &str) -> Vec<Range<usize>> {
    let hidden = docstring::find(syntax, text);
    let nodes = syntax.nodes().iter().enumerate();
    let mut found: Vec<Range<usize>> = nodes
        .filter(|(number, node)| {
            syntax.is_comment(node) || hidden.binary_search(&(*number as u32)).is_ok()
        })
        .map(|(_, node)| node.range())
        .collect();
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    found
}
