//! Corpora in forms of their own become records of labelled spans.
#![allow(
    clippy::unwrap_used,
    reason = "what fails in a test's own helper fails the test"
)]

use std::fs;
use std::path::Path;

use bertology_data::DataError;
use bertology_data::edge::convert::{
    Conversion, DependencyOptions, Punctuation, Root, SemEvalPart, Singletons, Subtypes, UdTask,
};
use bertology_data::edge::{Record, Records};
use proptest::prelude::*;

use crate::edge::{Place, TASKS, TWO_SPANS, read};

/// Three sentences, one with an empty node, and a multiword token.
const TREES: &str = "\
# newdoc id = d
# sent_id = s1
# text = She can't sing.
1\tShe\tshe\tPRON\tPRP\tCase=Nom|Number=Sing\t4\tnsubj\t_\tEntity=(e1-person-1)
2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_
2\tca\tcan\tAUX\tMD\tVerbForm=Fin\t4\taux\t_\t_
3\tn't\tnot\tPART\tRB\t_\t4\tadvmod:neg\t_\t_
4\tsing\tsing\tVERB\tVB\tVerbForm=Inf\t0\troot\t_\tSpaceAfter=No
5\t.\t.\tPUNCT\t.\t_\t4\tpunct\t_\t_

# sent_id = s2
# text = Mary likes her own dog
1\tMary\tMary\tPROPN\tNNP\tNumber=Sing\t2\tnsubj\t_\tEntity=(e1-person-1)
2\tlikes\tlike\tVERB\tVBZ\tNumber=Sing\t0\troot\t_\t_
2.1\tlikes\t_\t_\t_\t_\t_\t_\t_\t_
3\ther\ther\tPRON\tPRP$\tPoss=Yes\t5\tnmod:poss\t_\tEntity=(e2-animal-3(e1-person-1)
4\town\town\tADJ\tJJ\t_\t5\tamod\t_\t_
5\tdog\tdog\tNOUN\tNN\tNumber=Sing\t2\tobj\t_\tEntity=e2)

# sent_id = s3
1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_

";

fn convert(conversion: Result<Conversion, DataError>) -> Vec<Record> {
    conversion.unwrap().collect::<Result<_, _>>().unwrap()
}

/// `span1 span2 label`, a line a target.
fn shown(record: &Record) -> Vec<String> {
    let span = |span: &std::ops::Range<usize>| format!("{}-{}", span.start, span.end);
    let targets = record.targets.iter().map(|target| {
        let other = target.span2.as_ref().map(|other| span(other) + " ");
        let labels: Vec<&str> = target.labels.set().into_iter().collect();
        let (one, other) = (span(&target.span1), other.unwrap_or_default());
        format!("{one} {other}{}", labels.join("+"))
    });
    targets.collect()
}

#[test]
fn dependencies_are_a_target_a_word() {
    let place = Place::new();
    let path = place.write("a.conllu", TREES);
    let convert = |options| convert(Conversion::ud(&path, UdTask::Dependencies(options)));
    let records = convert(DependencyOptions::default());
    assert_eq!(records[0].text, "She ca n't sing .");
    assert_eq!(
        shown(&records[0]),
        [
            "0-1 3-4 nsubj",
            "1-2 3-4 aux",
            "2-3 3-4 advmod:neg",
            "3-4 3-4 root",
            "4-5 3-4 punct"
        ]
    );
    // Empty nodes and multiword tokens lose no sentence.
    assert_eq!(records.len(), 3);
    assert_eq!(shown(&records[2]), ["0-1 0-1 root"]);
    let written = records[0].written().unwrap().unwrap();
    assert_eq!(written.text, "She can't sing.");
    assert_eq!(written.words, [0..3, 4..6, 6..9, 10..14, 14..15]);
    assert_eq!(records[0].info.as_ref().unwrap()["sent_id"], "s1");

    let strict = convert(DependencyOptions {
        subtypes: Subtypes::Strip,
        root: Root::Drop,
        punctuation: Punctuation::Drop,
        published_faults: false,
    });
    assert_eq!(
        shown(&strict[0]),
        ["0-1 3-4 nsubj", "1-2 3-4 aux", "2-3 3-4 advmod"]
    );
    assert_eq!(strict.len(), 2, "a sentence without a target is left out");
    // They are read again as they were written.
    let lines: Vec<String> = records.iter().map(Record::to_line).collect();
    let again = read(&lines.join("\n")).unwrap();
    assert!(
        again
            .iter()
            .zip(&records)
            .all(|(a, b)| a.targets == b.targets && a.info == b.info)
    );
}

