//! A text with its targets, as one line of a file.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value, json};

use super::fault::{Place, RecordFault};

/// A text with labelled spans.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Line of the file, from 1; 0 if it is from none.
    pub line: u64,
    /// The words, joined by single spaces.
    pub text: String,
    /// What is labelled.
    pub targets: Vec<Target>,
    /// `info`: what else is known.
    pub info: Option<Map<String, Value>>,
    /// Keys that mean nothing here, kept for whoever wrote them.
    pub rest: Map<String, Value>,
}

/// One span or two, and their labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// Words, from 0; at least one.
    pub span1: Range<usize>,
    /// Words, from 0; at least one.
    pub span2: Option<Range<usize>>,
    /// The labels.
    pub labels: Labels,
    /// `info`: what else is known.
    pub info: Option<Map<String, Value>>,
    /// Keys that mean nothing here, kept for whoever wrote them.
    pub rest: Map<String, Value>,
}

/// `label` as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// A string.
    One(String),
    /// A list of strings; none of them may be there.
    Several(Vec<String>),
}

impl Default for Labels {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Labels {
    /// Every label once, in order.
    #[must_use]
    pub fn set(&self) -> BTreeSet<&str> {
        match self {
            Self::One(label) => BTreeSet::from([label.as_str()]),
            Self::Several(labels) => labels.iter().map(String::as_str).collect(),
        }
    }
}

/// A text as it was written, with the place of every word in it: `info.raw` of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenText {
    /// The text.
    pub text: String,
    /// Of every word its characters (Unicode scalar values, not bytes), ascending. Words that are written as one
    /// have the same.
    pub words: Vec<Range<usize>>,
}

/// What Python's `str.split` divides words at: white space as Unicode has it, and four control characters.
pub(crate) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The key of `info` under which the text as it was written stands.
const RAW: &str = "raw";

impl Record {
    /// A record of these words.
    #[must_use]
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<&str> = words.into_iter().collect();
        Self {
            text: words.join(" "),
            ..Self::default()
        }
    }

    /// The words: the text divided at white space.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        words(&self.text)
    }

    /// Puts a value into `info`.
    pub fn note(&mut self, key: &str, value: impl Into<Value>) {
        let info = self.info.get_or_insert_default();
        info.insert(key.to_owned(), value.into());
    }

    /// Keeps the text as it was written.
    pub fn set_written(&mut self, written: &WrittenText) {
        let words: Vec<[usize; 2]> = written.words.iter().map(|w| [w.start, w.end]).collect();
        self.note(RAW, json!({ "text": written.text, "words": words }));
    }

    /// The text as it was written, if the record keeps it.
    ///
    /// # Errors
    /// [`RecordFault::Written`] if it does not fit the words.
    pub fn written(&self) -> Result<Option<WrittenText>, RecordFault> {
        let Some(raw) = self.info.as_ref().and_then(|info| info.get(RAW)) else {
            return Ok(None);
        };
        let fault = |reason: String| RecordFault::Written { reason };
        let text = raw.get("text").and_then(Value::as_str);
        let text = text.ok_or_else(|| fault("it has no text `text`".to_owned()))?;
        let spans = raw.get("words").and_then(Value::as_array);
        let spans = spans.ok_or_else(|| fault("it has no list `words`".to_owned()))?;
        let count = self.words().count();
        if spans.len() != count {
            let found = spans.len();
            return Err(fault(format!("it has {found} places for {count} words")));
        }
        let length = text.chars().count();
        let mut words: Vec<Range<usize>> = Vec::with_capacity(count);
        for (at, span) in spans.iter().enumerate() {
            let place = range(span).filter(|span| span.start < span.end && span.end <= length);
            // Behind the word before, or in the very place of it.
            let sound = place.filter(|place| {
                let before = words.last();
                before.is_none_or(|before| before.end <= place.start || before == place)
            });
            let Some(place) = sound else {
                let shown = bertology_file::shown(span);
                let shown: String = shown.chars().take(40).collect();
                return Err(fault(format!(
                    "word {at} is at {shown}, which is not behind the word before and within the {length} characters \
                     of the text"
                )));
            };
            words.push(place);
        }
        Ok(Some(WrittenText {
            text: text.to_owned(),
            words,
        }))
    }

    /// A record from a line of JSON. No targets at all is no fault.
    ///
    /// # Errors
    /// What is not right in it, targets numbered from 1.
    pub(super) fn parse(
        mut object: Map<String, Value>,
        one_span: bool,
    ) -> Result<Self, RecordFault> {
        let place = Place::Record;
        let text = text(&mut object, place)?;
        let targets = match object.remove("targets") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(targets)) => targets,
            Some(other) => {
                return Err(RecordFault::Type {
                    place,
                    key: "targets",
                    found: kind(&other),
                    expected: "a list of targets, as [{\"span1\": [0, 1], \"label\": \"NNS\"}]",
                });
            }
        };
        let info = info(&mut object, place)?;
        let count = words(&text).count();
        let mut two = None;
        let targets = targets.into_iter().enumerate().map(|(at, target)| {
            let place = Place::Target(at + 1);
            let mut target = Target::parse(target, place, count)?;
            if one_span && let Some(other) = target.span2.take() {
                target
                    .rest
                    .insert(SPAN2.to_owned(), json!([other.start, other.end]));
            }
            let found = target.span2.is_some();
            if *two.get_or_insert(found) != found {
                let target = place;
                return Err(RecordFault::SpanNumber { target, found });
            }
            Ok(target)
        });
        Ok(Self {
            line: 0,
            targets: targets.collect::<Result<_, _>>()?,
            text,
            info,
            rest: object,
        })
    }

    /// The record as a line of a file, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let targets: Vec<Value> = self.targets.iter().map(Target::to_value).collect();
        let mut object = Map::new();
        object.insert("text".to_owned(), self.text.as_str().into());
        object.insert("targets".to_owned(), targets.into());
        put_info(&mut object, self.info.as_ref());
        object.extend(self.rest.clone());
        bertology_file::shown(&object.into())
    }
}

