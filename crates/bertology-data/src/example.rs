//! What a reader hands out: examples, and an account of the file they came from.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::header::GuessedHeader;
use crate::task::{Split, Task};

/// A label as the file writes it; [`LabelMap`](crate::LabelMap) gives it a meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RawLabel(String);

impl RawLabel {
    /// Takes the label's spelling.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self(label.into())
    }

    /// The label's spelling in the file (a JSON number as JSON writes it).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label as a finite number, if it is one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0
            .trim()
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }

    /// Whether it is `true` or `false`, in any case.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        ["true", "false"].contains(&self.0.to_lowercase().as_str())
    }
}

impl fmt::Display for RawLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One example: a text, a pair of texts or ready token ids, perhaps with a label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    /// The (first) text, with its spaces as in the file; empty where there are token ids.
    pub text: String,
    /// The ids, for a file of token ids; then there is no text. At least one.
    pub token_ids: Option<Vec<u32>>,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// What the file calls it: the first word behind `>` in FASTA.
    pub name: Option<String>,
    /// The label, if the file has one.
    pub label: Option<RawLabel>,
    /// The words of a sentence with their labels; then there is no text.
    pub words: Vec<TaggedWord>,
    /// What the text, a question, is answered with in the second one.
    pub answers: Option<Answers>,
    /// Line of the file, from 1 and counting the header (for CSV: the record's first line; for a
    /// document of several lines: its first).
    pub line: u64,
}

/// A word of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedWord {
    /// As the file writes it.
    pub word: String,
    /// Its label; none where the file has -100, which says that the word does not count.
    pub tag: Option<RawLabel>,
}

/// The answers that people gave to a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The question's name.
    pub id: String,
    /// In the order of the file; none if the text does not answer the question.
    pub given: Vec<Answer>,
    /// The file marks questions that the text does not answer, as SQuAD 2.0 does, whether this is one or not.
    pub may_lack: bool,
}

/// An answer: a piece of the text that the question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The piece.
    pub text: String,
    /// Its first character (Unicode scalar value, as Python counts them) in the text.
    pub start: usize,
}

/// Why a row gave no example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkipReason {
    /// The line is empty.
    BlankLine,
    /// The line of a file of token ids holds a comment and no id.
    Comment,
    /// A QQP row with too few columns; the published files have some, and the reference skips them.
    ShortRow {
        /// Columns found.
        found: usize,
        /// Columns needed.
        expected: usize,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlankLine => f.write_str("blank line"),
            Self::Comment => f.write_str("only a comment"),
            Self::ShortRow { found, expected } => {
                write!(f, "{found} columns where {expected} are needed")
            }
        }
    }
}

/// One skipped row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SkippedRow {
    /// Line of the file, from 1.
    pub line: u64,
    /// Why it was skipped.
    pub reason: SkipReason,
}

/// Every skipped row counted, the first few remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Blank lines skipped.
    pub blank_lines: u64,
    /// QQP rows with too few columns skipped.
    pub short_rows: u64,
    /// Lines of a file of token ids with a comment and no id.
    pub comments: u64,
    /// The first [`Skipped::MAX_REMEMBERED`] of them.
    pub first: Vec<SkippedRow>,
}

impl Skipped {
    /// How many skipped rows are remembered with their line, so that memory stays constant.
    pub const MAX_REMEMBERED: usize = 20;

    /// How many rows were skipped.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.blank_lines + self.short_rows + self.comments
    }

    pub(crate) fn push(&mut self, line: u64, reason: SkipReason) {
        match reason {
            SkipReason::BlankLine => self.blank_lines += 1,
            SkipReason::ShortRow { .. } => self.short_rows += 1,
            SkipReason::Comment => self.comments += 1,
        }
        if self.first.len() < Self::MAX_REMEMBERED {
            self.first.push(SkippedRow { line, reason });
        }
    }
}

/// An account of a file that was read, fit for a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetInfo {
    /// The file.
    pub path: PathBuf,
    /// The GLUE task whose layout was used; none for own data.
    pub task: Option<Task>,
    /// The split asked for; none for own data.
    pub split: Option<Split>,
    /// What the first line was taken for, where its columns were asked for by number and nobody had said
    /// whether it names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guessed_header: Option<GuessedHeader>,
    /// How many examples were handed out.
    pub examples: u64,
    /// The limit on examples, if one was set.
    pub limit: Option<usize>,
    /// Rows that gave no example.
    pub skipped: Skipped,
    /// Size of the whole file in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file (also when a limit stopped the reading), 64 lower-case hex digits.
    pub sha256: String,
}

/// All examples of a file, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The examples.
    pub examples: Vec<Example>,
    /// What was read, and what was skipped.
    pub info: DatasetInfo,
}

impl Dataset {
    /// How many examples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is no example; a file without one is an error, so never after loading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }
}
