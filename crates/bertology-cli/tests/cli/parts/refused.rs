//! What is not put together, what has no parts, and how far parts are.

use std::fs;

use serde_json::Value;

use super::{CHUNK, Job, SHUFFLED, asset, folder, grammar, merge, status};
use crate::harness::{Toy, run};

#[test]
fn what_is_no_whole_is_not_merged() {
    let toy = Toy::new();
    let job = Job::importance(&toy, &[]);
    job.part("1/3").ok();
    job.part("3/3").ok();
    let refused = |parts: &[&str], said: &[&str]| {
        merge(&toy, parts, "merged").failed(2, said);
        // What stands there is no obstacle.
        let there = toy.path("merged").exists();
        assert!(!there || toy.names("merged").is_empty(), "{parts:?}");
    };
    let (one, two, three) = ("1-of-3", "2-of-3", "3-of-3");
    refused(
        &[three, one],
        &["part 2/3 is missing", "--part", "name all parts"],
    );
    refused(&[three], &["parts 1/3 to 2/3 are missing"]);
    refused(&[one], &["parts 2/3 to 3/3 are missing"]);
    // What it says helps.
    job.part("2/3").ok();
    merge(&toy, &[three, one, two], "merged").ok();
    fs::remove_dir_all(toy.path("merged")).unwrap();

    refused(
        &[one, two, two, three],
        &["part 2/3 is there twice", two, "once"],
    );
    // Parts of other numbers, other options, other data, another model, another command.
    job.run("2-of-4", &["--part", "2/4"]).ok();
    refused(&[one, "2-of-4", three], &["2-of-4", "part 2/4", "one of 3"]);
    let stranger = |out: &str, job: Job<'_>, said: &str| {
        job.run(out, &["--part", "2/3"]).ok();
        let parts = [one, out, three];
        refused(
            &parts,
            &[
                out,
                one,
                "different runs",
                said,
                "name the parts of one run",
            ],
        );
        status(&toy, &parts).failed(2, &[out, one, "different runs", said]);
    };
    stranger(
        "shorter",
        Job::importance(&toy, &["--max-length", "6"]),
        "--max-length",
    );
    stranger(
        "coarser",
        Job::importance(&toy, &["--granularity", "token"]),
        "--granularity",
    );
    let mut finer = Job::importance(&toy, &[]);
    finer.words.retain(|word| !CHUNK.contains(&word.as_str()));
    finer.words.extend(["--chunk", "4"].map(str::to_owned));
    stranger("finer", finer, "--chunk");
    let words = toy.arguments("evaluate", &CHUNK);
    stranger("evaluated", Job { toy: &toy, words }, "evaluate");
    let data = toy.bytes("data.tsv");
    toy.write("data.tsv", "text\tlabel\nthe cat\tLABEL_0\n");
    stranger("elsewhere", Job::importance(&toy, &[]), "data");
    // The parts are one run's, but the data are no longer theirs.
    refused(
        &[one, two, three],
        &["1-of-3", "SHA-256 of the data", "same model and data"],
    );
    fs::write(toy.path("data.tsv"), data).unwrap();

    // A whole run, a folder of something else, no folder.
    job.run("whole", &[]).ok();
    refused(
        &[one, "whole", three],
        &["whole", "a whole run", "--part K/N"],
    );
    refused(&[one, "model", three], &["model", "no part.json"]);
    refused(&[one, "nowhere", three], &["nowhere", "no part.json"]);
    refused(&[one, "data.tsv", three], &["data.tsv", "no part.json"]);
    status(&toy, &["whole"]).failed(2, &["whole", "a whole run"]);
    // The output is as safe as that of any command.
    merge(&toy, &[one, two, three], "whole").failed(2, &["not empty", "--overwrite"]);
    let mut again = vec!["merge".to_owned()];
    again.extend([one, two, three].map(|part| toy.text(part)));
    again.extend(["--output".into(), toy.text("whole"), "--overwrite".into()]);
    run(&again).ok();
    // A part is no run.
    for command in ["report", "heads"] {
        run(&[command, &toy.text(two)]).failed(2, &[two, "bertology merge"]);
    }
    // A part is not made twice, nor taken for another or for the whole.
    job.part("2/3").failed(2, &["not empty", "--overwrite"]);
    for (more, asked) in [
        (&["--resume", "--part", "1/3"][..], "part 1/3"),
        (&["--resume"], "the whole run"),
    ] {
        job.run(two, more)
            .failed(2, &[two, "part 2/3", asked, "choose another folder"]);
    }
    job.run("whole", &["--resume", "--part", "1/3"])
        .failed(2, &["the whole run", "part 1/3", "choose another folder"]);
    let ran = job.run(two, &["--part", "2/3", "--resume"]).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
}

