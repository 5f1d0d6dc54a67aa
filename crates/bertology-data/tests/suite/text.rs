//! Documents of plain text and rows of token ids.

use bertology_data::{DataError, Documents, ReadOptions, SkipReason, Source};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{Fixture, rows};

const TEXT: &str = "\u{feff}one  two \r\n\n   \nthree\nfour\n\t\n\n five";

fn texts(documents: Documents) -> (Vec<(String, u64)>, u64) {
    let fixture = Fixture::new("text.txt", TEXT);
    let data = Source::text(fixture.file(), documents)
        .load()
        .expect("the text can be read");
    assert_eq!(data.info.bytes, TEXT.len() as u64);
    let digest = Sha256::digest(TEXT.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(data.info.sha256, hex);
    let found = data.examples.iter().map(|e| (e.text.clone(), e.line));
    (found.collect(), data.info.skipped.blank_lines)
}

#[test]
fn lines_are_documents_as_they_stand() {
    let (found, blank) = texts(Documents::Lines);
    let expected = [("one  two ", 1), ("three", 4), ("four", 5), (" five", 8)];
    assert_eq!(found, expected.map(|(t, l)| (t.to_owned(), l)));
    assert_eq!(blank, 4);
}

#[test]
fn paragraphs_end_at_lines_of_white_space() {
    let (found, blank) = texts(Documents::Paragraphs);
    let expected = [("one  two ", 1), ("three\nfour", 4), (" five", 8)];
    assert_eq!(found, expected.map(|(t, l)| (t.to_owned(), l)));
    assert_eq!(blank, 0, "separators are nothing skipped");
}

#[test]
fn a_whole_file_is_what_python_reads() {
    let (found, blank) = texts(Documents::WholeFile);
    let text = TEXT.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    assert_eq!(found, [(text, 1)]);
    assert_eq!(blank, 0);
}

/// The first record is that of crambin (PDB 1CRN), as its file has it.
#[test]
fn records_of_fasta_are_their_residues() {
    let text = ">1CRN_1|Chain A|CRAMBIN|Crambe hispanica (3721)\nTTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN\n\
                ;an old comment\r\n>two\r\nMK TL\r\n\r\nLV*\r\n>three\nM-x";
    let fixture = Fixture::new("some.FASTA", text);
    assert_eq!(Documents::of_file(fixture.file()), Documents::Fasta);
    let data = Source::text(fixture.file(), Documents::Fasta).load();
    let crambin = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN";
    assert_eq!(
        rows(&data.expect("FASTA")),
        [
            (crambin, "", "", 1),
            ("MKTLLV", "", "", 4),
            ("M-x", "", "", 8)
        ]
    );
    for (text, wrong) in [
        ("MKTL\n>a\nMK\n", 1),
        (">a\nMK\n>b\n>c\nMK\n", 3),
        (">a\n*\n", 1),
    ] {
        let fixture = Fixture::new("wrong.fa", text);
        let error = Source::text(fixture.file(), Documents::Fasta).load();
        assert!(
            matches!(error, Err(DataError::Fasta { line, .. }) if line == wrong),
            "{error:?}"
        );
    }
    assert_eq!(Documents::of_file("a.txt".as_ref()), Documents::Lines);
}

#[test]
fn a_text_without_words_is_an_empty_file() {
    for documents in [
        Documents::Lines,
        Documents::Paragraphs,
        Documents::WholeFile,
        Documents::Fasta,
    ] {
        for text in ["", "\n", " \n\t\r\n\n"] {
            let fixture = Fixture::new("text.txt", text);
            let error = Source::text(fixture.file(), documents).load();
            assert!(
                matches!(error, Err(DataError::EmptyFile { .. })),
                "{error:?}"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_twice_is_refused() {
    let error = Source::lines("/dev/null".as_ref()).load();
    assert!(
        matches!(error, Err(DataError::NotAFile { .. })),
        "{error:?}"
    );
}

#[test]
fn limits_hold_for_documents() {
    let fixture = Fixture::new("text.txt", "ab\ncd\n\nef\ngh\n");
    let options = |limit, max_line_bytes| ReadOptions {
        limit,
        max_line_bytes,
    };
    let paragraphs = Source::text(fixture.file(), Documents::Paragraphs);
    let one = paragraphs.clone().with_limit(Some(1)).load();
    assert_eq!(rows(&one.expect("one paragraph")), [("ab\ncd", "", "", 1)]);
    let exact = paragraphs.clone().with_options(options(None, 5)).load();
    assert_eq!(exact.expect("5 bytes are allowed").len(), 2);
    let error = paragraphs.with_options(options(None, 4)).load();
    assert!(
        matches!(
            error,
            Err(DataError::DocumentTooLong {
                line: 1,
                limit: 4,
                ..
            })
        ),
        "{error:?}"
    );
    let lines = Source::lines(fixture.file()).with_options(options(None, 1));
    let error = lines.load();
    assert!(
        matches!(error, Err(DataError::LineTooLong { line: 1, .. })),
        "{error:?}"
    );
}

#[test]
fn token_ids_are_read_as_numpy_reads_them() {
    // numpy.loadtxt of the rectangular part gives [[0, 15, 3], [7, 7, 4294967295]].
    let text = "# made by a script\n0 15\t3\n\n  7 7   4294967295 # the end\n#\n42\r\n";
    let fixture = Fixture::new("ids.txt", text);
    let source = Source::token_ids(fixture.file());
    assert!(source.has_token_ids() && !source.has_labels());
    let data = source.load().expect("the ids can be read");
    let found: Vec<_> = data
        .examples
        .iter()
        .map(|e| (e.token_ids.clone().unwrap_or_default(), e.line))
        .collect();
    let expected = [
        (vec![0, 15, 3], 2),
        (vec![7, 7, u32::MAX], 4),
        (vec![42], 6),
    ];
    assert_eq!(found, expected);
    assert!(data.examples.iter().all(|e| e.text.is_empty()));
    let skipped = &data.info.skipped;
    assert_eq!((skipped.comments, skipped.blank_lines), (2, 1));
    assert_eq!(skipped.first[0].reason, SkipReason::Comment);
}

#[test]
fn every_value_must_be_a_token_id() {
    for (text, bad, place) in [
        ("1 2\n3 -4 5\n", "-4", (2, 2)),
        ("1.0 2\n", "1.0", (1, 1)),
        ("1 4294967296\n", "4294967296", (1, 2)),
        ("1, 2\n", "1,", (1, 1)),
        ("the cat\n", "the", (1, 1)),
    ] {
        let fixture = Fixture::new("ids.txt", text);
        match Source::token_ids(fixture.file()).load() {
            Err(DataError::NotATokenId {
                line,
                column,
                found,
                ..
            }) => assert_eq!(((line, column), found.as_str()), (place, bad)),
            other => panic!("{text}: {other:?}"),
        }
    }
    let fixture = Fixture::new("ids.txt", "# nothing\n\n# at all\n");
    match Source::token_ids(fixture.file()).load() {
        Err(DataError::AllSkipped { skipped, line, .. }) => assert_eq!((skipped, line), (3, 1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn long_documents_need_no_label_limit() {
    let fixture = Fixture::new(
        "text.jsonl",
        format!("{{\"text\": \"{}\"}}\n", "a ".repeat(1 << 20)),
    );
    let text = bertology_data::Columns::text("text");
    let data = fixture.table(text.clone()).expect("2 MiB of text");
    assert_eq!(data.examples[0].text.len(), 2 << 20);
    let error = fixture.table(text.with_label("label"));
    assert!(
        matches!(error, Err(DataError::LineTooLong { .. })),
        "{error:?}"
    );
}

proptest! {
    /// Whatever the bytes: no panic, and no document that is blank or in the wrong order.
    #[test]
    fn any_bytes_give_documents_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let fixture = Fixture::new("text.txt", &bytes);
        for documents in [Documents::Lines, Documents::Paragraphs, Documents::WholeFile, Documents::Fasta] {
            if let Ok(data) = Source::text(fixture.file(), documents).load() {
                prop_assert!(data.examples.iter().all(|e| !e.text.trim().is_empty()));
                prop_assert!(data.examples.windows(2).all(|w| w[0].line < w[1].line));
            }
        }
        if let Ok(data) = Source::token_ids(fixture.file()).load() {
            prop_assert!(data.examples.iter().all(|e| e.token_ids.as_ref().is_some_and(|i| !i.is_empty())));
        }
    }
}
