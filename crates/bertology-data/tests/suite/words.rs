//! Sentences whose words have labels, and questions with answers: what is read of them, and how they are scored.

use std::fs;

use bertology_data::{
    Answer, AnswerScore, AnswerSums, Answers, DataError, Example, Source, SpanGuess, TagCounts,
    TagSet,
};
use bertology_testkit::golden;
use serde_json::Value;

use super::Fixture;

fn tagged(name: &str, content: &str) -> Result<Vec<Example>, DataError> {
    let fixture = Fixture::new(name, content);
    Ok(Source::tagged(fixture.file(), None, None).load()?.examples)
}

/// Words and labels with `/` between, `-` where a word does not count.
fn shown(examples: &[Example]) -> Vec<String> {
    let sentence = |example: &Example| {
        let words = example.words.iter().map(|tagged| {
            let tag = tagged.tag.as_ref().map_or("-", |tag| tag.as_str());
            format!("{}/{tag}", tagged.word)
        });
        words.collect::<Vec<_>>().join(" ")
    };
    examples.iter().map(sentence).collect()
}

#[test]
fn sentences_of_every_format_are_read() {
    let expected = ["EU/B-ORG rejects/O", "Peter/B-PER"];
    for (name, content) in [
        (
            "dev.txt",
            "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER\n",
        ),
        (
            "dev.conll",
            "# id 1 domain=x\nEU\tB-ORG\nrejects\tO\n\n# id 2\nPeter\tB-PER",
        ),
        (
            "dev.jsonl",
            "{\"tokens\": [\"EU\", \"rejects\"], \"ner_tags\": [\"B-ORG\", \"O\"]}\n\n\
             {\"ner_tags\": [\"B-PER\"], \"tokens\": [\"Peter\"]}\n",
        ),
        (
            "dev.json",
            "[{\"tokens\": [\"EU\", \"rejects\"], \"ner_tags\": [\"B-ORG\", \"O\"]},\n\
             {\"tokens\": [\"Peter\"], \"ner_tags\": [\"B-PER\"]}]",
        ),
        (
            "dev.csv",
            "id,tokens,ner_tags\n0,\"['EU', 'rejects']\",\"['B-ORG', 'O']\"\n1,Peter,B-PER\n",
        ),
    ] {
        let examples = tagged(name, content).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(shown(&examples), expected, "{name}");
    }
    // Ids, and words that do not count; other columns.
    let found = tagged(
        "x.jsonl",
        "{\"tokens\": [\"a\", \"b\", \"c\"], \"ner_tags\": [3, -100, 0]}",
    );
    assert_eq!(shown(&found.expect("ids")), ["a/3 b/- c/0"]);
    let fixture = Fixture::new("x.bio", "1 a X O\n2 b Y B-A\n");
    let source = Source::tagged(fixture.file(), Some("1"), Some("2"));
    assert_eq!(
        shown(&source.load().expect("columns").examples),
        ["a/X b/Y"]
    );
    let fixture = Fixture::new("x.jsonl", "{\"w\": [\"a\"], \"pos\": [\"X\"]}");
    let source = Source::tagged(fixture.file(), Some("w"), Some("pos"));
    assert_eq!(shown(&source.load().expect("keys").examples), ["a/X"]);
}

#[test]
fn sentences_go_on_where_a_reader_was() {
    let text: String = (0..50).map(|n| format!("w{n} O\nv B-X\n\n")).collect();
    let fixture = Fixture::new("x.txt", &text);
    let source = Source::tagged(fixture.file(), None, None);
    let all = source.load().expect("sentences").examples;
    let mut reader = source.open().expect("opens");
    for at in 0..all.len() {
        let mark = reader.mark();
        let rest: Vec<_> = source
            .open_at(&mark)
            .expect("opens")
            .map(|e| e.expect("reads"))
            .collect();
        assert_eq!(rest, all[at..]);
        reader.next();
    }
}

