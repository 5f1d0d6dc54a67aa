//! Arrows point down: between the crates, and between the rooms of this one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates from the ground up.
const CRATES: &[&str] = &[
    "bertology-error",
    "bertology-file",
    "bertology-kernels",
    "bertology-device",
    "bertology-checkpoint",
    "bertology-onnx",
    "bertology-store",
    "bertology-tokenizer",
    "bertology-hub",
    "bertology-data",
    "bertology-code",
    "bertology-model",
    "bertology",
    "bertology-train",
    "bertology-run",
    "bertology-report",
    "bertology-cli",
    "bertology-python",
];

/// The rooms of this crate from the ground up.
const ROOMS: &[&str] = &[
    "random",
    "objective",
    "error",
    "table",
    "watch",
    "model",
    "input",
    "drive",
    "studies",
];

/// The studies: one may build on those before it.
const STUDIES: &[&str] = &[
    "metric",
    "normalize",
    "proportion",
    "ratio",
    "resample",
    "evaluate",
    "paired",
    "attribution",
    "left_out",
    "timing",
    "pruning",
    "vocabulary",
    "extract",
    "predict",
    "attention",
    "importance",
    "ablation",
    "masking",
    "curve",
    "dynamics",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn place(of: &str, among: &[&str]) -> Option<usize> {
    among.iter().position(|name| *name == of)
}

#[test]
fn crates_depend_on_those_below() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        if manifest.contains("# Helps tests alone.") {
            continue;
        }
        let at = place(&name, CRATES).unwrap_or_else(|| panic!("{name} has no place in CRATES"));
        let dependencies = manifest
            .split("\n[dependencies]\n")
            .nth(1)
            .unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies
            .lines()
            .filter(|line| line.starts_with("bertology"))
        {
            let other = line.split(['.', ' ', '=']).next().unwrap();
            let below = place(other, CRATES).unwrap_or_else(|| panic!("{other} has no place"));
            assert!(
                below < at,
                "{name} depends on {other}, which stands above it"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} dependencies were found");
}

/// What `lib.rs` hands out, and from which room.
fn exported() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("crates/bertology/src/lib.rs")).unwrap();
    let mut rooms: BTreeMap<String, String> = BTreeMap::new();
    for room in ROOMS {
        rooms.insert((*room).to_owned(), (*room).to_owned());
    }
    let code: String = text
        .lines()
        .filter(|line| !line.starts_with("//"))
        .collect();
    for item in code.split(';') {
        let Some(path) = item.trim().strip_prefix("pub use ") else {
            continue;
        };
        let first = path.split("::").next().unwrap();
        // Other crates stand below all rooms.
        let Some(room) = rooms.get(first).cloned() else {
            continue;
        };
        let names = path.rsplit_once("::").map_or(path, |(_, names)| names);
        let names = path.split_once('{').map_or(names, |(_, names)| names);
        for name in names.trim_end_matches('}').split(',') {
            rooms.insert(name.trim().to_owned(), room.clone());
        }
    }
    rooms
}

/// The paths behind `crate::`, braces opened one level.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split('}').next().unwrap_or_default();
            found.extend(list.split(',').map(|name| name.trim().to_owned()));
        } else {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn rooms_import_from_those_below() {
    let source = root().join("crates/bertology/src");
    let rooms = exported();
    let mut files = Vec::new();
    sources(&source, &mut files);
    let mut up = Vec::new();
    let mut seen = 0;
    for file in files {
        let inside = file.strip_prefix(&source).unwrap().with_extension("");
        let mut parts = inside.iter().map(|part| part.to_str().unwrap());
        let room = parts.next().unwrap();
        if room == "lib" {
            continue;
        }
        let study = (room == "studies").then(|| parts.next().unwrap_or_default());
        let at = place(room, ROOMS).unwrap_or_else(|| panic!("{room} has no place in ROOMS"));
        let text = fs::read_to_string(&file).unwrap();
        // Tests may look anywhere.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for path in imports(&code.collect::<Vec<_>>().join("\n")) {
            let mut names = path.split("::");
            let name = names.next().unwrap();
            let Some(to) = rooms.get(name) else {
                // A macro, or another crate that is handed out.
                continue;
            };
            seen += 1;
            if place(to, ROOMS).unwrap() > at {
                up.push(format!("{}: crate::{path}", inside.display()));
            }
            if let (Some(study), "studies") = (study, name) {
                let other = names.next().unwrap_or_default();
                let (from, to) = (place(study, STUDIES), place(other, STUDIES));
                if study != "mod" && (from.is_none() || to.is_none() || to > from) {
                    up.push(format!("{}: crate::{path}", inside.display()));
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} imports were found");
    assert!(
        up.is_empty(),
        "{} arrows point up:\n{}",
        up.len(),
        up.join("\n")
    );
}
