//! Each head as the only one of its layer, and removals on two sets of data, on the command line.

use std::path::Path;

use serde_json::Value;

use crate::harness::{HEADS, LAYERS, Toy, run};

fn score(record: &Value) -> (f64, f64) {
    let evaluation = &record["results"]["evaluation"];
    let acc = evaluation["metrics"]["acc"].as_f64().unwrap();
    (acc, evaluation["loss"].as_f64().unwrap())
}

/// Other examples of the same kind.
fn second(toy: &Toy) {
    let text = String::from_utf8(toy.bytes("data.tsv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let some: Vec<&str> = lines[..1].iter().chain(&lines[15..33]).copied().collect();
    toy.write("second.tsv", &(some.join("\n") + "\n"));
}

#[test]
fn a_head_alone_is_an_evaluation_without_the_others() {
    let toy = Toy::new();
    let ran = toy
        .run("ablate", &["--keep-one", "--output", "OUT/run", "--json"])
        .ok();
    assert_eq!(
        toy.names("run"),
        [
            "keep_one.csv",
            "keep_one.npy",
            "keep_one_change.npy",
            "keep_one_layers.csv",
            "report.html",
            "run.json"
        ]
    );
    let record = toy.record("run");
    assert_eq!(ran.json(), record);
    let (acc, loss) = score(&record);
    let (_, shape, scores) = toy.array("run/keep_one.npy");
    assert_eq!(shape, [LAYERS as u64, HEADS as u64]);
    let (_, _, change) = toy.array("run/keep_one_change.npy");
    let table = toy.table("run/keep_one.csv");
    assert_eq!(table.len(), 1 + LAYERS * HEADS);
    for (layer, head) in [(0, 0), (1, 3), (2, 2)] {
        let others: Vec<String> = (0..HEADS)
            .filter(|other| *other != head)
            .map(|head| head.to_string())
            .collect();
        let others = format!("{layer}:{}", others.join(","));
        let one = toy.run("evaluate", &["--heads", &others, "--json"]);
        let (alone, loss_alone) = score(&one.ok().json());
        let at = layer * HEADS + head;
        assert!((scores[at] - alone).abs() < 1e-6, "{others}");
        assert!((change[at] - (alone - acc)).abs() < 1e-6, "{others}");
        let number = |column: usize| table[1 + at][column].parse::<f64>().unwrap();
        assert!((number(4) - (loss_alone - loss)).abs() < 1e-5, "{others}");
        // Each example lost or won is one in forty.
        let counted = (number(8) - number(7)) / 40.0;
        assert!((counted - (alone - acc)).abs() < 1e-9, "{others}");
    }
    let layers = toy.table("run/keep_one_layers.csv");
    assert_eq!(layers.len(), 1 + LAYERS);
    for row in &layers[1..] {
        let layer: usize = row[0].parse().unwrap();
        let of_layer = &scores[layer * HEADS..(layer + 1) * HEADS];
        let best = of_layer.iter().copied().fold(f64::MIN, f64::max);
        assert!((row[3].parse::<f64>().unwrap() - best).abs() < 1e-6);
        assert_eq!(row[2], row[3]);
    }
    let text = toy.run("ablate", &["--keep-one"]).ok().out;
    assert!(
        text.contains("selected on the data it is scored on"),
        "{text}"
    );
}

/// The heads are those that are best on the other data; their numbers are those of the data.
#[test]
fn heads_are_chosen_on_other_data() {
    let toy = Toy::new();
    second(&toy);
    let words = ["--keep-one", "--select-on", "OUT/second.tsv"];
    let text = toy.run("ablate", &words).ok().out;
    assert!(text.contains("selected on 18 examples of"), "{text}");
    toy.run("ablate", &[&words[..], &["--output", "OUT/run"]].concat())
        .ok();
    toy.run("ablate", &["--keep-one", "--output", "OUT/own"])
        .ok();
    let there = toy.text("second.tsv");
    let mut all = toy.arguments("ablate", &["--keep-one", "--output"]);
    all.push(toy.text("there"));
    let own = toy.text("data.tsv");
    for word in &mut all {
        if *word == own {
            word.clone_from(&there);
        }
    }
    run(&all).ok();
    assert_eq!(toy.bytes("run/keep_one.csv"), toy.bytes("own/keep_one.csv"));
    let (chosen, best) = (
        toy.table("run/keep_one_layers.csv"),
        toy.table("there/keep_one_layers.csv"),
    );
    let scored = toy.table("run/keep_one.csv");
    for (row, best) in chosen.iter().zip(&best).skip(1) {
        assert_eq!((&row[..2], &row[2]), (&best[..2], &best[3]));
        let of_head = scored.iter().find(|head| head[..2] == row[..2]).unwrap();
        assert_eq!(row[3..5], of_head[2..4]);
    }
    let results = &toy.record("run")["results"]["keep_one"];
    assert_eq!(results["selected_on_scored_data"], false);
    assert_eq!(results["selection_examples"], 18);
}

#[test]
fn removals_on_two_data_correlate() {
    let toy = Toy::new();
    second(&toy);
    let data = toy.text("data.tsv");
    toy.run("ablate", &["--and", &data, "--output", "OUT/same"])
        .ok();
    let same = &toy.record("same")["results"]["and"];
    for of in ["change", "loss_change"] {
        assert_eq!(same[of]["pearson"], 1.0, "{of}");
        assert_eq!(same[of]["spearman"], 1.0, "{of}");
    }
    assert_eq!(
        toy.bytes("same/head_ablation.npy"),
        toy.bytes("same/head_ablation_and.npy")
    );
    let words = ["--and", "OUT/second.tsv", "--output"];
    for (out, more) in [("OUT/one", "1"), ("OUT/many", "3")] {
        toy.run("ablate", &[&words[..], &[out, "--threads", more]].concat())
            .ok();
    }
    assert_eq!(
        toy.bytes("one/ablation_and.csv"),
        toy.bytes("many/ablation_and.csv")
    );
    let found = &toy.record("one")["results"]["and"]["loss_change"];
    let r = found["pearson"].as_f64().unwrap();
    assert!(r.abs() < 1.0 && found["heads"] == (LAYERS * HEADS) as u64);
    let page = String::from_utf8(toy.bytes("one/report.html")).unwrap();
    assert!(page.contains("without each head on both data"));
    let text = toy.run("ablate", &["--and", "OUT/second.tsv"]).ok().out;
    assert!(text.contains("Pearson r"), "{text}");
    for line in text.lines().filter(|line| !line.contains('/')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // What was asked is part of the run.
    toy.run("ablate", &["--output", "OUT/one", "--resume"])
        .failed(2, &["cannot be resumed"]);
}

#[test]
fn wrong_words_are_refused() {
    let toy = Toy::new();
    second(&toy);
    for words in [
        &["--select-on", "OUT/second.tsv"][..],
        &["--keep-one", "--and", "OUT/second.tsv"],
    ] {
        let ran = toy.run("ablate", words);
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains("--keep-one"), "{}", ran.err);
    }
    let refused = |words: &[&str], said: &[&str]| {
        toy.run("ablate", words).failed(2, said);
    };
    refused(
        &["--keep-one", "--select-limit", "3"],
        &["--select-limit 3", "--select-on PATH"],
    );
    refused(&["--and-limit", "3"], &["--and-limit 3", "--and PATH"]);
    refused(
        &["--and-split", "train"],
        &["--and-split train", "none of GLUE's", "--and FILE"],
    );
    refused(
        &["--keep-one", "--select-on", "OUT/data.tsv"],
        &["is the file that is scored"],
    );
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let asset = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let (model, data) = (asset("tiny-bert"), asset("grammar"));
    let words = ["ablate", &model, "--task", "cola", "--data", &data];
    run(&[&words[..], &["--keep-one", "--select-split", "dev"]].concat())
        .failed(2, &["is the file that is scored"]);
    run(&[&words[..], &["--and-split", "nowhere"]].concat()).failed(2, &["nowhere"]);
}
