//! Questions about texts, with answers, in SQuAD's JSON or one object a line.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::DataError;
use crate::example::{Answer, Answers, Example};
use crate::reader::Rows;
use crate::table::{JsonRow, json_reason, kind};

/// A question while its file is read; the text that it is about is shared with others.
#[derive(Debug)]
pub(crate) struct Asked {
    context: Arc<str>,
    question: String,
    answers: Answers,
    line: u64,
}

impl Asked {
    pub(crate) fn example(self) -> Example {
        Example {
            text: self.question,
            pair: Some(self.context.to_string()),
            answers: Some(self.answers),
            line: self.line,
            ..Example::default()
        }
    }
}

/// A file of JSON that is one document.
pub(crate) struct Document {
    text: String,
    /// What stands in its array.
    pub(crate) rows: Vec<Value>,
    /// SQuAD's version.
    version: Option<String>,
}

impl Rows {
    /// The rows of a file of JSON that is an array, or an object with an array `data`; nothing if it is an
    /// object a line.
    pub(crate) fn json_document(&mut self) -> Result<Option<Document>, DataError> {
        let mut ahead = self.lines.again()?;
        let mut first = String::new();
        while let Some(line) = ahead.next_line()? {
            if !line.text.trim().is_empty() {
                line.text.trim().clone_into(&mut first);
                break;
            }
        }
        let whole = |text: &str| bertology_file::from_slice::<Value>(text.as_bytes());
        if first.starts_with('{') && first.ends_with('}') {
            let data =
                whole(&first).is_ok_and(|value| value.get("data").is_some_and(Value::is_array));
            if !data {
                return Ok(None);
            }
        }
        let mut text = String::new();
        while let Some(line) = self.lines.next_line()? {
            text.push_str(line.text);
            text.push('\n');
        }
        let path = || self.lines.path().to_owned();
        if text.trim().is_empty() {
            return Err(DataError::EmptyFile { path: path() });
        }
        let value = whole(&text).map_err(|error| DataError::Json {
            path: path(),
            line: error.line() as u64,
            reason: format!("{} at column {}", json_reason(&error), error.column()),
        })?;
        let no_rows = |found: &Value| DataError::NoRows {
            path: path(),
            found: kind(found),
        };
        match value {
            Value::Array(rows) => Ok(Some(Document {
                text,
                rows,
                version: None,
            })),
            Value::Object(mut object) => match object.remove("data") {
                Some(Value::Array(rows)) => {
                    let version = object
                        .get("version")
                        .and_then(Value::as_str)
                        .map(str::to_owned);
                    Ok(Some(Document {
                        text,
                        rows,
                        version,
                    }))
                }
                found => Err(no_rows(&found.unwrap_or(Value::Object(object)))),
            },
            other => Err(no_rows(&other)),
        }
    }
}

/// The questions of a document: SQuAD's articles of paragraphs, or one object a question.
pub(crate) fn of_document(path: &Path, document: Document) -> Result<Vec<Asked>, DataError> {
    let second = document
        .version
        .is_some_and(|version| version.trim_start_matches('v').starts_with('2'));
    let mut asked: Vec<Asked> = Vec::new();
    let mut lines = Lines::new(&document.text);
    for entry in &document.rows {
        let article = object(path, lines.line, entry)?;
        let Some(paragraphs) = article.get("paragraphs") else {
            asked.push(of_object(path, lines.line, article, None)?);
            lines.meet(&mut asked);
            continue;
        };
        for paragraph in array(path, lines.line, "paragraphs", paragraphs)? {
            let object_of = object(path, lines.line, paragraph)?;
            let row = JsonRow {
                path,
                line: lines.line,
                object: object_of,
            };
            let context: Arc<str> = row.text("context", "context")?.into();
            for question in array(path, lines.line, "qas", row.value("questions", "qas")?)? {
                let question = object(path, lines.line, question)?;
                asked.push(of_object(path, lines.line, question, Some(&context))?);
                lines.meet(&mut asked);
            }
        }
    }
    for question in &mut asked {
        question.answers.may_lack |= second;
    }
    Ok(asked)
}

