//! JSON as Python's `json` module writes and reads it: `NaN`, `Infinity` and `-Infinity` are numbers there.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The three words, the longest first where one begins as another.
const WORDS: [(&str, f64); 3] = [
    ("-Infinity", f64::NEG_INFINITY),
    ("Infinity", f64::INFINITY),
    ("NaN", f64::NAN),
];

/// Begins the texts that stand for the words: a code point that is nobody's character.
const MARK: char = '\u{fdd0}';

/// Reads JSON in which numbers may be `NaN`, `Infinity` and `-Infinity`. JSON's numbers cannot hold them, so
/// they become marked texts: whoever wants a number or a text there asks [`python_float`] first.
///
/// # Errors
/// What is not JSON even so, as the parser says it.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&plain(bytes))
}

/// The number for which a value read by [`from_slice`] stands, if Python wrote one of the three there.
#[must_use]
pub fn python_float(value: &Value) -> Option<f64> {
    let word = value.as_str()?.strip_prefix(MARK)?;
    let found = WORDS.iter().find(|(name, _)| *name == word);
    found.map(|&(_, number)| number)
}

/// A value as a message shows it: JSON, with the words as Python writes them.
#[must_use]
pub fn shown(value: &Value) -> String {
    unmark(&value.to_string())
}

/// A value read by [`from_slice`], as Python would write it with `indent=2`.
///
/// # Errors
/// As [`serde_json::to_string_pretty`].
pub fn as_python_writes(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| unmark(&text))
}

/// The words in the place of the texts that stand for them: whole texts, and not what looks so within one.
fn unmark(text: &str) -> String {
    if !text.contains(MARK) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('"') {
        out.push_str(before);
        let mut escaped = false;
        let end = inside.find(|character| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        });
        let (content, after) = inside.split_at(end.unwrap_or(inside.len()));
        let word = content.strip_prefix(MARK);
        match WORDS.iter().find(|(name, _)| Some(*name) == word) {
            Some((name, _)) => out.push_str(name),
            None => {
                out.push('"');
                out.push_str(content);
                out.push_str(after.get(..1).unwrap_or_default());
            }
        }
        rest = after.get(1..).unwrap_or_default();
    }
    out + rest
}

/// The same bytes with marked texts for the words, outside of strings. Lines stay where they are.
fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !WORDS
        .iter()
        .any(|(word, _)| contains(bytes, word.as_bytes()))
    {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut rest = bytes;
    let mut in_text = false;
    while let Some((&first, after)) = rest.split_first() {
        let word = WORDS
            .iter()
            .find(|(word, _)| !in_text && rest.starts_with(word.as_bytes()));
        if let Some((word, _)) = word {
            out.extend_from_slice(format!("\"{MARK}{word}\"").as_bytes());
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        out.push(first);
        rest = after;
        match first {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                if let Some((&escaped, after)) = rest.split_first() {
                    out.push(escaped);
                    rest = after;
                }
            }
            _ => {}
        }
    }
    Cow::Owned(out)
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `json.dumps({"a": float("nan"), "b": [-float("inf"), float("inf"), 1], "c": "NaN \" NaN"}, indent=2)`.
    const PYTHON: &str = "{\n  \"a\": NaN,\n  \"b\": [\n    -Infinity,\n    Infinity,\n    1\n  ],\n  \
        \"c\": \"NaN \\\" NaN\"\n}";

    #[test]
    fn words_of_python_are_read_and_written() {
        let value: Value = from_slice(PYTHON.as_bytes()).unwrap();
        assert!(python_float(&value["a"]).unwrap().is_nan());
        assert_eq!(python_float(&value["b"][0]), Some(f64::NEG_INFINITY));
        assert_eq!(python_float(&value["b"][1]), Some(f64::INFINITY));
        assert_eq!(value["c"], "NaN \" NaN", "texts stay as they are");
        assert_eq!(python_float(&value["c"]), None);
        assert_eq!(python_float(&"NaN".into()), None, "a text of that name");
        assert_eq!(as_python_writes(&value).unwrap(), PYTHON);
        assert_eq!(shown(&value["b"]), "[-Infinity,Infinity,1]");
    }

    /// A text that ends as one of the marked ones, behind a quotation mark of its own.
    #[test]
    fn what_looks_like_a_word_within_a_text_stays_a_text() {
        let value = serde_json::json!(["x\"\u{fdd0}NaN", "\\", "\u{fdd0}NaN", "\u{fdd0}NaN\""]);
        let text = shown(&value);
        assert_eq!(
            text,
            "[\"x\\\"\u{fdd0}NaN\",\"\\\\\",NaN,\"\u{fdd0}NaN\\\"\"]"
        );
        assert_eq!(from_slice::<Value>(text.as_bytes()).unwrap(), value);
    }

    #[test]
    fn what_is_not_json_stays_an_error_in_its_line() {
        let error = from_slice::<Value>(b"{\n\"a\": NaN,\n\"b\": nan}").unwrap_err();
        assert_eq!(error.line(), 3);
        assert!(from_slice::<Value>(b"[NaNNaN]").is_err());
        assert!(matches!(plain(b"[1, 2]"), Cow::Borrowed(_)));
    }
}
