//! Sequences of residues, and a model of proteins.

use std::fs;
use std::path::Path;

use bertology_testkit::golden;

use crate::harness::{Toy, run};

/// A protein model of the golden files, with its tokenizer.
pub(crate) fn model(toy: &Toy) -> String {
    model_in(&toy.path("proteins"));
    toy.text("proteins")
}

pub(crate) fn model_in(model: &Path) {
    put_together(model, "engine/esm-mlm", "tokenizer/esm", "vocab.txt");
}

fn put_together(model: &Path, engine: &str, tokenizer: &str, vocabulary: &str) {
    fs::create_dir(model).unwrap();
    for (folder, names) in [
        (engine, ["config.json", "model.safetensors"]),
        (tokenizer, [vocabulary, "tokenizer_config.json"]),
    ] {
        for name in names {
            fs::copy(golden(folder).join(name), model.join(name)).unwrap();
        }
    }
}

/// One whose vocabulary is its `tokenizer.json`, which has no contact head and keeps the queries and keys of heads that go.
#[test]
fn a_newer_model_reads_the_same_sequences() {
    let toy = Toy::new();
    let model = toy.path("newer");
    put_together(
        &model,
        "engine/esmc-mlm",
        "tokenizer/esmc",
        "tokenizer.json",
    );
    let model = toy.text("newer");
    toy.write("two.faa", ">a\nMKTA\nYIAK*\n>b of two\nGGS\n");
    let file = toy.text("two.faa");
    let told = |command: &str, more: &[&str]| {
        let out = toy.text(command);
        let words = [&[command, &model, "--text", &file, "--output", &out], more].concat();
        run(&words).ok()
    };
    let ran = told("patterns", &[]);
    assert!(ran.out.contains("2 texts, 15 tokens"), "{}", ran.out);
    told("importance", &["--unmasked"]);
    let prune = |out: &str, more: &[&str]| {
        run(&[&["prune", &model, "--heads", "0:1", "--output", out], more].concat())
    };
    prune(&toy.text("smaller"), &[]).failed(2, &["cannot leave the files", "full shape"]);
    assert!(!toy.path("smaller").exists());
    let out = toy.text("zeros");
    prune(&out, &["--keep-shape"]).ok();
    let ran = run(&["inspect", &format!("{out}/model")]).ok();
    assert!(ran.out.contains("ESM-C"), "{}", ran.out);
}

#[test]
fn sequences_are_read_from_fasta() {
    let toy = Toy::new();
    toy.write("two.faa", ">a\nMKTA\nYIAK*\n>b of two\nGGS\n");
    let (model, file) = (model(&toy), toy.text("two.faa"));
    let told = |command: &str, more: &[&str]| {
        let out = toy.text(&format!("{command}-{}", more.len()));
        let words = [&[command, &model, "--text", &file, "--output", &out], more].concat();
        run(&words).ok()
    };
    // Eight residues and three, and two tokens around each.
    let ran = told("patterns", &[]);
    assert!(ran.out.contains("2 texts, 15 tokens"), "{}", ran.out);
    told("importance", &["--unmasked"]);
    // As lines they are five texts.
    let ran = told("patterns", &["--documents", "line"]);
    assert!(ran.out.contains("5 texts"), "{}", ran.out);
    let page = toy.text("page.html");
    let ran = run(&["view", &model, "--text", &file, "--output", &page]).ok();
    assert!(ran.out.contains("2 texts, 15 tokens"), "{}", ran.out);
    toy.write("wrong.fa", "MKTA\n>a\nMK\n");
    let wrong = toy.text("wrong.fa");
    for command in ["patterns", "view"] {
        run(&[command, &model, "--text", &wrong]).failed(2, &["wrong.fa", "line 1", "not FASTA"]);
    }
}