/// A question with its text, which is `context` where several share one.
pub(crate) fn of_object(
    path: &Path,
    line: u64,
    object: &Map<String, Value>,
    context: Option<&Arc<str>>,
) -> Result<Asked, DataError> {
    let row = JsonRow { path, line, object };
    let context = match context {
        Some(context) => Arc::clone(context),
        None => row.text("context", "context")?.into(),
    };
    let mut answers = Answers {
        id: match object.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => String::new(),
        },
        given: given(&row)?,
        may_lack: object.contains_key("is_impossible"),
    };
    if object.get("is_impossible") == Some(&Value::Bool(true)) {
        answers.given.clear();
    }
    let characters = context.chars().count();
    let beyond =
        |answer: &&Answer| answer.start.saturating_add(answer.text.chars().count()) > characters;
    if let Some(answer) = answers.given.iter().find(beyond) {
        return Err(DataError::AnswerBeyond {
            path: path.to_owned(),
            line,
            id: answers.id,
            start: answer.start,
            characters,
        });
    }
    Ok(Asked {
        context,
        question: row.text("question", "question")?,
        answers,
        line,
    })
}

/// `[{"text": …, "answer_start": …}, …]` or `{"text": […], "answer_start": […]}`.
fn given(row: &JsonRow<'_>) -> Result<Vec<Answer>, DataError> {
    const EXPECTED: &str =
        "a list of objects with text and answer_start, or an object with a list of each";
    let found = row.value("answers", "answers")?;
    let pair = |text: &Value, start: &Value| {
        let start = start.as_u64().and_then(|start| usize::try_from(start).ok());
        Some(Answer {
            text: text.as_str()?.to_owned(),
            start: start?,
        })
    };
    let answers: Option<Vec<Answer>> = match found {
        Value::Array(answers) => {
            let one = |answer: &Value| pair(answer.get("text")?, answer.get("answer_start")?);
            answers.iter().map(one).collect()
        }
        Value::Object(lists) => {
            let list = |key| lists.get(key).and_then(Value::as_array);
            match (list("text"), list("answer_start")) {
                (Some(texts), Some(starts)) if texts.len() == starts.len() => texts
                    .iter()
                    .zip(starts)
                    .map(|(text, start)| pair(text, start))
                    .collect(),
                _ => None,
            }
        }
        _ => None,
    };
    answers.ok_or_else(|| row.type_error("answers", "answers", found, EXPECTED))
}

pub(crate) fn object<'v>(
    path: &Path,
    line: u64,
    value: &'v Value,
) -> Result<&'v Map<String, Value>, DataError> {
    value.as_object().ok_or_else(|| DataError::Json {
        path: path.to_owned(),
        line,
        reason: format!("found {}", kind(value)),
    })
}

fn array<'v>(
    path: &Path,
    line: u64,
    key: &str,
    value: &'v Value,
) -> Result<&'v [Value], DataError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(DataError::JsonType {
            path: path.to_owned(),
            line,
            role: "list",
            key: key.to_owned(),
            found: kind(other),
            expected: "a list",
        }),
    }
}

/// Where the questions of a document stand: by their names, which come in the order of the file.
struct Lines<'a> {
    /// Where the next one is looked for; nothing in a file of one line, and behind a name that was not found.
    rest: Option<&'a str>,
    /// Of `rest`, from 1.
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.trim_end().contains('\n').then_some(text),
            line: 1,
        }
    }

    /// Gives the last question its line.
    fn meet(&mut self, asked: &mut [Asked]) {
        let (Some(rest), Some(last)) = (self.rest, asked.last_mut()) else {
            return;
        };
        let name = format!("\"{}\"", last.answers.id);
        self.rest = rest.find(&name).map(|at| {
            let (before, rest) = rest.split_at(at);
            self.line += before.matches('\n').count() as u64;
            rest
        });
        last.line = self.line;
    }
}
