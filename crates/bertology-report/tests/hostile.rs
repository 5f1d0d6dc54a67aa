//! Run folders that claim more than they hold are refused before memory is asked for.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use bertology_report::{join, report};
use bertology_run::{Run, RunError};

/// A folder of version 0.1.0 with one file changed.
fn bent(name: &str, file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bertology-run/tests/folders");
    let bent = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folders.join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, bent.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = bent.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} of {name} has no {from}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    bent
}

#[test]
fn more_layers_and_heads_than_any_model_has_are_no_run() {
    for (from, to) in [
        ("\"num_layers\": ", "\"num_layers\": 100000"),
        ("\"num_heads\": ", "\"num_heads\": 100000"),
        ("\"num_layers\": ", "\"num_layers\": 9"),
    ] {
        // A digit more before those that are there: from 10^5 on, or from ninety.
        let folder = bent("coref", "run.json", from, to);
        let found = Run::open(folder.path());
        if to.ends_with("100000") {
            let error = found.unwrap_err();
            assert!(matches!(error, RunError::Lacks { .. }), "{error}");
        } else {
            assert!(found.is_ok(), "ninety layers are few");
        }
    }
}

#[test]
fn a_cluster_beyond_the_heads_is_refused_wherever_clusters_are_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../bertology-run/tests/folders/cluster/clusters.csv");
    let text = fs::read_to_string(path).unwrap();
    let row = text.lines().nth(1).unwrap();
    let fields: Vec<&str> = row.split(',').collect();
    for cluster in ["4000000000", "18446744073709551615"] {
        let changed = [&fields[..2], &[cluster], &fields[3..]].concat().join(",");
        let folder = bent("cluster", "clusters.csv", row, &changed);
        let run = Run::open(folder.path()).unwrap();
        for error in [
            report(&run).unwrap_err().to_string(),
            join(&[run]).unwrap_err().to_string(),
        ] {
            assert!(
                error.contains("clusters.csv: row 1, column cluster"),
                "{error}"
            );
            assert!(error.contains(cluster), "{error}");
        }
    }
}
