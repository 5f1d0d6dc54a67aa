//! Files as they were written, read again by a reader of their own. What they compute is compared with the engine by
//! `python/tests/test_onnx.py`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod decoded;
mod files;
mod graphs;

use std::path::Path;

use bertology_checkpoint::{Checkpoint, OpenOptions};
use bertology_onnx::{Options, Report, write};
use decoded::Model;
use tempfile::TempDir;

/// A model of `golden/engine`, opened.
fn opened(name: &str) -> Checkpoint {
    let folder = bertology_testkit::golden(&format!("engine/{name}"));
    Checkpoint::open(&folder, &OpenOptions::new()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Written, and read again.
fn written(checkpoint: &Checkpoint, options: &Options) -> (Report, Model) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let report = write(checkpoint, &path, options).unwrap();
    (report, read(&path))
}

fn read(path: &Path) -> Model {
    Model::read(&std::fs::read(path).unwrap())
}

/// The files in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
