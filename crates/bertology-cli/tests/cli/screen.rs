//! What is printed, and where.

use std::process::Stdio;

use crate::harness::{Toy, command};

const ESCAPE: char = '\x1b';

#[test]
fn colours_only_where_they_are_wanted() {
    let toy = Toy::new();
    let args = toy.arguments("importance", &[]);
    let out = |more: &[&str], no_color: Option<&str>| {
        let mut command = command();
        command.args(&args).args(more);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        crate::harness::Ran::of(command.output().unwrap()).ok().out
    };
    assert!(!out(&[], None).contains(ESCAPE), "not a terminal");
    let colored = out(&["--color", "always"], None);
    assert!(colored.contains(ESCAPE));
    assert!(!out(&["--color", "never"], None).contains(ESCAPE));
    assert!(!out(&["--color", "auto"], Some("1")).contains(ESCAPE));
    assert!(!out(&["--color", "always", "--json"], None).contains(ESCAPE));
    // The same digits either way; nothing wider than 80 columns.
    let plain = out(&["--color", "never"], None);
    for line in plain.lines().filter(|line| !line.starts_with('/')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(
        plain.contains("layer 2") && plain.contains("counted from 0"),
        "{plain}"
    );
}

#[test]
fn quiet_prints_nothing_and_json_only_its_document() {
    let toy = Toy::new();
    let ran = toy.run("importance", &["--quiet", "--no_cuda"]).ok();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    for command in ["importance", "ablate", "mask", "evaluate"] {
        let ran = toy.run(command, &["--json", "--quiet"]).ok();
        assert_eq!(ran.json()["command"], command);
        assert_eq!(ran.err, "");
    }
    let ran = toy
        .run("prune", &["--heads", "L1H2", "--output", "OUT/p", "--json"])
        .ok();
    assert_eq!(ran.json()["results"]["removed_heads"][0], "L1H2");
    let ran = crate::harness::run(&["inspect", &toy.text("model"), "--json"]).ok();
    assert_eq!(ran.json()["num_layers"], 3);
}

#[test]
fn a_reader_that_went_away_is_no_fault() {
    let toy = Toy::new();
    let mut child = command()
        .args(toy.arguments("importance", &[]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.lines().all(|line| line.starts_with("note: ")),
        "{said}"
    );
}

#[test]
fn help_documents_the_exit_codes() {
    let ran = crate::harness::run(&["--help"]).ok();
    assert!(ran.out.contains("Exit codes: 0 done; 1"), "{}", ran.out);
    assert!(ran.out.contains("130 interrupted"), "{}", ran.out);
    assert_eq!(crate::harness::run::<&str>(&[]).code, Some(2));
    let version = crate::harness::run(&["--version"]).ok().out;
    assert_eq!(
        version,
        format!("bertology {}\n", env!("CARGO_PKG_VERSION"))
    );
}
