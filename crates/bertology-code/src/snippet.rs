//! A piece of code: its tree, its leaves, the text that a model reads of it, and where each leaf is there.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::error::Refusal;
use crate::graph::{Graph, GraphKind};
use crate::leaves::{Docstrings, Leaf, Strings, leaves};
use crate::model_text::{self, ModelText};
use crate::syntax::{DEFAULT_MAX_BYTES, Syntax, Wrapping};

/// Which text a model reads of a piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputMode {
    /// The leaves with one space between them: no piece of a tokenizer belongs to two.
    #[default]
    Joined,
    /// The code with each run of blanks outside of leaves as one space, and without comments.
    Normalised,
    /// The code as it is.
    Raw,
    /// The code's own list of tokens with one space between them, as the published script reads it.
    Tokens,
}

impl InputMode {
    /// Whether docstrings are tokens unless somebody says otherwise: where the model reads them.
    #[must_use]
    pub fn docstrings(self) -> Docstrings {
        match self {
            Self::Raw => Docstrings::Keep,
            Self::Joined | Self::Normalised | Self::Tokens => Docstrings::Drop,
        }
    }
}

/// What is done with code that has faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Faulty {
    /// It is refused, with the place of the first fault.
    #[default]
    Refuse,
    /// It is read; what the parser could not make out is an inner node like others.
    Keep,
}

/// How code becomes leaves and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which text the model reads.
    pub input: InputMode,
    /// How string literals become leaves.
    pub strings: Strings,
    /// Whether docstrings are leaves. Those that the model does not see have no span.
    pub docstrings: Docstrings,
    /// What is done with code that has faults.
    pub faulty: Faulty,
    /// Whether code is wrapped where it is no program alone.
    pub wrapping: Wrapping,
    /// The longest code that is parsed, in bytes.
    pub max_bytes: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self::of(InputMode::default())
    }
}

impl Reading {
    /// An input with all else as usual for it.
    #[must_use]
    pub fn of(input: InputMode) -> Self {
        Self {
            input,
            strings: Strings::default(),
            docstrings: input.docstrings(),
            faulty: Faulty::default(),
            wrapping: Wrapping::default(),
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }

    /// With other leaves for string literals.
    #[must_use]
    pub fn with_strings(self, strings: Strings) -> Self {
        Self { strings, ..self }
    }

    /// With or without docstrings among the leaves.
    #[must_use]
    pub fn with_docstrings(self, docstrings: Docstrings) -> Self {
        Self { docstrings, ..self }
    }

    /// With code that has faults, or without.
    #[must_use]
    pub fn with_faulty(self, faulty: Faulty) -> Self {
        Self { faulty, ..self }
    }

    /// With code put into a wrapper, or never.
    #[must_use]
    pub fn with_wrapping(self, wrapping: Wrapping) -> Self {
        Self { wrapping, ..self }
    }
}

/// What is done with the leaves behind the last one that the model saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tail {
    /// They stay in chain and flow, as in the published code.
    #[default]
    Keep,
    /// They leave both, which changes distances.
    Drop,
}

/// A piece of code as one [`Reading`] sees it.
#[derive(Debug, Clone)]
pub struct Snippet {
    text: String,
    syntax: Syntax,
    leaves: Vec<Leaf>,
    model: ModelText,
}

