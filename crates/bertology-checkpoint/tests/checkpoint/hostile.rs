//! Files that claim more than they hold cost no more than they weigh, and files of unusual kinds are named.

use std::fs;
use std::path::Path;

use bertology_checkpoint::{Checkpoint, Error, OpenOptions, Parameter};
use bertology_testkit::golden;
use serde_json::json;

use crate::folder::{Folder, assert_says};

/// Many times fewer than the claims below would take, many times more than the checks need.
const QUICK: std::time::Duration = std::time::Duration::from_secs(2);

fn inspected(folder: &Folder) -> String {
    let begin = std::time::Instant::now();
    let error = Checkpoint::inspect(folder.write()).expect_err("must be refused");
    assert!(begin.elapsed() < QUICK, "{:?}", begin.elapsed());
    error.to_string()
}

#[test]
fn the_name_of_one_tensor_does_not_make_layers() {
    let mut folder = Folder::bert();
    folder.set("num_hidden_layers", 100_000_000);
    folder.tensor("bert.encoder.layer.99999999.output.dense.bias", &[0]);
    assert_says(
        &inspected(&folder),
        "`num_hidden_layers` is 100000000, but the weights hold 3 layers",
    );
}

#[test]
fn heads_are_no_more_than_the_weights_have_numbers() {
    let mut folder = Folder::bert();
    folder.set("hidden_size", 1_000_000_000);
    folder.set("num_attention_heads", 1_000_000_000);
    let text = inspected(&folder);
    assert_says(&text, "`num_attention_heads` is 1000000000");
    assert_says(&text, "the weights hold only");
}

#[test]
fn a_missing_layer_is_still_reported_tensor_by_tensor() {
    let mut folder = Folder::bert();
    folder.tensors.retain(|name, _| !name.contains("layer.0."));
    let inspection = Checkpoint::inspect(folder.write()).unwrap();
    assert_eq!(inspection.report.missing.len(), 16);
}

#[test]
fn names_lose_what_wrappers_put_before_all_of_them() {
    for wrapper in ["module.", "_orig_mod.", "module._orig_mod."] {
        let mut folder = Folder::bert();
        folder.rename("", wrapper);
        let checkpoint = folder.open().unwrap();
        assert_eq!(checkpoint.report().wrapper, wrapper);
        let words = checkpoint.parameter(Parameter::WordEmbeddings).unwrap();
        assert_eq!(words.name(), "bert.embeddings.word_embeddings.weight");
        // One name without it, and it is a name like any other.
        folder.tensor("bert.extra", &[1]);
        assert!(folder.open().is_err());
    }
    assert_eq!(Folder::bert().open().unwrap().report().wrapper, "");
}

#[test]
fn an_adapter_is_to_be_merged_first() {
    let folder = Folder::bert();
    folder.write();
    fs::write(folder.file("adapter_config.json"), "{}").unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(error, Error::Adapter { .. }), "{error}");
    assert_says(&error.to_string(), "merge_and_unload()");
    fs::remove_file(folder.file("config.json")).unwrap();
    let error = Checkpoint::open(folder.path(), &OpenOptions::new()).unwrap_err();
    assert!(matches!(error, Error::Adapter { .. }), "{error}");
}

#[test]
fn pointers_of_git_lfs_are_named_wherever_they_lie() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    for name in ["config.json", "model.safetensors"] {
        let folder = Folder::bert();
        folder.write();
        fs::write(folder.file(name), pointer).unwrap();
        lfs(&folder, name);
    }
    for name in ["pytorch_model.bin", "model.safetensors.index.json"] {
        let folder = Folder::bert();
        folder.write();
        fs::remove_file(folder.file("model.safetensors")).unwrap();
        fs::write(folder.file(name), pointer).unwrap();
        lfs(&folder, name);
    }
}

fn lfs(folder: &Folder, name: &str) {
    let error = Checkpoint::open(folder.path(), &OpenOptions::new()).unwrap_err();
    let named = matches!(&error, Error::LfsPointer { path } if path.ends_with(name));
    assert!(named, "{name}: {error}");
    assert_says(&error.to_string(), "git lfs pull");
}

#[test]
fn numbers_that_only_python_writes_are_read_and_written_again() {
    let folder = Folder::bert();
    folder.write();
    let config = folder.config.to_string();
    let with = |more: &str| {
        fs::write(folder.file("config.json"), config.replacen('{', more, 1)).unwrap();
        Checkpoint::open(folder.path(), &OpenOptions::new())
    };
    let checkpoint = with("{\"loss\": NaN, \"bounds\": [-Infinity, Infinity], ").unwrap();
    let out = tempfile::tempdir().unwrap();
    let smaller = out.path().join("smaller");
    bertology_checkpoint::write_pruned(
        &checkpoint,
        &bertology_checkpoint::HeadSet::new(),
        &smaller,
        &bertology_checkpoint::WriteOptions::new(bertology_checkpoint::Export::Pruned),
    )
    .unwrap();
    let written = fs::read_to_string(smaller.join("config.json")).unwrap();
    assert_says(&written, "\"loss\": NaN");
    assert_says(&written, "-Infinity,\n    Infinity\n");
    let error = with("{\"pad_token_id\": 0, \"layer_norm_eps\": NaN, \"x\": ").map(|_| ());
    assert!(
        error.is_err(),
        "the last of two keys counts, and this is none"
    );
    fs::write(
        folder.file("config.json"),
        config.replace("1e-12", "Infinity"),
    )
    .unwrap();
    let error = Checkpoint::open(folder.path(), &OpenOptions::new()).unwrap_err();
    assert_says(
        &error.to_string(),
        "`layer_norm_eps` is Infinity, not a number",
    );
}

/// What torch wrote with `_use_new_zipfile_serialization=False`, damaged byte by byte.
#[test]
fn damaged_files_of_the_old_format_are_refused_or_read() {
    let whole = fs::read(golden("engine/bert-bin-legacy").join("pytorch_model.bin")).unwrap();
    let folder = Folder::bert();
    fs::write(folder.file("config.json"), folder.config.to_string()).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(folder.file("pytorch_model.bin"), bytes).unwrap();
        Checkpoint::open(folder.path(), &OpenOptions::new()).map_err(|e| e.to_string())
    };
    // Another model's config, so that whole files are refused for their shapes.
    assert_says(&open(&whole).unwrap_err(), "has shape [60, 32]");
    for length in (1..whole.len()).step_by(97) {
        let text = open(&whole[..length]).unwrap_err();
        assert_says(&text, "pytorch_model.bin");
    }
    for at in (0..6000).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let _ = open(&bytes);
    }
    let big = replaced(&whole, b"little_endianq\x02\x88", b"little_endianq\x02\x89");
    assert_says(&open(&big).unwrap_err(), "big-endian");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[cfg(unix)]
#[test]
fn pipes_in_a_folder_are_refused_without_waiting() {
    for name in ["config.json", "model.safetensors"] {
        let folder = Folder::bert();
        folder.write();
        fs::remove_file(folder.file(name)).unwrap();
        pipe(&folder.file(name));
        let error = Checkpoint::open(folder.path(), &OpenOptions::new()).unwrap_err();
        assert_says(&error.to_string(), name);
        assert_says(&error.to_string(), "it is a pipe, not a file");
    }
}

#[cfg(unix)]
fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn sizes_in_json_are_numbers_of_json() {
    let mut folder = Folder::bert();
    folder.set("hidden_size", json!(1e30));
    assert_says(&folder.refusal(), "`hidden_size` is 1e+30");
}