#[test]
fn the_faults_of_the_published_converter_can_be_had() {
    let place = Place::new();
    let options = DependencyOptions {
        published_faults: true,
        ..DependencyOptions::default()
    };
    let without_ranges = TREES.replace("2-3\tcan't\t_\t_\t_\t_\t_\t_\t_\t_\n", "");
    let without_ranges = without_ranges.replace("# text = She can't sing.\n", "");
    let path = place.write("a.conllu", &without_ranges);
    let mut conversion = Conversion::ud(&path, UdTask::Dependencies(options)).unwrap();
    // The second has an empty node, the third is the last.
    let records: Vec<Record> = conversion.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!(records.len(), 1);
    let left: Vec<_> = conversion.left_out().iter().collect();
    assert_eq!(
        left,
        [("sentences with empty nodes", 1), ("the last sentence", 1)]
    );
    let path = place.write("b.conllu", TREES);
    let mut conversion = Conversion::ud(&path, UdTask::Dependencies(options)).unwrap();
    let error = conversion.next().unwrap().unwrap_err().to_string();
    assert!(
        error.contains("b.conllu, line 5: the multiword token 2-3"),
        "{error}"
    );
}

#[test]
fn parts_of_speech_and_features() {
    let place = Place::new();
    let path = place.write("a.conllu", TREES);
    let first = |task| shown(&convert(Conversion::ud(&path, task))[0]);
    assert_eq!(
        first(UdTask::Xpos),
        ["0-1 PRP", "1-2 MD", "2-3 RB", "3-4 VB", "4-5 ."]
    );
    assert_eq!(first(UdTask::Upos)[4], "4-5 PUNCT");
    assert_eq!(
        first(UdTask::Features(None)),
        [
            "0-1 Case=Nom+Number=Sing",
            "1-2 VerbForm=Fin",
            "2-3 ",
            "3-4 VerbForm=Inf",
            "4-5 "
        ]
    );
    assert_eq!(
        first(UdTask::Features(Some("VerbForm".into()))),
        ["1-2 Fin", "3-4 Inf"]
    );
    for (task, part) in [
        (
            UdTask::Features(Some("Nothing".into())),
            "words without the feature: 11",
        ),
        (UdTask::Xpos, "words without XPOS: 1"),
        (UdTask::Features(None), "no word has a feature"),
    ] {
        let bare = match &task {
            UdTask::Features(Some(_)) => path.clone(),
            _ => place.write("b.conllu", "1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n\n"),
        };
        let failed = Conversion::ud(&bare, task)
            .unwrap()
            .collect::<Result<Vec<_>, _>>();
        let error = failed.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // Words are divided at white space again.
    let spaced = TREES
        .replace("\tdog\tdog", "\tdog\u{a0}s\tdog")
        .replace("own dog", "own dog\u{a0}s");
    let path = place.write("c.conllu", &spaced);
    let failed = Conversion::ud(&path, UdTask::Upos)
        .unwrap()
        .collect::<Result<Vec<_>, _>>();
    let error = failed.unwrap_err().to_string();
    assert!(
        error.contains("c.conllu, line 18: the form `dog\u{a0}s` holds white space"),
        "{error}"
    );
}

#[test]
fn coreference_is_a_target_a_pair_of_mentions() {
    let place = Place::new();
    let path = place.write("a.conllu", TREES);
    let records = convert(Conversion::coref(&path, Singletons::Keep));
    assert_eq!(
        records.len(),
        1,
        "the first sentence has one mention, the last none"
    );
    assert_eq!(shown(&records[0]), ["0-1 2-5 0", "0-1 2-3 1", "2-5 2-3 0"]);
    let records = convert(Conversion::coref(&path, Singletons::Drop));
    assert_eq!(shown(&records[0]), ["0-1 2-3 1"]);
    let bare = place.write("b.conllu", "1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n\n");
    let failed = Conversion::coref(&bare, Singletons::Keep).unwrap().next();
    let error = failed.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("sentences of fewer than two mentions: 1"),
        "{error}"
    );
}

/// Pairs grow with the square of what a file has.
#[test]
fn too_many_mentions_of_a_sentence_are_refused() {
    let place = Place::new();
    let mentions = |count| -> String { (0..count).map(|at| format!("(e{at}-x-1)")).collect() };
    let tree = |count| {
        format!(
            "1\ta\t_\t_\t_\t_\t0\troot\t_\tEntity={}\n\n",
            mentions(count)
        )
    };
    let path = place.write("a.conllu", &tree(300));
    let records = convert(Conversion::coref(&path, Singletons::Keep));
    assert_eq!(records[0].targets.len(), 300 * 299 / 2);
    let path = place.write("b.conllu", &tree(301));
    let failed = Conversion::coref(&path, Singletons::Keep).unwrap().next();
    let error = failed.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("b.conllu, line 1: the sentence has 301 mentions"),
        "{error}"
    );
}