impl Snippet {
    /// Reads a piece of code.
    ///
    /// # Errors
    ///
    /// Every [`Refusal`].
    pub fn new(code: Code, reading: &Reading) -> Result<Self, Refusal> {
        let Code {
            text,
            tokens,
            syntax,
            language,
            ..
        } = code;
        let syntax = match syntax {
            Some(syntax) if text.len() <= reading.max_bytes => syntax,
            _ => Syntax::parse(language, &text, reading.wrapping, reading.max_bytes)?,
        };
        if reading.faulty == Faulty::Refuse {
            refuse_faults(&syntax, &text)?;
        }
        let leaves = leaves(&syntax, &text, reading.strings, reading.docstrings);
        let model = match reading.input {
            InputMode::Joined => model_text::joined(&text, &leaves),
            InputMode::Normalised => {
                model_text::normalised(&syntax, &text, &leaves, reading.docstrings)
            }
            InputMode::Raw => model_text::raw(&text, &leaves),
            InputMode::Tokens => {
                let tokens = tokens.ok_or(Refusal::NoTokens)?;
                model_text::tokens(&syntax, &text, &leaves, &tokens)
            }
        };
        if model.spans.iter().all(Option::is_none) {
            return Err(Refusal::Empty);
        }
        Ok(Self {
            text,
            syntax,
            leaves,
            model,
        })
    }

    /// The code, as the parser read it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The tree.
    #[must_use]
    pub fn syntax(&self) -> &Syntax {
        &self.syntax
    }

    /// The leaves, in the order of the code. Places in them are those of [`Snippet::text`].
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The text of a leaf, as it is in the code; nothing of a leaf that is not there.
    #[must_use]
    pub fn leaf_text(&self, leaf: usize) -> &str {
        let leaf = self.leaves.get(leaf);
        leaf.and_then(|leaf| self.text.get(leaf.range()))
            .unwrap_or_default()
    }

    /// What the model reads.
    #[must_use]
    pub fn model_text(&self) -> &str {
        &self.model.text
    }

    /// Where every leaf is in [`Snippet::model_text`], in bytes; none where the model does not read it, or where it is
    /// blank. Spans are in order and do not overlap.
    #[must_use]
    pub fn spans(&self) -> &[Option<Range<usize>>] {
        &self.model.spans
    }

    /// Tokens of the code's own list that are at no place in the code (with [`InputMode::Tokens`]).
    #[must_use]
    pub fn strange_tokens(&self) -> usize {
        self.model.strange
    }

    /// Whether the parser found nothing but text between programs, as in PHP without a tag.
    #[must_use]
    pub fn is_only_text(&self) -> bool {
        matches!(&self.leaves[..], [only] if only.kind == "text")
    }

    /// The leaves that a model sees which reads the first `end` bytes of [`Snippet::model_text`], by number, ascending:
    /// all that begin before. One that is cut keeps what is left of it.
    #[must_use]
    pub fn visible(&self, end: usize) -> Vec<usize> {
        let spans = self.model.spans.iter().enumerate();
        let begun = spans.filter(|(_, span)| span.as_ref().is_some_and(|span| span.start < end));
        begun.map(|(leaf, _)| leaf).collect()
    }

    /// The graph over all leaves, or without those behind the last of `visible`. The leaves keep their numbers.
    #[must_use]
    pub fn graph(&self, kind: GraphKind, tail: Tail, visible: &[usize]) -> Graph {
        let leaves = match (tail, visible.last()) {
            (Tail::Drop, Some(last)) => self.leaves.get(..=*last),
            (Tail::Drop, None) | (Tail::Keep, _) => None,
        };
        let leaves = leaves.unwrap_or(&self.leaves);
        Graph::new(&self.syntax, &self.text, leaves, kind)
    }
}

fn refuse_faults(syntax: &Syntax, text: &str) -> Result<(), Refusal> {
    let Some(node) = syntax.first_error() else {
        return Ok(());
    };
    let before = text.get(..node.start as usize).unwrap_or(text);
    let what = match node.is_missing() {
        true => format!("a missing `{}`", syntax.kind(node)),
        false => {
            const SHOWN: usize = 24;
            let said = text.get(node.range()).unwrap_or_default();
            let line = said.lines().next().unwrap_or_default();
            match line.char_indices().nth(SHOWN) {
                Some((cut, _)) => format!("`{}…`", &line[..cut]),
                None => format!("`{line}`"),
            }
        }
    };
    Err(Refusal::Faulty {
        language: syntax.language().name,
        what,
        line: before.matches('\n').count() + 1,
        column: before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1,
    })
}
