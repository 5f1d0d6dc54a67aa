//! What a reader hands out.

use bertology_data::conllu::{Boundary, EmptyNode, MultiwordToken, Treebank};
use bertology_data::{DataError, ReadOptions};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{documents, grammar, lines, message, path, read, sentence};
use crate::Fixture;

/// Two sentences with all that there is: ranges, empty nodes, comments, subtypes.
const FULL: &str = "\
# newdoc id = d1
# newpar
# sent_id = s1
# text = I don't like Ann's  cats.
# translation = egal
0.1\tPRO\t_\t_\t_\t_\t_\t_\t0:exroot\t_
1\tI\tI\tPRON\tPRP\tCase=Nom|Number=Sing\t4\tnsubj\t4:nsubj\tNote=x|Align=1
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\tSpaceAfter=No
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_
4\tlike\tlike\tVERB\tVB\t_\t0\troot\t_\t_
4.1\tx\t_\t_\t_\t_\t_\t_\t_\tA=b
4.2\t_\t_\t_\t_\t_\t_\t_\t_\t_
# a late remark
# text = not the text
5-6\tAnn's\t_\t_\t_\t_\t_\t_\t_\t_
5\tAnn\tAnn\tPROPN\tNNP\t_\t7\tnmod:poss\t_\t_
6\t's\t's\tPART\tPOS\t_\t5\tcase\t_\t_
7\tcats\tcat\tNOUN\tNNS\tNumber=Plur\t4\tobj\t_\tSpaceAfter=No
8\t.\t.\tPUNCT\t.\t_\t4\tpunct:sub\t_\t_

#sent_id=s2
1\t_\t_\tPUNCT\t_\t_\t0\troot\t_\t_
";

#[test]
fn words_ranges_and_empty_nodes() {
    let (sentences, info) = read(FULL).unwrap();
    let [first, second] = sentences.as_slice() else {
        panic!("two sentences");
    };
    assert_eq!(first.line, 1);
    assert_eq!(first.id.as_deref(), Some("s1"));
    assert_eq!(first.text.as_deref(), Some("I don't like Ann's  cats."));
    let named = Boundary {
        id: Some("d1".to_owned()),
    };
    assert_eq!(first.new_document, Some(named));
    assert_eq!(first.new_paragraph, Some(Boundary::default()));
    assert_eq!(first.len(), 8);
    assert_eq!(first.root(), Some(3));
    let heads: Vec<_> = first.words.iter().map(|word| word.head).collect();
    let at = Some;
    let expected = [at(3), at(3), at(3), None, at(6), at(4), at(3), at(3)];
    assert_eq!(heads, expected);
    assert_eq!(first.children(3).collect::<Vec<_>>(), [0, 1, 2, 6, 7]);
    assert_eq!(first.children(0).count(), 0);
    let spaces: Vec<_> = first.words.iter().map(|word| word.space_after).collect();
    let expected = [true, false, true, true, false, true, false, true];
    assert_eq!(spaces, expected, "the range's SpaceAfter counts");

    let word = &first.words[0];
    assert_eq!((word.form.as_str(), word.lemma.as_str()), ("I", "I"));
    assert_eq!((word.upos.as_str(), word.xpos.as_str()), ("PRON", "PRP"));
    assert_eq!(word.feature("Number"), Some("Sing"));
    assert_eq!(word.feature("Num"), None);
    assert_eq!(word.misc_value("Align"), Some("1"));
    assert_eq!(word.line, 7);
    assert_eq!(first.words[4].base_relation(), "nmod");
    assert_eq!(first.words[4].relation, "nmod:poss");
    assert_eq!(first.words[3].base_relation(), "root");
    let punctuation: Vec<_> = first.words.iter().map(|w| w.is_punctuation()).collect();
    assert_eq!(punctuation.iter().filter(|&&is| is).count(), 1);
    assert!(punctuation[7], "a subtype of punct is one");

    let range = |words, form: &str, line| MultiwordToken {
        words,
        form: form.to_owned(),
        space_after: true,
        misc: "_".to_owned(),
        line,
    };
    assert_eq!(
        first.ranges,
        [range(1..3, "don't", 8), range(4..6, "Ann's", 16)]
    );
    let empty = |after, form: &str, misc: &str, line| EmptyNode {
        after,
        form: form.to_owned(),
        misc: misc.to_owned(),
        line,
    };
    let expected = [
        empty(0, "PRO", "_", 6),
        empty(4, "x", "A=b", 12),
        empty(4, "_", "_", 13),
    ];
    assert_eq!(first.empty_nodes, expected);

    assert_eq!(second.id.as_deref(), Some("s2"));
    assert_eq!((second.line, second.words[0].line), (22, 23));
    assert_eq!(second.words[0].form, "_", "an underscore is a word");
    assert_eq!((second.text.as_deref(), second.root()), (None, Some(0)));
    assert_eq!(second.new_document, None);

    let counts = info.counts;
    assert_eq!(
        (counts.documents, counts.sentences, counts.words),
        (1, 2, 9)
    );
    assert_eq!((counts.punctuation, counts.underscores), (1, 1));
    assert_eq!((counts.multiword_tokens, counts.empty_nodes), (2, 3));
    assert_eq!((counts.one_word_sentences, counts.longest_sentence), (1, 8));
    assert_eq!(info.bytes, FULL.len() as u64);
}