const SEMEVAL: &str = "\
1\t\"The <e1>fire</e1> was caused by a faulty <e2>wire</e2>.\"\r
Cause-Effect(e2,e1)\r
Comment: plain\r
\r
2\t\"An \"odd\" <e2>art-work</e2>, a <e1>gift of gold</e1>\"\r
Other\r
Comment:\r
\r
17\t\"A<e1>b</e1>c<e2>d</e2> e\"\r
Other\r
";

#[test]
fn semeval_marks_words_with_their_punctuation() {
    let place = Place::new();
    let path = place.write("a.txt", SEMEVAL);
    let records = convert(Conversion::semeval(&path, SemEvalPart::All));
    assert_eq!(records[0].text, "The fire was caused by a faulty wire.");
    assert_eq!(shown(&records[0]), ["1-2 7-8 Cause-Effect(e2,e1)"]);
    assert_eq!(
        records[0].targets[0].info.as_ref().unwrap()["comment"],
        "plain"
    );
    assert_eq!(records[1].text, "An \"odd\" art-work, a gift of gold");
    assert_eq!(shown(&records[1]), ["4-7 2-3 Other"]);
    assert_eq!(
        shown(&records[2]),
        ["0-1 0-1 Other"],
        "marks within one word"
    );
    assert_eq!(records[2].info.as_ref().unwrap()["id"], 17);
    for (text, part) in [
        ("1\tThe <e1>a</e1> <e2>b</e2>\nOther\n", "line 1: `1\tThe"),
        (
            "1\t\"<e1>a</e1> b\"\nOther\n",
            "line 1: <e2> and </e2> must stand once",
        ),
        ("1\t\"<e1></e1> <e2>b</e2>\"\nOther\n", "line 1: <e1>"),
        ("1\t\"</e1>a<e1> <e2>b</e2>\"\nOther\n", "line 1: <e1>"),
        (
            "1\t\"<e1>a</e1> <e2>b</e2>\"\n\nOther\n",
            "line 2: `` is not the relation",
        ),
        (
            "1\t\"<e1>a</e1> <e2>b</e2>\"\nOther\n2\t\"x\"\n",
            "line 3: `2\t\"x\"` is not a comment",
        ),
        ("\n", "nothing of this file became a record (it is empty)"),
    ] {
        let path = place.write("b.txt", text);
        let failed = Conversion::semeval(&path, SemEvalPart::All).unwrap();
        let error = failed
            .collect::<Result<Vec<_>, _>>()
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

/// Of `random.Random(42)`: of eight numbers the sixth to eighth are 0.677, 0.892 and 0.087.
#[test]
fn semeval_is_divided_by_pythons_generator() {
    let place = Place::new();
    let example = |id: u64| format!("{id}\t\"<e1>a</e1> <e2>b</e2>\"\nOther\nComment:\n\n");
    let text: String = (1..=8).map(example).collect();
    let path = place.write("a.txt", &text);
    let ids = |part| -> Vec<u64> {
        let records = convert(Conversion::semeval(&path, part));
        records
            .iter()
            .map(|record| record.info.as_ref().unwrap()["id"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(ids(SemEvalPart::Dev), [7]);
    assert_eq!(ids(SemEvalPart::Train), [1, 2, 3, 4, 5, 6, 8]);
}

#[test]
fn the_first_proto_roles_have_a_threshold_above_three() {
    let place = Place::new();
    let line = |split: &str| {
        format!(
            r#"{{"tokens":["Will","pleaded","guilty"],"split":"{split}","sent_id":"1940_1","pb":[],"spr1":[{{"pred_idx":1,"arg_idx":0,"responses":[{{"spr_property":"awareness","response":5.0}},{{"spr_property":"created","response":3.0}},{{"spr_property":"change_of_state","response":3.5}}]}}]}}"#
        )
    };
    let text = format!("{}\n{}\n", line("dev"), line("train"));
    let path = place.write("a.json", &text);
    let records = convert(Conversion::spr1(&path, Some("dev")));
    assert_eq!(records.len(), 1);
    assert_eq!(shown(&records[0]), ["1-2 0-1 awareness+change_of_state"]);
    assert_eq!(convert(Conversion::spr1(&path, None)).len(), 2);
    for (text, split, part) in [
        (
            text.replace("\"arg_idx\":0", "\"arg_idx\":3"),
            None,
            "line 1: words 3 to 3",
        ),
        ("Split\tResponse\n".to_owned(), None, "holds no sentences"),
        (text.clone(), Some("test"), "sentences of another split: 2"),
    ] {
        let path = place.write("b.json", &text);
        let failed = Conversion::spr1(&path, split).unwrap();
        let error = failed
            .collect::<Result<Vec<_>, _>>()
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

const SPR2: &str = "\
Split\tAnnotator.ID\tSentence.ID\tPred.Token\tArg.Tokens.Begin\tArg.Tokens.End\tArg.Phrase\tProperty\tResponse\tApplicable
dev\t1\ten-ud-dev.conllu 2\t1\t2\t4\t\"her own dog\"\texistence\t5\tyes
dev\t2\ten-ud-dev.conllu 2\t1\t2\t4\t\"her own dog\"\texistence\t3\tyes
dev\t1\ten-ud-dev.conllu 2\t1\t2\t4\t\"her own dog\"\tvolition\t3\tyes
dev\t1\ten-ud-dev.conllu 2\t1\t2\t4\t\"her own dog\"\tsentient\t1\tno
dev\t1\ten-ud-dev.conllu 1\t3\t0\t0\tShe\tvolition\t5\tyes
train\t1\ten-ud-train.conllu 9\t3\t0\t0\tShe\tvolition\t5\tyes
";

#[test]
fn the_second_proto_roles_have_a_mean_of_at_least_four() {
    let place = Place::new();
    let (table, trees) = (
        place.write("t.tsv", SPR2),
        place.write("en-ud-dev.conllu", TREES),
    );
    let records = convert(Conversion::spr2(&table, &trees, None));
    assert_eq!(records.len(), 2);
    assert_eq!(shown(&records[0]), ["3-4 0-1 volition"]);
    assert_eq!(shown(&records[1]), ["1-2 2-5 existence"]);
    let info = records[1].targets[0].info.as_ref().unwrap();
    assert_eq!(info["Arg.Phrase"], "her own dog");
    for (table, split, part) in [
        (
            SPR2.replace("Response", "Answer"),
            None,
            "no column `Response`",
        ),
        (
            SPR2.replace("dev.conllu 2", "dev.conllu 7"),
            None,
            "line 2: sentence 7 is spoken of",
        ),
        (
            SPR2.replace("\t2\t4\t", "\t2\t5\t"),
            None,
            "line 2: words 2 to 5",
        ),
        (
            SPR2.replace("\t5\tyes", "\tNA\tyes"),
            None,
            "line 2: the Response is `NA`",
        ),
        (
            SPR2.replace("en-ud-dev.conllu 2", "2"),
            None,
            "line 2: the Sentence.ID is `2`",
        ),
        (
            SPR2.to_owned(),
            Some("test"),
            "responses of another split: 5",
        ),
    ] {
        let path = place.write("b.tsv", &table);
        let failed = Conversion::spr2(&path, &trees, split);
        let failed = failed.and_then(|records| records.collect::<Result<Vec<_>, _>>());
        let error = failed.unwrap_err().to_string();
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
}

const DPR: &str = "\
provenance: TRAIN
index: 1
text: The cat chased the mouse because it was hungry.
hypothesis: The cat chased the mouse because the cat was hungry.
entailed: entailed
partof: train

provenance: TRAIN
index: 1
text: The cat chased the mouse because it was hungry.
hypothesis: The cat chased the mouse because the mouse was hungry.
entailed: not-entailed
partof: train

provenance: TRAIN
index: 2
text: Mr. Lee's aunt called Kim, but she was out.
hypothesis: Mr. Lee's aunt called Kim, but nobody here was out.
entailed: not-entailed
partof: dev
";

#[test]
fn pronouns_and_phrases_are_found_by_what_the_hypothesis_changes() {
    let place = Place::new();
    let path = place.write("a.txt", DPR);
    let records = convert(Conversion::dpr(&path, Some("train")));
    assert_eq!(
        records[0].text,
        "The cat chased the mouse because it was hungry ."
    );
    // "the cat" is written "The cat" at the beginning.
    assert_eq!(
        shown(&records[0]),
        ["6-7 0-2 entailed", "6-7 3-5 not-entailed"]
    );
    // The phrase of the third stands nowhere before the pronoun.
    let failed = Conversion::dpr(&path, Some("dev")).unwrap().next();
    let error = failed.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("hypotheses whose phrase is not found before the pronoun: 1"),
        "{error}"
    );
    for (text, part) in [
        (
            DPR.replace("partof: train\n", ""),
            "line 1: the partof is ``",
        ),
        (
            DPR.replace("entailed: not-entailed\n", "entailed: maybe\n"),
            "line 8: the entailed is `maybe`",
        ),
        (
            DPR.replacen("index: 1", "index 1", 1),
            "line 2: `index 1` is not a key",
        ),
        (
            DPR.replacen("partof: train", "partof: test", 1),
            "splits `test` and `train`",
        ),
    ] {
        let path = place.write("b.txt", &text);
        let failed = Conversion::dpr(&path, None).unwrap();
        let error = failed
            .collect::<Result<Vec<_>, _>>()
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    let path = place.write("c.txt", &DPR.replace("nobody here", "Mr. Lee's aunt"));
    let records = convert(Conversion::dpr(&path, Some("dev")));
    assert_eq!(
        records[0].text,
        "Mr. Lee 's aunt called Kim , but she was out ."
    );
    assert_eq!(shown(&records[0]), ["8-9 0-4 not-entailed"]);
}

#[test]
fn a_conversion_ends_with_an_account() {
    let place = Place::new();
    let path = place.write("a.conllu", TREES);
    let mut conversion = Conversion::ud(&path, UdTask::Upos).unwrap();
    assert_eq!(conversion.by_ref().count(), 3);
    assert_eq!(conversion.labels().len(), 9);
    let info = conversion.finish().unwrap();
    assert_eq!((info.counts.records, info.counts.words), (3, 11));
    assert_eq!(info.bytes, TREES.len() as u64);
    assert_eq!(info.path, path);
    let missing = Conversion::ud(Path::new("nowhere.conllu"), UdTask::Upos).unwrap_err();
    assert!(matches!(missing, DataError::Io { .. }));
}

const MARKS: &[u8] = b"\t\n 019\"[]{}():,.-<>e/";

proptest! {
    /// Whatever became of the bytes of a good file: no panic, and no span beyond its text.
    #[test]
    fn damaged_files_give_records_or_an_error(
        kind in 0..9_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let place = Place::new();
        let spr1 = r#"{"tokens":["a","b"],"split":"dev","spr1":[{"pred_idx":1,"arg_idx":0,"responses":[{"spr_property":"x","response":5}]}]}"#;
        let seed = [TASKS, TWO_SPANS, TREES, TREES, TREES, SEMEVAL, spr1, SPR2, DPR][kind];
        let mut bytes = seed.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            // Mostly what the formats are made of.
            bytes[at] = match byte {
                ..200 => MARKS[usize::from(byte) % MARKS.len()],
                _ => byte,
            };
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let path = place.0.path().join("en-ud-dev.conllu");
        fs::write(&path, &bytes).unwrap();
        let trees = place.write("trees-dev.conllu", TREES);
        let conversion = match kind {
            0 | 1 => {
                let records = Records::new(&path).open().unwrap();
                for record in records.flatten() {
                    let _ = record.written();
                    check_spans(&record)?;
                    let again = place.write("again.jsonl", &record.to_line());
                    let again = Records::new(&again).open().unwrap().next();
                    let Some(Ok(again)) = again else {
                        return Err(TestCaseError::fail(format!("{again:?}")));
                    };
                    prop_assert_eq!(&again.text, &record.text);
                    prop_assert_eq!(again.targets.len(), record.targets.len());
                }
                return Ok(());
            }
            2 => Conversion::ud(&path, UdTask::Dependencies(DependencyOptions::default())),
            3 => Conversion::ud(&path, UdTask::Features(None)),
            4 => Conversion::coref(&path, Singletons::Keep),
            5 => Conversion::semeval(&path, SemEvalPart::All),
            6 => Conversion::spr1(&path, None),
            7 => Conversion::spr2(&path, &trees, None),
            _ => Conversion::dpr(&path, None),
        };
        for record in conversion.into_iter().flatten().flatten() {
            check_spans(&record)?;
            prop_assert!(!record.targets.is_empty());
        }
    }
}

fn check_spans(record: &Record) -> Result<(), TestCaseError> {
    let words = record.words().count();
    for target in &record.targets {
        for span in [Some(&target.span1), target.span2.as_ref()]
            .into_iter()
            .flatten()
        {
            prop_assert!(
                span.start < span.end && span.end <= words,
                "{span:?} of {words}"
            );
        }
    }
    Ok(())
}
