//! Folders that version 0.1.0 wrote: their pages, their table of heads, their comparison.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use bertology_report::{Error, compare, join, report};
use bertology_run::Run;

const ALL: [&str; 12] = [
    "importance",
    "importance-lm",
    "ablate",
    "mask",
    "evaluate",
    "prune",
    "patterns",
    "syntax",
    "coref",
    "cluster",
    "attention-probe",
    "extract",
];

fn open(name: &str) -> Run {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bertology-run/tests/folders");
    Run::open(&folders.join(name)).unwrap()
}

#[test]
fn every_folder_has_a_page_on_which_nothing_is_missing() {
    for name in ALL {
        let document = report(&open(name)).unwrap();
        assert!(
            document.notes().is_empty(),
            "{name}: {:?}",
            document.notes()
        );
        let figures = document.figures().count();
        assert_eq!(
            figures == 0,
            matches!(name, "evaluate" | "extract"),
            "{name}"
        );
        assert!(document.render().unwrap().contains("Summary"), "{name}");
    }
}

#[test]
fn what_they_say_of_heads_is_joined() {
    let runs = [
        "importance",
        "ablate",
        "patterns",
        "syntax",
        "coref",
        "cluster",
        "mask",
    ];
    let joined = join(&runs.map(open)).unwrap();
    let names = joined.names();
    for name in [
        "importance",
        "entropy",
        "behaviour",
        "change of mcc",
        "attention to [SEP]",
        "best relation",
        "words right, dependent to head",
        "antecedents right",
        "silhouette",
        "kept",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(joined.rows().len(), open("importance").model().layers * 4);
}

#[test]
fn each_is_compared_with_itself() {
    for name in ALL {
        let (a, b) = (open(name), open(name));
        let found = compare(&a, &b).unwrap();
        assert!(found.differences.is_empty(), "{name}");
        let moved = found
            .overall
            .iter()
            .any(|(_, before, after)| before != after);
        assert!(!moved, "{name}");
        let heads = found.shifts.iter().any(|shift| shift.common > 0);
        assert_eq!(heads, name != "extract", "{name}");
    }
    let error = compare(&open("mask"), &open("prune")).unwrap_err();
    assert!(matches!(error, Error::DifferentCommands { .. }));
}

#[test]
fn lines_by_layer_have_the_errors_of_their_table() {
    let document = report(&open("patterns")).unwrap();
    let html = document.render().unwrap();
    assert!(html.contains("standard errors to each side"));
    let mut figures = document.figures();
    let figure = figures
        .find(|figure| figure.id() == "entropy-by-layer")
        .unwrap();
    // Each point says how far its mean may be off.
    assert!(figure.file().contains("all rows, layer 0: ") && html.contains(" to "));
    let said = html.split("all rows, layer 0: ").nth(1).unwrap();
    let said = said.split(['<', '"']).next().unwrap();
    let numbers: Vec<f64> = said
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|number| number.parse().ok())
        .collect();
    let [mean, low, high] = numbers[..] else {
        panic!("{said}")
    };
    assert!(low < mean && mean < high, "{said}");
}

#[test]
fn headings_name_no_path_and_counts_have_their_number() {
    for name in ALL {
        let html = report(&open(name)).unwrap().render().unwrap();
        assert!(!html.contains(">1 threads<"), "{name}");
    }
}
