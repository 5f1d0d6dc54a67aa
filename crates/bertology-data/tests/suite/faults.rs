//! Every bad input, and the message it gets.

use bertology_data::{Columns, DataError, ReadOptions, Source, Split, Task};

use crate::Fixture;

/// The message of a GLUE file that must be refused, without its folder.
fn glue(task: Task, content: impl AsRef<[u8]>) -> String {
    let fixture = Fixture::new("train.tsv", content);
    message(
        &fixture,
        fixture
            .glue(task, Split::Train)
            .expect_err("the file must be refused"),
    )
}

fn table(name: &str, content: impl AsRef<[u8]>, columns: Columns) -> String {
    let fixture = Fixture::new(name, content);
    message(
        &fixture,
        fixture
            .table(columns)
            .expect_err("the file must be refused"),
    )
}

fn message(fixture: &Fixture, error: DataError) -> String {
    let folder = format!("{}/", fixture.folder().display());
    let text = error.to_string();
    assert!(
        text.contains(&folder),
        "the message names the file with its folder: {text}"
    );
    text.replace(&folder, "")
}

fn labelled() -> Columns {
    Columns::text("text").with_label("label")
}

#[test]
fn wrong_number_of_columns() {
    assert_eq!(
        glue(Task::Mrpc, "a\tb\tc\td\te\n1\t1\t2\tx\ty\n0\t1\t2\tx\n"),
        "train.tsv, line 3: 4 columns, expected 5 (as in the header); check for a missing field or \
         a separator inside a text"
    );
    assert!(
        glue(Task::Sst2, "sentence\tlabel\na\tb\t1\n")
            .starts_with("train.tsv, line 2: 3 columns, expected 2")
    );
    assert_eq!(
        glue(Task::Cola, "gj\t1\t\tfine\ngj\t1\tno star\n"),
        "train.tsv, line 2: 3 columns, expected 4 (this file has no header and always that many); \
         check for a missing field or a separator inside a text"
    );
    assert!(table("a.csv", "text,label\na,b,c\n", labelled()).contains("line 2: 3 columns"));
    assert!(table("a.tsv", "text\tlabel\na\n", labelled()).contains("line 2: 1 column,"));
}

#[test]
fn the_file_of_another_task() {
    let text = glue(Task::Mrpc, "sentence\tlabel\nfine\t1\n");
    assert!(
        text.starts_with("train.tsv, line 1: 2 columns, expected at least 5"),
        "{text}"
    );
    assert!(text.contains("mrpc files"), "{text}");
}

#[test]
fn a_lost_header_would_lose_an_example() {
    assert_eq!(
        glue(Task::Sst2, "fine\t1\nbad\t0\n"),
        "train.tsv, line 1: the sst-2 file must start with a header, but column 1 holds the label \
         `1`; put the header back, or the first example would be lost"
    );
    let row = "1\tg\tf\ty\to\ts1\ts2\ta\tb\t4.2\n";
    assert!(glue(Task::StsB, row).contains("column 9 holds the label `4.2`"));
}

#[test]
fn empty_files_and_files_with_only_a_header() {
    for task in Task::ALL {
        for nothing in ["", "\n\n", "\u{feff}"] {
            assert!(
                glue(task, nothing).starts_with("train.tsv: the file is empty"),
                "{task}"
            );
        }
    }
    let header = "id\tquestion\tsentence\tlabel\n";
    assert_eq!(
        glue(Task::Qnli, header),
        "train.tsv: the file has only a header and no examples"
    );
    assert!(table("a.csv", "text,label\n\n", labelled()).contains("only a header"));
    assert!(table("a.tsv", "text\tlabel", labelled()).contains("only a header"));
    for name in ["a.csv", "a.tsv", "a.jsonl"] {
        assert!(table(name, "", labelled()).contains("the file is empty"));
    }
}

