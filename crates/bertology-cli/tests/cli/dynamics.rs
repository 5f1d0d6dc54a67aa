//! `dynamics` on the command line.

use std::fs;

use crate::harness::{HEADS, LAYERS, Ran, Toy, run};

const SMALL: [&str; 6] = ["--schedule", "25%", "--seeds", "2", "--metric", "loss"];

/// A training of four steps with a checkpoint before it, in its middle and at its end.
fn trained() -> Toy {
    let toy = Toy::new();
    let data = toy.text("data.tsv");
    let more = [
        "--dev",
        &data,
        "--max-steps",
        "4",
        "--evaluate-every",
        "2",
        "--batch-size",
        "8",
        "--learning-rate",
        "1e-2",
        "--warmup",
        "0",
        "--checkpoints",
        "--output",
        "OUT/tuned",
    ];
    toy.run("finetune", &more).ok();
    toy
}

/// `dynamics FOLDERS... --data data.tsv ...`; `OUT` is the toy's folder.
fn dynamics(toy: &Toy, folders: &[&str], more: &[&str]) -> Ran {
    let mut all = toy.arguments("dynamics", &SMALL);
    all.splice(1..2, folders.iter().map(|folder| (*folder).to_owned()));
    all.extend(more.iter().map(|word| (*word).to_owned()));
    let base = toy.text("");
    let base = base.trim_end_matches('/');
    let all = all.into_iter().map(|word| word.replace("OUT", base));
    run(&all.collect::<Vec<_>>())
}

const CHECKPOINTS: &str = "OUT/tuned/checkpoints";

