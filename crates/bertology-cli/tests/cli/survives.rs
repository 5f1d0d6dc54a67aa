//! Runs that survive: killed at any moment, beside another, on a screen that nobody reads, with a damaged state.

use std::fs::{self, OpenOptions};
use std::process::Stdio;

use bertology_run::RunFolder;

use crate::harness::{Ran, Toy, command, run};
use crate::interrupted::{LONG, interrupt};
use crate::parts::same;

/// Commands with an output, and a file that they write on the way to their end.
const STUDIES: [(&str, &[&str], &str); 7] = [
    ("importance", &[], "head_importance.npy"),
    ("ablate", &["--heads", "0.1"], "ablation.csv"),
    ("evaluate", &["--heads", "0.1"], "head_mask.npy"),
    ("patterns", &[], "patterns.csv"),
    ("mask", &[], "curve.csv"),
    ("prune", &["--max-steps", "1"], "model"),
    (
        "extract",
        &["--hidden-states", "--shard-size", "7"],
        "shard-00001.safetensors",
    ),
];

fn arguments(toy: &Toy, name: &str, more: &[&str], out: &str) -> Vec<String> {
    let out = toy.text(out);
    let mut all = toy.arguments(name, more);
    // An extraction wants no labels.
    if name == "extract" {
        all.retain(|word| word != "--label-column" && word != "label");
    }
    all.extend(["--output".to_owned(), out]);
    all
}

