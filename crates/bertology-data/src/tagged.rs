//! Sentences whose words have labels: columns of text as at CoNLL, and tables whose cells are lists.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::DataError;
use crate::example::{Example, RawLabel, SkipReason, TaggedWord};
use crate::reader::Rows;
use crate::table::{Columns, JsonRow};

/// How a file of such sentences is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagFormat {
    /// A word a line, its fields between tabs or spaces, a blank line behind each sentence.
    Lines,
    /// A sentence a row, its words and its labels lists in a cell each.
    Csv,
    /// A sentence an object, one a line or in an array.
    Json,
}

impl TagFormat {
    pub(crate) fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Self::Csv,
            Some("json" | "jsonl" | "ndjson") => Self::Json,
            _ => Self::Lines,
        }
    }
}

/// What says that a word does not count.
const IGNORED: &str = "-100";

/// What stands where a document of CoNLL-2003 begins.
const DOCUMENT: &str = "-DOCSTART-";

impl Rows {
    /// The next sentence of a file with a word a line. `width` is the number of fields, once it is known.
    pub(crate) fn next_sentence(
        &mut self,
        columns: &Columns,
        width: &mut Option<usize>,
    ) -> Result<Option<Example>, DataError> {
        let (limit, path) = (self.lines.limit(), self.lines.path().to_owned());
        let mut sentence = Example::default();
        let mut bytes = 0;
        while let Some(line) = self.lines.next_line()? {
            let text = line.text.trim_end_matches(' ');
            if text.trim().is_empty() || text.starts_with(DOCUMENT) {
                if sentence.words.is_empty() {
                    continue;
                }
                break;
            }
            // Names of sentences, as in MultiCoNER.
            if sentence.words.is_empty() && text.starts_with("# id ") {
                self.skipped.push(line.number, SkipReason::Comment);
                continue;
            }
            let fields: Vec<&str> = match text.contains('\t') {
                true => text.split('\t').collect(),
                false => text.split(' ').filter(|field| !field.is_empty()).collect(),
            };
            let (expected, why) = match *width {
                Some(width) => (width, "as in the first line"),
                None => (fields.len().max(2), "a word and its label"),
            };
            if fields.len() != expected {
                return Err(DataError::ColumnCount {
                    path,
                    line: line.number,
                    found: fields.len(),
                    expected: expected.to_string(),
                    why: why.to_owned(),
                });
            }
            *width = Some(expected);
            let field = |role, column: &str| {
                let found = column.parse().ok().and_then(|at: usize| fields.get(at));
                found.ok_or_else(|| DataError::NoSuchNumber {
                    path: path.clone(),
                    role,
                    column: column.to_owned(),
                    columns: expected,
                })
            };
            let word = field("text", &columns.text)?;
            let tag = match &columns.label {
                Some(column) => field("label", column)?,
                None => fields.last().unwrap_or(&""),
            };
            if tag.is_empty() {
                let line = line.number;
                return Err(DataError::EmptyLabel { path, line });
            }
            if sentence.words.is_empty() {
                sentence.line = line.number;
            }
            bytes += line.text.len();
            if bytes > limit {
                return Err(DataError::DocumentTooLong {
                    path,
                    line: sentence.line,
                    limit,
                });
            }
            sentence.words.push(tagged(*word, tag));
        }
        Ok((!sentence.words.is_empty()).then_some(sentence))
    }
}

fn tagged(word: impl Into<String>, tag: &str) -> TaggedWord {
    TaggedWord {
        word: word.into(),
        tag: (tag != IGNORED).then(|| RawLabel::new(tag)),
    }
}

fn paired(
    path: &Path,
    line: u64,
    words: Vec<String>,
    tags: &[String],
) -> Result<Vec<TaggedWord>, DataError> {
    if words.len() != tags.len() {
        return Err(DataError::TagCount {
            path: path.to_owned(),
            line,
            words: words.len(),
            tags: tags.len(),
        });
    }
    let words = words.into_iter().zip(tags);
    Ok(words.map(|(word, tag)| tagged(word, tag)).collect())
}

/// A row of a table whose cells hold lists.
pub(crate) fn from_cells(path: &Path, row: Example) -> Result<Example, DataError> {
    let tags = row
        .label
        .as_ref()
        .map_or_else(Vec::new, |label| list(label.as_str()));
    Ok(Example {
        words: paired(path, row.line, list(&row.text), &tags)?,
        line: row.line,
        ..Example::default()
    })
}

/// An object that holds lists.
pub(crate) fn from_object(
    columns: &Columns,
    path: &Path,
    line: u64,
    object: &Map<String, Value>,
) -> Result<Example, DataError> {
    let row = JsonRow { path, line, object };
    let items = |role, key: &str, expected, item: fn(&Value) -> Option<String>| {
        let found = row.value(role, key)?;
        let items = found
            .as_array()
            .map(|items| items.iter().map(item).collect());
        match items {
            Some(Some(items)) => Ok::<Vec<String>, DataError>(items),
            _ => Err(row.type_error(role, key, found, expected)),
        }
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let words = items("words", &columns.text, "a list of strings", text)?;
    let tags = columns.label.as_deref().unwrap_or_default();
    let tags = items(
        "labels",
        tags,
        "a list of strings or of whole numbers",
        |tag| match tag {
            Value::String(tag) => Some(tag.clone()),
            Value::Number(id) => id.as_i64().map(|id| id.to_string()),
            _ => None,
        },
    )?;
    Ok(Example {
        words: paired(path, line, words, &tags)?,
        line,
        ..Example::default()
    })
}

/// The items of a list as Python or JSON writes it, or else what stands between spaces.
fn list(cell: &str) -> Vec<String> {
    let inner = cell.trim().strip_prefix('[');
    let Some(inner) = inner.and_then(|cell| cell.strip_suffix(']')) else {
        return cell.split_whitespace().map(str::to_owned).collect();
    };
    let mut items = Vec::new();
    let mut rest = inner.chars().peekable();
    while let Some(first) = rest.next() {
        let mut item = String::new();
        match first {
            ',' => continue,
            blank if blank.is_whitespace() => continue,
            '\'' | '"' => {
                while let Some(next) = rest.next() {
                    match next {
                        '\\' => item.extend(rest.next()),
                        next if next == first => break,
                        next => item.push(next),
                    }
                }
            }
            _ => {
                item.push(first);
                let bare = |next: &char| *next != ',' && !next.is_whitespace();
                while let Some(next) = rest.next_if(bare) {
                    item.push(next);
                }
            }
        }
        items.push(item);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_python_json_and_numpy_are_read() {
        for cell in [
            "['EU', \"don't\", '[', 'a,b']",
            "[\"EU\", \"don't\", \"[\", \"a,b\"]",
            "['EU' \"don't\" '['\n 'a,b']",
        ] {
            assert_eq!(list(cell), ["EU", "don't", "[", "a,b"], "{cell}");
        }
        assert_eq!(list("[3, -100 7]"), ["3", "-100", "7"]);
        assert_eq!(list(" EU  rejects\tit "), ["EU", "rejects", "it"]);
        assert_eq!(list("['it\\'s', 'a\\\\b']"), ["it's", "a\\b"]);
        assert!(list("[]").is_empty());
    }
}
