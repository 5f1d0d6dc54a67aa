//! The registry against the page that lists it.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use bertology_run::registry::{File, Kind, files, known};

fn kind(file: &File) -> String {
    match file.kind {
        Kind::Array { axes, dtype } => format!("array `[{}]`, `{dtype}`", axes.join(", ")),
        Kind::Table { columns, more } => {
            let names = columns()
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>();
            let more = if more.is_empty() {
                String::new()
            } else {
                format!("; {more}")
            };
            format!("table: {}{more}", names.join(", "))
        }
        Kind::Json => "JSON".into(),
        Kind::Page => "page".into(),
        Kind::Shard => "shard".into(),
        Kind::Checkpoint => "checkpoint".into(),
        Kind::State => "state".into(),
        other => panic!("{other:?}"),
    }
}

fn listed() -> String {
    let mut text =
        String::from("| file | written by | what it holds | kind |\n| --- | --- | --- | --- |\n");
    for file in files() {
        let commands = if file.commands.is_empty() {
            "all".into()
        } else {
            file.commands.join(", ")
        };
        let _ = writeln!(
            text,
            "| `{}` | {commands} | {} | {} |",
            file.written,
            file.means,
            kind(file)
        );
    }
    text
}

#[test]
fn the_page_lists_the_registry() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run-folder.md");
    let page = fs::read_to_string(page).unwrap();
    let table: String = page
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| format!("{line}\n"))
        .collect();
    let expected = listed();
    assert!(
        table == expected,
        "docs/run-folder.md must hold this table:\n{expected}"
    );
}

#[test]
fn every_name_is_there_once_and_finds_its_file() {
    let mut seen = HashSet::new();
    for file in files() {
        assert!(seen.insert(file.written), "{} is there twice", file.written);
        let example = file
            .written
            .replace("NNNNN", "00012")
            .replace("TABLE", "gradients_keys")
            .replace("maps-*", "maps-0a-00000.bin");
        let example = if example.ends_with('/') {
            format!("{example}config.json")
        } else {
            example
        };
        let found = known(&example).unwrap_or_else(|| panic!("{example}"));
        assert_eq!(found.written, file.written);
        assert!(file.means.chars().count() < 120, "{}", file.written);
    }
    for stranger in [
        "notes.txt",
        "mine/run.json",
        "shard-1.npz",
        "maps/mine.bin",
        "mine/shard-00000.parquet",
        "model/deeper/config.json",
    ] {
        assert!(known(stranger).is_none(), "{stranger}");
    }
}
