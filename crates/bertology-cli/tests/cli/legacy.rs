//! Saved command lines of run_bertology.py.

use std::path::Path;

use crate::harness::{Toy, golden, run};
use crate::treebanks::treebank;

#[test]
fn a_saved_command_line_needs_one_word_changed() {
    let toy = Toy::new();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let at = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let (model, task_folder, glue) = (at("tiny-bert"), at("grammar/CoLA"), at("grammar"));
    let (old, new) = (toy.text("old"), toy.text("new"));
    let args = [
        "mask",
        "--model_name_or_path",
        &model,
        "--data_dir",
        &task_folder,
        "--task_name",
        "cola",
        "--output_dir",
        &old,
        "--max_seq_length",
        "16",
        "--batch_size",
        "1",
        "--masking_threshold",
        "0.5",
        "--masking_amount",
        "0.2",
        "--metric_name",
        "mcc",
        "--data_subset",
        "30",
        "--overwrite_output_dir",
        "--try_masking",
        "--local_rank",
        "-1",
        "--no_cuda",
        "--seed",
        "7",
        "--overwrite_cache",
        "--config_name",
        &model,
        "--tokenizer_name",
        &model,
    ];
    let ran = run(&args).ok();
    for word in [
        "--local_rank",
        "--no_cuda",
        "--seed",
        "--overwrite_cache",
        "--batch-size",
    ] {
        assert!(ran.err.contains(word), "no note on {word}: {}", ran.err);
    }
    let record = toy.record("old");
    assert_eq!(record["seed"], 7);
    assert_eq!(record["data"]["file"]["examples"], 30);
    let args = [
        "mask",
        &model,
        "--task",
        "CoLA",
        "--data",
        &glue,
        "--limit",
        "30",
        "--max-length",
        "16",
        "--threshold",
        "0.5",
        "--amount",
        "0.2",
        "--output",
        &new,
    ];
    run(&args).ok();
    for name in ["head_mask.npy", "curve.csv", "head_importance.npy"] {
        assert!(
            toy.bytes(&format!("old/{name}")) == toy.bytes(&format!("new/{name}")),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_obeyed_is_refused_with_a_reason() {
    let toy = Toy::new();
    for (more, parts) in [
        (
            &["--try_masking"][..],
            &["--try_masking", "bertology mask"][..],
        ),
        (&["--local_rank", "0"], &["--local_rank 0", "distributed"]),
        (
            &["--config_name", "elsewhere"],
            &["--config_name elsewhere", "config.json"],
        ),
        (
            &["--tokenizer_name", "elsewhere"],
            &["--tokenizer_name elsewhere"],
        ),
        (&["--data_subset", "-5"], &["--data_subset -5"]),
        (&["--server_ip", "x"], &["debugger"]),
    ] {
        toy.run("importance", more).failed(2, parts);
    }
    toy.run("importance", &["--data_subset", "-1"]).ok();
    // The underscores of values are their own.
    toy.run("evaluate", &["--output_dir", "OUT/my_run"]).ok();
    assert!(toy.path("my_run/run.json").exists());
}

/// Every command that takes MODEL takes it as an option, too, and does the same.
#[test]
fn the_model_may_be_named_by_an_option() {
    let toy = Toy::new();
    toy.write("trees.conllu", &treebank(6));
    let reference = golden("bert-absolute").join("golden.safetensors");
    let (data, trees) = (toy.text("data.tsv"), toy.text("trees.conllu"));
    let (model, reference) = (toy.text("model"), reference.to_str().unwrap().to_owned());
    let labelled = [
        "--data",
        &data,
        "--text-column",
        "text",
        "--label-column",
        "label",
    ];
    let limit = ["--limit", "5"];
    let texts = ["--text", &trees, "--limit", "5"];
    let conllu = ["--conllu", &trees];
    let probe = ["--train", &trees, "--dev", &trees, "--epochs", "1"];
    let spans = toy.text("spans.jsonl");
    super::harness::run(&["edge-data", "ud-upos", &trees, "--output", &spans]).ok();
    let records = [
        "--train", &spans, "--dev", &spans, "--epochs", "1", "--seeds", "1",
    ];
    let with = |more: &[&'static str]| [&labelled[..], &limit, more].concat();
    for (command, words) in [
        ("importance", with(&[])),
        ("ablate", with(&["--heads", "0.1"])),
        ("mask", with(&["--max-steps", "1"])),
        ("prune", vec!["--heads", "0.1"]),
        ("evaluate", with(&[])),
        ("extract", vec!["the cat sees", "a dog", "--tokens"]),
        ("patterns", texts.to_vec()),
        ("cluster", texts.to_vec()),
        ("syntax", conllu.to_vec()),
        ("coref", conllu.to_vec()),
        ("attention-probe", probe.to_vec()),
        ("edge-probe", records.to_vec()),
        (
            "survey",
            [&conllu[..], &["--studies", "syntax,patterns"]].concat(),
        ),
        ("view", vec!["the cat sees", "a dog"]),
        ("inspect", vec![]),
        (
            "verify",
            vec!["--reference", &reference, "--prefix", "ones."],
        ),
    ] {
        let out = toy.text(&format!("{command}.html"));
        let output = match command {
            "inspect" | "verify" => &[][..],
            _ => &["--output", &out, "--overwrite"],
        };
        let plain = [&[command, &model][..], &words, output, &["--json"]].concat();
        let option = [
            &[command][..],
            &words,
            &["--model-name-or-path", &model],
            output,
            &["--json"],
        ];
        let old = [
            &[command, "--model_name_or_path", &model][..],
            &words,
            output,
            &["--json"],
        ];
        let mut expected = run(&plain).ok().json();
        let page = || std::fs::read(&out).ok();
        let expected_page = page();
        for words in [option.concat(), old.concat()] {
            let mut found = run(&words).ok().json();
            for document in [&mut expected, &mut found] {
                forget_times(document);
            }
            assert_eq!(found, expected, "{command}");
            assert!(page() == expected_page, "{command}");
        }
    }
    let words = ["inspect", &model, "--model-name-or-path", "elsewhere"];
    run(&words).failed(
        2,
        &["two models are given", "elsewhere", "leave one of them out"],
    );
    run(&["inspect"]).failed(2, &["no MODEL given", "hub id"]);
}

/// What differs between two runs that do the same.
fn forget_times(document: &mut serde_json::Value) {
    if let serde_json::Value::Object(map) = document {
        for key in ["seconds", "timing", "started", "finished", "arguments"] {
            map.remove(key);
        }
        map.values_mut().for_each(forget_times);
    }
}

/// A command line of the script that only looks at heads is one of `importance`.
#[test]
fn options_of_masking_are_noted_where_nothing_is_masked() {
    let toy = Toy::new();
    let all = [
        "--metric_name",
        "acc",
        "--masking_threshold",
        "0.9",
        "--masking_amount=0.1",
    ];
    let rest = [
        "--no_cuda",
        "--local_rank",
        "-1",
        "--seed",
        "42",
        "--overwrite_cache",
        "--batch_size",
        "1",
    ];
    let ran = toy.run("importance", &[&all[..], &rest].concat()).ok();
    for name in ["--metric_name", "--masking_threshold", "--masking_amount"] {
        let note = format!("{name} has no effect: nothing is masked here; `bertology mask`");
        assert!(ran.err.contains(&note), "{}", ran.err);
    }
    toy.run("evaluate", &all).ok();
    let ran = toy
        .run("ablate", &[&all[..], &["--heads", "0.1"]].concat())
        .ok();
    assert!(!ran.err.contains("--metric_name"), "{}", ran.err);
    assert!(
        ran.err.contains("--masking_amount has no effect"),
        "{}",
        ran.err
    );
}
