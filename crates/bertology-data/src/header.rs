//! Is the first line of a table its header, and which separator does the file really have?
//!
//! A table that is addressed by the numbers of its columns may come without a header. Its first rows tell;
//! where they do not, nobody but the user knows.

use std::collections::HashMap;

use serde::Serialize;

use crate::table::TableFormat;

/// Whether the first line of a TSV or CSV file names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Header {
    /// It does where a column is asked for by name; where all are asked for by number, the first rows decide.
    #[default]
    Guess,
    /// It does.
    Present,
    /// It does not: it is an example like the others.
    Absent,
}

/// What the first line of a table was taken for, where nobody had said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuessedHeader {
    /// The names of the columns.
    Header,
    /// An example.
    Example,
}

/// How many rows behind the first one are looked at.
pub(crate) const SAMPLE: usize = 64;

/// What columns of texts and labels are called, in lower case.
const NAMES: [&str; 33] = [
    "text",
    "texts",
    "sentence",
    "sentence1",
    "sentence2",
    "sentence_1",
    "sentence_2",
    "premise",
    "hypothesis",
    "question",
    "question1",
    "question2",
    "answer",
    "context",
    "passage",
    "review",
    "comment",
    "tweet",
    "document",
    "content",
    "body",
    "title",
    "utterance",
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "score",
    "rating",
    "gold_label",
    "is_duplicate",
];

/// A text of so many words is no name of a column.
const WORDS_OF_A_TEXT: usize = 4;

/// A label that the first of so many rows for each label does not have is a name.
const ROWS_PER_LABEL: usize = 4;

/// Tells whether `first` names the columns of `rest`; `None`: the rows do not tell.
pub(crate) fn guess(
    first: &[String],
    rest: &[Vec<String>],
    text: usize,
    label: Option<usize>,
) -> Option<GuessedHeader> {
    use GuessedHeader::{Example, Header};
    // As tables of columns without names are written.
    if first
        .iter()
        .enumerate()
        .all(|(at, name)| *name == at.to_string())
    {
        return Some(Header);
    }
    let number = |cell: &str| cell.trim().parse::<f64>().is_ok();
    let column = |at: usize| rest.iter().filter_map(move |row| row.get(at));
    if let Some(at) = label
        && let Some(own) = first.get(at)
        && (number(own) || column(at).any(|other| other == own))
    {
        return Some(Example);
    }
    let named = |cell: &String| NAMES.contains(&cell.trim().to_lowercase().as_str());
    if first.iter().any(named) {
        return Some(Header);
    }
    if let Some(at) = label
        && !rest.is_empty()
    {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for label in column(at) {
            *counts.entry(label).or_default() += 1;
        }
        if counts.keys().all(|label| number(label)) || rest.len() >= ROWS_PER_LABEL * counts.len() {
            return Some(Header);
        }
    }
    let words = |cell: &String| cell.split_whitespace().count();
    match first.get(text).map(words) {
        Some(WORDS_OF_A_TEXT..) => Some(Example),
        Some(1) if rest.len() >= ROWS_PER_LABEL && column(text).all(|cell| words(cell) > 1) => {
            Some(Header)
        }
        _ => None,
    }
}

/// Separators that a file may have in the place of the one that its name promises.
const SEPARATORS: [(char, &str); 4] = [
    ('\t', "tabs"),
    (',', "commas"),
    (';', "semicolons"),
    ('|', "bars"),
];

/// The separator that a file has, if the first line is but one field for the expected one.
///
/// `wanted` are the columns asked for.
pub(crate) fn other_separator(
    format: TableFormat,
    first: &[String],
    rest: &[Vec<String>],
    wanted: &[&str],
) -> Option<&'static str> {
    let [line] = first else { return None };
    let own = match format {
        TableFormat::Tsv => '\t',
        TableFormat::Csv => ',',
        TableFormat::Jsonl => return None,
    };
    let by_number = |name: &str| name.parse::<usize>().ok();
    SEPARATORS
        .iter()
        .filter(|(other, _)| *other != own && line.contains(*other))
        .find(|(other, _)| {
            let fields: Vec<&str> = line
                .split(*other)
                .map(|name| name.trim_matches('"'))
                .collect();
            let asked = |name: &&str| {
                fields.contains(name) || by_number(name).is_some_and(|at| at < fields.len())
            };
            let beyond = wanted.iter().any(|name| by_number(name) != Some(0));
            // In texts most of these are followed by a space, and lines differ in their number.
            let regular = rest.len() > 1
                && !line.contains(&format!("{other} "))
                && rest.iter().all(|row| match row.as_slice() {
                    [row] => row.matches(*other).count() + 1 == fields.len(),
                    _ => false,
                });
            wanted.iter().all(asked) && beyond || *other == '\t' || regular
        })
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        let row = |line: &str| line.split('\t').map(str::to_owned).collect();
        text.lines().map(row).collect()
    }

    #[track_caller]
    fn guessed(text: &str, label: Option<usize>) -> Option<GuessedHeader> {
        let rows = rows(text);
        guess(&rows[0], &rows[1..], 0, label)
    }

    #[test]
    fn labels_tell_a_header_from_an_example() {
        use GuessedHeader::{Example, Header};
        for (text, expected) in [
            ("a b\t1\nc d\t0", Some(Example)),
            ("a b\tyes\nc d\tno\ne f\tyes", Some(Example)),
            ("a b\t0.5\nc d\t1.5", Some(Example)),
            ("was\tist\nc d\t0\ne f\t1", Some(Header)),
            ("0\t1\na b\t0\nc d\t1", Some(Header)),
            ("Text\tnote\na b\tx\nc d\ty", Some(Header)),
            ("a b\tx\nc d\ty\ne f\tz", None),
            ("a fine long text\tx\nc d\ty\ne f\tz", Some(Example)),
            ("was\tist\nc d\ty\ne f\ty\ng h\ty\ni j\ty", Some(Header)),
        ] {
            assert_eq!(guessed(text, Some(1)), expected, "{text}");
        }
    }

    #[test]
    fn texts_alone_tell_less() {
        use GuessedHeader::{Example, Header};
        for (text, expected) in [
            ("sentence\na b\nc d", Some(Header)),
            ("one two three four\na b", Some(Example)),
            ("was\na b\nc d\ne f\ng h", Some(Header)),
            ("was\na b\nc\ne f\ng h", None),
            ("a b\na c", None),
        ] {
            assert_eq!(guessed(text, None), expected, "{text}");
        }
    }
}
