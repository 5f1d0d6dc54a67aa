//! Which arrays a shard has, how large they are, and which tables are made of them.

use std::sync::Arc;

use bertology_store::{ArraySpec, Element, Float};
use serde::{Deserialize, Serialize};

use super::request::{GradientOf, Rows, Slot};
use super::texts::Item;
use super::{ExtractOptions, Format, Pool};

/// How much a shard holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sizes {
    pub(super) examples: u64,
    /// Examples, or their windows.
    pub(super) sequences: u64,
    pub(super) tokens: u64,
    /// Sum of the squared lengths.
    pub(super) pairs: u64,
    pub(super) words: u64,
}

impl Sizes {
    pub(super) fn of(item: &Item) -> Self {
        let tokens = item.sequence.len() as u64;
        Self {
            examples: u64::from(item.window == 0),
            sequences: 1,
            tokens,
            pairs: tokens * tokens,
            words: item.words.len() as u64,
        }
    }

    /// Whether all of it is there.
    pub(super) fn within(self, most: Self) -> bool {
        self.examples <= most.examples
            && self.sequences <= most.sequences
            && self.tokens <= most.tokens
            && self.pairs <= most.pairs
            && self.words <= most.words
    }

    pub(super) fn add(&mut self, other: Self) {
        self.examples += other.examples;
        self.sequences += other.sequences;
        self.tokens += other.tokens;
        self.pairs += other.pairs;
        self.words += other.words;
    }
}

/// A number that a sequence has once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PerSequence {
    Example,
    Line,
    Window,
    Tokens,
    CutTokens,
    /// Tokens that the window before has, too.
    ContextTokens,
    Loss,
    /// Tokens over which the loss is a mean.
    Targets,
}

/// A number that each token, or each word, has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PerToken {
    Example,
    Window,
    /// Place in the sequence.
    Token,
    Id,
    Segment,
    CharStart,
    CharEnd,
    Word,
    Text,
    /// Tokens of the sequence: the length of a row of a map.
    Keys,
}

/// What fills an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    PerSequence(PerSequence),
    /// Where each sequence begins among the rows of these arrays, and the end.
    Offsets(Span),
    PerToken(PerToken),
    PerWord(PerWord),
    /// The values of this slot.
    Values(usize),
}

/// What offsets count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Tokens,
    Pairs,
    Words,
}

/// A number that each word has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PerWord {
    Example,
    Window,
    Number,
    Text,
    CharStart,
    CharEnd,
    Tokens,
}

/// One array of every shard.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) content: Content,
    /// Numbers a row; nothing for one number a row without an axis of its own.
    pub(super) width: Option<u64>,
}

/// The arrays of every shard.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) arrays: Vec<Array>,
    pub(super) slots: Arc<[Slot]>,
    pub(super) pooled: bool,
    float: Float,
}

impl Layout {
    pub(super) fn new(
        slots: Vec<Slot>,
        options: &ExtractOptions,
        objective: Option<GradientOf>,
    ) -> Self {
        let ExtractOptions {
            format,
            float,
            pool,
            ..
        } = *options;
        let pooled = pool != Pool::None;
        let maps = slots.iter().any(|slot| slot.rows == Rows::Pair);
        let mut layout = Self {
            arrays: Vec::new(),
            slots: slots.into(),
            pooled,
            float,
        };
        layout.sequences(objective);
        if format == Format::Parquet {
            layout.token(PerToken::Example, "token.example", Element::I64);
            layout.token(PerToken::Window, "token.window", Element::I32);
            layout.token(PerToken::Token, "token.token", Element::I32);
            if maps {
                layout.token(PerToken::Keys, "token.keys", Element::I32);
            }
        } else {
            layout.offsets(Span::Tokens, "offsets");
            if maps {
                layout.offsets(Span::Pairs, "attention_offsets");
            }
            if pooled {
                layout.offsets(Span::Words, "word_offsets");
            }
        }
        for (content, name) in [
            (PerToken::Id, "input_ids"),
            (PerToken::Segment, "token_type_ids"),
            (PerToken::CharStart, "char_start"),
            (PerToken::CharEnd, "char_end"),
            (PerToken::Word, "word_ids"),
            (PerToken::Text, "sequence_ids"),
        ] {
            layout.token(content, name, Element::I32);
        }
        if pooled {
            layout.words(format);
        }
        for (at, slot) in layout.slots.clone().iter().enumerate() {
            layout.arrays.push(Array {
                name: slot.name(),
                element: Element::Float(float),
                content: Content::Values(at),
                width: (slot.rows != Rows::Pair).then_some(slot.width as u64),
            });
        }
        layout
    }