#[test]
fn line_ends_and_marks_change_nothing() {
    let (plain, _) = read(FULL).unwrap();
    let crlf = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    let (read_back, info) = read(&crlf).unwrap();
    assert_eq!(read_back, plain);
    let digest = Sha256::digest(crlf.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(info.sha256, hex);
    assert_eq!(read(format!("{FULL}\n\n  \n")).unwrap().0, plain);
    assert_eq!(
        read(FULL.trim_end()).unwrap().0,
        plain,
        "nothing ends the last line"
    );
    let (later, _) = read(format!("# a licence\n\n\n{FULL}# the end\n")).unwrap();
    assert_eq!(later.len(), 2);
    assert_eq!(later[1].words[0].line, plain[1].words[0].line + 3);
}

#[test]
fn forms_may_hold_spaces() {
    let text = lines(&["1 10~000 0 root"]).replace('~', " ");
    assert_eq!(read(text).unwrap().0[0].words[0].form, "10 000");
}

#[test]
fn a_range_of_one_word_is_a_surface_form() {
    let sentence = sentence(&["1-1 teh", "1 the 0 root"]);
    assert_eq!(sentence.surface_tokens()[0].form, "teh");
}

#[test]
fn the_limit_stops_the_reading_but_not_the_hash() {
    let fixture = Fixture::new("a.conllu", FULL);
    let whole = read(FULL).unwrap().1;
    let treebank = Treebank::new(fixture.file()).with_limit(Some(1));
    let mut reader = treebank.open().unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().is_none() && reader.next().is_none());
    assert_eq!(reader.counts().words, 8);
    let info = reader.finish().unwrap();
    assert_eq!((info.sha256, info.bytes), (whole.sha256, whole.bytes));
    assert_eq!((info.limit, info.counts.sentences), (Some(1), 1));
    let zero = treebank.with_limit(Some(0)).open();
    assert!(matches!(zero, Err(DataError::ZeroLimit)));
}

#[test]
fn the_account_is_plain_data() {
    let (_, info) = read(FULL).unwrap();
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["words"], 9);
    assert_eq!(json["sha256"], info.sha256);
}

#[test]
fn documents_begin_at_newdoc() {
    let word = lines(&["1 a 0 root"]);
    let text = format!("{word}{word}# newdoc\n{word}# newdoc id = b\n{word}{word}");
    let found: Vec<_> = documents(&text)
        .unwrap()
        .into_iter()
        .map(|document| (document.id, document.sentences.len()))
        .collect();
    assert_eq!(found, [(None, 2), (None, 1), (Some("b".to_owned()), 2)]);

    let fixture = Fixture::new("a.conllu", &text);
    let treebank = Treebank::new(fixture.file()).with_limit(Some(2));
    let mut reader = treebank.open_documents().unwrap();
    assert_eq!(reader.by_ref().filter_map(Result::ok).count(), 2);
    let info = reader.finish().unwrap();
    assert_eq!((info.counts.documents, info.counts.sentences), (2, 3));
    assert_eq!(info.limit, Some(2));
}

