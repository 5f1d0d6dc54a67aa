//! A piece of code, as it was read.

use std::path::Path;
use std::sync::Arc;

use crate::error::CodeError;
use crate::functions::files;
use crate::language::Language;
use crate::syntax::{DEFAULT_MAX_BYTES, Function, Syntax};

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

    /// A whole source file of at most [`DEFAULT_MAX_BYTES`].
    ///
    /// # Errors
    ///
    /// [`CodeError::UnknownExtension`] without a language for a name that says none, [`CodeError::NotUtf8`],
    /// [`CodeError::Refused`] of a larger one, and [`CodeError::Data`].
    pub fn of_file(path: &Path, language: Option<&'static Language>) -> Result<Self, CodeError> {
        let language = files::language_of(path, language)?;
        let text = files::read(path, DEFAULT_MAX_BYTES)?;
        Ok(Self {
            path: path.into(),
            ..Self::new(language, text)
        })
    }

    /// One of its functions, with its part of the tree.
    #[must_use]
    pub fn cut(&self, syntax: &Syntax, function: &Function) -> Self {
        let before = self.text.get(..function.range.start).unwrap_or_default();
        let part = self.text.get(function.range.clone());
        Self {
            line: self.line + before.matches('\n').count() as u64,
            name: function.path.clone(),
            syntax: Some(syntax.below(function.node)),
            path: self.path.clone(),
            ..Self::new(self.language, part.unwrap_or_default())
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