#[test]
fn a_qqp_file_of_short_rows_only() {
    let text = glue(Task::Qqp, "id\ta\tb\tq1\tq2\tlabel\nx\ty\n\nz\n");
    assert_eq!(
        text,
        "train.tsv: not one example could be read; all 3 rows were skipped, the first in line 2: 2 \
         columns where 6 are needed"
    );
}

#[test]
fn missing_columns_list_those_there_are() {
    for (name, content) in [
        ("a.tsv", "sent\tgold\nx\t1\n"),
        ("a.csv", "sent,gold\nx,1\n"),
    ] {
        assert_eq!(
            table(name, content, Columns::text("sent").with_label("label")),
            format!(
                "{name}: no label column `label`; the header has `sent`, `gold` (a zero-based \
                 number works too)"
            )
        );
    }
    assert!(table("a.tsv", "a\tb\nx\t1\n", Columns::text("2")).contains("no text column `2`"));
    assert!(
        table("a.tsv", "a\tb\nx\t1\n", Columns::text("a").with_pair("c"))
            .contains("no pair column `c`")
    );
    assert_eq!(
        table("a.csv", "a,b,a\nx,y,z\n", Columns::text("a")),
        "a.csv: the header has 2 columns named `a`; name the text column by its zero-based number \
         instead"
    );
}

#[test]
fn overlong_lines() {
    let long = "x".repeat((1 << 20) - 1);
    let text = glue(Task::Sst2, format!("sentence\tlabel\nfine\t1\n{long}\t1\n"));
    assert!(
        text.starts_with("train.tsv, line 3: longer than 1048576 bytes"),
        "{text}"
    );

    // Exactly the limit passes, with every kind of line end; one byte more does not.
    for end in ["\n", "\r\n", ""] {
        for (length, passes) in [(8, true), (9, false)] {
            let content = format!("sent\tlab\n{}\t1{end}", "x".repeat(length - 2));
            let fixture = Fixture::new("train.tsv", content);
            let source = Source::glue(fixture.folder(), Task::Sst2, Split::Train).unwrap();
            let options = ReadOptions {
                limit: None,
                max_line_bytes: 8,
            };
            assert_eq!(
                source.with_options(options).load().is_ok(),
                passes,
                "{length} {end:?}"
            );
        }
    }

    // An endless quoted field is stopped too, and its first line is named.
    let endless = format!("text,label\nfine,1\n\"{}", "word\n".repeat(1 << 18));
    assert!(table("a.csv", endless, labelled()).starts_with("a.csv, line 3: longer than"));
}

#[test]
fn bytes_that_are_not_utf8_text() {
    assert_eq!(
        glue(Task::Sst2, b"sentence\tlabel\nfine\t1\ncaf\xe9\t1\n"),
        "train.tsv, line 3: not UTF-8 from byte 4 of the line on; convert the file, for example \
         with `iconv -f LATIN1 -t UTF-8` or `iconv -f UTF-16 -t UTF-8`"
    );
    let utf16: Vec<u8> = "text\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(
        table("a.tsv", utf16, Columns::text("text"))
            .starts_with("a.tsv, line 1: a NUL byte at byte 2 of the line")
    );
}

#[test]
fn quotes_that_csv_does_not_allow() {
    assert_eq!(
        table("a.csv", "text,label\nx,1\n\"open,0\ny,1\n", labelled()),
        "a.csv, line 3: the quoted field in column 0 is never closed; write a quote inside a quoted \
         field twice (if quotes are plain text here, the file is a TSV)"
    );
    for row in ["a 5\" pipe,1", "\"a\" pipe,1", "x,\"1\"2"] {
        let text = table("a.csv", format!("text,label\n{row}\n"), labelled());
        assert!(
            text.starts_with("a.csv, line 2: a quote inside column "),
            "{row}: {text}"
        );
    }
}

