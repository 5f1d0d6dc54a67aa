//! Lines that are JSON objects.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::DataError;

/// The object that a line is.
///
/// # Errors
/// [`DataError::Json`].
pub(crate) fn object(text: &str, path: &Path, line: u64) -> Result<Map<String, Value>, DataError> {
    let not_json = |reason: String| DataError::Json {
        path: path.to_owned(),
        line,
        reason,
    };
    let value = bertology_file::from_slice(text.as_bytes());
    match value.map_err(|error| not_json(reason(&error)))? {
        Value::Object(object) => Ok(object),
        Value::Array(_) => Err(not_json("it is a list".to_owned())),
        _ => Err(not_json("it is a single value".to_owned())),
    }
}

/// The parser's reason without its place: the line is known, and it is not line 1 of the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} at character {}", error.column()),
        None => text,
    }
}
