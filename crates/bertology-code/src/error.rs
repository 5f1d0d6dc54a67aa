//! What can be wrong with code, files of code, and what is asked of them.

use std::path::PathBuf;

use bertology_data::DataError;
use bertology_error::Kind;

/// Why one piece of code gives no leaves. Whoever reads many counts them by [`Refusal::name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing but blanks and comments.
    #[error("it has no tokens, only blanks and comments")]
    Empty,
    /// More text than is parsed.
    #[error("it has {bytes} bytes; at most {limit} are parsed")]
    TooLarge {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that are parsed.
        limit: usize,
    },
    /// The parser went to and fro without an end.
    #[error("its {bytes} bytes are so far from any program that the parser gave up")]
    NotParsed {
        /// Bytes that it has.
        bytes: usize,
    },
    /// The parser found what is not of the language.
    #[error("it is not valid {language}: {what} in line {line}, column {column} of it")]
    Faulty {
        /// The language.
        language: &'static str,
        /// What was found, or is missing.
        what: String,
        /// The line in the piece of code, from 1.
        line: usize,
        /// The byte in that line, from 1.
        column: usize,
    },
    /// It has no list of tokens, and these were to be read.
    #[error("it has no `code_tokens`, which the model was to read")]
    NoTokens,
}

impl Refusal {
    /// A word for counts.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::NotParsed { .. } => "not_parsed",
            Self::Faulty { .. } => "faulty",
            Self::NoTokens => "no_tokens",
        }
    }
}

/// What is wrong with a line of a file of functions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// It is not JSON.
    #[error("it is not JSON: {reason}")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// It is JSON, but no object.
    #[error("it is {found} and not an object with `code`")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// The code is not there.
    #[error(
        "it has no `code` (nor `original_string` nor `function`), which is to hold the text of a function"
    )]
    NoCode,
    /// A value of another type than its key allows.
    #[error("its `{key}` is {found} and not {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The language is said nowhere.
    #[error("it has no `language`; say which language it is in")]
    NoLanguage,
    /// The language has no grammar here.
    #[error(
        "its `language` is `{name}`, for which there is no grammar here (but for {}); leave such lines out or say which \
         language is to be read",
        list(known)
    )]
    UnknownLanguage {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
}

/// Something that cannot be done with code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// No grammar has this name.
    #[error("there is no grammar for `{name}` here, but for {}", list(known))]
    UnknownLanguage {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The end of a file's name says nothing.
    #[error("{path}: cannot tell the language from the file's name; say which it is, one of {}", list(known), path = path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// Languages that there are.
        known: Vec<&'static str>,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A line of a file of functions is none.
    #[error("{path}, line {line}: {fault}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// A source file is not UTF-8.
    #[error(
        "{path}, line {line}: byte {byte} of the line is not UTF-8; convert the file to UTF-8", path = path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The byte within it, from 1.
        byte: usize,
    },
    /// One piece of code cannot be studied, and it was the only one.
    #[error("{path}, line {line}: {refusal}", path = path.display())]
    Refused {
        /// Its file.
        path: PathBuf,
        /// The line where it begins.
        line: u64,
        /// Why.
        refusal: Refusal,
    },
    /// There is nothing to study.
    #[error("{path}: no functions were found in {read}{}", because(reasons), path = path.display())]
    NoFunctions {
        /// The file or folder.
        path: PathBuf,
        /// What was read, as in `3 files`.
        read: String,
        /// What was passed over and why.
        reasons: Vec<String>,
    },
    /// A unit is wanted that is not there.
    #[error("unit {index} is wanted (counted from 0), but {path} has {units}", path = path.display())]
    NoSuchUnit {
        /// The number.
        index: u64,
        /// How many there are.
        units: u64,
        /// The file or folder.
        path: PathBuf,
    },
    /// More rows than a matrix of distances may have.
    #[error("distances between {rows} leaves are wanted; a matrix has at most {limit}")]
    TooManyRows {
        /// Leaves.
        rows: usize,
        /// What may be.
        limit: usize,
    },
    /// A search through so many nodes from so many leaves takes too long.
    #[error(
        "distances between {rows} leaves in a graph of {nodes} nodes take too long; take fewer leaves, or a part of the \
         program"
    )]
    TooMuchWork {
        /// Leaves.
        rows: usize,
        /// Nodes of the graph.
        nodes: usize,
    },
    /// A distance that does not fit.
    #[error("two leaves are {distance} edges apart; distances are kept up to {limit}")]
    TooFar {
        /// Edges.
        distance: u64,
        /// What fits.
        limit: u64,
    },
    /// A graph has no such leaf.
    #[error("leaf {leaf} is wanted (counted from 0), but there are {leaves}")]
    NoSuchLeaf {
        /// The number.
        leaf: usize,
        /// How many there are.
        leaves: usize,
    },
}

impl CodeError {
    /// What a program does about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Data(error) => error.kind(),
            Self::UnknownLanguage { .. }
            | Self::UnknownExtension { .. }
            | Self::Line { .. }
            | Self::NotUtf8 { .. }
            | Self::Refused { .. }
            | Self::NoFunctions { .. }
            | Self::NoSuchUnit { .. }
            | Self::TooManyRows { .. }
            | Self::TooMuchWork { .. }
            | Self::TooFar { .. }
            | Self::NoSuchLeaf { .. } => Kind::Input,
        }
    }
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => names.join(", "),
    }
}

fn because(reasons: &[String]) -> String {
    match reasons {
        [] => String::new(),
        _ => format!(": {}", reasons.join("; ")),
    }
}
