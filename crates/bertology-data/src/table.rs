//! Own data: which columns of a TSV, CSV or JSON Lines file hold the texts and the label.

use std::path::Path;

use bertology_file::python_float;
use serde_json::{Map, Value};

use crate::error::DataError;
use crate::example::{Example, RawLabel};
use crate::header::Header;
use crate::record::Record;

/// How an own data file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableFormat {
    /// Tab-separated with a header, without quoting, as in GLUE: quotes are text.
    Tsv,
    /// Comma-separated with a header, quoted as RFC 4180 says.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl TableFormat {
    /// Tells the format from the file's name: `.tsv`, `.tab`, `.csv`, `.jsonl` or `.ndjson`.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownFormat`] for any other name.
    pub fn from_path(path: &Path) -> Result<Self, DataError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("tsv" | "tab") => Ok(Self::Tsv),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ => Err(DataError::UnknownFormat {
                path: path.to_owned(),
            }),
        }
    }
}

/// Which columns are read: by the header's name or, if no column has that name, by zero-based
/// number. For JSON Lines: by key. A file without a header has numbers only; see [`Header`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The column of the (first) text.
    pub text: String,
    /// The column of the second text of a pair.
    pub pair: Option<String>,
    /// The column of the label.
    pub label: Option<String>,
    /// Whether the first line names the columns; for JSON Lines without a meaning.
    pub header: Header,
}

impl Columns {
    /// Only a text, without a second one and without a label.
    #[must_use]
    pub fn text(column: impl Into<String>) -> Self {
        Self {
            text: column.into(),
            pair: None,
            label: None,
            header: Header::Guess,
        }
    }

    /// Says whether the first line names the columns.
    #[must_use]
    pub fn with_header(mut self, header: Header) -> Self {
        self.header = header;
        self
    }

    /// Adds the column of the second text.
    #[must_use]
    pub fn with_pair(mut self, column: impl Into<String>) -> Self {
        self.pair = Some(column.into());
        self
    }

    /// Adds the column of the label.
    #[must_use]
    pub fn with_label(mut self, column: impl Into<String>) -> Self {
        self.label = Some(column.into());
        self
    }

    /// Everything that is asked for.
    pub(crate) fn wanted(&self) -> Vec<&str> {
        let more = [self.pair.as_deref(), self.label.as_deref()];
        let more = more.into_iter().flatten();
        std::iter::once(self.text.as_str()).chain(more).collect()
    }

    /// The numbers of text and label, where all columns are asked for by number.
    pub(crate) fn numbers(&self) -> Option<(usize, Option<usize>)> {
        let number = |name: &str| name.parse().ok();
        if let Some(pair) = self.pair.as_deref() {
            number(pair)?;
        }
        let label = match self.label.as_deref() {
            Some(label) => Some(number(label)?),
            None => None,
        };
        Some((number(&self.text)?, label))
    }

    /// Finds the columns in a header, or in a first row that is none.
    pub(crate) fn resolve(
        &self,
        path: &Path,
        first: &Record,
        named: bool,
    ) -> Result<Fields, DataError> {
        let find = |role: &'static str, column: &str| match named {
            true => find_column(path, first, role, column),
            false => numbered_column(path, first, role, column),
        };
        let text = find("text", &self.text)?;
        let pair = self
            .pair
            .as_deref()
            .map(|column| find("pair", column))
            .transpose()?;
        let label = self
            .label
            .as_deref()
            .map(|column| find("label", column))
            .transpose()?;
        Ok(Fields {
            text,
            pair,
            label: label.map(LabelField::At),
        })
    }
}

fn find_column(
    path: &Path,
    header: &Record,
    role: &'static str,
    column: &str,
) -> Result<usize, DataError> {
    let mut named = header
        .fields()
        .enumerate()
        .filter(|(_, name)| *name == column);
    if let Some((index, _)) = named.next() {
        return match named.count() {
            0 => Ok(index),
            more => Err(DataError::AmbiguousColumn {
                path: path.to_owned(),
                role,
                column: column.to_owned(),
                count: more + 1,
            }),
        };
    }
    match column.parse::<usize>() {
        Ok(index) if index < header.len() => Ok(index),
        _ => Err(DataError::UnknownColumn {
            path: path.to_owned(),
            role,
            column: column.to_owned(),
            available: header.fields().map(str::to_owned).collect(),
        }),
    }
}

/// A column of a file without a header.
fn numbered_column(
    path: &Path,
    first: &Record,
    role: &'static str,
    column: &str,
) -> Result<usize, DataError> {
    match column.parse::<usize>() {
        Ok(index) if index < first.len() => Ok(index),
        _ => Err(DataError::NoSuchNumber {
            path: path.to_owned(),
            role,
            column: column.to_owned(),
            columns: first.len(),
        }),
    }
}

/// Zero-based indices of what is read from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) text: usize,
    pub(crate) pair: Option<usize>,
    pub(crate) label: Option<LabelField>,
}

/// Where the label stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelField {
    /// In this column.
    At(usize),
    /// In the row's last column (GLUE's files differ in how many come before).
    Last,
}

