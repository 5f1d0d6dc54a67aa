//! What was passed over, and why.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why a file or a line was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// A file of no language known here.
    NoGrammar,
    /// A file or line of another language than the one asked for.
    OtherLanguage,
    /// A file that is not UTF-8.
    NotUtf8,
    /// A file with more bytes than are parsed.
    TooLarge,
    /// A file in which the parser lost itself.
    NotParsed,
    /// A file without functions.
    NoFunctions,
}

/// How many were passed over for one reason, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Why.
    pub reason: Passed,
    /// How many.
    pub count: u64,
    /// The first one's file.
    pub path: PathBuf,
    /// The first one's line, from 1.
    pub line: u64,
}

impl Default for PassedOver {
    fn default() -> Self {
        Self {
            reason: Passed::NoGrammar,
            count: 0,
            path: PathBuf::new(),
            line: 1,
        }
    }
}

impl PassedOver {
    pub(crate) fn some(&self) -> Option<Self> {
        (self.count > 0).then(|| self.clone())
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Passed::NoGrammar => "of no language known here",
            Passed::OtherLanguage => "of another language",
            Passed::NotUtf8 => "not UTF-8",
            Passed::TooLarge => "too large to be parsed",
            Passed::NotParsed => "too far from any program to be parsed",
            Passed::NoFunctions => "without functions",
        };
        let path = self.path.display();
        write!(
            f,
            "{} {what} (the first: {path}, line {})",
            self.count, self.line
        )
    }
}

/// How many functions were read, and what was passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCounts {
    /// Functions handed out.
    pub functions: u64,
    /// What was passed over on the way, a row a reason.
    pub passed_over: Vec<PassedOver>,
}

impl FunctionCounts {
    pub(crate) fn pass(&mut self, reason: Passed, path: &Path, line: u64) {
        let known = self.passed_over.iter_mut().find(|row| row.reason == reason);
        match known {
            Some(row) => row.count += 1,
            None => self.passed_over.push(PassedOver {
                reason,
                count: 1,
                path: path.to_owned(),
                line,
            }),
        }
    }
}