#[test]
fn damaged_parts_and_those_of_the_future_are_named() {
    let toy = Toy::new();
    let job = Job::importance(&toy, &[]);
    for part in SHUFFLED {
        job.part(part).ok();
    }
    let parts = SHUFFLED.map(folder);
    let path = toy.path("2-of-3/part.json");
    let record = fs::read(&path).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed: Value = serde_json::from_slice(&record).unwrap();
        changed[key] = value;
        fs::write(&path, changed.to_string()).unwrap();
    };
    with("format", 99.into());
    let said = [
        "2-of-3",
        "part.json",
        "format is 99",
        "the version that wrote it",
    ];
    merge(&toy, &parts, "merged").failed(2, &said);
    status(&toy, &parts).failed(2, &said);
    with("format", Value::Null);
    merge(&toy, &parts, "merged").failed(2, &["2-of-3", "not a part of a run"]);
    with(
        "stages",
        serde_json::json!([{ "first": 9, "end": 3, "total": 1, "chunk": 0 }]),
    );
    merge(&toy, &parts, "merged").failed(2, &["2-of-3", "make the part again"]);
    with(
        "arguments",
        serde_json::json!(["importance", "--no-such-option"]),
    );
    fs::write(&path, b"{").unwrap();
    merge(&toy, &parts, "merged").failed(2, &["2-of-3", "part.json", "not valid JSON"]);
    fs::write(&path, &record).unwrap();

    let path = toy.path("2-of-3/chunks.jsonl");
    let chunks = fs::read_to_string(&path).unwrap();
    let fewer: String = chunks.split_inclusive('\n').skip(1).collect();
    for damaged in [fewer.as_str(), "{}\n", &chunks[..chunks.len() - 9]] {
        fs::write(&path, damaged).unwrap();
        let said = [
            "2-of-3",
            "chunks.jsonl",
            "--part 2/3",
            "make the part again",
        ];
        merge(&toy, &parts, "merged").failed(2, &said);
    }
    fs::remove_file(&path).unwrap();
    merge(&toy, &parts, "merged").failed(1, &["2-of-3", "chunks.jsonl"]);
    // What it says helps.
    job.run("2-of-3", &["--part", "2/3", "--overwrite"]).ok();
    merge(&toy, &parts, "merged").ok();
}

#[test]
fn status_lists_what_is_there_and_what_is_missing() {
    let toy = Toy::new();
    let job = Job::importance(&toy, &[]);
    job.part("3/3").ok();
    let all = |parts: &[&str], more: &[&str]| {
        let mut words = vec!["status".to_owned()];
        words.extend(parts.iter().map(|part| toy.text(part)));
        words.extend(more.iter().map(|&word| word.to_owned()));
        run(&words)
    };
    let ran = all(&["3-of-3"], &[]).not_yet();
    assert!(ran.out.contains("3/3  finished"), "{}", ran.out);
    assert!(ran.out.contains("Missing: 1/3 2/3"), "{}", ran.out);
    // The document says it itself; nobody who is quiet is told otherwise.
    let document = all(&["3-of-3"], &["--json"]).ok().json();
    assert_eq!(document["missing"], serde_json::json!(["1/3", "2/3"]));
    all(&["3-of-3"], &["--quiet"]).not_yet();
    job.part("1/3").ok();
    job.part("2/3").ok();
    let parts = ["3-of-3", "1-of-3", "2-of-3"];
    let ran = all(&parts, &[]).ok();
    assert!(ran.out.contains("All parts are there"), "{}", ran.out);
    let document = all(&parts, &["--json"]).ok().json();
    assert_eq!(document["missing"], serde_json::json!([]));
    let rows = document["parts"].as_array().unwrap();
    let units: u64 = rows.iter().map(|row| row["total"].as_u64().unwrap()).sum();
    assert_eq!((rows.len(), units), (3, 40));
    assert!(
        rows.iter()
            .all(|row| row["finished"] == true && row["done"] == row["total"])
    );
}

#[test]
fn what_has_no_parts_says_why() {
    let toy = grammar(6);
    let cola = asset("grammar/CoLA");
    let labelled = ["--task", "cola", "--data", &cola, "--limit", "9"];
    let trees = toy.text("trees.conllu");
    let script = ["--granularity", "script"];
    let (probe, survey) = (["--train", &trees, "--dev", &trees], ["--conllu", &trees]);
    for (command, more, reason) in [
        (
            "mask",
            &labelled[..],
            "every step of the masking loop depends on the one before",
        ),
        (
            "prune",
            &labelled[..],
            "every step of the masking loop depends on the one before",
        ),
        ("attention-probe", &probe, "one after the other"),
        ("edge-probe", &probe, "one after the other"),
        (
            "importance",
            &[&labelled[..], &script].concat(),
            "every batch depends on all before it; make it whole; leave --part out",
        ),
        (
            "survey",
            &[&survey[..], &["--studies", "syntax"]].concat(),
            "each study's own command",
        ),
    ] {
        let bert = asset("tiny-bert");
        let out = toy.text("run");
        let mut words = vec![command, &bert];
        words.extend(more);
        words.extend(["--output", &out]);
        let parts = [&words[..], &["--part", "1/2"]].concat();
        run(&parts).failed(2, &[reason]);
        let there = toy.path("run").exists();
        assert!(!there || toy.names("run").is_empty(), "{command}");
    }
    // The advice: leave it out.
    let bert = asset("tiny-bert");
    let out = toy.text("run");
    run(&[
        &["mask", &bert, "--output", &out, "--max-steps", "1"],
        &labelled[..],
    ]
    .concat())
    .ok();

    for part in ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"] {
        let out = toy.text("none");
        let part = format!("--part={part}");
        let ran = run(&[&["evaluate", &bert, "--output", &out, &part], &labelled[..]].concat());
        assert_eq!(ran.code, Some(2), "{part}: {}", ran.err);
        assert!(ran.err.contains("give K/N"), "{}", ran.err);
    }
    // A part is of use only where it is kept.
    let ran = run(&[&["evaluate", &bert, "--part", "1/2"], &labelled[..]].concat());
    assert!(
        ran.code == Some(2) && ran.err.contains("--output"),
        "{}",
        ran.err
    );
}
