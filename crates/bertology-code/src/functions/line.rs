//! A line of a file of functions.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::code::Code;
use crate::error::{CodeError, LineFault};
use crate::language::Language;

/// The keys that mean something, under all their names.
#[derive(Deserialize)]
struct Keys {
    code: Option<Value>,
    original_string: Option<Value>,
    function: Option<Value>,
    code_tokens: Option<Value>,
    function_tokens: Option<Value>,
    language: Option<Value>,
    func_name: Option<Value>,
}

/// The function of a line; nothing if it is of another language than `wanted`.
pub(super) fn parse(
    line: &str,
    wanted: Option<&'static Language>,
) -> Result<Option<Code>, LineFault> {
    // A list would do for the parser, its elements in the order of the keys.
    if !line.trim_start().starts_with('{') {
        let value: Value = from_json(line)?;
        let found = kind(&value);
        return Err(LineFault::NotAnObject { found });
    }
    let keys: Keys = from_json(line)?;
    let said = match keys.language {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(other) => return Err(wrong("language", &other, "a text")),
    };
    let language = match (said.as_deref().map(Language::named), wanted) {
        (Some(Ok(said)), Some(wanted)) if said != wanted => return Ok(None),
        (Some(Ok(language)), _) | (None, Some(language)) => language,
        // Known elsewhere, but not what is asked for.
        (Some(Err(_)), Some(_)) => return Ok(None),
        (Some(Err(CodeError::UnknownLanguage { name, known })), None) => {
            return Err(LineFault::UnknownLanguage { name, known });
        }
        (Some(Err(_)) | None, None) => return Err(LineFault::NoLanguage),
    };
    let texts = [
        ("code", keys.code),
        ("original_string", keys.original_string),
        ("function", keys.function),
    ];
    let (_, text) = first(texts)
        .ok_or(LineFault::NoCode)
        .and_then(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            other => Err(wrong(key, &other, "a text")),
        })?;
    let lists = [
        ("code_tokens", keys.code_tokens),
        ("function_tokens", keys.function_tokens),
    ];
    let tokens = first(lists)
        .map(|(key, value)| list(key, value))
        .transpose()?;
    let name = match keys.func_name {
        Some(Value::String(name)) if !name.is_empty() => Some(name),
        _ => None,
    };
    Ok(Some(Code {
        index: 0,
        path: Path::new("").into(),
        line: 0,
        name,
        language,
        text,
        tokens,
        syntax: None,
    }))
}

fn first<const N: usize>(
    keys: [(&'static str, Option<Value>); N],
) -> Option<(&'static str, Value)> {
    let mut there = keys
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    there.find(|(_, value)| !value.is_null())
}

fn list(key: &'static str, value: Value) -> Result<Vec<String>, LineFault> {
    const EXPECTED: &str = "a list of texts";
    let Value::Array(values) = value else {
        return Err(wrong(key, &value, EXPECTED));
    };
    let text = |value| match value {
        Value::String(text) => Ok(text),
        other => Err(LineFault::Type {
            key,
            found: match kind(&other) {
                "a number" => "a list with a number in it",
                "null" => "a list with a null in it",
                "a list" => "a list of lists",
                _ => "a list of something else",
            },
            expected: EXPECTED,
        }),
    };
    values.into_iter().map(text).collect()
}

fn wrong(key: &'static str, found: &Value, expected: &'static str) -> LineFault {
    let found = kind(found);
    LineFault::Type {
        key,
        found,
        expected,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn from_json<T: serde::de::DeserializeOwned>(line: &str) -> Result<T, LineFault> {
    bertology_file::from_slice(line.as_bytes()).map_err(|error| {
        let said = error.to_string();
        // The line is known, and it is not line 1 of the file.
        let reason = match said.rsplit_once(" at line ") {
            Some((reason, _)) => format!("{reason} at character {}", error.column()),
            None => said,
        };
        LineFault::NotJson { reason }
    })
}
