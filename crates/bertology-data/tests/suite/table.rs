//! Own data: TSV, CSV and JSON Lines.

use bertology_data::{Columns, DataError, GuessedHeader, Header, Source, TableFormat};
use proptest::prelude::*;

use crate::{Fixture, rows};

fn columns() -> Columns {
    Columns::text("text").with_pair("other").with_label("label")
}

#[test]
fn the_three_formats_say_the_same() {
    let expected = [("a, b", "say \"c\"", "yes", 2), ("d", "", "no", 3)];
    let tsv = "label\ttext\tother\nyes\ta, b\tsay \"c\"\nno\td\t\n";
    let csv = "label,text,other\r\nyes,\"a, b\",\"say \"\"c\"\"\"\r\nno,d,\r\n";
    for (name, content) in [("a.tsv", tsv), ("a.csv", csv), ("A.CSV", csv)] {
        assert_eq!(
            rows(&Fixture::new(name, content).table(columns()).unwrap()),
            expected,
            "{name}"
        );
    }
    let jsonl = "{\"text\": \"a, b\", \"other\": \"say \\\"c\\\"\", \"label\": \"yes\", \"x\": [1]}\n\
                 {\"label\":\"no\",\"other\":\"\",\"text\":\"d\"}";
    let data = Fixture::new("a.jsonl", jsonl).table(columns()).unwrap();
    let expected = [("a, b", "say \"c\"", "yes", 1), ("d", "", "no", 2)];
    assert_eq!(rows(&data), expected);
    assert_eq!(data.info.task, None);
}

#[test]
fn columns_by_number_and_without_label() {
    let fixture = Fixture::new("a.tsv", "id\t2\ttext\n7\tx\ty\n");
    assert_eq!(
        rows(&fixture.table(Columns::text("0")).unwrap()),
        [("7", "", "", 2)]
    );
    // A column that is named by a number is meant by its name.
    assert_eq!(
        rows(&fixture.table(Columns::text("2")).unwrap()),
        [("x", "", "", 2)]
    );
    let source = Source::table(fixture.file(), Columns::text("0")).unwrap();
    assert!(!source.has_labels());
    let source = Source::table_with_format(fixture.file(), TableFormat::Tsv, Columns::text("text"));
    assert_eq!(source.load().unwrap().examples[0].text, "y");
}

#[test]
fn json_labels_may_be_numbers() {
    let content =
        "{\"t\":\"a\",\"y\":1}\n\n{\"t\":\"b\",\"y\":2.5}\n{\"t\":\"\u{e9}\",\"y\":\"z\"}\n";
    let data = Fixture::new("a.ndjson", content)
        .table(Columns::text("t").with_label("y"))
        .unwrap();
    assert_eq!(
        rows(&data),
        [("a", "", "1", 1), ("b", "", "2.5", 3), ("é", "", "z", 4)]
    );
    assert_eq!(data.info.skipped.blank_lines, 1);
}

#[test]
fn quoted_csv_fields_may_hold_line_ends_and_lines_are_counted() {
    let content = "text,label\n\"one\r\ntwo\n\n\"\"three\"\"\",a\n\nlast,b\n";
    let data = Fixture::new("a.csv", content)
        .table(Columns::text("text").with_label("label"))
        .unwrap();
    assert_eq!(
        rows(&data),
        [
            ("one\r\ntwo\n\n\"three\"", "", "a", 2),
            ("last", "", "b", 7)
        ]
    );
    assert_eq!(data.info.skipped.first[0].line, 6);
}

