//! Records of labelled spans: what is read, and what is refused.
#![allow(
    clippy::unwrap_used,
    reason = "what fails in a test's own helper fails the test"
)]

use std::fs;
use std::path::PathBuf;

use bertology_data::edge::{LabelCounts, Labels, Record, Records, Vocabulary, WrittenText};
use bertology_data::{DataError, ReadOptions};
use tempfile::TempDir;

pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

pub(crate) fn read(text: &str) -> Result<Vec<Record>, DataError> {
    let place = Place::new();
    Records::new(&place.write("a.jsonl", text))
        .open()?
        .collect()
}

#[track_caller]
fn refused(text: &str, line: u64, parts: &[&str]) {
    let error = read(text).unwrap_err().to_string();
    assert!(
        error.contains(&format!("a.jsonl, line {line}: ")),
        "{error}"
    );
    for part in parts {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

/// One record a task, as the tools that make OntoNotes' write them, with keys of their own.
pub(crate) const TASKS: &str = r#"{"text":"Rivers carve deep valleys .","targets":[{"span1":[0,1],"label":"NNS","info":{"height":1}},{"span1":[4,5],"label":".","info":{"height":1}}],"info":{"document_id":"bc/cctv/00/cctv_0000","sentence_id":3}}
{"text":"Rivers carve deep valleys .","targets":[{"span1":[0,5],"label":"S","info":{"height":4}}],"info":{"source":"toy-const"},"preds":{"proba":[0.25,NaN]}}
{"text":"Anna told Tom","targets":[{"span1":[0,1],"label":"PERSON"}]}
"#;
pub(crate) const TWO_SPANS: &str = r#"{"text":"Maria Lopez joined Siemens","targets":[{"span1":[2,3],"span2":[0,2],"label":"ARG0"}],"info":{"source":"toy-srl"}}
{"text":"The storm destroyed the old barn .","targets":[{"span1":[2,3],"span2":[3,6],"label":["change_of_state","existed_before"],"span1_text":"destroyed"},{"span1":[2,3],"span2":[0,2],"label":[]}]}
"#;

#[test]
fn records_come_back_as_they_were() {
    for text in [TASKS, TWO_SPANS] {
        let records = read(text).unwrap();
        let lines: Vec<String> = records.iter().map(Record::to_line).collect();
        assert_eq!(lines.join("\n") + "\n", text);
    }
    let records = read(TWO_SPANS).unwrap();
    let target = &records[1].targets[0];
    assert_eq!(
        (target.span1.clone(), target.span2.clone()),
        (2..3, Some(3..6))
    );
    assert_eq!(
        target.labels.set().into_iter().collect::<Vec<_>>(),
        ["change_of_state", "existed_before"]
    );
    assert_eq!(target.rest["span1_text"], "destroyed");
    assert_eq!(
        (target.distance(), records[1].targets[1].distance()),
        (0, 0)
    );
    assert!(records[1].targets[1].labels.set().is_empty());
    assert_eq!(records[0].line, 1);
}

#[test]
fn distances_are_words_between() {
    let one = r#"{"text":"a b c d e","targets":[{"span1":[0,1],"span2":[3,5],"label":"x"},{"span1":[3,5],"span2":[0,1],"label":"x"},{"span1":[0,3],"span2":[1,2],"label":"x"}]}"#;
    let record = &read(one).unwrap()[0];
    let found: Vec<usize> = record
        .targets
        .iter()
        .map(|target| target.distance())
        .collect();
    assert_eq!(found, [2, 2, 0]);
}

#[test]
fn words_are_divided_as_python_divides_them() {
    let text = "{\"text\":\" a\\u00a0b\\u001cc\\u2003 d\\u200be \",\"targets\":[{\"span1\":[3,4],\"label\":\"x\"}]}";
    let record = &read(text).unwrap()[0];
    assert_eq!(
        record.words().collect::<Vec<_>>(),
        ["a", "b", "c", "d\u{200b}e"]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_target() {
    let good = r#"{"text":"a b","targets":[{"span1":[0,1],"label":"x"}]}"#;
    let with = |target: &str| {
        format!(
            "{good}\n\n{{\"text\":\"a b c\",\"targets\":[{{\"span1\":[0,1],\"label\":\"x\"}},{target}]}}\n"
        )
    };
    for (target, parts) in [
        (
            r#"{"span1":[1,1],"label":"x"}"#,
            &["span1 [1, 1] of target 2 is empty", "[1, 2]"][..],
        ),
        (r#"{"span1":[2,1],"label":"x"}"#, &["ends before it begins"]),
        (
            r#"{"span1":[2,4],"label":"x"}"#,
            &["beyond the text", "3 words"],
        ),
        (
            r#"{"span1":[-1,1],"label":"x"}"#,
            &["`span1` of target 2 is a list of something else"],
        ),
        (r#"{"span1":[0,1.5],"label":"x"}"#, &["two whole numbers"]),
        (r#"{"span1":[0],"label":"x"}"#, &["two whole numbers"]),
        (r#"{"span1":"0-1","label":"x"}"#, &["is a text"]),
        (r#"{"label":"x"}"#, &["target 2 has no `span1`"]),
        (r#"{"span1":[0,1]}"#, &["target 2 has no `label`"]),
        (
            r#"{"span1":[0,1],"label":1}"#,
            &["`label` of target 2 is a number", "in quotes"],
        ),
        (
            r#"{"span1":[0,1],"label":["x",2]}"#,
            &["a list with a number in it"],
        ),
        (
            r#"{"span1":[0,1],"label":null}"#,
            &["`label` of target 2 is null"],
        ),
        (
            r#"{"span1":[0,1],"label":"x","info":3}"#,
            &["`info` of target 2 is a number"],
        ),
        (
            r#"{"span1":[0,1],"span2":[0,9],"label":"x"}"#,
            &["span2 [0, 9] of target 2"],
        ),
        (
            r#"{"span1":[0,1],"span2":[0,1],"label":"x"}"#,
            &["target 2 has two spans"],
        ),
        (
            r#"[0,1]"#,
            &["`targets` of the record is a list with a list in it"],
        ),
        (
            r#"{"span1":[18446744073709551615,18446744073709551615],"label":"x"}"#,
            &["is empty"],
        ),
        (
            r#"{"span1":[0,99999999999999999999],"label":"x"}"#,
            &["two whole numbers"],
        ),
    ] {
        refused(&with(target), 3, parts);
    }
    for (record, parts) in [
        ("{\"text\":\"a", &["not a JSON object"][..]),
        ("[1]", &["it is a list"]),
        ("3", &["it is a single value"]),
        (r#"{"targets":[]}"#, &["the record has no `text`"]),
        (
            r#"{"text":["a"],"targets":[]}"#,
            &["`text` of the record is a list"],
        ),
        (
            r#"{"text":"a","targets":{}}"#,
            &["`targets` of the record is an object"],
        ),
        (
            r#"{"text":"a","targets":[],"info":[]}"#,
            &["`info` of the record"],
        ),
        (
            r#"{"text":"a","targets":[{"span1":[0,1],"span2":[0,1],"label":"x"}]}"#,
            &["target 1 has two spans"],
        ),
    ] {
        refused(&format!("{good}\n{record}\n"), 2, parts);
    }
    // Deep nesting is no way to bring the reader down.
    let deep = format!(
        "{good}\n{{\"text\":\"a\",\"x\":{}1{}}}",
        "[".repeat(9999),
        "]".repeat(9999)
    );
    refused(&deep, 2, &["recursion limit"]);
}

#[test]
fn records_without_targets_are_counted_and_passed_over() {
    let place = Place::new();
    let text = "{\"text\":\"a\",\"targets\":[]}\n{\"text\":\"\"}\n{\"text\":\"a b\",\"targets\":[{\"span1\":[0,1],\"label\":[\"x\",\"x\",\"y\"]},{\"span1\":[0,1],\"label\":[]}]}\n";
    let mut reader = Records::new(&place.write("a.jsonl", text)).open().unwrap();
    assert_eq!(reader.by_ref().count(), 1);
    let info = reader.finish().unwrap();
    let counts = info.counts;
    assert_eq!((counts.records, counts.without_targets), (1, 2));
    assert_eq!((counts.words, counts.targets), (2, 2));
    assert_eq!((counts.unlabelled, counts.several_labels), (1, 1));
    assert_eq!(info.bytes, text.len() as u64);

    let nothing = read("{\"text\":\"a\"}\n{\"text\":\"b\",\"targets\":null}\n").unwrap_err();
    assert!(
        nothing.to_string().contains("not one of the 2 records"),
        "{nothing}"
    );
    assert!(matches!(
        read("\n\n").unwrap_err(),
        DataError::EmptyFile { .. }
    ));
}

#[test]
fn a_limit_a_long_line_and_one_span() {
    let place = Place::new();
    let path = place.write("a.jsonl", TASKS);
    let options = ReadOptions {
        limit: Some(2),
        ..ReadOptions::default()
    };
    let records = Records::new(&path).with_options(options);
    assert_eq!(records.open().unwrap().count(), 2);
    let options = ReadOptions {
        max_line_bytes: 100,
        ..ReadOptions::default()
    };
    let long = Records::new(&path)
        .with_options(options)
        .open()
        .unwrap()
        .next();
    assert!(matches!(
        long,
        Some(Err(DataError::LineTooLong { line: 1, .. }))
    ));
    // A task of one span ignores the second, and keeps it.
    let mixed = format!("{TASKS}{TWO_SPANS}");
    let records = Records::new(&place.write("b.jsonl", &mixed)).with_one_span();
    let records: Vec<Record> = records.open().unwrap().collect::<Result<_, _>>().unwrap();
    assert!(
        records
            .iter()
            .flat_map(|r| &r.targets)
            .all(|target| target.span2.is_none())
    );
    assert_eq!(
        records[3].targets[0].rest["span2"],
        serde_json::json!([0, 2])
    );
}

#[test]
fn a_vocabulary_is_sorted_and_says_what_it_has_not() {
    let mut train = LabelCounts::default();
    let mut dev = LabelCounts::default();
    read(TASKS)
        .unwrap()
        .iter()
        .for_each(|record| train.add(record));
    for label in ["NNS", "JJ", "JJ"] {
        dev.add_labels(&Labels::One(label.to_owned()));
    }
    let vocabulary = Vocabulary::new(train.labels());
    assert_eq!(vocabulary.names(), [".", "NNS", "PERSON", "S"]);
    assert_eq!(
        (vocabulary.index("NNS"), vocabulary.index("JJ")),
        (Some(1), None)
    );
    assert_eq!(dev.unseen(&vocabulary).collect::<Vec<_>>(), [("JJ", 2)]);
    let union = Vocabulary::new(train.labels().chain(dev.labels()));
    assert_eq!((union.len(), dev.unseen(&union).count()), (5, 0));
}

#[test]
fn the_text_as_it_was_written_is_kept_and_checked() {
    let mut record = Record::of_words(["do", "n't", "stop"]);
    assert_eq!(record.written().unwrap(), None);
    let written = WrittenText {
        text: "don't stop".to_owned(),
        words: vec![0..2, 2..5, 6..10],
    };
    record.set_written(&written);
    assert_eq!(record.written().unwrap(), Some(written.clone()));
    for words in [
        vec![0..2, 2..5],
        vec![0..2, 1..5, 6..10],
        vec![0..2, 2..5, 6..11],
        vec![0..2, 2..2, 6..10],
    ] {
        record.set_written(&WrittenText {
            words,
            ..written.clone()
        });
        assert!(record.written().is_err());
    }
    record.note("raw", 3);
    assert!(
        record
            .written()
            .unwrap_err()
            .to_string()
            .contains("`info.raw`")
    );
}