#[test]
fn what_is_no_sentence_is_said_with_its_line() {
    for (name, content, parts) in [
        (
            "x.txt",
            "EU B-ORG\nrejects\n",
            vec!["line 2", "1 column, expected 2"],
        ),
        ("x.txt", "EU\n", vec!["line 1", "a word and its label"]),
        ("x.txt", "\n\n", vec!["empty"]),
        (
            "x.txt",
            "EU\tB-ORG\nrejects\t\n",
            vec!["line 2", "label is empty"],
        ),
        (
            "x.jsonl",
            "{\"tokens\": [\"a\"], \"ner_tags\": []}",
            vec!["line 1", "1 word and 0 labels"],
        ),
        (
            "x.jsonl",
            "{\"tokens\": \"a\", \"ner_tags\": []}",
            vec!["`tokens` is a string", "a list of strings"],
        ),
        (
            "x.jsonl",
            "{\"tokens\": [\"a\"]}",
            vec!["no labels key `ner_tags`"],
        ),
        (
            "x.jsonl",
            "{\"tokens\": [\"a\"], \"ner_tags\": [null]}",
            vec!["a list of strings or of whole numbers"],
        ),
        ("x.json", "3", vec!["a number where rows are expected"]),
        (
            "x.json",
            "{\n\"a\": 1}",
            vec!["an object where rows are expected"],
        ),
        (
            "x.json",
            "[{\"tokens\":\n oops",
            vec!["line 2", "not a JSON object"],
        ),
    ] {
        let error = tagged(name, content).expect_err(content).to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    }
}

