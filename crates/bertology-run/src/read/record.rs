//! What `run.json` holds, as texts and numbers.

use serde_json::Value;

use super::{Run, RunError};
use crate::results::{Results, Summary};

impl Run {
    /// The results of a command; those of another command read as nothing known.
    ///
    /// # Errors
    /// Results that are there and not what they should be.
    pub fn results<R: Results + Default>(&self) -> Result<R, RunError> {
        if self.command == R::COMMAND {
            self.parse()
        } else {
            Ok(R::default())
        }
    }

    /// What runs of most commands have.
    ///
    /// # Errors
    /// Results that are there and not what they should be.
    pub fn summary(&self) -> Result<Summary, RunError> {
        self.parse()
    }

    fn parse<T: serde::de::DeserializeOwned + Default>(&self) -> Result<T, RunError> {
        match self.record.get("results") {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => T::deserialize(value).map_err(|source| RunError::Results {
                path: self.folder.join(crate::registry::RUN),
                command: self.command.clone(),
                source,
            }),
        }
    }

    /// The whole of `run.json`.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.record
    }

    /// A value anywhere in the record, as text; nothing where it is null.
    #[must_use]
    pub fn said(&self, pointer: &str) -> Option<String> {
        let value = self.record.pointer(pointer)?;
        (!value.is_null()).then(|| text_of(value))
    }

    /// The options that were given or have an effect: not null, not false, not empty; and none of those that
    /// only say where the run goes.
    #[must_use]
    pub fn options(&self) -> Vec<(String, String)> {
        let Some(options) = self.record.get("options").and_then(Value::as_object) else {
            return Vec::new();
        };
        let given = options.iter().filter(|(key, value)| {
            let nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(values) => values.is_empty(),
                _ => false,
            };
            !nothing && !matches!(key.as_str(), "output" | "overwrite" | "resume")
        });
        given
            .map(|(key, value)| (key.clone(), text_of(value)))
            .collect()
    }
}

/// A value as people would write it.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(" "),
        Value::Object(map) => {
            let parts = map.iter().filter(|(_, value)| !value.is_null());
            let parts = parts.map(|(key, value)| format!("{key} {}", text_of(value)));
            parts.collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) => number.to_string(),
    }
}
