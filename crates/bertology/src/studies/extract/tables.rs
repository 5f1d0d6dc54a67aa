//! The tables of a Parquet shard, made of its arrays.

use std::sync::Arc;

use bertology_store::{Column, Element, Float, Group, Kind, Lengths, Table, Values};

use super::layout::{Array, Content, Layout, PerSequence, PerToken, PerWord, Sizes};
use super::request::{Rows, Slot};

/// A table and the folder that it belongs to.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) table: Table,
}

/// Names of all tables of a layout.
pub(super) fn names(layout: &Layout) -> Vec<String> {
    let mut names = vec!["examples".to_owned(), "tokens".to_owned()];
    if layout.pooled {
        names.push("words".to_owned());
    }
    for slot in layout.slots.iter().filter(|slot| slot.head.is_some()) {
        let name = column(&slot.group());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The tables of a shard.
pub(super) fn tables(layout: &Layout, sizes: Sizes, strings: &Arc<[String]>) -> Vec<Named> {
    let builder = Builder {
        layout,
        sizes,
        strings,
    };
    let mut tables = vec![
        Named {
            name: "examples".to_owned(),
            table: builder.examples(),
        },
        Named {
            name: "tokens".to_owned(),
            table: builder.tokens(),
        },
    ];
    if layout.pooled {
        tables.push(Named {
            name: "words".to_owned(),
            table: builder.words(),
        });
    }
    for name in names(layout).split_off(tables.len()) {
        let table = builder.heads(&name);
        tables.push(Named { name, table });
    }
    tables
}

/// Dots would mean fields of a structure to some readers.
fn column(name: &str) -> String {
    name.replace('.', "_")
}

struct Builder<'a> {
    layout: &'a Layout,
    sizes: Sizes,
    strings: &'a Arc<[String]>,
}

/// Columns and their sources side by side.
#[derive(Default)]
struct Columns {
    columns: Vec<Column>,
    values: Vec<Values>,
}

impl Columns {
    fn push(&mut self, name: impl Into<String>, kind: Kind, values: Values) {
        self.columns.push(Column::new(name, kind));
        self.values.push(values);
    }

    fn table(self, rows: u64) -> Table {
        Table {
            columns: self.columns,
            groups: vec![Group {
                rows,
                values: self.values,
            }],
        }
    }
}

fn kind(element: Element) -> Kind {
    match element {
        Element::Float(float) => Kind::List(float),
        Element::F64 => Kind::F64,
        Element::I32 => Kind::I32,
        Element::I64 => Kind::I64,
    }
}

impl Builder<'_> {
    /// An array by what fills it, under another name.
    fn add(&self, to: &mut Columns, content: Content, name: &str) {
        let found = self.layout.arrays.iter().position(|a| a.content == content);
        if let Some(at) = found {
            let kind = kind(self.layout.arrays[at].element);
            to.push(name, kind, Values::Array(at));
        }
    }

    /// The values that are not per head and have such rows.
    fn values(&self, to: &mut Columns, rows: Rows) {
        for (at, array) in self.layout.arrays.iter().enumerate() {
            if let Some(slot) = self.slot(array)
                && slot.head.is_none()
                && slot.rows == rows
            {
                let lengths = Lengths::Fixed(slot.width as u64);
                let values = Values::Lists { array: at, lengths };
                to.push(column(&array.name), kind(array.element), values);
            }
        }
    }

    fn slot(&self, array: &Array) -> Option<&Slot> {
        match array.content {
            Content::Values(at) => self.layout.slots.get(at),
            _ => None,
        }
    }

    fn examples(&self) -> Table {
        let mut to = Columns::default();
        for (content, name) in [
            (PerSequence::Example, "example"),
            (PerSequence::Window, "window"),
            (PerSequence::Line, "line"),
            (PerSequence::Tokens, "num_tokens"),
            (PerSequence::CutTokens, "cut_tokens"),
            (PerSequence::ContextTokens, "context_tokens"),
            (PerSequence::Loss, "loss"),
            (PerSequence::Targets, "num_targets"),
        ] {
            self.add(&mut to, Content::PerSequence(content), name);
        }
        self.values(&mut to, Rows::Sequence);
        to.table(self.sizes.sequences)
    }

    fn token_keys(&self, to: &mut Columns) {
        for (content, name) in [
            (PerToken::Example, "example"),
            (PerToken::Window, "window"),
            (PerToken::Token, "token"),
        ] {
            self.add(to, Content::PerToken(content), name);
        }
    }

    fn word_keys(&self, to: &mut Columns) {
        for (content, name) in [
            (PerWord::Example, "example"),
            (PerWord::Window, "window"),
            (PerWord::Text, "sequence_id"),
            (PerWord::Number, "word_id"),
        ] {
            self.add(to, Content::PerWord(content), name);
        }
    }

    fn tokens(&self) -> Table {
        let mut to = Columns::default();
        self.token_keys(&mut to);
        let id = Content::PerToken(PerToken::Id);
        self.add(&mut to, id, "input_id");
        if let Some(array) = self.layout.arrays.iter().position(|a| a.content == id) {
            let strings = Arc::clone(self.strings);
            to.push("string", Kind::Text, Values::Text { array, strings });
        }
        for (content, name) in [
            (PerToken::Segment, "token_type_id"),
            (PerToken::CharStart, "char_start"),
            (PerToken::CharEnd, "char_end"),
            (PerToken::Text, "sequence_id"),
            (PerToken::Word, "word_id"),
        ] {
            self.add(&mut to, Content::PerToken(content), name);
        }
        if !self.layout.pooled {
            self.values(&mut to, Rows::Token);
        }
        to.table(self.sizes.tokens)
    }

    fn words(&self) -> Table {
        let mut to = Columns::default();
        self.word_keys(&mut to);
        for (content, name) in [
            (PerWord::CharStart, "char_start"),
            (PerWord::CharEnd, "char_end"),
            (PerWord::Tokens, "num_tokens"),
        ] {
            self.add(&mut to, Content::PerWord(content), name);
        }
        self.values(&mut to, Rows::Token);
        to.table(self.sizes.words)
    }

    /// One group of rows a head.
    fn heads(&self, name: &str) -> Table {
        let mut columns = Vec::new();
        let mut groups = Vec::new();
        for (at, array) in self.layout.arrays.iter().enumerate() {
            let Some(slot) = self.slot(array) else {
                continue;
            };
            let (Some(layer), Some(head)) = (slot.layer, slot.head) else {
                continue;
            };
            if column(&slot.group()) != name {
                continue;
            }
            let mut to = Columns::default();
            for (name, value) in [("layer", layer), ("head", head)] {
                let value = Values::Constant(i32::try_from(value).unwrap_or(i32::MAX));
                to.push(name, Kind::I32, value);
            }
            if self.layout.pooled {
                self.word_keys(&mut to);
            } else {
                self.token_keys(&mut to);
            }
            let lengths = match slot.rows {
                Rows::Pair => self.keys(),
                _ => Lengths::Fixed(slot.width as u64),
            };
            let values = Values::Lists { array: at, lengths };
            to.push(name, kind(array.element), values);
            groups.push(Group {
                rows: if self.layout.pooled {
                    self.sizes.words
                } else {
                    self.sizes.tokens
                },
                values: to.values,
            });
            columns = to.columns;
        }
        Table { columns, groups }
    }

    /// How many keys each query has.
    fn keys(&self) -> Lengths {
        let keys = Content::PerToken(PerToken::Keys);
        let found = self.layout.arrays.iter().position(|a| a.content == keys);
        found.map_or(Lengths::Fixed(0), Lengths::Each)
    }
}

/// Bytes of a table's rows, about: repeated keys of per-head tables included.
pub(super) fn bytes(layout: &Layout, sizes: Sizes) -> u64 {
    let values: u64 = layout
        .specs(sizes)
        .iter()
        .map(bertology_store::ArraySpec::bytes)
        .sum();
    let heads = layout
        .slots
        .iter()
        .filter(|slot| slot.head.is_some())
        .count() as u64;
    let rows = if layout.pooled {
        sizes.words
    } else {
        sizes.tokens
    };
    // Keys of a row: example, window, token. Strings and levels take a few bytes more.
    let columns = (layout.arrays.len() as u64 + heads) * 200;
    values + values / 64 + heads * rows * 18 + sizes.tokens * 6 + columns
}

/// Whether Parquet has this type.
pub(super) fn check(float: Float) -> Result<(), bertology_store::StoreError> {
    bertology_store::table::check(float)
}
