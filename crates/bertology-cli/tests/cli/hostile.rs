//! Files of somebody who means harm, and files that are none: one sentence, no control characters, no waiting.

use std::fs;
use std::path::Path;

use crate::harness::{Ran, Toy, run};
use crate::treebanks;

/// Escape characters, the bell, deletes, C1, and text that turns.
const BAD: [char; 6] = ['\u{1b}', '\u{7}', '\u{7f}', '\u{9b}', '\u{202e}', '\r'];

#[track_caller]
fn harmless(ran: &Ran) {
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(BAD), "{text:?}");
        let forged = text.lines().find(|line| line.trim().starts_with("fake"));
        assert_eq!(forged, None, "{text}");
    }
}

#[test]
fn control_characters_of_files_do_not_reach_the_screen() {
    let toy = Toy::new();
    let evil = "\u{1b}]0;pwn\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{202e}evil";
    // Labels of data that the model does not know; a column's name; a path.
    toy.write(
        "data.tsv",
        &format!("sentence\t{evil}\tlabel\na\t1\tx{evil}\nb\t2\tfake: ok\n"),
    );
    for more in [&[][..], &["--json"], &["--color", "always"]] {
        let ran = toy.run("evaluate", more);
        assert_ne!(ran.code, Some(0));
        harmless(&ran);
        assert!(
            ran.err.contains("\\u{1b}") && ran.err.contains("\\u{202e}"),
            "{}",
            ran.err
        );
    }
    harmless(&toy.run("evaluate", &["--text-column", "nothing"]));
    harmless(&run(&["inspect", &format!("absent{evil}\nfake: ok")]));
    harmless(&run(&["inspect", "m", &format!("--{evil}")]));
    // Labels and names of a model, also in JSON: a newline in them does not begin a line.
    let config = fs::read_to_string(toy.path("model/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["id2label"] = serde_json::json!({"0": format!("x{evil}\nfake: ok"), "1": "b", "2": "c"});
    toy.write("model/config.json", &config.to_string());
    let ran = run(&["inspect", &toy.text("model")]).ok();
    assert!(ran.out.contains("\\nfake: ok"), "{}", ran.out);
    harmless(&ran);
    let ran = run(&["inspect", "--json", &toy.text("model")]).ok();
    harmless(&ran);
    assert_eq!(
        ran.json()["labels"][0],
        format!("x{evil}\nfake: ok"),
        "JSON says the same"
    );
}

#[test]
fn control_characters_of_treebanks_do_not_reach_the_screen() {
    let toy = treebanks::toy(30);
    let bank = fs::read_to_string(toy.path("data.conllu")).unwrap();
    let changed = bank.replace("\tnsubj\t", "\tnsu\u{1b}[31mbj\u{9b}\t");
    assert_ne!(bank, changed);
    toy.write("data.conllu", &changed);
    for color in ["never", "always"] {
        let ran =
            crate::harness::run(&treebanks::arguments(&toy, "syntax", &["--color", color])).ok();
        assert!(
            !ran.out.contains("\u{1b}[31m") && !ran.out.contains('\u{9b}'),
            "{:?}",
            ran.out
        );
        assert!(ran.out.contains("nsu\\u{1b}[31mb"), "{}", ran.out);
    }
}

#[test]
fn names_of_runs_do_not_reach_the_screen() {
    let toy = Toy::new();
    toy.run("importance", &["-o", "OUT/r"]).ok();
    let evil = "x\u{1b}[2J\nfake: ok";
    let record = fs::read_to_string(toy.path("r/run.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["model"]["name"] = evil.into();
    toy.write("r/run.json", &record.to_string());
    for command in ["report", "heads"] {
        harmless(&run(&[command, &toy.text("r")]).ok());
    }
    harmless(&run(&["compare", &toy.text("r"), &toy.text("r")]));
}

/// What a spreadsheet would run as a formula is a text like any other in our tables: it is written as it is,
/// since programs read them. docs/run-folder.md says so.
#[test]
fn texts_of_tables_are_written_as_they_are() {
    let toy = treebanks::toy(30);
    let bank = fs::read_to_string(toy.path("data.conllu")).unwrap();
    toy.write("data.conllu", &bank.replace("\tnsubj\t", "\t=1+1\t"));
    let out = toy.text("run");
    crate::harness::run(&treebanks::arguments(&toy, "syntax", &["--output", &out])).ok();
    let table = fs::read_to_string(toy.path("run/syntax.csv")).unwrap();
    assert!(
        table.lines().any(|line| line.starts_with("=1+1,")),
        "{table}"
    );
}

#[cfg(unix)]
fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_whatever_they_are_given_as() {
    let toy = Toy::new();
    toy.run("importance", &["-o", "OUT/r"]).ok();
    pipe(&toy.path("pipe"));
    pipe(&toy.path("pipe.npy"));
    pipe(&toy.path("pipe.tsv"));
    let (pipe, npy, tsv) = (toy.text("pipe"), toy.text("pipe.npy"), toy.text("pipe.tsv"));
    let model = toy.text("model");
    let says = |args: &[&str]| {
        let ran = run(args);
        assert_ne!(ran.code, Some(0), "{args:?}");
        let text = &ran.err;
        let told =
            text.contains("a pipe") || text.contains("a device") || text.contains("regular file");
        assert!(told, "{args:?}: {text}");
    };
    for file in [tsv.as_str(), "/dev/zero"] {
        says(&["syntax", &model, "--conllu", file]);
        says(&["coref", &model, "--conllu", file]);
        says(&["verify", &model, "--reference", file]);
    }
    says(&[
        "evaluate",
        &model,
        "--data",
        &tsv,
        "--text-column",
        "a",
        "--label-column",
        "b",
    ]);
    let mut masked = toy.arguments("evaluate", &["--mask"]);
    masked.push(npy);
    let masked: Vec<&str> = masked.iter().map(String::as_str).collect();
    says(&masked);
    for name in ["run.json", "head_importance.npy"] {
        let path = toy.path("r").join(name);
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::rename(&pipe, &path).unwrap();
        says(&["heads", &toy.text("r")]);
        fs::rename(&path, &pipe).unwrap();
        fs::write(&path, before).unwrap();
    }
    for name in [
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
    ] {
        let path = toy.path("model").join(name);
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::rename(&pipe, &path).unwrap();
        let args = toy.arguments("evaluate", &[]);
        says(&args.iter().map(String::as_str).collect::<Vec<_>>());
        fs::rename(&path, &pipe).unwrap();
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn numbers_beyond_reason_are_refused() {
    let toy = Toy::new();
    let most = usize::MAX.to_string();
    toy.run("evaluate", &["--threads", &most])
        .failed_usage("more than 4096");
    let ran = toy.run("cluster", &["--restarts", "4294967295"]);
    ran.failed_usage("not in 0..=100000");
    toy.run("evaluate", &["--tokens-per-batch", &most]).ok();
    toy.run("importance", &["--chunk", &most]).ok();
}

impl Ran {
    #[track_caller]
    fn failed_usage(self, part: &str) {
        assert_eq!(self.code, Some(2), "{}", self.err);
        assert!(self.err.contains(part), "{}", self.err);
    }
}

#[test]
fn a_panic_of_the_tokenizer_library_is_one_sentence() {
    let toy = Toy::new();
    let tokenizer = serde_json::json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "WordPiece"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0}},
    });
    toy.write("model/tokenizer.json", &tokenizer.to_string());
    let ran = toy.run("evaluate", &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.err.starts_with("error: ") && ran.err.lines().count() == 1,
        "{}",
        ran.err
    );
    assert!(ran.err.contains("tokenizer.json"), "{}", ran.err);
}