fn column(table: &[Vec<String>], name: &str) -> usize {
    table[0].iter().position(|column| column == name).unwrap()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

#[test]
fn every_checkpoint_is_what_other_commands_say_of_it() {
    let toy = trained();
    let ran = dynamics(&toy, &[CHECKPOINTS], &["--output", "OUT/out"]).ok();
    assert!(ran.err.contains("--choose-on"), "{}", ran.err);
    assert!(ran.out.contains("3 of 3  step-00004"), "{}", ran.out);
    let steps = toy.table("out/dynamics_steps.csv");
    let step: Vec<&str> = steps[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(step, ["0", "2", "4"]);
    let points = toy.table("out/dynamics.csv");
    // Each with the whole model, and three orders of four points.
    assert_eq!(points.len(), 1 + 3 * (1 + 3 * 4));
    let (kind, shape, values) = toy.array("out/head_importance_steps.npy");
    assert_eq!(
        (kind.as_str(), &shape[..]),
        ("<f8", &[3, LAYERS as u64, HEADS as u64][..])
    );
    let heads = toy.table("out/heads_steps.csv");
    for (at, step) in step.iter().enumerate() {
        let checkpoint = format!("tuned/checkpoints/step-0000{step}");
        // The curve is that of `mask --schedule`.
        let mut words = toy.arguments("mask", &SMALL);
        words[1] = toy.text(&checkpoint);
        let (mask, scores) = (format!("mask-{at}"), format!("importance-{at}"));
        words.extend(["--output".into(), toy.text(&mask)]);
        run(&words).ok();
        let alone = toy.table(&format!("{mask}/schedule.csv"));
        let own = points[1..].iter().filter(|row| row[0] == *step);
        let own: Vec<&[String]> = own.map(|row| &row[1..5]).collect();
        let expected: Vec<&[String]> = alone[1..].iter().map(|row| &row[..4]).collect();
        assert_eq!(own, expected, "{step}");
        // And importance that of `importance`.
        let mut words = toy.arguments("importance", &[]);
        words[1] = toy.text(&checkpoint);
        words.extend(["--output".into(), toy.text(&scores)]);
        run(&words).ok();
        let (_, _, raw) = toy.array(&format!("{scores}/head_importance_raw.npy"));
        let (_, _, normal) = toy.array(&format!("{scores}/head_importance.npy"));
        let (_, _, ranks) = toy.array(&format!("{scores}/head_ranks.npy"));
        let own = heads[1..].iter().filter(|row| row[0] == *step);
        for (cell, row) in own.enumerate() {
            assert_eq!(number(&row[3]), raw[cell]);
            assert_eq!(number(&row[5]), ranks[cell]);
            let value = values[at * raw.len() + cell];
            assert_eq!(number(&row[4]), value);
            assert_eq!(f64::from(value as f32), normal[cell]);
        }
    }
    // A loss is relative to that of the whole model.
    let (score, relative) = (column(&points, "score"), column(&points, "relative"));
    let whole = number(&points[1][score]);
    assert_eq!(number(&points[1][relative]), 1.0);
    assert!((number(&points[2][relative]) - number(&points[2][score]) / whole).abs() < 1e-12);
    let (previous, last) = (
        column(&steps, "spearman_previous"),
        column(&steps, "spearman_last"),
    );
    assert!(steps[1][previous].is_empty());
    assert_eq!(number(&steps[3][last]), 1.0);
    assert_eq!(steps[3][previous], steps[2][last]);
    let page = String::from_utf8(toy.bytes("out/report.html")).unwrap();
    for part in [
        "Heads along a training",
        "Relative to all heads",
        "Importance at step 4",
        "How settled the ranking is",
        "flatters",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let joined = toy.text("joined");
    run(&["heads", &toy.text("out"), "--output", &joined]).ok();
}

#[test]
fn threads_and_a_second_start_change_no_byte() {
    let toy = trained();
    let with = |threads: &str, out: &str, more: &[&str]| {
        let words = [
            "--choose-on",
            "OUT/data.tsv:9",
            "--threads",
            threads,
            "--output",
            out,
        ];
        dynamics(&toy, &[CHECKPOINTS], &[&words[..], more].concat())
    };
    with("1", "OUT/one", &[]).ok();
    let ran = with("3", "OUT/three", &[]).ok();
    assert!(
        ran.out.contains("9 examples") && !ran.err.contains("flatters"),
        "{}",
        ran.out
    );
    for name in [
        "dynamics.csv",
        "dynamics_steps.csv",
        "heads_steps.csv",
        "head_importance_steps.npy",
    ] {
        let of = |folder: &str| toy.bytes(&format!("{folder}/{name}"));
        assert_eq!(of("one"), of("three"), "{name}");
    }
    let again = with("2", "OUT/one", &["--resume"]).ok();
    assert!(again.err.contains("complete already"), "{}", again.err);
    // One checkpoint by another name is the same, one of other weights is not.
    let named = [
        "0=OUT/tuned/checkpoints/step-00002",
        "OUT/tuned/checkpoints/step-00004",
    ];
    let ran = dynamics(&toy, &named, &["--json"]).ok().json();
    let all = ran["results"]["checkpoints"].as_array().unwrap();
    assert_eq!((&all[0]["step"], &all[1]["step"]), (&0.into(), &4.into()));
    let random = |at: usize| {
        ran["results"]["checkpoints"][at]["random"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((random(0), random(1)), (2, 2));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let toy = Toy::with_examples(crate::interrupted::LONG / 4);
    for step in ["checkpoint-1", "checkpoint-2k"] {
        let folder = toy.path("run").join(step);
        fs::create_dir_all(&folder).unwrap();
        for name in toy.names("model") {
            fs::copy(toy.path("model").join(&name), folder.join(&name)).unwrap();
        }
    }
    let words = |out: &str, more: &[&str]| {
        let mut all = toy.arguments("dynamics", &SMALL);
        all[1] = toy.text("run");
        all.extend(["--output".into(), toy.text(out)]);
        all.extend(more.iter().map(|word| (*word).to_owned()));
        all
    };
    run(&words("whole", &[])).ok();
    let stopped = crate::interrupted::interrupt(&words("out", &[]), "1 of 2");
    let stopped = stopped.failed(130, &["interrupted after", "--resume"]);
    assert!(!toy.path("out/run.json").exists(), "{}", stopped.out);
    let ran = run(&words("out", &["--resume"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    for name in ["dynamics.csv", "dynamics_steps.csv", "heads_steps.csv"] {
        let of = |folder: &str| toy.bytes(&format!("{folder}/{name}"));
        assert_eq!(of("whole"), of("out"), "{name}");
    }
    assert!(!toy.path("out/state.json").exists());
}

#[test]
fn what_is_no_training_is_refused() {
    let toy = trained();
    let refused = |folders: &[&str], parts: &[&str]| {
        dynamics(&toy, folders, &["--output", "OUT/out"]).failed(2, parts);
        assert!(!toy.path("out").exists());
    };
    let checkpoint = |step: u32| format!("{CHECKPOINTS}/step-0000{step}");
    let (first, second) = (checkpoint(0), checkpoint(2));
    refused(&["OUT/model", &first], &["model", "no number", "FOLDER"]);
    refused(&[&first], &["one checkpoint", "mask --schedule"]);
    refused(
        &["0=OUT/model", &first],
        &["step 0", "model and step-00000"],
    );
    // The folder of a training that is over is a model, too.
    refused(&["OUT/tuned"], &["tuned", "no number"]);
    fs::create_dir(toy.path("empty")).unwrap();
    refused(&["OUT/empty"], &["no checkpoint here", "config.json"]);
    refused(&["5=OUT/empty"], &["no config.json"]);
    // Inside of what is read nothing is written.
    let within = dynamics(
        &toy,
        &[CHECKPOINTS],
        &["--output", "OUT/tuned", "--overwrite"],
    );
    within.failed(2, &["lies in it"]);

    let pruned = toy.text("pruned");
    run(&[
        "prune",
        &toy.text("model"),
        "--heads",
        "0.1",
        "--output",
        &pruned,
    ])
    .ok();
    refused(
        &[&first, "9=OUT/pruned/model"],
        &["step-00000", "pruned/model", "different heads", "12", "11"],
    );
    let config = toy.path("tuned/checkpoints/step-00002/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("LABEL_1", "other")).unwrap();
    assert!(text.contains("LABEL_1"));
    refused(&[&first, &second], &["different classes", "other"]);
    fs::write(&config, text).unwrap();
    let vocabulary = toy.path("tuned/checkpoints/step-00002/vocab.txt");
    let words = fs::read_to_string(&vocabulary).unwrap();
    fs::write(&vocabulary, words.replace("cat\ndog", "dog\ncat")).unwrap();
    refused(&[&first, &second], &["different tokenizers", "step-00002"]);
    let part = dynamics(
        &toy,
        &[CHECKPOINTS],
        &["--part", "1/2", "--output", "OUT/out"],
    );
    part.failed(2, &["--part"]);
}
