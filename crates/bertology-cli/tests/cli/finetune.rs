//! `finetune` on the command line.

use std::fs;

use crate::harness::{Toy, run};

const SHORT: [&str; 8] = [
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--learning-rate",
    "1e-3",
    "--warmup",
    "0",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SHORT.iter().copied().chain(more.iter().copied()).collect()
}

/// The scores of the last row of a table.
fn last_loss(toy: &Toy, folder: &str) -> f64 {
    let rows = toy.table(&format!("{folder}/training_scores.csv"));
    let at = rows[0].iter().position(|name| name == "loss").unwrap();
    rows.last().unwrap()[at].parse().unwrap()
}

#[test]
fn the_output_is_a_model_that_every_command_opens() {
    let toy = Toy::new();
    let data = toy.text("data.tsv");
    let ran = toy
        .run(
            "finetune",
            &with(&["--dev", &data, "--output", "OUT/out", "--json"]),
        )
        .ok();
    let document = ran.json();
    let results = &document["results"];
    assert_eq!(results["steps"], 10);
    assert_eq!(results["examples"], 40);
    assert_eq!(results["begun"].as_array().unwrap().len(), 0);
    for name in [
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "run.json",
        "report.html",
    ] {
        assert!(toy.path(&format!("out/{name}")).exists(), "{name}");
    }
    assert!(!toy.path("out/training.state").exists() && !toy.path("out/state.json").exists());
    let rows = toy.table("out/training.csv");
    assert_eq!(rows.len(), 11);
    let loss = |row: &Vec<String>| row[2].parse::<f64>().unwrap();
    assert!(loss(&rows[10]) < loss(&rows[1]), "{rows:?}");
    // What was scored on the way is what the written model scores.
    let out = toy.text("out");
    let words = ["--text-column", "text", "--label-column", "label", "--json"];
    let mut all = vec!["evaluate", &out, "--data", &data];
    all.extend(words);
    let again = run(&all).ok().json();
    let found = again["results"]["evaluation"]["loss"].as_f64().unwrap();
    assert!((found - last_loss(&toy, "out")).abs() < 1e-6, "{found}");
}

#[test]
fn threads_change_no_byte_and_a_finished_run_is_left_alone() {
    let toy = Toy::new();
    toy.run(
        "finetune",
        &with(&["--threads", "1", "--output", "OUT/one"]),
    )
    .ok();
    toy.run(
        "finetune",
        &with(&["--threads", "3", "--output", "OUT/three"]),
    )
    .ok();
    let weights = |folder: &str| toy.bytes(&format!("{folder}/model.safetensors"));
    assert_eq!(weights("one"), weights("three"));
    let other = with(&["--seed", "1", "--output", "OUT/other"]);
    toy.run("finetune", &other).ok();
    assert_ne!(weights("one"), weights("other"));
    let again = with(&["--output", "OUT/one", "--resume"]);
    let ran = toy.run("finetune", &again).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
    toy.run("finetune", &with(&["--output", "OUT/one"]))
        .failed(2, &["--overwrite"]);
    toy.write("one/mine.txt", "kept");
    let anew = with(&["--output", "OUT/one", "--overwrite", "--seed", "1"]);
    toy.run("finetune", &anew).ok();
    assert_eq!(weights("one"), weights("other"));
    assert_eq!(toy.bytes("one/mine.txt"), b"kept");
}

#[test]
fn a_head_that_does_not_fit_begins_anew() {
    let toy = Toy::new();
    let text: String = String::from_utf8(toy.bytes("data.tsv")).unwrap();
    let text = text.replace("LABEL_1", "no").replace("LABEL_2", "yes");
    toy.write("data.tsv", &text);
    let ran = toy.run("finetune", &with(&["--output", "OUT/out"])).ok();
    assert!(ran.err.contains("classifier.weight"), "{}", ran.err);
    let config: serde_json::Value = serde_json::from_slice(&toy.bytes("out/config.json")).unwrap();
    assert_eq!(config["id2label"]["0"], "no");
    assert_eq!(config["label2id"]["yes"], 1);
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    let fits = ["--new-head", "--output", "OUT/again"];
    let ran = toy.run("finetune", &with(&fits)).ok();
    assert!(ran.err.contains("classifier.bias"), "{}", ran.err);
    let anew = Toy::new();
    let ran = anew.run("finetune", &with(&fits)).ok();
    assert!(ran.err.contains("classifier.bias"), "{}", ran.err);
}

#[test]
fn a_pruned_model_learns_from_the_whole_one() {
    let toy = Toy::new();
    let (model, pruned) = (toy.text("model"), toy.text("pruned"));
    run(&[
        "prune",
        &model,
        "--heads",
        "0.1,1.0,1.1,1.2,1.3",
        "--output",
        &pruned,
    ])
    .ok();
    let small = toy.text("pruned/model");
    let data = toy.text("data.tsv");
    let out = toy.text("out");
    let mut words = vec!["finetune", &small, "--data", &data, "--text-column", "text"];
    words.extend([
        "--label-column",
        "label",
        "--distill",
        &model,
        "--output",
        &out,
        "--json",
    ]);
    words.extend(SHORT);
    let ran = run(&words).ok().json();
    assert!(
        ran["identity"]["distill"].is_string() || ran["identity"]["options"]["distill"].is_string()
    );
    // The layer that lost all its heads has one of zeros still.
    let inspected = run(&["inspect", &out, "--json"]).ok().json();
    assert_eq!(inspected["heads_present"], 7, "{inspected}");
    let before = fs::metadata(toy.path("pruned/model/model.safetensors"))
        .unwrap()
        .len();
    let after = fs::metadata(toy.path("out/model.safetensors"))
        .unwrap()
        .len();
    assert!(before.abs_diff(after) < 4096, "{before} {after}");
}