/// Kills a run as soon as a file is there, or lets it end.
fn killed_at(toy: &Toy, all: &[String], file: &str) {
    let quiet = Stdio::null;
    let mut child = command()
        .args(all)
        .stdout(quiet())
        .stderr(quiet())
        .spawn()
        .unwrap();
    while !toy.path(file).exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn killed_at_any_file_they_come_to_the_same_bytes() {
    let toy = Toy::new();
    for (name, more, file) in STUDIES {
        let whole = format!("{name}-whole");
        run(&arguments(&toy, name, more, &whole)).ok();
        for moment in ["state.json", file, "run.json"] {
            let out = format!("{name}-{moment}");
            let all = arguments(&toy, name, more, &out);
            killed_at(&toy, &all, &format!("{out}/{moment}"));
            run(&[&all[..], &["--resume".to_owned()]].concat()).ok();
            // Its speed is another each time.
            if name == "prune" {
                assert_eq!(toy.names(&out), toy.names(&whole));
                let files = |of: &str| toy.bytes(&format!("{of}/model/model.safetensors"));
                assert!(files(&out) == files(&whole));
            } else {
                same(&toy, &out, &whole);
            }
            // Once more over what is there, killed while that is removed.
            let over = [&all[..], &["--overwrite".to_owned()]].concat();
            killed_at(&toy, &over, &format!("{out}/.bertology-lock"));
            run(&[&all[..], &["--resume".to_owned()]].concat()).ok();
            assert_eq!(toy.names(&out), toy.names(&whole));
        }
    }
}

#[test]
fn a_folder_is_one_process_s() {
    let toy = Toy::new();
    let importance =
        |more: &[&str]| toy.run("importance", &[&["--output", "OUT/run"], more].concat());
    let path = toy.path("run");
    let me = format!("process {} on ", std::process::id());
    let held = RunFolder::open(&path).unwrap();
    let refused = ["--output", "another run writes", &me, "wait for its end"];
    importance(&[]).failed(1, &refused);
    importance(&["--overwrite"]).failed(1, &refused);
    let part = toy.text("run");
    let status = run(&["status", &part]).not_yet();
    assert!(status.out.contains(&me), "{}", status.out);
    let status = run(&["status", &part, "--json"]).ok().json();
    assert_eq!(status["parts"][0]["holder"]["pid"], std::process::id());
    for command in [
        &["report", &part][..],
        &["merge", &part, "--output", &toy.text("all")],
    ] {
        run(command).failed(1, &["another run writes", &me]);
    }
    drop(held);
    // What a killed process leaves blocks nobody.
    fs::write(path.join(".bertology-lock"), "{\"pid\": 1}").unwrap();
    importance(&[]).ok();
    let names = toy.names("run");
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
    run(&["report", &part]).ok();
}

#[test]
fn a_screen_that_nobody_reads_ends_no_run() {
    let toy = Toy::new();
    let mut runs: Vec<(String, Vec<String>)> = Vec::new();
    for (name, more, _) in STUDIES {
        let out = format!("{name}-closed");
        let all = arguments(&toy, name, more, &out);
        runs.push((format!("{out}/run.json"), all));
    }
    let demo = ["demo", "--output", &toy.text("demo")].map(str::to_owned);
    runs.push(("demo/prune/run.json".into(), demo.to_vec()));
    for (result, all) in runs {
        let mut child = command()
            .args(&all)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap()).ok();
        assert!(!ran.err.contains("error"), "{all:?}: {}", ran.err);
        assert!(toy.path(&result).exists(), "{all:?}");
    }
    // Nobody reads what is wrong, and it is wrong all the same.
    fs::remove_file(toy.path("model/vocab.txt")).unwrap();
    let mut child = command()
        .args(["inspect", &toy.text("model")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    Ran::of(child.wait_with_output().unwrap()).failed(1, &["no tokenizer"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_screen_that_breaks_is_told_when_all_is_written() {
    let toy = Toy::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = command()
        .args(arguments(&toy, "importance", &[], "run"))
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    ran.failed(1, &["cannot write to the standard output"]);
    assert!(toy.path("run/run.json").exists());
}

#[test]
fn an_error_is_in_the_document_too() {
    let toy = Toy::new();
    let error = |ran: Ran, code: i32, kind: &str, part: &str| {
        let document = ran.json();
        let error = &document["error"];
        assert_eq!((ran.code, &error["exit_code"]), (Some(code), &code.into()));
        assert_eq!(error["kind"], kind);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
        // And for people where they look.
        let first = message.lines().next().unwrap();
        assert!(ran.err.contains(first), "{}", ran.err);
        document
    };
    let none = run(&["inspect", "./nope", "--json"]);
    error(none, 2, "input", "no folder ./nope");
    let option = run(&["importance", "--nope", "--json"]);
    error(option, 2, "input", "--nope");
    let prune = toy.run("prune", &["--json"]);
    error(prune, 2, "input", "--output DIR");
    // A folder that cannot be read at all is listed all the same.
    fs::remove_file(toy.path("model/vocab.txt")).unwrap();
    let weights = toy.path("model/model.safetensors");
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#;
    toy.write("model/model.safetensors.index.json", index);
    fs::remove_file(weights).unwrap();
    let ran = run(&["inspect", &toy.text("model"), "--json"]);
    let document = error(ran, 1, "work", "model-00001-of-00002.safetensors");
    assert_eq!(document["problems"].as_array().unwrap().len(), 2);
    let files = document["files"].as_array().unwrap();
    let listed = |name: &str| {
        files
            .iter()
            .any(|file| file.as_str().unwrap().ends_with(name))
    };
    assert!(listed("/config.json"), "{files:?}");
    let ran = run(&["inspect", &toy.text("model")]).failed(1, &["model-00001-of-00002"]);
    for word in ["problems", "no tokenizer", "config.json"] {
        assert!(ran.out.contains(word), "{}", ran.out);
    }
}

#[test]
fn a_damaged_state_is_refused_by_name() {
    let toy = Toy::with_examples(LONG);
    let all = |more: &[&str]| {
        let base = ["--tokens-per-batch", "64", "--output", "OUT/run"];
        toy.run("importance", &[&base[..], more].concat())
    };
    let typed = arguments(&toy, "importance", &["--tokens-per-batch", "64"], "run");
    interrupt(&typed, &toy.text("model")).failed(130, &["--resume"]);
    let path = toy.path("run/state.json");
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() = b' ';
    for damaged in [&whole[..whole.len() / 2], &changed, b"{}"] {
        fs::write(&path, damaged).unwrap();
        all(&["--resume"]).failed(2, &["state.json", "checksum", "--overwrite"]);
        let status = run(&["status", &toy.text("run")]);
        status.failed(2, &["state.json", "checksum"]);
    }
    // A checksum that is right, and numbers that cannot be.
    fs::write(&path, &whole).unwrap();
    let mut saved = RunFolder::saved(&toy.path("run")).unwrap().unwrap();
    saved.state["stages"][0]["total"]["tally"]["examples"] = 7.into();
    let folder = RunFolder::open(&toy.path("run")).unwrap();
    folder.save_state(&saved.identity, saved.state).unwrap();
    drop(folder);
    all(&["--resume"]).failed(2, &["state is damaged", "answers", "--overwrite"]);
    // What the message advises.
    all(&["--overwrite", "--limit", "20"]).ok();
}

/// Interrupted within their first pass, both searches keep what it has summed up.
#[test]
fn masking_goes_on_within_a_pass() {
    let toy = Toy::with_examples(LONG);
    for name in ["mask", "prune"] {
        let (out, whole) = (format!("{name}-run"), format!("{name}-whole"));
        let base = ["--tokens-per-batch", "64", "--max-steps", "1"];
        let all = |out: &str, more: &[&str]| arguments(&toy, name, &[&base, more].concat(), out);
        let words = [
            "interrupted after 0 finished steps and ",
            "of the next",
            "--resume",
        ];
        let slowly = ["--threads", "1"];
        let mut ran = interrupt(&all(&out, &slowly), "  step").failed(130, &words);
        // Where the machine is so busy that no batch was through, it is asked again.
        for _ in 0..100 {
            if !ran.err.contains(" and 0 examples") {
                break;
            }
            let again = [&slowly[..], &["--resume"]].concat();
            ran = interrupt(&all(&out, &again), "  step").failed(130, &words);
        }
        let saved = RunFolder::saved(&toy.path(&out)).unwrap().unwrap();
        assert!(saved.state["pass"]["next"].as_u64().unwrap() > 0);
        let ran = run(&all(&out, &["--resume"])).ok();
        assert!(ran.err.contains("and a part of the next"), "{}", ran.err);
        run(&all(&whole, &[])).ok();
        assert_eq!(toy.names(&out), toy.names(&whole));
        for file in ["curve.csv", "masks.npy", "head_mask.npy", "heads.csv"] {
            let bytes = |of: &str| toy.bytes(&format!("{of}/{file}"));
            assert!(bytes(&out) == bytes(&whole), "{name}/{file}");
        }
    }
    // Without a folder the message says so.
    let ran = interrupt(
        &toy.arguments("mask", &["--tokens-per-batch", "64"]),
        "  step",
    );
    ran.failed(130, &["nothing was saved", "no --output folder"]);
}

#[test]
fn damaged_results_are_refused_by_name() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/run"]).ok();
    for part in ["1/2", "2/2"] {
        let out = format!("OUT/part-{}", &part[..1]);
        let more = ["--chunk", "8", "--part", part, "--output", &out];
        toy.run("importance", &more).ok();
    }
    let (whole, changed) = (toy.bytes("run/heads.csv"), toy.text("run/heads.csv"));
    let text = String::from_utf8(whole.clone()).unwrap();
    // A digit, which no reader would stumble over.
    let digit = text.rfind(|c: char| c.is_ascii_digit()).unwrap();
    let mut other = whole.clone();
    other[digit] ^= 1;
    fs::write(&changed, other).unwrap();
    for command in ["report", "heads"] {
        let ran = run(&[command, &toy.text("run")]);
        ran.failed(2, &["heads.csv", "checksum", "run.json"]);
    }
    fs::write(&changed, whole).unwrap();
    run(&["report", &toy.text("run")]).ok();
    for file in ["chunks.jsonl", "predictions.csv"] {
        let name = format!("part-2/{file}");
        let whole = toy.bytes(&name);
        let text = String::from_utf8(whole.clone()).unwrap();
        let digit = text.rfind(|c: char| c.is_ascii_digit()).unwrap();
        let mut other = whole.clone();
        other[digit] ^= 1;
        fs::write(toy.path(&name), other).unwrap();
        let parts = [toy.text("part-1"), toy.text("part-2")];
        let merge = ["merge", &parts[0], &parts[1], "--output", &toy.text("all")];
        run(&merge).failed(2, &[file, "checksum", "part again"]);
        fs::write(toy.path(&name), whole).unwrap();
    }
}
