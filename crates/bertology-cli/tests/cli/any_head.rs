//! Encoders below any head: commands that do not read the head open them as they are.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Ran, Toy, command, golden, run};
use crate::treebanks::treebank;

/// The toy with another class in its config. Its files have the weights of a sequence classifier.
fn saved_from(class: Option<&str>) -> Toy {
    let toy = Toy::new();
    toy.write("data.conllu", &treebank(12));
    set(
        &toy,
        "architectures",
        class.map_or(Value::Null, |class| json!([class])),
    );
    toy
}

pub(crate) fn set(toy: &Toy, key: &str, value: Value) {
    let text = fs::read_to_string(toy.path("model/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config[key] = value;
    toy.write("model/config.json", &config.to_string());
}

/// A model whose weights come from a golden folder of two layers and three heads.
pub(crate) fn weights_of(name: &str) -> Toy {
    let toy = Toy::new();
    toy.write("data.conllu", &treebank(12));
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden(name).join(file), toy.path("model").join(file)).unwrap();
    }
    toy
}

pub(crate) fn on(toy: &Toy, words: &str) -> Ran {
    let all: Vec<String> = words
        .split(' ')
        .map(|word| match word {
            "MODEL" => toy.text("model"),
            "TREES" => toy.text("data.conllu"),
            "DATA" => toy.text("data.tsv"),
            _ => match word.strip_prefix("OUT/") {
                Some(name) => toy.text(name),
                None => word.to_owned(),
            },
        })
        .collect();
    run(&all)
}

const COMMANDS: [&str; 8] = [
    "extract MODEL --data DATA --text-column text --hidden-states all --output OUT/extract",
    "patterns MODEL --data DATA --text-column text --output OUT/patterns",
    "syntax MODEL --conllu TREES --output OUT/syntax",
    "coref MODEL --conllu TREES --output OUT/coref",
    "cluster MODEL --conllu TREES --clusters 2 --output OUT/cluster",
    "distance MODEL --conllu TREES --output OUT/distance",
    "view MODEL thecatruns --output OUT/view.html",
    "prune MODEL --heads 0:1 --output OUT/prune",
];

#[test]
fn studies_that_read_no_head_open_encoders_of_any() {
    for (class, what) in [
        (
            Some("BertForMultipleChoice"),
            "a head that is not supported",
        ),
        (Some("BertForMaskedLM"), "a head that the files lack"),
        (Some("CrossEncoder"), "a class of somebody else"),
    ] {
        let toy = saved_from(class);
        for words in COMMANDS {
            let ran = on(&toy, words).ok();
            let note = format!("{} is opened without its head", class.unwrap());
            assert!(ran.err.contains(&note), "{what}: {words}: {}", ran.err);
        }
        // What does read the head says why it cannot.
        let refused = toy.run("evaluate", &[]);
        assert_ne!(refused.code, Some(0), "{what}");
    }
}

/// The numbers are those of the same encoder below the head that it was saved from.
#[test]
fn the_head_changes_no_number_of_the_encoder() {
    let values = |class| {
        let toy = saved_from(Some(class));
        on(&toy, COMMANDS[3]).ok();
        on(&toy, COMMANDS[2]).ok();
        (toy.bytes("coref/coref.csv"), toy.bytes("syntax/syntax.csv"))
    };
    let below = values("BertForSequenceClassification");
    assert!(below == values("BertForMultipleChoice"));
    assert!(below == values("BertForMaskedLM"));
}

#[test]
fn heads_on_single_tokens_are_kept_by_every_command() {
    for name in ["bert-tokens", "bert-answers", "electra-discriminator"] {
        let toy = weights_of(name);
        for words in COMMANDS {
            let ran = on(&toy, words).ok();
            assert!(!ran.err.contains("without its head"), "{name}: {}", ran.err);
        }
        let inspected = run(&["inspect", &toy.text("prune/model"), "--json"])
            .ok()
            .json();
        assert_eq!(inspected["heads_present"], 5, "{name}");
        assert_eq!(inspected["tensors"]["missing"], json!([]), "{name}");
        let reference = golden(name).join("golden.safetensors");
        if name == "bert-answers" {
            continue;
        }
        let ran = command()
            .args([
                "verify",
                &toy.text("model"),
                "--prefix",
                "ones.",
                "--reference",
            ])
            .arg(reference)
            .output()
            .unwrap();
        let ran = Ran::of(ran).ok();
        assert!(ran.out.contains("ones.logits"), "{name}: {}", ran.out);
        assert!(ran.out.contains("ones.loss"), "{name}: {}", ran.out);
    }
}

/// A head that is not opened is not lost either.
#[test]
fn pruning_keeps_the_weights_of_a_head_that_it_does_not_open() {
    let toy = saved_from(Some("BertForMultipleChoice"));
    on(&toy, COMMANDS[7]).ok();
    set(
        &toy,
        "architectures",
        json!(["BertForSequenceClassification"]),
    );
    let config = fs::read_to_string(toy.path("prune/model/config.json")).unwrap();
    toy.write(
        "prune/model/config.json",
        &config.replace("BertForMultipleChoice", "BertForSequenceClassification"),
    );
    let score = |model: String| {
        let ran = command()
            .args([
                "evaluate",
                &model,
                "--text-column",
                "text",
                "--label-column",
                "label",
            ])
            .args(["--data", &toy.text("data.tsv"), "--json"])
            .output()
            .unwrap();
        Ran::of(ran).ok().json()
    };
    let pruned = score(toy.text("prune/model"));
    assert_eq!(pruned["examples"], score(toy.text("model"))["examples"]);
}
