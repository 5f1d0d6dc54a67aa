//! Going on from a place: what comes is the same, and what is before it is not read.

use std::fmt::Write;
use std::fs;

use bertology_data::conllu::Treebank;
use bertology_data::{Columns, DataError, Documents, ReadOptions, Source};

use super::Fixture;

const ROWS: usize = 20_000;
/// A file that was read to its end is compared in blocks of so many bytes; the first is read with a header.
const BLOCK: usize = 1 << 14;

/// Reads on from several places and compares.
fn goes_on(source: &Source) {
    let whole = source.load().expect("the file can be read");
    let count = whole.examples.len();
    assert!(count > 1000, "{count}");
    let content = fs::read(source.path()).expect("the file is there");
    for before in [1, count / 2, count - 1, count] {
        let mut reader = source.open().expect("the file can be opened");
        for example in reader.by_ref().take(before) {
            example.expect("the row is good");
        }
        assert_eq!(reader.examples(), before as u64);
        let place = reader.mark();
        let mut reader = source.open_at(&place).expect("the place can be found");
        let rest: Result<Vec<_>, _> = reader.by_ref().collect();
        assert_eq!(rest.expect("the rows are good"), whole.examples[before..]);
        assert_eq!(reader.finish().expect("the file is there"), whole.info);
        if before == count / 2 {
            // Nothing in the first quarter could be read.
            let mut broken = content.clone();
            broken[BLOCK..content.len() / 4].fill(0);
            fs::write(source.path(), &broken).expect("the file can be written");
            assert!(source.load().is_err());
            let reader = source.open_at(&place).expect("the place can be found");
            let rest: Result<Vec<_>, _> = reader.collect();
            assert_eq!(rest.expect("the rows are good"), whole.examples[before..]);
            // What could be read is another file's.
            broken[content.len() - 1] ^= 1;
            fs::write(source.path(), &broken).expect("the file can be written");
            let reader = source.open_at(&place).expect("the place can be found");
            let rest: Result<Vec<_>, _> = reader.collect();
            assert!(matches!(rest, Err(DataError::Changed { .. })) || whole.info.limit.is_some());
            fs::write(source.path(), &content).expect("the file can be written");
        }
    }
}

/// `row(number)` for every row.
fn file(name: &str, header: &str, row: impl Fn(usize) -> String) -> Fixture {
    let rows: String = (0..ROWS).map(row).collect();
    Fixture::new(name, format!("{header}{rows}"))
}

#[test]
fn plain_text_goes_on_by_lines_and_paragraphs() {
    let text = |at: usize| match at % 7 {
        0 => "\r\n".to_owned(),
        _ => format!("line {at} é\r\n"),
    };
    let fixture = file("text.txt", "\u{feff}", text);
    goes_on(&Source::lines(fixture.file()));
    let pairs = |at: usize| format!("one {at}\ntwo\n\n\n");
    let fixture = file("text.txt", "", pairs);
    goes_on(&Source::text(fixture.file(), Documents::Paragraphs));
    let records = |at: usize| format!(">{at} two lines\nMK{}\nL*\n", "A".repeat(at % 5));
    let fixture = file("proteins.faa", "", records);
    goes_on(&Source::text(fixture.file(), Documents::Fasta));
}

#[test]
fn tables_and_ids_go_on_and_the_limit_counts_what_is_before() {
    let columns = || Columns::text("text").with_label("label");
    let header = "text\tlabel\n";
    let fixture = file("own.tsv", header, |at| format!("text {at}\t{}\n", at % 3));
    let source = Source::table(fixture.file(), columns()).expect("a table");
    goes_on(&source);
    goes_on(&source.with_limit(Some(15_001)));
    let header = "text,label\n";
    let quoted = |at: usize| format!("\"a\nb {at}\",{}\n", at % 3);
    let fixture = file("own.csv", header, quoted);
    let source = Source::table(fixture.file(), columns()).expect("a table");
    goes_on(&source);
    let json = |at: usize| format!("{{\"text\": \"a {at}\", \"label\": {}}}\n", at % 3);
    let fixture = file("own.jsonl", "", json);
    let source = Source::table(fixture.file(), columns()).expect("a table");
    goes_on(&source);
    let ids = |at: usize| match at % 5 {
        0 => "# a comment\n".to_owned(),
        _ => format!("{at} 7 8\n"),
    };
    let fixture = file("ids.txt", "", ids);
    goes_on(&Source::token_ids(fixture.file()));
}

#[test]
fn only_the_buffer_is_read_where_there_is_no_header() {
    let fixture = file("text.txt", "", |at| format!("{at} {}\n", "x".repeat(300)));
    let source = Source::lines(fixture.file());
    let mut reader = source.open().expect("the file can be opened");
    assert_eq!(reader.by_ref().take(ROWS - 1).count(), ROWS - 1);
    let mut reader = source.open_at(&reader.mark()).expect("a place");
    assert_eq!(reader.by_ref().count(), 1);
    assert!(reader.bytes_read() < 1000, "{}", reader.bytes_read());
}

#[test]
fn treebanks_go_on_by_sentences_and_documents() {
    let mut text = "# global.Entity = eid-etype-head-other\n".to_owned();
    for at in 0..1500 {
        if at % 3 == 0 {
            writeln!(text, "# newdoc id = d{at}").expect("a string");
        }
        writeln!(
            text,
            "# sent_id = s{at}\n1\tw{at}\t_\tNOUN\t_\t_\t0\troot\t_\tEntity=(e{at}-person-1-x)\n"
        )
        .expect("a string");
    }
    let fixture = Fixture::new("own.conllu", &text);
    let treebank = Treebank::new(fixture.file()).with_options(ReadOptions {
        limit: Some(1400),
        ..ReadOptions::default()
    });
    let read = |reader: &mut dyn Iterator<Item = _>| {
        let sentences: Result<Vec<_>, _> = reader.collect();
        sentences.expect("the sentences are good")
    };
    let mut reader = treebank.open().expect("the file can be opened");
    let whole = read(&mut reader.by_ref());
    let info = reader.finish().expect("the file is there");
    let mut reader = treebank.open().expect("the file can be opened");
    assert_eq!(read(&mut reader.by_ref().take(700)).len(), 700);
    let place = reader.mark();
    let mut reader = treebank.open_at(&place).expect("a place");
    let rest = read(&mut reader.by_ref());
    assert_eq!(rest, whole[700..]);
    assert_eq!(reader.finish().expect("the file is there"), info);

    let treebank = treebank.with_limit(Some(450));
    let read = |reader: &mut dyn Iterator<Item = _>| {
        let documents: Result<Vec<_>, _> = reader.collect();
        documents.expect("the documents are good")
    };
    let mut reader = treebank.open_documents().expect("the file can be opened");
    let whole = read(&mut reader.by_ref());
    assert_eq!(whole.len(), 450);
    let info = reader.finish().expect("the file is there");
    let mut reader = treebank.open_documents().expect("the file can be opened");
    assert_eq!(read(&mut reader.by_ref().take(200)).len(), 200);
    let place = reader.mark();
    text.replace_range(..text.len() / 4, &"\0".repeat(text.len() / 4));
    let content = fs::read(fixture.file()).expect("the file is there");
    fs::write(fixture.file(), &text).expect("the file can be written");
    let mut reader = treebank.open_documents_at(&place).expect("a place");
    assert_eq!(read(&mut reader.by_ref()), whole[200..]);
    fs::write(fixture.file(), content).expect("the file can be written");
    assert_eq!(reader.finish().expect("the file is there"), info);
}
