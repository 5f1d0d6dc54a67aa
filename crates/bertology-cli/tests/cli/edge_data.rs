//! `bertology edge-data`: corpora become files of records, or nothing does.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Ran, run};

const TREES: &str = "\
# sent_id = s1
# text = The women admire her.
1\tThe\tthe\tDET\tDT\tDefinite=Def\t2\tdet\t_\tEntity=(e1-person-2
2\twomen\twoman\tNOUN\tNNS\tNumber=Plur\t3\tnsubj\t_\tEntity=e1)
3\tadmire\tadmire\tVERB\tVBP\tNumber=Plur\t0\troot\t_\t_
4\ther\tshe\tPRON\tPRP\tNumber=Sing\t3\tobj\t_\tEntity=(e2-person-1)|SpaceAfter=No
5\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\t_

";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        place.write("t.conllu", TREES);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    /// `bertology edge-data …`, with `T/` for the folder and `A/` for the embedded models.
    fn run(&self, line: &str) -> Ran {
        let assets = bertology_testkit::workspace().join("assets");
        let words = line.split(' ').map(|word| match word.split_at_checked(2) {
            Some(("T/", name)) => self.at(name).display().to_string(),
            Some(("A/", name)) => assets.join(name).display().to_string(),
            _ => word.to_owned(),
        });
        let all: Vec<String> = ["edge-data".to_owned()].into_iter().chain(words).collect();
        run(&all)
    }

    fn records(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.at(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

#[test]
fn every_corpus_becomes_records() {
    let place = Place::new();
    place.write(
        "s.txt",
        "1\t\"A <e1>fire</e1> from a <e2>wire</e2>.\"\nOther\n",
    );
    place.write(
        "spr1.json",
        r#"{"tokens":["a","b"],"split":"dev","spr1":[{"pred_idx":1,"arg_idx":0,"responses":[{"spr_property":"awareness","response":5}]}]}"#,
    );
    place.write(
        "spr2.tsv",
        "Sentence.ID\tPred.Token\tArg.Tokens.Begin\tArg.Tokens.End\tProperty\tResponse\tApplicable\nen-ud-dev.conllu 1\t2\t0\t1\tvolition\t5\tyes\n",
    );
    place.write(
        "dpr.txt",
        "text: The cat ran because it was wet.\nhypothesis: The cat ran because the cat was wet.\nentailed: entailed\npartof: train\n",
    );
    for (line, spans, label) in [
        ("ud-deps T/t.conllu", json!([[0, 1], [1, 2]]), json!("det")),
        (
            "ud-deps T/t.conllu --root drop --punct drop --subtypes strip",
            json!([[0, 1], [1, 2]]),
            json!("det"),
        ),
        ("ud-pos T/t.conllu", json!([[0, 1], null]), json!("DT")),
        ("ud-upos T/t.conllu", json!([[0, 1], null]), json!("DET")),
        (
            "ud-feats T/t.conllu",
            json!([[0, 1], null]),
            json!(["Definite=Def"]),
        ),
        (
            "ud-feats T/t.conllu --feature Number",
            json!([[1, 2], null]),
            json!("Plur"),
        ),
        ("coref T/t.conllu", json!([[0, 2], [3, 4]]), json!("0")),
        ("semeval T/s.txt", json!([[1, 2], [4, 5]]), json!("Other")),
        (
            "spr1 T/spr1.json --split dev",
            json!([[1, 2], [0, 1]]),
            json!(["awareness"]),
        ),
        (
            "spr2 T/spr2.tsv --conllu T/t.conllu --split dev",
            json!([[2, 3], [0, 2]]),
            json!(["volition"]),
        ),
        (
            "dpr T/dpr.txt --split train",
            json!([[4, 5], [0, 2]]),
            json!("entailed"),
        ),
    ] {
        let ran = place
            .run(&format!("{line} --output T/out.jsonl --overwrite --json"))
            .ok();
        let document = ran.json();
        let task = line.split(' ').next().unwrap();
        assert_eq!(
            (&document["command"], &document["task"]),
            (&json!("edge-data"), &json!(task))
        );
        assert_eq!(document["records"], 1, "{line}");
        assert_eq!(document["sha256"].as_str().unwrap().len(), 64);
        let target = &place.records("out.jsonl")[0]["targets"][0];
        assert_eq!(json!([target["span1"], target["span2"]]), spans, "{line}");
        assert_eq!(target["label"], label, "{line}");
    }
    let said = place
        .run("ud-pos T/t.conllu --output T/out.jsonl --overwrite")
        .ok()
        .out;
    assert!(
        said.contains("1 record, 5 words, 5 targets") && said.contains("5: . 1"),
        "{said}"
    );
    // What was left out is told.
    let said = place
        .run("ud-deps T/t.conllu --punct drop -o T/new/deps.jsonl")
        .ok()
        .out;
    assert!(
        said.contains("left out     words of punctuation: 1"),
        "{said}"
    );
    assert!(place.at("new/deps.jsonl").exists());
}

#[test]
fn what_is_wrong_leaves_no_file_and_replaces_none() {
    let place = Place::new();
    place.write("bare.conllu", "1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n\n");
    place.write(
        "late.conllu",
        &format!("{TREES}1\ta b\t_\t_\t_\t_\t0\troot\t_\t_\n\n"),
    );
    place.write(
        "range.conllu",
        &TREES.replace("1\tThe", "1-2\tThewomen\t_\t_\t_\t_\t_\t_\t_\t_\n1\tThe"),
    );
    place.write("cyclic.conllu", "1\ta\t_\t_\t_\t_\t1\tx\t_\t_\n\n");
    place.write("kept.jsonl", "kept");
    let before = place.names();
    for (line, code, parts) in [
        (
            "ud-pos T/bare.conllu -o T/out.jsonl",
            2,
            &[
                "nothing of this file became a record",
                "words without XPOS: 1",
            ][..],
        ),
        (
            "ud-feats T/t.conllu --feature Tense -o T/out.jsonl",
            2,
            &["words without the feature: 5"],
        ),
        ("coref T/bare.conllu -o T/out.jsonl", 2, &["`Entity=`"]),
        (
            "ud-upos T/late.conllu -o T/out.jsonl",
            2,
            &["line 9: the form `a b` holds white space"],
        ),
        (
            "ud-deps T/cyclic.conllu -o T/out.jsonl",
            2,
            &["line 1", "its own HEAD"],
        ),
        (
            "ud-pos T/nowhere.conllu -o T/out.jsonl",
            1,
            &["cannot read the file"],
        ),
        (
            "ud-pos T/t.conllu -o T/kept.jsonl",
            2,
            &["the file is there already", "--overwrite"],
        ),
        ("ud-pos T/t.conllu -o T/", 2, &["this is a folder"]),
        ("ud-pos T/t.conllu", 2, &["--output"]),
        (
            "semeval T/t.conllu -o T/out.jsonl",
            2,
            &["line 1: `# sent_id = s1`", "TRAIN_FILE.TXT"],
        ),
        (
            "spr2 T/t.conllu --conllu T/t.conllu -o T/out.jsonl",
            2,
            &["no column `Sentence.ID`"],
        ),
        (
            "dpr T/t.conllu -o T/out.jsonl",
            2,
            &["not a key, a colon and a value"],
        ),
        ("unheard T/t.conllu -o T/out.jsonl", 2, &["unheard"]),
        (
            "ud-pos T/bare.conllu -o T/kept.jsonl --overwrite",
            2,
            &["nothing of this file"],
        ),
    ] {
        let ran = place.run(line);
        assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
        for part in parts {
            assert!(ran.err.contains(part), "{line}: no `{part}` in {}", ran.err);
        }
        assert_eq!(place.names(), before, "{line}");
        assert_eq!(fs::read_to_string(place.at("kept.jsonl")).unwrap(), "kept");
    }
}

#[test]
fn check_says_what_a_model_would_read() {
    let place = Place::new();
    place.run("ud-deps T/t.conllu -o T/deps.jsonl").ok();
    place.write(
        "train.jsonl",
        r#"{"text":"a b","targets":[{"span1":[0,1],"span2":[1,2],"label":"det"}]}"#,
    );
    let ran = place
        .run("check T/deps.jsonl A/tiny-bert --train T/train.jsonl --json")
        .ok();
    let found = ran.json();
    assert_eq!(found["data"]["targets"], 5);
    assert_eq!(
        found["unseen"],
        json!({"nsubj": 1, "obj": 1, "punct": 1, "root": 1})
    );
    assert_eq!(found["alignment"]["words"], 5);
    assert_eq!(found["alignment"]["dropped"], 0);
    let tokens = found["states"]["tokens"].as_u64().unwrap();
    assert_eq!(found["states"]["positions"].as_u64().unwrap(), tokens - 2);
    // Three layers and the embeddings of 32 numbers, or whatever the built-in model has.
    let (half, single) = (&found["states"]["bytes_f16"], &found["states"]["bytes_f32"]);
    assert_eq!(
        2 * (half.as_u64().unwrap() - 8),
        single.as_u64().unwrap() - 8
    );

    let said = place
        .run("check T/deps.jsonl A/tiny-bert --max-length 6")
        .ok();
    assert!(said.out.contains("too long     1 record"), "{}", said.out);
    assert!(
        said.out
            .contains("dropped      1 target (20.0 %), 1: punct 1"),
        "{}",
        said.out
    );
    assert!(said.err.contains("--too-long window"), "{}", said.err);
    let said = place
        .run("check T/deps.jsonl A/tiny-bert --max-length 6 --too-long window")
        .ok()
        .out;
    assert!(said.contains("dropped      no target"), "{said}");
    let text = place
        .run("check T/deps.jsonl A/tiny-gpt2 --input text --bos no")
        .ok()
        .out;
    assert!(text.contains("5 words"), "{text}");
    place.run("check T/deps.jsonl A/tiny-bert --one-span").ok();

    place
        .run("check T/deps.jsonl A/tiny-bert --max-length 6 --too-long error")
        .failed(2, &["deps.jsonl, line 1: 7 tokens", "--too-long drop"]);
    place
        .run("check T/train.jsonl A/tiny-bert --input text")
        .failed(2, &["line 1", "`info.raw`", "--input words"]);
    let mixed = r#"{"text":"a b","targets":[{"span1":[0,1],"span2":[1,2],"label":"x"},{"span1":[0,1],"label":"x"}]}"#;
    place.write("mixed.jsonl", mixed);
    let ran = place.run("check T/mixed.jsonl A/tiny-bert");
    ran.failed(2, &["line 1: target 2 has one span", "--one-span"]);
    place.run("check T/mixed.jsonl A/tiny-bert --one-span").ok();
    place
        .run("check T/t.conllu A/tiny-bert")
        .failed(2, &["line 1: not a JSON object"]);
    place
        .run("check T/deps.jsonl A/tiny-bert --max-length 9999")
        .failed(2, &["9999"]);
    place
        .run("check T/deps.jsonl A/grammar")
        .failed(1, &["config.json"]);
    place.write(
        "long.jsonl",
        r#"{"text":"a b","targets":[{"span1":[0,2],"label":"x"}]}"#,
    );
    place
        .run("check T/long.jsonl A/tiny-bert --max-length 3")
        .failed(2, &["all 1 targets", "--max-length"]);
}
