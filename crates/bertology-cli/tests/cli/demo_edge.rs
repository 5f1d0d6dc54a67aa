//! `demo edge-probe`: what is known of the four tasks, by brute force, and what is found.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::run;

/// Scores by layer of the built-in BERT, to two digits.
const FOUND: [(&str, [f64; 5]); 4] = [
    ("pos", [0.95, 0.98, 0.98, 0.98, 0.98]),
    ("dependencies", [0.92, 0.97, 0.98, 0.99, 0.99]),
    ("agreement", [0.50, 0.54, 0.54, 0.62, 0.80]),
    ("coreference", [0.50, 0.79, 0.83, 0.91, 0.92]),
];
/// Half a digit of rounding, and what another order of additions makes of a training: on another processor that of two
/// targets in a hundred.
const CLOSE: f64 = 0.025;

fn read(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("grammar/edge").join(name)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The words of a target's spans, as a lower-cased model reads them, and its label.
fn targets(records: &[Value]) -> Vec<(Vec<String>, String)> {
    let mut all = Vec::new();
    for record in records {
        let words: Vec<String> = record["text"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .split(' ')
            .map(str::to_owned)
            .collect();
        for target in record["targets"].as_array().unwrap() {
            let spans = ["span1", "span2"].into_iter().filter_map(|span| {
                let at = |end: usize| target[span][end].as_u64().map(|at| at as usize);
                Some(words[at(0)?..at(1)?].join(" "))
            });
            let label = target["label"].as_str().unwrap();
            all.push((spans.collect(), label.to_owned()));
        }
    }
    all
}

type Table<'a> = HashMap<&'a [String], HashMap<&'a str, u64>>;

fn counted(targets: &[(Vec<String>, String)]) -> Table<'_> {
    let mut table = Table::new();
    for (words, label) in targets {
        *table.entry(words).or_default().entry(label).or_default() += 1;
    }
    table
}

/// How often a rule of the words is right that has seen all targets, and one that has seen all but the one it is asked.
fn ends(targets: &[(Vec<String>, String)]) -> (f64, f64) {
    let table = counted(targets);
    let own: u64 = table
        .values()
        .filter_map(|labels| labels.values().max())
        .sum();
    let others = targets.iter().filter(|(words, label)| {
        let labels = &table[words.as_slice()];
        let without = |other: &str| labels[other] - u64::from(other == label);
        labels
            .keys()
            .all(|other| other == label || without(other) < without(label))
            && without(label) > 0
    });
    let all = targets.len() as f64;
    (others.count() as f64 / all, own as f64 / all)
}

fn answers(document: &Value) -> HashMap<String, Value> {
    let answers = document["answers"].as_array().unwrap();
    let named = answers
        .iter()
        .map(|answer| (answer["task"].as_str().unwrap().to_owned(), answer.clone()));
    named.collect()
}

#[test]
fn what_is_known_is_found() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("demo");
    let name = out.to_str().unwrap();
    let ran = run(&["demo", "edge-probe", "--output", name]).ok();
    for part in [
        "$ bertology edge-data ud-pos",
        "$ bertology edge-data ud-deps",
        "$ bertology edge-probe",
        "agreement agrees: layer 0 is right on exactly half, as it must be.\n  From layer 3 on",
        "coreference agrees",
        "pos agrees: layer 0 finds",
        "dependencies agrees",
        "agreement        960   320   0",
    ] {
        assert!(ran.out.contains(part), "no {part}: {}", ran.out);
    }
    assert!(!ran.out.contains("DISAGREES"));
    let story = ran.out.rsplit("What is known").next().unwrap();
    assert!(
        story
            .lines()
            .all(|line| line.chars().count() <= 80 + name.len()),
        "{story}"
    );

    let table = |file: &str| fs::read(out.join("edge-probe").join(file)).unwrap();
    let before = table("edge_layers.csv");
    let again = [
        "demo",
        "edge-probe",
        "--output",
        name,
        "--overwrite",
        "--json",
        "--threads",
        "1",
    ];
    let document = run(&again).ok().json();
    assert!(before == table("edge_layers.csv"), "two runs differ");
    let answers = answers(&document);
    for (task, wanted) in FOUND {
        let answer = &answers[task];
        assert_eq!(answer["layer_0_agrees"], true, "{task}");
        for (layer, wanted) in wanted.iter().enumerate() {
            let found = answer["layers"][layer].as_f64().unwrap();
            assert!(
                (found - wanted).abs() < CLOSE,
                "{task}, layer {layer}: {found}"
            );
        }
        assert_eq!(document["sentences"][task]["both"], 0, "{task}");
    }
    assert_eq!(answers["agreement"]["context_from"], 3);
    for task in ["agreement", "coreference"] {
        let found = answers[task]["layers"][0].as_f64().unwrap();
        assert!((found - 0.5).abs() < 1e-12, "{task}: {found}");
    }

    // The same by counting.
    for (task, _) in FOUND {
        let (train, dev) = (
            read(&out, &format!("{task}-train.jsonl")),
            read(&out, &format!("{task}-dev.jsonl")),
        );
        let text = |record: &Value| record["text"].as_str().unwrap().to_lowercase();
        let trained: HashSet<String> = train.iter().map(text).collect();
        assert!(
            dev.iter().all(|record| !trained.contains(&text(record))),
            "{task}"
        );
        let known = answers[task]["known"]["words"].as_f64().unwrap();
        let scored = targets(&dev);
        let margin = 3.0 * (known * (1.0 - known) / scored.len() as f64).sqrt();
        let written = answers[task]["known"]["margin"].as_f64().unwrap();
        assert!((written - margin).abs() < 1e-9, "{task}");
        let (_, own) = ends(&scored);
        match task {
            // Whatever a rule of the words says, it is right on half.
            "agreement" | "coreference" => {
                assert_eq!((known, own), (0.5, 0.5), "{task}");
                for labels in counted(&scored).values() {
                    let numbers: HashSet<&u64> = labels.values().collect();
                    assert!(labels.len() == 2 && numbers.len() == 1, "{labels:?}");
                }
            }
            // The best rule of the grammar is better on all sentences than one learnt from some of them, and no better
            // on those than one made for them.
            _ => {
                let all: Vec<Value> = train.iter().chain(&dev).cloned().collect();
                let (others, own) = ends(&targets(&all));
                assert!(others - margin < known, "{task}: {others}, {known}");
                assert!(known < own + margin, "{task}: {known}, {own}");
            }
        }
        let bottom = answers[task]["layers"][0].as_f64().unwrap();
        assert!(
            bottom <= own + 1e-12,
            "{task}: no rule of the words can be right on {bottom}"
        );
    }
}

#[test]
fn a_causal_model_has_not_read_what_follows() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("demo").to_str().unwrap().to_owned();
    let words = [
        "demo",
        "edge-probe",
        "--model",
        "tiny-gpt2",
        "--output",
        &out,
    ];
    let ran = run(&words).ok();
    for part in [
        "A causal model has not read what follows a word",
        "In no layer is more found than words can tell.",
        "agreement agrees",
        "coreference agrees",
    ] {
        assert!(ran.out.contains(part), "no {part}: {}", ran.out);
    }
    run(&words).failed(2, &["not empty", "--overwrite"]);
}
