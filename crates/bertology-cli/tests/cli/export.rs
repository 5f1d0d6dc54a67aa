//! `bertology export`: what it says and writes. What the file computes is tested beside onnxruntime
//! (`python/tests/test_onnx.py`).

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Ran, command, golden, run};

fn model(name: &str) -> String {
    golden(name).to_str().unwrap().to_owned()
}

/// The example of the page is what the command prints.
#[cfg(unix)]
#[test]
fn the_page_shows_what_is_printed() {
    let root = bertology_testkit::workspace();
    let page = fs::read_to_string(root.join("docs/commands/export.md")).unwrap();
    let (_, shown) = page.split_once("$ bertology ").unwrap();
    let (line, shown) = shown.split_once('\n').unwrap();
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root.join("assets"), folder.path().join("assets")).unwrap();
    let mut command = command();
    command.args(line.split(' ')).current_dir(folder.path());
    let ran = Ran::of(command.output().unwrap()).ok();
    assert!(shown.starts_with(ran.out.trim_end()), "{}", ran.out);
}

#[test]
fn what_was_written_is_said() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/model.onnx");
    let output = path.to_str().unwrap();
    let model = model("bert-absolute-pruned");
    let words = [
        "export",
        &model,
        "--onnx",
        "--hidden-states",
        "--attentions",
        "--output",
        output,
    ];
    let document = run(&[&words[..], &["--json"]].concat()).ok().json();
    assert_eq!(document["files"], json!([output]));
    assert_eq!(document["bytes"], fs::metadata(&path).unwrap().len());
    assert_eq!(document["max_length"], 24);
    let names = |what: &str| -> Vec<String> {
        let ports = document[what].as_array().unwrap().iter();
        ports
            .map(|port| port["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names("inputs"),
        ["input_ids", "attention_mask", "token_type_ids"]
    );
    assert_eq!(names("outputs").len(), 1 + 4 + 3);
    let attention = &document["outputs"][5];
    let shape = json!(["batch_size", 2, "sequence_length", "sequence_length"]);
    assert_eq!(
        (&attention["name"], &attention["type"], &attention["shape"]),
        (&json!("attentions.0"), &json!("float32"), &shape)
    );

    // Not a second time, unless that is wanted, and nothing else is there.
    let before = fs::read(&path).unwrap();
    run(&words).failed(2, &["is there already", "--overwrite replaces it"]);
    run(&[&words[..], &["--overwrite"]].concat()).ok();
    assert_eq!(fs::read(&path).unwrap(), before);
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(entries.count(), 1);
}

/// Layers of the same heads stand on one line, others on their own.
#[test]
fn outputs_that_are_alike_are_one_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("it's a model.onnx");
    let ran = run(&[
        "export",
        &model("bert-absolute-pruned"),
        "--onnx",
        "--attentions",
        "--output",
        path.to_str().unwrap(),
    ])
    .ok();
    let lines = ran.out.lines().filter(|line| line.contains("attentions."));
    assert_eq!(lines.count(), 3, "{}", ran.out);
    assert!(ran.out.contains(r"it'\''s a model.onnx'"), "{}", ran.out);
}

#[test]
fn what_is_missing_is_asked_for() {
    let model = model("bert-bare");
    run(&["export", &model, "--output", "a.onnx"]).failed(2, &["Say --onnx"]);
    run(&["export", &model, "--onnx"]).failed(2, &["--output model.onnx"]);
    run(&["export", "--onnx", "--output", "a.onnx"]).failed(2, &["no MODEL given"]);
    let folder = TempDir::new().unwrap();
    let output = folder.path().to_str().unwrap();
    run(&["export", &model, "--onnx", "--output", output]).failed(2, &["is a folder"]);
    // The same refusals as elsewhere.
    let config = folder.path().join("config.json");
    fs::write(&config, r#"{"model_type": "bert"}"#).unwrap();
    let file = folder.path().join("a.onnx");
    let output = ["--onnx", "--output", file.to_str().unwrap()];
    let broken = folder.path().to_str().unwrap();
    run(&[&["export", broken], &output[..]].concat()).failed(1, &["holds no weights"]);
    assert!(!file.exists());
}

#[test]
fn a_contact_head_is_left_out_aloud() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("esm.onnx");
    let ran = run(&[
        "export",
        &model("esm-mlm"),
        "--onnx",
        "--output",
        path.to_str().unwrap(),
    ])
    .ok();
    assert!(
        ran.err.contains("the contact head is not in the file"),
        "{}",
        ran.err
    );
}

/// Where the system takes no more bytes, it says so, and nothing is left.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_finished_is_none() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let tiny = bertology_testkit::workspace().join("assets/tiny-bert");
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_bertology"))
        .args(["export", tiny.to_str().unwrap(), "--onnx", "--output"])
        .arg(&path);
    let said = ["cannot write", path.to_str().unwrap()];
    Ran::of(shell.output().unwrap()).failed(1, &said);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The model that is read is never written over, and damaged weights are no file.
#[test]
fn the_model_itself_is_left_alone() {
    let toy = crate::harness::Toy::new();
    let export = |output: &str| {
        let (model, output) = (toy.text("model"), toy.text(output));
        run(&[
            "export",
            &model,
            "--onnx",
            "--overwrite",
            "--output",
            &output,
        ])
    };
    let before = toy.bytes("model/model.safetensors");
    for file in ["model.safetensors", "config.json", "vocab.txt"] {
        export(&format!("model/{file}")).failed(2, &["a file of the model itself", "model.onnx"]);
    }
    assert!(toy.bytes("model/model.safetensors") == before);
    // What the message says can be done, twice.
    export("model/model.onnx").ok();
    export("model/model.onnx").ok();
    run(&["export", &toy.text("model"), "--onnx", "--output", "-"]).failed(2, &["name one"]);
    let mut damaged = before;
    let end = damaged.len() - 4;
    damaged[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(toy.path("model/model.safetensors"), damaged).unwrap();
    export("model/model.onnx").failed(2, &["is NaN", "damaged"]);
}