#[test]
fn checkpoints_on_the_way_are_models() {
    let toy = Toy::new();
    let data = toy.text("data.tsv");
    let more = ["--dev", &data, "--checkpoints", "--output", "OUT/out"];
    toy.run("finetune", &with(&more)).ok();
    assert_eq!(
        toy.names("out/checkpoints"),
        ["step-00000", "step-00005", "step-00010"]
    );
    let last = toy.bytes("out/checkpoints/step-00010/model.safetensors");
    assert_eq!(last, toy.bytes("out/model.safetensors"));
    // Those of a run that is replaced go with it.
    toy.run("finetune", &with(&["--output", "OUT/out", "--overwrite"]))
        .ok();
    assert!(!toy.path("out/checkpoints").exists());
    fs::create_dir(toy.path("out/checkpoints")).unwrap();
    let ran = toy.run("finetune", &with(&["--output", "OUT/out", "--overwrite"]));
    ran.failed(2, &["checkpoints of an earlier training"]);
}

#[test]
fn wrong_words_are_refused() {
    let toy = Toy::new();
    toy.write("one.tsv", "text\tlabel\nthe cat\tyes\na dog\tyes\n");
    let one = toy.text("one.tsv");
    let model = toy.text("model");
    for (more, code, parts) in [
        (
            &["--output", "OUT/model"][..],
            2,
            &["this is the model itself"][..],
        ),
        (&[], 2, &["no --output folder"]),
        (
            &["--patience", "2", "--output", "OUT/o"],
            2,
            &["--patience", "give --dev FILE"],
        ),
        (
            &["--keep", "best", "--output", "OUT/o"],
            2,
            &["--keep best", "give --dev FILE"],
        ),
        (
            &[
                "--metric",
                "bleu",
                "--dev",
                "OUT/data.tsv",
                "--output",
                "OUT/o",
            ],
            2,
            &["bleu", "acc"],
        ),
        (
            &["--dev", "OUT/none.tsv", "--output", "OUT/o"],
            1,
            &["none.tsv"],
        ),
        (
            &["--part", "1/2", "--output", "OUT/o"],
            2,
            &["one step after the other"],
        ),
        (
            &["--distill", "OUT/none", "--output", "OUT/o"],
            2,
            &["none"],
        ),
    ] {
        toy.run("finetune", more).failed(code, parts);
        assert!(!toy.path("o").exists(), "{more:?}");
    }
    for (more, part) in [
        (&["--learning-rate", "0"][..], "above 0"),
        (&["--freeze", "everything"], "layers:N"),
        (&["--freeze", "encoder,head"], "layers:N"),
        (&["--temperature", "3"], "--distill"),
    ] {
        let ran = toy.run("finetune", more);
        assert!(ran.code == Some(2) && ran.err.contains(part), "{}", ran.err);
    }
    let words = [
        "finetune",
        &model,
        "--data",
        &one,
        "--text-column",
        "text",
        "--label-column",
        "label",
    ];
    let output = toy.text("o");
    let all: Vec<&str> = words.into_iter().chain(["--output", &output]).collect();
    run(&all).failed(2, &["every example has the label yes"]);
    let all = [
        "finetune",
        &model,
        "--text",
        &one,
        "--objective",
        "lm",
        "--output",
        &output,
    ];
    run(&all).failed(1, &["causal"]);
}

#[test]
fn language_models_learn_from_text() {
    let toy = Toy::new();
    let model = crate::harness::golden("bert-mlm")
        .to_str()
        .unwrap()
        .to_owned();
    let folder = toy.path("mlm");
    fs::create_dir(&folder).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(format!("{model}/{name}"), folder.join(name)).unwrap();
    }
    for name in ["vocab.txt", "tokenizer_config.json"] {
        fs::copy(toy.path("model").join(name), folder.join(name)).unwrap();
    }
    toy.write(
        "text.txt",
        "the cat sees a small dog\nthe old horse likes the dog\na cat never runs\n",
    );
    let (model, text, out) = (toy.text("mlm"), toy.text("text.txt"), toy.text("out"));
    let mut words = vec![
        "finetune", &model, "--text", &text, "--dev", &text, "--output", &out,
    ];
    words.extend([
        "--epochs",
        "30",
        "--learning-rate",
        "3e-3",
        "--mlm-probability",
        "0.3",
    ]);
    run(&words).ok();
    let rows = toy.table("out/training_scores.csv");
    let loss = |row: &Vec<String>| row[2].parse::<f64>().unwrap();
    assert!(
        loss(rows.last().unwrap()) < loss(&rows[1]) - 0.5,
        "{rows:?}"
    );
}