impl Target {
    /// A target with one label.
    #[must_use]
    pub fn new(span1: Range<usize>, span2: Option<Range<usize>>, label: &str) -> Self {
        Self {
            span1,
            span2,
            labels: Labels::One(label.to_owned()),
            ..Self::default()
        }
    }

    /// Words strictly between its spans: 0 if they touch or overlap, and where there is one span.
    #[must_use]
    pub fn distance(&self) -> usize {
        let Some(other) = &self.span2 else {
            return 0;
        };
        let first = other.start.saturating_sub(self.span1.end);
        first.max(self.span1.start.saturating_sub(other.end))
    }

    fn parse(value: Value, place: Place, words: usize) -> Result<Self, RecordFault> {
        let mut object = match value {
            Value::Object(object) => object,
            other => {
                return Err(RecordFault::Type {
                    place: Place::Record,
                    key: "targets",
                    found: kind_in_list(&other),
                    expected: "objects into it, as {\"span1\": [0, 1], \"label\": \"NNS\"}",
                });
            }
        };
        let mut span = |key: &'static str| match object.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let Some(span) = range(&value) else {
                    return Err(RecordFault::Type {
                        place,
                        key,
                        found: kind(&value),
                        expected: SPAN,
                    });
                };
                let Range { start, end } = span;
                if start >= end {
                    return Err(RecordFault::EmptySpan {
                        target: place,
                        span: key,
                        start,
                        end,
                    });
                }
                if end > words {
                    return Err(RecordFault::SpanBeyond {
                        target: place,
                        span: key,
                        start,
                        end,
                        words,
                    });
                }
                Ok(Some(span))
            }
        };
        let span1 = span(SPAN1)?.ok_or(RecordFault::Missing {
            place,
            key: SPAN1,
            expected: SPAN,
        })?;
        let span2 = span(SPAN2)?;
        let labels = labels(&mut object, place)?;
        Ok(Self {
            span1,
            span2,
            labels,
            info: info(&mut object, place)?,
            rest: object,
        })
    }

    fn to_value(&self) -> Value {
        let mut object = Map::new();
        let span = |span: &Range<usize>| json!([span.start, span.end]);
        object.insert(SPAN1.to_owned(), span(&self.span1));
        if let Some(other) = &self.span2 {
            object.insert(SPAN2.to_owned(), span(other));
        }
        let labels = match &self.labels {
            Labels::One(label) => label.as_str().into(),
            Labels::Several(labels) => labels.as_slice().into(),
        };
        object.insert("label".to_owned(), labels);
        put_info(&mut object, self.info.as_ref());
        object.extend(self.rest.clone());
        object.into()
    }
}

const SPAN1: &str = "span1";
const SPAN2: &str = "span2";
const SPAN: &str =
    "[START, END] with two whole numbers: the first word, from 0, and the word behind the last";

fn text(object: &mut Map<String, Value>, place: Place) -> Result<String, RecordFault> {
    let (key, expected) = ("text", "the words with a space between them");
    match object.remove(key) {
        Some(Value::String(text)) => Ok(text),
        None => Err(RecordFault::Missing {
            place,
            key,
            expected,
        }),
        Some(other) => Err(RecordFault::Type {
            place,
            key,
            found: kind(&other),
            expected,
        }),
    }
}

fn labels(object: &mut Map<String, Value>, place: Place) -> Result<Labels, RecordFault> {
    let (key, expected) = (
        "label",
        "a label in quotes, or a list of such labels (an empty one where none applies)",
    );
    let wrong = |found| RecordFault::Type {
        place,
        key,
        found,
        expected,
    };
    match object.remove(key) {
        None => Err(RecordFault::Missing {
            place,
            key,
            expected,
        }),
        Some(Value::String(label)) => Ok(Labels::One(label)),
        Some(Value::Array(labels)) => {
            let labels = labels.into_iter().map(|label| match label {
                Value::String(label) => Ok(label),
                other => Err(wrong(kind_in_list(&other))),
            });
            Ok(Labels::Several(labels.collect::<Result<_, _>>()?))
        }
        Some(other) => Err(wrong(kind(&other))),
    }
}

fn info(
    object: &mut Map<String, Value>,
    place: Place,
) -> Result<Option<Map<String, Value>>, RecordFault> {
    match object.remove("info") {
        None => Ok(None),
        Some(Value::Object(info)) => Ok(Some(info)),
        Some(other) => Err(RecordFault::Type {
            place,
            key: "info",
            found: kind(&other),
            expected: "an object, or leave it out",
        }),
    }
}

fn put_info(object: &mut Map<String, Value>, info: Option<&Map<String, Value>>) {
    if let Some(info) = info {
        object.insert("info".to_owned(), info.clone().into());
    }
}

/// `[start, end]`.
fn range(value: &Value) -> Option<Range<usize>> {
    let [start, end] = value.as_array()?.as_slice() else {
        return None;
    };
    let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
    Some(number(start)?..number(end)?)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list of something else",
        Value::Object(_) => "an object",
    }
}

fn kind_in_list(value: &Value) -> &'static str {
    match value {
        Value::Null => "a list with null in it",
        Value::Bool(_) => "a list with true or false in it",
        Value::Number(_) => "a list with a number in it",
        Value::String(_) => "a list with a text in it",
        Value::Array(_) => "a list with a list in it",
        Value::Object(_) => "a list with an object in it",
    }
}
