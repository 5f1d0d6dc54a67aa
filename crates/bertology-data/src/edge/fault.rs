//! What can be wrong within a record. Every message says what to do.

use std::fmt;

/// A place in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Of the whole.
    Record,
    /// Number of a target, from 1.
    Target(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => f.write_str("the record"),
            Self::Target(number) => write!(f, "target {number}"),
        }
    }
}

/// A fault of a record; [`DataError::Record`](crate::DataError::Record) says where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A key is not there.
    #[error("{place} has no `{key}`; write {expected}")]
    Missing {
        /// Of what.
        place: Place,
        /// The key.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A value has a type that its key does not allow.
    #[error("the `{key}` of {place} is {found}; write {expected}")]
    Type {
        /// Of what.
        place: Place,
        /// The key.
        key: &'static str,
        /// The kind of value found.
        found: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A span that ends where it begins, or before.
    #[error(
        "the {span} [{start}, {end}] of {target} {}; its second number is that of the word behind the last one, \
         so write [{start}, {}] for one word",
        if start == end { "is empty" } else { "ends before it begins" }, start.saturating_add(1)
    )]
    EmptySpan {
        /// Of which target.
        target: Place,
        /// `span1` or `span2`.
        span: &'static str,
        /// Its first word, from 0.
        start: usize,
        /// The word behind its last one.
        end: usize,
    },
    /// A span that reaches beyond the text.
    #[error(
        "the {span} [{start}, {end}] of {target} reaches beyond the text, which has {words} words (divided at white \
         space); count words from 0 and give the number of the word behind the last one"
    )]
    SpanBeyond {
        /// Of which target.
        target: Place,
        /// `span1` or `span2`.
        span: &'static str,
        /// Its first word, from 0.
        start: usize,
        /// The word behind its last one.
        end: usize,
        /// Words of the text.
        words: usize,
    },
    /// Some targets have a second span and some have none.
    #[error(
        "{target} has {} and the targets before it have {}; all targets of a task have one span, or all have two",
        spans(*found), spans(!*found)
    )]
    SpanNumber {
        /// Of which target.
        target: Place,
        /// Whether it has a second span.
        found: bool,
    },
    /// The record does not keep its text as it was written, and that is to be read.
    #[error(
        "the record does not keep its text as it was written (`info.raw`); let the model read the words, or convert the \
         corpus again if it has that text"
    )]
    NotWritten,
    /// The text as it was written does not fit the words.
    #[error("`info.raw` is not the place of every word in the text as it was written: {reason}")]
    Written {
        /// What does not fit.
        reason: String,
    },
}

fn spans(two: bool) -> &'static str {
    if two { "two spans" } else { "one span" }
}
