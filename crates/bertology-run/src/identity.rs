//! What two runs must agree in, so that one can go on where the other stopped.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a saved state must agree with to be continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The command.
    pub command: String,
    /// The version that wrote it: sums of another version may mean something else.
    pub version: String,
    /// Every option that changes results.
    pub options: Value,
    /// SHA-256 of the model's content.
    pub model_sha256: String,
    /// SHA-256 of the tokenizer's files.
    pub tokenizer_sha256: Option<String>,
    /// SHA-256 of the data file.
    pub data_sha256: Option<String>,
}

/// What two runs differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// The command.
    Command,
    /// The version of the program.
    Version,
    /// The model's content.
    Model,
    /// The tokenizer's files.
    Tokenizer,
    /// The data file.
    Data,
    /// An option, by its key in the identity.
    Option(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("the command"),
            Self::Version => f.write_str("the version of bertology"),
            Self::Model => f.write_str("the SHA-256 of the model"),
            Self::Tokenizer => f.write_str("the SHA-256 of the tokenizer"),
            Self::Data => f.write_str("the SHA-256 of the data"),
            Self::Option(key) => write!(f, "the option {key}"),
        }
    }
}

/// The first difference between two runs that should be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In what.
    pub subject: Subject,
    /// Of the one that is there.
    pub was: String,
    /// Of the one that is wanted.
    pub is: String,
}

impl Identity {
    /// Puts the content in the place of the name of a file.
    pub fn set(&mut self, option: &str, value: Value) {
        if let Value::Object(options) = &mut self.options {
            options.insert(option.into(), value);
        }
    }

    /// The first thing in which this run is another than the one wanted.
    #[must_use]
    pub fn difference(&self, wanted: &Self) -> Option<Difference> {
        let hash = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "none".into());
        let fixed = [
            (
                Subject::Command,
                self.command.clone(),
                wanted.command.clone(),
            ),
            (
                Subject::Version,
                self.version.clone(),
                wanted.version.clone(),
            ),
            (
                Subject::Model,
                self.model_sha256.clone(),
                wanted.model_sha256.clone(),
            ),
            (
                Subject::Tokenizer,
                hash(&self.tokenizer_sha256),
                hash(&wanted.tokenizer_sha256),
            ),
            (
                Subject::Data,
                hash(&self.data_sha256),
                hash(&wanted.data_sha256),
            ),
        ];
        let fixed = fixed.into_iter().find(|(_, was, is)| was != is);
        if let Some((subject, was, is)) = fixed {
            return Some(Difference { subject, was, is });
        }
        let keys = [&self.options, &wanted.options]
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(|map| map.keys());
        for key in keys {
            let (was, is) = (self.options.get(key), wanted.options.get(key));
            if was != is {
                let show = |value: Option<&Value>| {
                    value.map_or_else(|| "not given".into(), Value::to_string)
                };
                return Some(Difference {
                    subject: Subject::Option(key.clone()),
                    was: show(was),
                    is: show(is),
                });
            }
        }
        None
    }
}