#[test]
fn an_error_ends_the_iteration() {
    let good = lines(&["1 a 0 root"]);
    let fixture = Fixture::new("a.conllu", format!("{good}1 a\n\n{good}"));
    let mut reader = Treebank::new(fixture.file()).open().unwrap();
    assert!(reader.next().unwrap().is_ok());
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn a_sentence_may_not_outgrow_the_limit() {
    let text = lines(&["# sent_id = s", "1 a 2 dep", "2 b 0 root"]);
    let fixture = Fixture::new("a.conllu", &text);
    let read = |max_line_bytes| {
        let options = ReadOptions {
            max_line_bytes,
            ..ReadOptions::default()
        };
        let treebank = Treebank::new(fixture.file()).with_options(options);
        treebank.open().unwrap().collect::<Result<Vec<_>, _>>()
    };
    let words = text.len() - "# sent_id = s\n\n".len();
    assert!(read(words).is_ok());
    assert_eq!(
        message(&read(words - 1).unwrap_err()),
        format!(
            "a.conllu, line 2, sentence `s`: the sentence that begins here is longer than {} bytes; \
             a blank line must follow each sentence, else raise the limit",
            words - 1
        )
    );
    assert!(matches!(
        read(12).unwrap_err(),
        DataError::LineTooLong { line: 1, .. }
    ));
}

/// Counts by an independent program over the same file.
#[test]
fn the_grammar_corpus_is_read() {
    let mut reader = Treebank::new(&grammar()).open().unwrap();
    let mut acceptable = 0;
    for sentence in reader.by_ref() {
        let sentence = sentence.unwrap();
        let spans = sentence.written_text(&grammar()).unwrap();
        assert_eq!(Some(&spans.text), sentence.text.as_ref());
        acceptable += usize::from(sentence.new_document.is_some());
    }
    let counts = *reader.counts();
    assert_eq!(
        (acceptable, counts.documents, counts.sentences),
        (1000, 1000, 1000)
    );
    assert_eq!((counts.words, counts.punctuation), (10_273, 1000));
    assert_eq!(
        (counts.longest_sentence, counts.one_word_sentences),
        (20, 0)
    );
}

proptest! {
    /// Whatever is cut off, the rest is read or refused with its file, and all that can be asked of
    /// it is answered.
    #[test]
    fn every_prefix_is_read_or_refused(length in 0..=MESSY.len()) {
        check(&MESSY.as_bytes()[..length]);
    }

    /// The same with bytes changed.
    #[test]
    fn damage_is_read_or_refused(
        at in 0..MESSY.len(),
        byte in prop_oneof![Just(b'\t'), Just(b'\n'), Just(b'('), Just(b')'), Just(b'-'), b'0'..=b'9', any::<u8>()],
    ) {
        let mut bytes = MESSY.as_bytes().to_vec();
        bytes[at] = byte;
        check(&bytes);
    }
}

const MESSY: &str = "\
# newdoc id = d1
# global.Entity = eid-etype-head-other
# sent_id = s1
# text = I don't — \u{4f60}\u{597d} x.
0.1\tPRO\t_\t_\t_\t_\t_\t_\t0:exroot\tEntity=(e9-person-1)
1\tI\tI\tPRON\tPRP\tCase=Nom\t4\tnsubj\t4:nsubj\tEntity=(e1-person-1)(e2[1/2]-x-1
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVBP\t_\t4\taux\t_\tEntity=e2[1/2])(e3-person-2
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\tEntity=e3)
4\t\u{2014}\t_\tVERB\tVB\t_\t0\troot\t_\t_
4.1\tx\t_\t_\t_\t_\t_\t_\t_\tA=b
5-6\t\u{4f60}\u{597d}\t_\t_\t_\t_\t_\t_\t_\t_
5\tzai\tzai\tPROPN\tNNP\t_\t6\tnmod:poss\t_\t_
6\thao\thao\tPART\tPOS\t_\t4\tcase\t_\t_
7\tx\tx\tNOUN\tNNS\t_\t4\tobj\t_\tSpaceAfter=No
8\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# newdoc
1\t_\t_\tPUNCT\t_\t_\t0\troot\t_\tEntity=(e1--1)
";

fn check(bytes: &[u8]) {
    let sentences = read(bytes).map(|(sentences, _)| sentences);
    let documents = documents(bytes);
    match (&sentences, &documents) {
        (Ok(sentences), Ok(documents)) => {
            let grouped: usize = documents.iter().map(|d| d.sentences.len()).sum();
            assert_eq!(sentences.len(), grouped);
        }
        (Err(one), Err(other)) => assert_eq!(message(one), message(other)),
        _ => panic!("{sentences:?} but {documents:?}"),
    }
    for document in documents.unwrap_or_default() {
        if let Err(error) = document.mentions(path()) {
            message(&error);
        }
        for sentence in &document.sentences {
            assert_eq!(sentence.spaced_text().spans.len(), sentence.len());
            match sentence.written_text(path()) {
                Ok(written) => assert_eq!(written.spans.len(), sentence.len()),
                Err(error) => assert!(message(&error).starts_with("a.conllu, line ")),
            }
        }
    }
}
