//! A piece of code, as it was read.

use std::path::Path;
use std::sync::Arc;

use crate::language::Language;
use crate::syntax::Syntax;

/// A function (or whatever else is studied at once), before it is parsed.
#[derive(Debug, Clone)]
pub struct Code {
    /// Its place among all in the order of reading, from 0.
    pub index: u64,
    /// Where it was read.
    pub path: Arc<Path>,
    /// The line there, from 1: of a file of functions its own, of a source file that where it begins.
    pub line: u64,
    /// Its name, if it says one.
    pub name: Option<String>,
    /// Its language.
    pub language: &'static Language,
    /// The code.
    pub text: String,
    /// The list of its tokens, if it came with one.
    pub tokens: Option<Vec<String>>,
    /// Its tree, where it was cut out of a file that had to be parsed to find it.
    pub(crate) syntax: Option<Syntax>,
}

impl Code {
    /// A text of no file.
    #[must_use]
    pub fn new(language: &'static Language, text: impl Into<String>) -> Self {
        Self {
            index: 0,
            path: Path::new("").into(),
            line: 1,
            name: None,
            language,
            text: text.into(),
            tokens: None,
            syntax: None,
        }
    }

    /// With a list of tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: Vec<String>) -> Self {
        Self {
            tokens: Some(tokens),
            ..self
        }
    }
}
