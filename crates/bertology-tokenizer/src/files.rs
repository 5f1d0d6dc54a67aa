//! Reading small files with errors that say where.

use std::path::Path;

use serde_json::{Map, Value};

use crate::TokenizerError;

/// A whole file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    bertology_file::read(path).map_err(|source| TokenizerError::Read {
        path: path.to_owned(),
        source,
    })
}

/// A whole text file, with every line ending turned into `\n` as Python's text mode does: a
/// vocabulary saved on Windows gives the same tokens.
pub(crate) fn text(path: &Path) -> Result<String, TokenizerError> {
    let text = String::from_utf8(bytes(path)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        TokenizerError::Utf8 {
            path: path.to_owned(),
            line,
        }
    })?;
    if text.contains('\r') {
        return Ok(text.replace("\r\n", "\n").replace('\r', "\n"));
    }
    Ok(text)
}

/// A JSON file of the given kind.
pub(crate) fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TokenizerError> {
    bertology_file::from_slice(&bytes(path)?).map_err(|error| json_error(path, &error))
}

/// A JSON object, empty where the file does not exist.
pub(crate) fn optional_object(path: &Path) -> Result<Option<Map<String, Value>>, TokenizerError> {
    if bertology_file::exists(path) {
        json(path).map(Some)
    } else {
        Ok(None)
    }
}

/// The position is told apart from the message, which would otherwise repeat it.
pub(crate) fn json_error(path: &Path, error: &serde_json::Error) -> TokenizerError {
    let (line, column) = (error.line(), error.column());
    let whole = error.to_string();
    let message = whole.strip_suffix(&format!(" at line {line} column {column}"));
    TokenizerError::Json {
        path: path.to_owned(),
        line,
        column,
        message: message.unwrap_or(&whole).to_owned(),
    }
}