    fn push(&mut self, content: Content, name: &str, element: Element) {
        self.arrays.push(Array {
            name: name.to_owned(),
            element,
            content,
            width: None,
        });
    }

    fn token(&mut self, content: PerToken, name: &str, element: Element) {
        self.push(Content::PerToken(content), name, element);
    }

    fn offsets(&mut self, span: Span, name: &str) {
        self.push(Content::Offsets(span), name, Element::I64);
    }

    fn sequences(&mut self, objective: Option<GradientOf>) {
        let mut push = |content, name, element| {
            self.push(Content::PerSequence(content), name, element);
        };
        push(PerSequence::Example, "examples", Element::I64);
        push(PerSequence::Line, "lines", Element::I64);
        push(PerSequence::Window, "windows", Element::I32);
        push(PerSequence::Tokens, "num_tokens", Element::I32);
        push(PerSequence::CutTokens, "cut_tokens", Element::I32);
        push(PerSequence::ContextTokens, "context_tokens", Element::I32);
        if let Some(objective) = objective {
            push(PerSequence::Loss, "loss", Element::F64);
            if objective.counts_tokens() {
                push(PerSequence::Targets, "num_targets", Element::I32);
            }
        }
    }

    fn words(&mut self, format: Format) {
        let mut push = |content, name, element| {
            self.push(Content::PerWord(content), name, element);
        };
        if format == Format::Parquet {
            push(PerWord::Example, "words.examples", Element::I64);
            push(PerWord::Window, "words.windows", Element::I32);
        }
        push(PerWord::Number, "words.word_ids", Element::I32);
        push(PerWord::Text, "words.sequence_ids", Element::I32);
        push(PerWord::CharStart, "words.char_start", Element::I32);
        push(PerWord::CharEnd, "words.char_end", Element::I32);
        push(PerWord::Tokens, "words.num_tokens", Element::I32);
    }

    /// The arrays of a shard of this size.
    pub(super) fn specs(&self, sizes: Sizes) -> Vec<ArraySpec> {
        self.arrays
            .iter()
            .map(|array| {
                let mut shape = vec![self.rows(array.content, sizes)];
                shape.extend(array.width);
                ArraySpec::new(&array.name, array.element, shape)
            })
            .collect()
    }

    /// Values of the model in a shard that holds so much.
    pub(super) fn values(&self, sizes: Sizes) -> u64 {
        let values = self
            .arrays
            .iter()
            .filter(|array| matches!(array.content, Content::Values(_)));
        values
            .map(|array| self.rows(array.content, sizes) * array.width.unwrap_or(1))
            .sum()
    }

    fn rows(&self, content: Content, sizes: Sizes) -> u64 {
        match content {
            Content::PerSequence(_) => sizes.sequences,
            Content::Offsets(_) => sizes.sequences + 1,
            Content::PerToken(_) => sizes.tokens,
            Content::PerWord(_) => sizes.words,
            Content::Values(at) => match self.slots[at].rows {
                Rows::Sequence => sizes.sequences,
                Rows::Token if self.pooled => sizes.words,
                Rows::Token => sizes.tokens,
                Rows::Pair => sizes.pairs,
            },
        }
    }

    /// Names of the axes of an array.
    pub(super) fn axes(&self, array: &Array) -> Vec<&'static str> {
        let rows = match array.content {
            Content::PerSequence(_) => "sequences",
            Content::Offsets(_) => "sequences + 1",
            Content::PerToken(_) => "tokens",
            Content::PerWord(_) => "words",
            Content::Values(at) => match self.slots[at].rows {
                Rows::Sequence => "sequences",
                Rows::Token if self.pooled => "words",
                Rows::Token => "tokens",
                Rows::Pair => "queries × keys of each sequence",
            },
        };
        let mut axes = vec![rows];
        if let Content::Values(at) = array.content
            && array.width.is_some()
        {
            axes.push(match self.slots[at].what {
                "logits" => "labels",
                "token_logits" => "vocabulary",
                "hidden_states" | "head_contributions" => "hidden",
                "mlp_inner" => "intermediate",
                _ => "head_dim",
            });
        }
        axes
    }

    /// Bytes of values for a sequence of so many tokens: what a batch of them must hold.
    pub(super) fn bytes_of(&self, tokens: u64) -> u64 {
        let size = Element::Float(self.float).size();
        self.slots
            .iter()
            .map(|slot| {
                let rows = match slot.rows {
                    Rows::Sequence => 1,
                    Rows::Token => tokens,
                    Rows::Pair => tokens * tokens,
                };
                rows * slot.width as u64 * size
            })
            .sum()
    }
}
