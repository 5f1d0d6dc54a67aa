//! A text as a tree: every node of the parser, in one array.
//!
//! tree-sitter's own nodes are handles into memory of C with a lifetime. Copied once, parents first, they are a plain
//! array that can be cut, sent and walked without recursion however deep a program is nested.

use std::ops::{ControlFlow, Range};

use tree_sitter::{ParseOptions, Parser, Point};

use crate::error::Refusal;
use crate::language::{COMMENT, DROPPED, FLOW, FUNCTION, Language, NAMED, SCOPE};

/// The longest text that is parsed unless a [`Reading`](crate::Reading) says otherwise: 1 MiB.
pub const DEFAULT_MAX_BYTES: usize = 1 << 20;

/// No text is longer, whatever is asked: the parser's own stack grows with it.
const MOST_BYTES: usize = 1 << 24;

/// Room on the stack for each byte of the text. The parser lets go of what it gave up by calling itself, once for each
/// token that was open (112 bytes each): text that is no program could end the whole process.
const STACK_PER_BYTE: usize = 256;

/// Texts up to here are parsed where they are, which wants a megabyte of the stack; longer ones on one of their own, of
/// which only what is used takes memory.
const SHORT: usize = 1 << 12;

/// Bytes given to the parser at once. It asks again for what it reads again, so that what it asks for is a measure of
/// its work.
const CHUNK: usize = 1 << 12;

/// Chunks that the parser may ask for besides 64 times the text. A text without faults asks for each once or twice; one
/// whose quotation marks never close may be read from each of them to its end.
const SPARE_CHUNKS: u64 = 1 << 12;

/// Operations that the parser may take for each byte. Programs take up to three.
const OPERATIONS: u64 = 32;

/// So many it takes between two questions whether it is to go on.
const OPERATIONS_PER_QUESTION: u64 = 100;

/// A node. Its number is its place in the array: parents come before children, and a subtree is a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The number of its kind in the grammar.
    pub kind: u16,
    /// The field of its parent that it is, 0 for none.
    pub(crate) field: u16,
    /// Its parent's number; the root is its own.
    pub parent: u32,
    /// Edges to the root.
    pub depth: u32,
    /// First byte of its text.
    pub start: u32,
    /// The byte behind its text.
    pub end: u32,
    /// The number behind that of its last descendant.
    pub last: u32,
    pub(crate) flags: u8,
}

const MISSING: u8 = 1;
const ERROR: u8 = 1 << 1;

impl Node {
    /// Its place in the text, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether the parser put it where the text has nothing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.flags & MISSING != 0
    }

    /// Whether the parser could make nothing of what is in it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.flags & ERROR != 0
    }
}

/// Whether a text is put into its language's [`Wrapper`](crate::Wrapper).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wrapping {
    /// Where the text alone is no program.
    #[default]
    AsNeeded,
    /// Never.
    Never,
}

/// The tree of a text.
#[derive(Debug, Clone)]
pub struct Syntax {
    language: &'static Language,
    nodes: Vec<Node>,
}

