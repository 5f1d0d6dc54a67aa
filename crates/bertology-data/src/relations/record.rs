//! One text and what is related in it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::RelationFault;

/// What is related in one text.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationRecord {
    /// The line of the file, from 1.
    pub line: u64,
    /// What the file calls it.
    pub name: Option<String>,
    /// The units.
    pub text: RelationText,
    /// In the order of the file; each once.
    pub pairs: Vec<RelatedPair>,
    /// Units of which nothing is known, ascending: pairs with them are neither related nor unrelated.
    pub unknown: Vec<usize>,
}

/// What the units are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationText {
    /// Words.
    Words(Vec<String>),
    /// A protein, a letter a residue.
    Residues(String),
    /// The model's tokens, special ones included.
    Tokens(Vec<String>),
}

/// Two units that are related.
#[derive(Debug, Clone, PartialEq)]
pub struct RelatedPair {
    /// Number of the first unit, zero-based.
    pub from: usize,
    /// Of the second.
    pub to: usize,
    /// How they are related.
    pub label: String,
    /// How much the pair counts; above 0.
    pub weight: f64,
}

impl RelationText {
    /// Number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        match self {
            Self::Words(words) | Self::Tokens(words) => words.len(),
            Self::Residues(letters) => letters.chars().count(),
        }
    }
}

const KEYS: &str = "`text`, `words`, `residues`, `tokens`, `pairs`, `id` and `info`";
const A_TEXT: &str = "a text in quotes";
const A_LIST: &str = "a list of words in quotes";

impl RelationRecord {
    /// Number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.text.units()
    }

    /// A record of a file of them.
    pub(super) fn parse(object: Map<String, Value>, line: u64) -> Result<Self, RelationFault> {
        let mut texts = Vec::new();
        let (mut name, mut pairs) = (None, None);
        for (key, value) in object {
            match key.as_str() {
                "text" => texts.push(RelationText::Words(
                    text("text", &value)?
                        .split_whitespace()
                        .map(str::to_owned)
                        .collect(),
                )),
                "words" => texts.push(RelationText::Words(units("words", value)?)),
                "tokens" => texts.push(RelationText::Tokens(units("tokens", value)?)),
                "residues" => {
                    let letters = text("residues", &value)?;
                    if letters.chars().any(char::is_whitespace) {
                        return Err(RelationFault::Type {
                            key: "residues",
                            expected: "the letters without white space",
                        });
                    }
                    texts.push(RelationText::Residues(letters.to_owned()));
                }
                "pairs" => pairs = Some(value),
                "id" => name = Some(text("id", &value)?.to_owned()),
                "info" => {}
                _ => return Err(RelationFault::UnknownKey { key, known: KEYS }),
            }
        }
        let found = texts.len();
        let (Some(text), 1) = (texts.pop(), found) else {
            return Err(RelationFault::Texts { found });
        };
        let expected = "a list of pairs, which may be empty";
        let pairs = match pairs {
            None => {
                return Err(RelationFault::Missing {
                    key: "pairs",
                    expected,
                });
            }
            Some(Value::Array(pairs)) => pairs,
            Some(_) => {
                return Err(RelationFault::Type {
                    key: "pairs",
                    expected,
                });
            }
        };
        Ok(Self {
            line,
            name,
            pairs: related(&pairs, text.units())?,
            text,
            unknown: Vec::new(),
        })
    }
}

fn text<'a>(key: &'static str, value: &'a Value) -> Result<&'a str, RelationFault> {
    value.as_str().ok_or(RelationFault::Type {
        key,
        expected: A_TEXT,
    })
}

fn units(key: &'static str, value: Value) -> Result<Vec<String>, RelationFault> {
    let words: Vec<String> = serde_json::from_value(value).map_err(|_| RelationFault::Type {
        key,
        expected: A_LIST,
    })?;
    let wrong = |word: &String| word.is_empty() || word.chars().any(char::is_whitespace);
    match words.iter().position(wrong) {
        Some(number) => Err(RelationFault::Unit { key, number }),
        None => Ok(words),
    }
}

fn related(pairs: &[Value], units: usize) -> Result<Vec<RelatedPair>, RelationFault> {
    let mut seen = HashSet::new();
    let mut related = Vec::with_capacity(pairs.len());
    for (at, value) in pairs.iter().enumerate() {
        let number = at + 1;
        let pair = pair(value).ok_or(RelationFault::Pair { number })?;
        let RelatedPair {
            from, to, weight, ..
        } = pair;
        there(number, from, to, units)?;
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(RelationFault::Weight { number, weight });
        }
        if !seen.insert((from, to, pair.label.clone())) {
            let label = pair.label;
            return Err(RelationFault::Twice {
                number,
                from,
                to,
                label,
            });
        }
        related.push(pair);
    }
    Ok(related)
}

/// Refuses a pair of units that are not there, or not two.
pub(super) fn there(
    number: usize,
    from: usize,
    to: usize,
    units: usize,
) -> Result<(), RelationFault> {
    if from >= units || to >= units {
        return Err(RelationFault::Beyond {
            number,
            from,
            to,
            units,
        });
    }
    match from == to {
        true => Err(RelationFault::Itself { number, unit: from }),
        false => Ok(()),
    }
}

fn pair(value: &Value) -> Option<RelatedPair> {
    let none = Value::Null;
    let (from, to, label, weight) = match value {
        Value::Array(fields) => match fields.as_slice() {
            [from, to, label] => (from, to, label, &none),
            [from, to, label, weight] => (from, to, label, weight),
            _ => return None,
        },
        Value::Object(fields) => {
            let known = ["from", "to", "label", "weight"];
            if fields.keys().any(|key| !known.contains(&key.as_str())) {
                return None;
            }
            let field = |key: &str| fields.get(key).unwrap_or(&none);
            (field("from"), field("to"), field("label"), field("weight"))
        }
        _ => return None,
    };
    let label = label.as_str().filter(|label| !label.trim().is_empty())?;
    Some(RelatedPair {
        from: usize::try_from(from.as_u64()?).ok()?,
        to: usize::try_from(to.as_u64()?).ok()?,
        label: label.to_owned(),
        weight: if weight.is_null() {
            1.0
        } else {
            weight.as_f64()?
        },
    })
}