#[test]
fn a_csv_header_may_be_quoted_and_rows_may_end_in_an_empty_field() {
    let content = "\"the, text\",\"label\"\nx,\"\"\n";
    let fixture = Fixture::new("a.csv", content);
    assert_eq!(
        rows(&fixture.table(Columns::text("the, text")).unwrap()),
        [("x", "", "", 2)]
    );
    let labelled = fixture.table(Columns::text("the, text").with_label("label"));
    assert!(matches!(
        labelled,
        Err(DataError::EmptyLabel { line: 2, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the `csv` crate writes we read back, whatever is in the fields.
    #[test]
    fn csv_written_by_others_is_read_back(
        table in prop::collection::vec(("[a\",\r\n \u{e9}]{0,12}", "[a\",\r\n]{0,12}"), 1..8)
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["text", "other"]).unwrap();
        for (text, other) in &table {
            writer.write_record([text, other]).unwrap();
        }
        let fixture = Fixture::new("a.csv", writer.into_inner().unwrap());
        let data = fixture.table(Columns::text("text").with_pair("other")).unwrap();
        let read: Vec<(String, String)> = data
            .examples
            .into_iter()
            .map(|example| (example.text, example.pair.unwrap()))
            .collect();
        prop_assert_eq!(read, table);
    }

    /// No bytes whatsoever make a reader panic.
    #[test]
    fn no_bytes_panic(
        bytes in prop::collection::vec(prop_oneof![
            Just(b'\t'), Just(b'\n'), Just(b'"'), Just(b','), Just(b'{'), Just(b'a'), any::<u8>()
        ], 0..200)
    ) {
        for name in ["a.tsv", "a.csv", "a.jsonl"] {
            let fixture = Fixture::new(name, &bytes);
            let _ = fixture.table(Columns::text("0").with_label("1"));
        }
        for task in bertology_data::Task::ALL {
            let fixture = Fixture::new("train.tsv", &bytes);
            let _ = fixture.glue(task, bertology_data::Split::Train);
        }
    }
}

#[test]
fn a_file_without_a_header_loses_no_row() {
    let rows_of = |name: &str, text: &str, columns: Columns| {
        let data = Fixture::new(name, text).table(columns).unwrap();
        let texts = data.examples.iter().map(|e| (e.text.clone(), e.line));
        (texts.collect::<Vec<_>>(), data.info.guessed_header)
    };
    let all = |first: u64| {
        let texts = [
            "The women faint .",
            "Women the faint .",
            "The doctors arrive .",
        ];
        let texts = texts.iter().zip(first..);
        texts.map(|(t, l)| ((*t).to_owned(), l)).collect::<Vec<_>>()
    };
    let numbers = Columns::text("1").with_label("0");
    let csv = "1,The women faint .\n0,Women the faint .\n1,The doctors arrive .\n";
    // Column 1 is the second, although the first row has a field `1`.
    let example = Some(GuessedHeader::Example);
    assert_eq!(rows_of("a.csv", csv, numbers.clone()), (all(1), example));
    let tsv = csv.replace(',', "\t");
    assert_eq!(rows_of("a.tsv", &tsv, numbers.clone()), (all(1), example));
    let said = numbers.clone().with_header(Header::Absent);
    assert_eq!(rows_of("a.csv", csv, said), (all(1), None));
    let said = numbers.clone().with_header(Header::Present);
    assert_eq!(rows_of("a.csv", csv, said).0.len(), 2);
    let with_header = format!("gold,satz\n{csv}");
    let header = Some(GuessedHeader::Header);
    assert_eq!(rows_of("a.csv", &with_header, numbers), (all(2), header));
}

#[test]
fn the_hash_of_a_file_without_a_header_is_that_of_the_file() {
    let text = "a b\t1\nc d\t0\n";
    let by = |columns: Columns| Fixture::new("a.tsv", text).table(columns).unwrap().info;
    let numbers = Columns::text("0").with_label("1");
    let guessed = by(numbers.clone());
    let said = by(numbers.with_header(Header::Present));
    assert_eq!((guessed.examples, said.examples), (2, 1));
    assert_eq!(guessed.sha256, said.sha256);
    assert_eq!(guessed.bytes, 12);
}

#[test]
fn where_nothing_tells_the_user_is_asked() {
    let fixture = Fixture::new("a.tsv", "a b\tx\nc d\ty\n");
    let numbers = Columns::text("0").with_label("1");
    let error = fixture.table(numbers.clone()).unwrap_err();
    assert!(matches!(error, DataError::HeaderUnclear { .. }), "{error}");
    assert!(error.to_string().contains("line 1 (`a b`, `x`)"), "{error}");
    let named = Columns::text("a b").with_header(Header::Absent);
    let error = fixture.table(named).unwrap_err().to_string();
    assert!(error.contains("columns are numbers from 0 to 1"), "{error}");
}

#[test]
fn a_separator_that_the_name_does_not_promise_is_named() {
    let tabs = "text\tlabel\na, b\t1\nc\t0\n";
    for (name, text, by_name, by_number) in [
        ("a.csv", tabs.to_owned(), "tabs", Some("tabs")),
        (
            "a.tsv",
            tabs.replace(", ", " ").replace('\t', ","),
            "commas",
            Some("commas"),
        ),
        (
            "a.csv",
            tabs.replace('\t', ";"),
            "semicolons",
            Some("semicolons"),
        ),
        ("a.tsv", tabs.replace('\t', "|"), "bars", Some("bars")),
    ] {
        let fixture = Fixture::new(name, &text);
        let named = Columns::text("text").with_label("label");
        let numbers = Columns::text("0").with_label("1");
        for (columns, expected) in [(named, Some(by_name)), (numbers, by_number)] {
            match fixture.table(columns) {
                Err(DataError::WrongSeparator { found, .. }) => {
                    assert_eq!(Some(found), expected, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
    // One column of texts with commas is one column.
    let texts = Fixture::new("a.tsv", "text\nwell, no\nyes, of course\n");
    assert_eq!(texts.table(Columns::text("text")).unwrap().len(), 2);
    assert_eq!(texts.table(Columns::text("0")).unwrap().len(), 2);
}

#[test]
fn labels_of_json_may_be_booleans() {
    let fixture = Fixture::new(
        "a.jsonl",
        "{\"t\":\"a\",\"y\":true}\n{\"t\":\"b\",\"y\":false}\n",
    );
    let data = fixture.table(Columns::text("t").with_label("y")).unwrap();
    assert_eq!(rows(&data), [("a", "", "true", 1), ("b", "", "false", 2)]);
}
