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
                let (was, is) = told_apart(was, is);
                return Some(Difference {
                    subject: Subject::Option(key.clone()),
                    was,
                    is,
                });
            }
        }
        None
    }
}

/// Longest value that is told whole, in characters.
const LONGEST: usize = 60;

/// Two values that are not the same, in a sentence; of long ones what first differs.
fn told_apart(was: Option<&Value>, is: Option<&Value>) -> (String, String) {
    let whole = |value: Option<&Value>| value.map_or_else(|| "not given".into(), Value::to_string);
    let (one, other) = (whole(was), whole(is));
    if one.chars().count().max(other.chars().count()) <= LONGEST {
        return (one, other);
    }
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
    let (ones, others) = (list(was), list(is));
    if let (Some(ones), Some(others)) = (&ones, &others) {
        let same = ones.iter().zip(others).take_while(|(a, b)| a == b).count();
        let tell = |values: &[Value]| {
            let at = values.get(same).map(|value| {
                let value = begun(&value.to_string());
                format!(", number {} of them {value}", same + 1)
            });
            format!("{} values{}", values.len(), at.unwrap_or_default())
        };
        return (tell(ones), tell(others));
    }
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    let from = same.count().saturating_sub(LONGEST / 4);
    let near = |text: &str| {
        let rest: String = text.chars().skip(from).collect();
        let before = if from > 0 { "…" } else { "" };
        format!("{before}{}", begun(&rest))
    };
    let tell = |value: Option<&Value>, text: &str| match value {
        // A list of other things than the list before.
        Some(Value::Array(values)) => format!("{} values", values.len()),
        None => text.to_owned(),
        _ => near(text),
    };
    (tell(was, &one), tell(is, &other))
}

/// The beginning of a text.
fn begun(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn told(was: Value, is: Value, expected: [&str; 2]) {
        let (was, is) = told_apart(Some(&was), Some(&is));
        assert_eq!([&*was, &*is], expected);
    }

    #[test]
    fn of_long_values_the_first_difference_is_told() {
        told(json!(0.5), json!([1, 2]), ["0.5", "[1,2]"]);
        let mask = |off: usize| -> Vec<f64> {
            (0..144)
                .map(|at| if at == off { 0.0 } else { 1.0 })
                .collect()
        };
        told(
            json!(mask(7)),
            json!(mask(144)),
            [
                "144 values, number 8 of them 0.0",
                "144 values, number 8 of them 1.0",
            ],
        );
        told(
            json!(mask(144)),
            json!(mask(144)[..12]),
            ["144 values, number 13 of them 1.0", "12 values"],
        );
        let heads = |last: &str| "L0H1, ".repeat(30) + last;
        told(
            json!(heads("L5H1")),
            json!(heads("L7H1")),
            ["…, L0H1, L0H1, L5H1\"", "…, L0H1, L0H1, L7H1\""],
        );
        let (was, is) = told_apart(Some(&json!(mask(1))), None);
        assert_eq!([&*was, &*is], ["144 values", "not given"]);
    }
}