#[test]
fn json_lines_faults() {
    let check = |line: &str, expected: &str| {
        let content = format!("{{\"text\":\"a\",\"label\":1}}\n{line}\n");
        let text = table("a.jsonl", content, labelled());
        assert!(
            text.starts_with(&format!("a.jsonl, line 2: {expected}")),
            "{line}: {text}"
        );
    };
    check(
        "{\"text\":",
        "not a JSON object: EOF while parsing a value at column 8; write one",
    );
    check("[1]", "not a JSON object: found an array");
    check(
        "{\"text\":\"a\",\"gold\":1}",
        "no label key `label`; the object has `text`, `gold`",
    );
    check(
        "{\"text\":3,\"label\":1}",
        "the text `text` is a number, expected a string",
    );
    check(
        "{\"text\":\"a\",\"label\":null}",
        "the label `label` is null, expected a string or a",
    );
    check(
        "{\"text\":\"a\",\"label\":[true]}",
        "the label `label` is an array, expected a string",
    );
    check("{\"text\":\"a\",\"label\":\"\"}", "the label is empty");
}

#[test]
fn missing_files_list_what_was_tried() {
    let fixture = Fixture::new("README", "");
    let folder = fixture.folder().display();
    let error = fixture
        .glue(Task::MnliMismatched, Split::Dev)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!(
            "no dev file of mnli-mm found; tried {folder}/dev_mismatched.tsv, \
             {folder}/MNLI/dev_mismatched.tsv, {folder}/mnli/dev_mismatched.tsv; give the task's \
             folder or the GLUE folder above it, or another split"
        )
    );
    let error = fixture
        .glue(Task::Mrpc, Split::Train)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/MRPC/msr_paraphrase_train.txt"), "{error}");

    let error = Source::glue(fixture.file(), Task::Mrpc, Split::Dev).unwrap_err();
    assert!(matches!(error, DataError::NotAFolder { .. }));
    assert!(
        error
            .to_string()
            .contains("is a file, but GLUE data is read from a folder")
    );
    let absent = fixture.folder().join("absent");
    let error = Source::glue(&absent, Task::Mrpc, Split::Dev).unwrap_err();
    assert!(
        error.to_string().contains("absent: no such folder"),
        "{error}"
    );

    let error = Source::table(&absent.join("a.tsv"), labelled())
        .unwrap()
        .load()
        .unwrap_err();
    assert!(
        error.to_string().contains("a.tsv: cannot read the file: "),
        "{error}"
    );
}

#[test]
fn requests_that_cannot_be_obeyed() {
    let error = "glue".parse::<Task>().unwrap_err().to_string();
    assert!(error.starts_with("unknown GLUE task `glue`; expected one of cola, mnli, mnli-mm,"));
    let error = "eval".parse::<Split>().unwrap_err().to_string();
    assert_eq!(error, "unknown split `eval`; expected train, dev or test");
    for name in ["a.json", "a", "a.xlsx"] {
        let fixture = Fixture::new(name, "x\n");
        let text = message(&fixture, fixture.table(labelled()).unwrap_err());
        assert!(
            text.starts_with(&format!("{name}: cannot tell the format")),
            "{text}"
        );
    }
    let fixture = Fixture::new("a.tsv", "text\nx\n");
    let source = Source::table(fixture.file(), Columns::text("text")).unwrap();
    let error = source.with_limit(Some(0)).load().unwrap_err();
    assert!(matches!(error, DataError::ZeroLimit));
}

#[test]
fn an_empty_label_is_refused() {
    assert!(glue(Task::Sst2, "sentence\tlabel\nfine\t\n").contains("line 2: the label is empty"));
}

#[test]
fn nothing_is_read_after_a_fault() {
    let fixture = Fixture::new("dev.tsv", "sentence\tlabel\nfine\t1\nbad\nfine\t1\n");
    let mut reader = Source::glue(fixture.folder(), Task::Sst2, Split::Dev)
        .unwrap()
        .open()
        .unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(matches!(
        reader.next(),
        Some(Err(DataError::ColumnCount { line: 3, .. }))
    ));
    assert!(reader.next().is_none());
}
