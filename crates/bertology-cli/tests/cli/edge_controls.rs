//! What `edge-probe` puts beside its probes, each against an effect that is known beforehand.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::edge_options::Desk;
use crate::harness::run;

const NOUNS: [&str; 4] = ["man", "woman", "doctor", "pilot"];

fn one(at: usize, label: &str) -> Value {
    json!([{ "span1": [at, at + 2], "label": label }])
}

fn two(first: usize, second: usize, label: &str) -> Value {
    json!([{ "span1": [first, first + 1], "span2": [second, second + 1], "label": label }])
}

/// The first word of a span says its label: a mean of words knows it, the last word does not.
#[test]
fn a_bag_of_words_is_a_mean_whatever_the_pooling() {
    let desk = Desk::new();
    let mut all = Vec::new();
    for (at, noun) in (0..40).zip(NOUNS.iter().cycle()) {
        let first = ["the", "some"][at % 2];
        let noun = if at % 8 < 4 {
            noun
        } else {
            NOUNS[(at + 1) % 4]
        };
        let end = NOUNS[at / 7 % 4];
        all.push((format!("{first} {noun} is {end}"), one(0, first)));
    }
    let all = || {
        all.iter()
            .map(|(text, targets)| (text.as_str(), targets.clone()))
    };
    desk.records("all", all());
    let more = "--controls words --pooling last --epochs 40 --decide softmax";
    let ran = desk.probe("tiny-bert", ["all", "all"], "out", more);
    assert!(ran.out.contains("spans as their means"), "{}", ran.out);
    let encoders = desk.column("out", "edge_scores.csv", "encoder");
    // The name of the bag has a comma, so that its fields are one further.
    let scores = desk.column("out", "edge_scores.csv", "f1");
    let of = |name: &str, further: usize| -> f64 {
        let at = encoders.iter().position(|other| other == name).unwrap();
        let line = desk.text("out", "edge_scores.csv");
        let line = line.lines().nth(at + 1).unwrap().to_owned();
        let names = desk.text("out", "edge_scores.csv");
        let mut names = names.lines().next().unwrap().split(',');
        let column = names.position(|name| name == "f1").unwrap();
        line.split(',')
            .nth(column + further)
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(scores.len(), encoders.len());
    let (words, bag) = (of("words alone", 0), of("\"words alone", 1));
    assert!((0.3..0.8).contains(&words) && bag > 0.95, "{words} {bag}");
    assert_eq!(desk.task("out")["word_bag"]["value"], json!(bag));
    assert_eq!(desk.task("out")["word_only"]["value"], json!(words));
}

/// No pair of the development file is in the training file, every first word is: labels of pairs cannot be remembered, those of
/// first words can.
#[test]
fn labels_drawn_for_the_first_span_can_be_remembered() {
    let desk = Desk::new();
    let firsts = ["old", "woman", "man", "doctor", "pilot", "some"];
    let records = |seconds: [&'static str; 2]| {
        let mut all = Vec::new();
        for round in 0..4 {
            for first in firsts {
                for second in seconds {
                    // Three labels, so that all labels are drawn.
                    let label = ["x", "y", "z"][(all.len() + round) % 3];
                    all.push((format!("{first} is {second}"), two(0, 2, label)));
                }
            }
        }
        all
    };
    for (name, seconds) in [("train", ["the", "young"]), ("dev", ["a", "is"])] {
        let all = records(seconds);
        desk.records(
            name,
            all.iter()
                .map(|(text, targets)| (text.as_str(), targets.clone())),
        );
    }
    let more = "--controls control-task --layer0 word-only --epochs 150 --decide softmax";
    desk.probe("tiny-bert", ["train", "dev"], "out", more);
    let seen = desk.task("out")["control"].clone();
    assert_eq!(seen, json!({ "seen": 0.0, "seen_first": 1.0 }));
    let bottom = |name: &str| desk.column("out", "edge_layers.csv", name)[0].clone();
    assert_eq!(bottom("control_seen"), "");
    let [pairs, first] =
        ["control", "control_first"].map(|name| bottom(name).parse::<f64>().unwrap());
    assert!(first > 0.9 && pairs < first, "{pairs} {first}");
    assert_eq!(bottom("control_first_seen"), bottom("control_first"));
    let labels = desk.column("out", "edge_scores.csv", "labels");
    let drawn = labels
        .iter()
        .filter(|of| *of == "control of the first span");
    assert_eq!(drawn.count(), 5);
}

/// Of one span there is nothing else to follow than the first.
#[test]
fn tasks_of_one_span_have_one_control_task() {
    let desk = Desk::new();
    desk.records(
        "all",
        [
            ("the man is old", one(0, "x")),
            ("the man is old", one(2, "y")),
        ],
    );
    desk.probe(
        "tiny-bert",
        ["all", "all"],
        "out",
        "--controls control-task",
    );
    assert_eq!(desk.task("out")["control"]["seen_first"], Value::Null);
    assert_eq!(
        desk.column("out", "edge_layers.csv", "control_first"),
        [""; 5]
    );
}

/// Counts of a group are those of its labels.
#[test]
fn core_and_other_roles_have_rows_of_their_own() {
    let desk = Desk::new();
    let roles = ["ARG0", "ARG1", "ARGM-LOC", "C-ARG1"];
    let mut all = Vec::new();
    for (at, role) in (0..40).zip(roles.iter().cycle()) {
        let text = format!("the {} is {}", NOUNS[at % 4], NOUNS[at / 3 % 4]);
        all.push((text, two(2, 1, role)));
    }
    let all = || {
        all.iter()
            .map(|(text, targets)| (text.as_str(), targets.clone()))
    };
    desk.records("all", all());
    let more = "--score srl --epochs 40 --seeds 2";
    let ran = desk.probe("tiny-bert", ["all", "all"], "out", more);
    assert!(ran.out.contains("core roles"), "{}", ran.out);
    let column = |name: &str| desk.column("out", "edge_labels.csv", name);
    let (kinds, labels, layers) = (column("kind"), column("label"), column("layer"));
    for name in [
        "support",
        "true_positives",
        "false_positives",
        "false_negatives",
    ] {
        let counts = desk.numbers("out", "edge_labels.csv", name);
        let sum = |layer: &str, of: &[&str]| -> f64 {
            let rows = (0..counts.len()).filter(|at| layers[*at] == layer);
            rows.filter(|at| of.contains(&labels[*at].as_str()))
                .map(|at| counts[at])
                .sum()
        };
        for layer in ["0", "4"] {
            assert_eq!(
                sum(layer, &["core roles"]),
                sum(layer, &["ARG0", "ARG1"]),
                "{name}"
            );
            assert_eq!(
                sum(layer, &["modifier roles"]),
                sum(layer, &["ARGM-LOC"]),
                "{name}"
            );
            assert_eq!(sum(layer, &["all labels"]), sum(layer, &roles), "{name}");
        }
    }
    assert_eq!(kinds.iter().filter(|kind| *kind == "group").count(), 3 * 5);
    let groups = desk.task("out")["groups"].clone();
    let found: Vec<_> = groups.as_array().unwrap().iter().collect();
    let expected = [
        ("core roles", 2, 20),
        ("modifier roles", 1, 10),
        ("all labels", 4, 40),
    ];
    for (found, (name, labels, support)) in found.iter().zip(expected) {
        assert_eq!(found["name"], name);
        assert_eq!(
            (&found["labels"], &found["support"]),
            (&json!(labels), &json!(support))
        );
        assert!(found["top"]["value"].as_f64().unwrap() > 0.5, "{found}");
    }
    assert!(desk.text("out", "report.html").contains("Groups of labels"));
}

/// The word of one span says the label: the later span alone knows it if it is the later one's.
#[test]
fn of_two_spans_the_later_one_can_be_read_alone() {
    let desk = Desk::new();
    let mut all = Vec::new();
    for at in 0..64 {
        let (early, late) = (NOUNS[at % 4], NOUNS[at / 4 % 4]);
        // Either span may be the later one.
        let spans = if at < 32 { [0, 2] } else { [2, 0] };
        all.push((format!("{early} is {late}"), spans, early, late));
    }
    for name in ["early", "late"] {
        let records = all.iter().map(|(text, [first, second], early, late)| {
            let label = if name == "early" { early } else { late };
            (text.as_str(), two(*first, *second, label))
        });
        desk.records(name, records);
    }
    let score = |file: &str, pooling: &str| {
        let out = format!("{file}-{pooling}");
        let more = format!("--pooling {pooling} --layer0 word-only --epochs 80 --decide softmax");
        desk.probe("tiny-bert", [file, file], &out, &more);
        desk.numbers(&out, "edge_layers.csv", "score")[0]
    };
    assert!(score("late", "last-of-later") > 0.95);
    // Four labels of equal frequency.
    let blind = score("early", "last-of-later");
    assert!(blind < 0.5, "{blind}");
    assert!(score("early", "last") > blind + 0.2);
    assert_eq!(desk.task("early-last-of-later")["spans"], 2);
}

/// Brought to the sum 1, they are the probabilities of the traces.
#[test]
fn probabilities_of_all_labels_are_those_of_the_traces() {
    let desk = Desk::new();
    let all = [
        (
            "the man is old",
            json!([{ "span1": [0, 1], "label": "x" }, { "span1": [1, 2], "label": "y" }]),
        ),
        (
            "some woman is old",
            json!([{ "span1": [0, 1], "label": ["x", "z"] }, { "span1": [1, 2], "label": "y" }]),
        ),
    ];
    desk.records("many", all);
    desk.records(
        "few",
        [("the man is old", json!([{ "span1": [0, 1], "label": "x" }]))],
    );
    let suite = "[[task]]\nname = \"few\"\ntrain = \"few\"\ndev = \"few\"\n\
                 [[task]]\nname = \"many\"\ntrain = \"many\"\ndev = \"many\"\n";
    std::fs::write(desk.at("suite.toml"), suite).unwrap();
    let (model, suite, out) = (
        crate::edge_options::asset("tiny-bert"),
        desk.at("suite.toml"),
        desk.at("out"),
    );
    let words = format!(
        "edge-probe {model} --suite {suite} --output {out} --seeds 1 --epochs 5 --controls none --label-probabilities"
    );
    run(&words.split_whitespace().collect::<Vec<_>>()).ok();
    let read = |name: &str| {
        let bytes = std::fs::read(std::path::Path::new(&out).join(name)).unwrap();
        let found = bertology::store::npy::decode(&bytes).unwrap();
        (found.shape, found.values)
    };
    let (shape, all) = read("edge_label_probabilities.npy");
    assert_eq!(shape, [5, 5, 3]);
    let (shape, pairs) = read("edge_probabilities.npy");
    assert_eq!(shape, [4, 5, 2]);
    let labels: HashMap<&str, usize> = [("x", 0), ("y", 1), ("z", 2)].into();
    // Targets of one label, by their places among all of both tasks.
    let single = [(0, "x"), (1, "x"), (2, "y"), (4, "y")];
    for (row, (target, label)) in single.into_iter().enumerate() {
        for layer in 0..5 {
            let own = &all[(target * 5 + layer) * 3..][..3];
            let known = if target == 0 { 1 } else { 3 };
            assert!(own[known..].iter().all(|p| p.is_nan()), "{own:?}");
            let total: f64 = own[..known].iter().sum();
            let expected = pairs[(row * 5 + layer) * 2];
            // Half precision has 11 bits.
            assert!(
                (own[labels[label]] / total - expected).abs() < 2e-3,
                "{own:?} {expected}"
            );
        }
    }
    assert!(!std::path::Path::new(&out).join("states").exists());
}