impl Fields {
    /// The fewest columns a row can have.
    pub(crate) fn min_columns(&self) -> usize {
        let texts = self.text.max(self.pair.unwrap_or(0)) + 1;
        match self.label {
            None => texts,
            Some(LabelField::At(label)) => texts.max(label + 1),
            Some(LabelField::Last) => texts + 1,
        }
    }

    /// Column of the label in a row of so many columns.
    pub(crate) fn label_index(&self, columns: usize) -> Option<usize> {
        match self.label? {
            LabelField::At(label) => Some(label),
            LabelField::Last => columns.checked_sub(1),
        }
    }

    /// Takes an example from a row whose number of columns was checked.
    pub(crate) fn example(
        &self,
        path: &Path,
        line: u64,
        record: &Record,
    ) -> Result<Example, DataError> {
        let field = |index: usize| {
            record
                .get(index)
                .map(str::to_owned)
                .ok_or_else(|| DataError::ColumnCount {
                    path: path.to_owned(),
                    line,
                    found: record.len(),
                    expected: format!("at least {}", index + 1),
                    why: "that many are read".to_owned(),
                })
        };
        let label = match self.label_index(record.len()) {
            None => None,
            Some(index) => {
                let label = field(index)?;
                if label.is_empty() {
                    return Err(DataError::EmptyLabel {
                        path: path.to_owned(),
                        line,
                    });
                }
                Some(RawLabel::new(label))
            }
        };
        Ok(Example {
            text: field(self.text)?,
            pair: self.pair.map(field).transpose()?,
            label,
            line,
            ..Example::default()
        })
    }
}

/// Takes an example from one line of a JSON Lines file.
pub(crate) fn example_from_json(
    columns: &Columns,
    path: &Path,
    line: u64,
    json: &str,
) -> Result<Example, DataError> {
    let object = object_from_json(path, line, json)?;
    let row = JsonRow {
        path,
        line,
        object: &object,
    };
    let text = row.text("text", &columns.text)?;
    let pair = columns
        .pair
        .as_deref()
        .map(|key| row.text("pair", key))
        .transpose()?;
    let label = columns
        .label
        .as_deref()
        .map(|key| row.label(key))
        .transpose()?;
    Ok(Example {
        text,
        pair,
        label,
        line,
        ..Example::default()
    })
}

/// The object that a line of a JSON Lines file holds.
pub(crate) fn object_from_json(
    path: &Path,
    line: u64,
    json: &str,
) -> Result<Map<String, Value>, DataError> {
    let value: Value =
        bertology_file::from_slice(json.as_bytes()).map_err(|error| DataError::Json {
            path: path.to_owned(),
            line,
            reason: format!("{} at column {}", json_reason(&error), error.column()),
        })?;
    match value {
        Value::Object(object) => Ok(object),
        other => Err(DataError::Json {
            path: path.to_owned(),
            line,
            reason: format!("found {}", kind(&other)),
        }),
    }
}

/// A row as an object of JSON.
pub(crate) struct JsonRow<'a> {
    pub(crate) path: &'a Path,
    pub(crate) line: u64,
    pub(crate) object: &'a Map<String, Value>,
}

impl JsonRow<'_> {
    pub(crate) fn value(&self, role: &'static str, key: &str) -> Result<&Value, DataError> {
        self.object.get(key).ok_or_else(|| DataError::MissingKey {
            path: self.path.to_owned(),
            line: self.line,
            role,
            key: key.to_owned(),
            available: self.object.keys().cloned().collect(),
        })
    }

    pub(crate) fn type_error(
        &self,
        role: &'static str,
        key: &str,
        found: &Value,
        expected: &'static str,
    ) -> DataError {
        DataError::JsonType {
            path: self.path.to_owned(),
            line: self.line,
            role,
            key: key.to_owned(),
            found: kind(found),
            expected,
        }
    }

    pub(crate) fn text(&self, role: &'static str, key: &str) -> Result<String, DataError> {
        let found = self.value(role, key)?;
        match found {
            Value::String(text) if python_float(found).is_none() => Ok(text.clone()),
            other => Err(self.type_error(role, key, other, "a string")),
        }
    }

    fn label(&self, key: &str) -> Result<RawLabel, DataError> {
        let found = self.value("label", key)?;
        match found {
            _ if python_float(found).is_some() => {
                Err(self.type_error("label", key, found, "a string or a finite number"))
            }
            Value::String(label) if label.is_empty() => Err(DataError::EmptyLabel {
                path: self.path.to_owned(),
                line: self.line,
            }),
            Value::String(label) => Ok(RawLabel::new(label.as_str())),
            Value::Number(number) => Ok(RawLabel::new(number.to_string())),
            Value::Bool(label) => Ok(RawLabel::new(label.to_string())),
            other => Err(self.type_error("label", key, other, "a string or a number or a boolean")),
        }
    }
}

/// The parser's reason without its own line number, which is always 1 here and would mislead.
pub(crate) fn json_reason(error: &serde_json::Error) -> String {
    let full = error.to_string();
    match full.rfind(" at line ") {
        Some(at) => full.get(..at).unwrap_or(&full).to_owned(),
        None => full,
    }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        _ if python_float(value).is_some() => "NaN or infinite",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