#[test]
fn questions_of_every_format_are_read() {
    let flat = r#"{"id": "q1", "question": "Who?", "context": "Ünïx was", "answers": {"text": ["Ünïx"], "answer_start": [0]}}"#;
    let squad = r#"{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "Ünïx was", "qas": [
        {"question": "Who?", "id": "q1", "answers": [{"text": "Ünïx", "answer_start": 0}]}]}]}]}"#;
    let records = format!("{{\"version\": \"0.1\", \"data\": [{flat}]}}");
    for (content, line) in [
        (flat, 1),
        (squad, 2),
        (&records, 1),
        (&format!("[{flat}]"), 1),
    ] {
        let fixture = Fixture::new("dev.json", content);
        let data = Source::questions(fixture.file()).load().expect(content);
        let expected = Example {
            text: "Who?".to_owned(),
            pair: Some("Ünïx was".to_owned()),
            answers: Some(Answers {
                id: "q1".to_owned(),
                given: vec![Answer {
                    text: "Ünïx".to_owned(),
                    start: 0,
                }],
                may_lack: false,
            }),
            line,
            ..Example::default()
        };
        assert_eq!(data.examples, [expected], "{content}");
    }
    for (answers, may_lack) in [
        (r#""answers": [], "is_impossible": true"#, true),
        (
            r#""answers": [{"text": "was", "answer_start": 5}], "is_impossible": false"#,
            true,
        ),
        (r#""answers": {"text": [], "answer_start": []}"#, false),
    ] {
        let content = format!("{{\"question\": \"Who?\", \"context\": \"Ünïx was\", {answers}}}");
        let fixture = Fixture::new("dev.jsonl", content);
        let data = Source::questions(fixture.file()).load().expect(answers);
        let found = data.examples[0].answers.clone().expect("answers");
        assert_eq!(found.may_lack, may_lack, "{answers}");
    }
}

#[test]
fn what_is_no_question_is_said_with_its_line() {
    let row = |more: &str| {
        format!("{{\"id\": \"q7\", \"question\": \"Who?\", \"context\": \"abc\"{more}}}")
    };
    for (content, parts) in [
        (row(""), vec!["line 1", "no answers key `answers`"]),
        (
            row(", \"answers\": 3"),
            vec!["`answers` is a number", "text and answer_start"],
        ),
        (
            row(", \"answers\": {\"text\": [\"a\"], \"answer_start\": []}"),
            vec!["a list of each"],
        ),
        (
            row(", \"answers\": [{\"text\": \"bc\", \"answer_start\": 2}]"),
            vec!["question `q7`", "character 2", "3 characters"],
        ),
        (
            row(", \"answers\": [{\"text\": \"bc\", \"answer_start\": 18446744073709551615}]"),
            vec!["question `q7`"],
        ),
        (
            "{\"data\": [{\"paragraphs\": 1}]}".to_owned(),
            vec!["`paragraphs` is a number"],
        ),
        ("{\"data\": [1]}".to_owned(), vec!["found a number"]),
        ("{\"data\": []}".to_owned(), vec!["empty"]),
        (
            "{\n\"articles\": []\n}".to_owned(),
            vec!["an object whose `data`"],
        ),
    ] {
        let fixture = Fixture::new("x.json", &content);
        let error = Source::questions(fixture.file())
            .load()
            .expect_err(&content)
            .to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    }
}

fn near(what: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().expect("a number");
    assert!(
        (found - expected).abs() < 1e-12,
        "{what}: {found}, expected {expected}"
    );
}

/// Against seqeval: 306 cases, most of them of labels that follow no scheme.
#[test]
fn entities_are_those_of_seqeval() {
    let text = fs::read_to_string(golden("studies/entities.json")).expect("golden file");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    let names: Vec<&str> = record["names"]
        .as_array()
        .expect("names")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let set = TagSet::new(&names);
    let ids = |tags: &Value| -> Vec<u32> {
        let tags = tags.as_array().expect("tags").iter();
        tags.map(|tag| names.iter().position(|name| tag == name).expect("a name") as u32)
            .collect()
    };
    let cases = record["cases"].as_array().expect("cases");
    assert!(cases.len() > 300);
    for case in cases {
        let mut counts = TagCounts::default();
        let sentences = case["labels"].as_array().expect("sentences").iter();
        for (labels, found) in sentences.zip(case["predictions"].as_array().expect("sentences")) {
            counts.add(set.compare(&ids(labels), &ids(found)));
        }
        assert!(counts.possible());
        for (name, value) in TagCounts::METRICS.iter().zip(counts.metrics()) {
            near(&format!("{name} of {case}"), value, &case[name]);
        }
    }
}

/// Worked out by hand from SQuAD's scripts.
#[test]
fn answers_are_compared_as_squad_does() {
    let given = |texts: &[&str]| Answers {
        given: texts
            .iter()
            .map(|text| Answer {
                text: (*text).to_owned(),
                start: 0,
            })
            .collect(),
        ..Answers::default()
    };
    for (answer, golds, may_lack, exact, f1) in [
        ("The  Norman's!", vec!["a normans"], false, true, 1.0),
        (
            "in the 10th century",
            vec!["10th century", "in 10th"],
            false,
            false,
            0.8,
        ),
        ("x", vec!["y"], false, false, 0.0),
        // Of an article nothing is left: the first script finds no common word, the second that both are empty.
        ("the", vec!["a"], false, true, 0.0),
        ("the", vec!["a"], true, true, 1.0),
        ("", vec![], true, true, 1.0),
        ("something", vec![], true, false, 0.0),
        ("", vec!["something"], true, false, 0.0),
        ("b b c", vec!["b c c"], false, false, 2.0 / 3.0),
        ("ÉCOLE", vec!["école"], false, true, 1.0),
        ("theory a1", vec!["theory  a1."], false, true, 1.0),
    ] {
        let score = AnswerScore::of(answer, &given(&golds), may_lack);
        assert_eq!(score.exact, exact, "{answer} {golds:?}");
        assert!(
            (score.f1 - f1).abs() < 1e-12,
            "{answer} {golds:?}: {}",
            score.f1
        );
    }
    let mut sums = AnswerSums::default();
    sums.observe(
        AnswerScore {
            exact: true,
            f1: 1.0,
        },
        true,
    );
    sums.observe(
        AnswerScore {
            exact: false,
            f1: 0.5,
        },
        true,
    );
    sums.observe(
        AnswerScore {
            exact: false,
            f1: 0.0,
        },
        false,
    );
    assert_eq!(sums.metrics(), [100.0 / 3.0, 50.0, 50.0, 75.0, 0.0, 0.0]);
    assert!(sums.possible() && sums.questions() == 3);
}

/// Starts and ends laid out so that the answer is known.
#[test]
fn the_best_span_of_all_windows_answers() {
    let text = "zero one two";
    let places = [None, Some((0, 4)), Some((5, 8)), Some((9, 12)), None];
    let window = |starts: [f32; 5], ends: [f32; 5]| {
        let logits: Vec<f32> = starts
            .iter()
            .zip(&ends)
            .flat_map(|(a, b)| [*a, *b])
            .collect();
        SpanGuess::of(&logits, &places)
    };
    // The best end is before the best start; the special token's scores are no span.
    let first = window([0.5, 1.0, 3.0, 0.0, 9.0], [0.5, 4.0, 1.5, 1.0, 9.0]);
    assert_eq!(first.answer(text, false), "zero");
    let second = window([1.0, 1.0, 3.0, 0.0, 9.0], [1.0, 4.0, 2.5, 1.0, 9.0]);
    assert_eq!(second.answer(text, false), "one");
    assert_eq!(first.and(second).answer(text, false), "one");
    // No answer where the lowest of the windows' scores for it is above the best span.
    let none = window([4.0, 0.0, 1.0, 0.0, 0.0], [4.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(none.answer(text, true), "");
    assert_eq!(none.answer(text, false), "one");
    assert_eq!(none.and(second).answer(text, true), "one");
    let nothing = SpanGuess::of(&[1.0, 1.0], &[None]);
    assert_eq!(nothing.answer(text, false), "empty");
    assert_eq!(nothing.answer(text, true), "");
}