impl Syntax {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`], and [`Refusal::NotParsed`] for a text in which the parser loses itself.
    pub fn parse(
        language: &'static Language,
        text: &str,
        wrapping: Wrapping,
        max_bytes: usize,
    ) -> Result<Self, Refusal> {
        let limit = max_bytes.min(MOST_BYTES);
        if text.len() > limit {
            let bytes = text.len();
            return Err(Refusal::TooLarge { bytes, limit });
        }
        let wrapper = language.wrapper.filter(|wrapper| {
            wrapping == Wrapping::AsNeeded
                && !text.contains(wrapper.unless)
                && !text.trim().is_empty()
        });
        let around = wrapper.map_or(&[("", "")][..], |wrapper| wrapper.around);
        let mut first = None;
        for (before, behind) in around {
            let parsed = Self::parse_between(language, before, text, behind)?;
            if !parsed.has_errors() {
                return Ok(parsed);
            }
            first.get_or_insert(parsed);
        }
        first.ok_or(Refusal::NotParsed { bytes: text.len() })
    }

    fn parse_between(
        language: &'static Language,
        before: &str,
        text: &str,
        behind: &str,
    ) -> Result<Self, Refusal> {
        let given_up = Refusal::NotParsed { bytes: text.len() };
        let whole;
        let all = match (before, behind) {
            ("", "") => text,
            _ => {
                whole = [before, text, behind].concat();
                &whole
            }
        };
        let tree = parse_with_room(language, all).ok_or(given_up)?;
        Ok(Self::of_tree(
            language,
            &tree,
            before.len()..before.len() + text.len(),
        ))
    }

    /// Copies the nodes that are within a range or hold some of it.
    fn of_tree(
        language: &'static Language,
        tree: &tree_sitter::Tree,
        within: Range<usize>,
    ) -> Self {
        let mut nodes: Vec<Node> = Vec::with_capacity(within.len() / 2);
        let mut open: Vec<u32> = Vec::new();
        let mut cursor = tree.walk();
        'tree: loop {
            let node = cursor.node();
            let (start, end) = (node.start_byte(), node.end_byte());
            let inside = open.is_empty()
                || (start >= within.start && end <= within.end)
                || (start < within.end && end > within.start);
            if inside {
                let place =
                    |byte: usize| (byte.clamp(within.start, within.end) - within.start) as u32;
                let number = nodes.len() as u32;
                nodes.push(Node {
                    kind: node.kind_id(),
                    field: cursor.field_id().map_or(0, u16::from),
                    parent: open.last().copied().unwrap_or(number),
                    depth: open.len() as u32,
                    start: place(start),
                    end: place(end),
                    last: number + 1,
                    flags: if node.is_missing() { MISSING } else { 0 }
                        | if node.is_error() { ERROR } else { 0 },
                });
                if cursor.goto_first_child() {
                    open.push(number);
                    continue;
                }
            }
            while !cursor.goto_next_sibling() {
                let count = nodes.len() as u32;
                if let Some(closed) = open.pop()
                    && let Some(node) = nodes.get_mut(closed as usize)
                {
                    node.last = count;
                }
                if !cursor.goto_parent() {
                    break 'tree;
                }
            }
        }
        Self { language, nodes }
    }

    /// The language.
    #[must_use]
    pub fn language(&self) -> &'static Language {
        self.language
    }

    /// All nodes, parents first, in the order of the text.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of a node's kind. That of a token without one is its text.
    #[must_use]
    pub fn kind(&self, node: &Node) -> &'static str {
        self.language.kind_name(node.kind)
    }

    pub(crate) fn class(&self, node: &Node) -> u8 {
        self.language.class(node.kind)
    }

    /// Whether it has a name of its own and is not named by its text.
    #[must_use]
    pub fn is_named(&self, node: &Node) -> bool {
        self.class(node) & NAMED != 0
    }

    /// Whether it is a comment.
    #[must_use]
    pub fn is_comment(&self, node: &Node) -> bool {
        self.class(node) & COMMENT != 0
    }

    pub(crate) fn is_dropped(&self, node: &Node) -> bool {
        self.class(node) & (COMMENT | DROPPED) != 0
    }

    pub(crate) fn is_flow(&self, node: &Node) -> bool {
        self.class(node) & FLOW != 0
    }

    /// The children of a node, by number.
    pub fn children(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let last = self.nodes.get(node as usize).map_or(0, |node| node.last);
        let mut next = node.saturating_add(1);
        std::iter::from_fn(move || {
            let child = next;
            if child >= last {
                return None;
            }
            next = self.nodes.get(child as usize)?.last;
            Some(child)
        })
    }

    /// The first node that the parser could make nothing of, or that it had to add.
    #[must_use]
    pub fn first_error(&self) -> Option<&Node> {
        self.nodes
            .iter()
            .find(|node| node.is_error() || node.is_missing())
    }

    /// Whether the text is none of the language.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.first_error().is_some()
    }

    /// The tree below a node, of that part of the text.
    #[must_use]
    pub fn below(&self, node: u32) -> Self {
        let Some(top) = self.nodes.get(node as usize) else {
            return self.clone();
        };
        let part = self.nodes.get(node as usize..top.last as usize);
        let nodes = part.unwrap_or_default().iter().map(|inside| Node {
            parent: inside.parent.saturating_sub(node),
            depth: inside.depth - top.depth,
            start: inside.start - top.start,
            end: inside.end - top.start,
            last: inside.last - node,
            ..*inside
        });
        Self {
            language: self.language,
            nodes: nodes.collect(),
        }
    }

    /// All functions, those inside of others included, in the order of the text.
    #[must_use]
    pub fn functions(&self, text: &str) -> Vec<Function> {
        let mut found: Vec<Function> = Vec::new();
        // Names of what is open, with the number behind its last node.
        let mut scopes: Vec<(u32, String)> = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let class = self.class(node);
            if class & (FUNCTION | SCOPE) == 0 || node.range().is_empty() {
                continue;
            }
            let number = number as u32;
            while scopes.last().is_some_and(|(last, _)| *last <= number) {
                scopes.pop();
            }
            let name = self.name(number, text);
            if class & FUNCTION != 0 {
                let before = scopes.iter().map(|(_, name)| name.as_str());
                let path: Vec<&str> = before.chain(name.as_deref()).collect();
                let behind = found.iter().rev().find(|function| function.outermost);
                let outermost = behind.is_none_or(|function| function.last <= number);
                found.push(Function {
                    node: number,
                    last: node.last,
                    range: node.range(),
                    path: name.is_some().then(|| path.join(".")),
                    outermost,
                });
            }
            if let Some(name) = name {
                scopes.push((node.last, name));
            }
        }
        found
    }

    /// The name of a function or of what holds functions: its own, or that of the variable or key it is given to.
    fn name(&self, node: u32, text: &str) -> Option<String> {
        let field = |name| self.language.field(name);
        let (name, declarator) = (field("name"), field("declarator"));
        let said = |at: u32| {
            let node = self.nodes.get(at as usize)?;
            let said = text.get(node.range())?;
            // One line: a name is shown and typed.
            (!said.trim().is_empty() && !said.contains('\n')).then(|| said.to_owned())
        };
        let of_field = |of: u32, wanted: u16| {
            let is_it = |child: &u32| {
                wanted != 0
                    && self
                        .nodes
                        .get(*child as usize)
                        .is_some_and(|child| child.field == wanted)
            };
            self.children(of).find(is_it)
        };
        // In C a name is what all declarators are about.
        let mut inner = node;
        while let Some(next) = of_field(inner, declarator) {
            inner = next;
        }
        if inner != node {
            return said(inner);
        }
        if let Some(found) = of_field(node, name).or_else(|| of_field(node, field("type"))) {
            return said(found);
        }
        let parent = self.nodes.get(node as usize)?.parent;
        let own = self.nodes.get(node as usize)?.field;
        if parent == node || own == 0 || (own != field("value") && own != field("right")) {
            return None;
        }
        let given = [name, field("key"), field("left"), field("property")];
        given
            .into_iter()
            .find_map(|wanted| of_field(parent, wanted))
            .and_then(said)
    }
}

/// A function of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its node.
    pub node: u32,
    last: u32,
    /// Its bytes.
    pub range: Range<usize>,
    /// Its name behind those of the classes and functions around it, with dots between; none has `(a) => a`.
    pub path: Option<String>,
    /// Whether it is in no other function.
    pub outermost: bool,
}

fn parse_with_room(language: &'static Language, text: &str) -> Option<tree_sitter::Tree> {
    if text.len() <= SHORT {
        return parse(language, text);
    }
    let room = (1 << 20) + STACK_PER_BYTE * text.len();
    std::thread::scope(|scope| {
        let large = std::thread::Builder::new().stack_size(room);
        let parser = large.spawn_scoped(scope, || parse(language, text));
        parser.ok()?.join().ok()?
    })
}

fn parse(language: &'static Language, text: &str) -> Option<tree_sitter::Tree> {
    let mut parser = Parser::new();
    parser.set_language(&language.parser).ok()?;
    let bytes = text.as_bytes();
    let chunks = std::cell::Cell::new(0_u64);
    let mut read = |from: usize, _: Point| {
        chunks.set(chunks.get() + 1);
        let until = from.saturating_add(CHUNK).min(bytes.len());
        bytes.get(from..until).unwrap_or_default()
    };
    let most_chunks = SPARE_CHUNKS + 64 * (bytes.len() / CHUNK) as u64;
    let most_questions = 64 + OPERATIONS * bytes.len() as u64 / OPERATIONS_PER_QUESTION;
    let mut questions = 0_u64;
    let mut go_on = |_: &tree_sitter::ParseState| {
        questions += 1;
        match questions > most_questions || chunks.get() > most_chunks {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let options = ParseOptions::new().progress_callback(&mut go_on);
    parser.parse_with_options(&mut read, None, Some(options))
}
