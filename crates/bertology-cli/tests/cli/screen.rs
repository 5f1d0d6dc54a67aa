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

/// On a terminal of 80 columns no table of any command is broken within a line, for a model of the usual shape either.
/// Names of files are as long as they are.
#[test]
#[cfg(unix)]
fn no_table_is_wider_than_a_terminal() {
    let toy = crate::treebanks::toy(30);
    let big = toy.path("big");
    crate::documents::bert(&big, "BertForSequenceClassification");
    let (big, small) = (toy.text("big"), toy.text("model"));
    let data = toy.text("data.tsv");
    let trees = toy.text("data.conllu");
    let toys = [
        "--data",
        &data,
        "--text-column",
        "text",
        "--label-column",
        "label",
    ];
    let cola = crate::assumed::assets("grammar/CoLA");
    let cola = ["--task", "cola", "--data", &cola];
    let texts = ["--data", &data, "--text-column", "text", "--limit", "8"];
    let treebank = ["--conllu", &trees, "--limit", "8"];
    let survey = [&treebank[..], &["--studies", "patterns,syntax,cluster"]].concat();
    let shown = |name: &str, words: &[&str]| {
        let ran = crate::harness::run(words).ok();
        for line in ran.out.lines() {
            // Of a file.
            let long = ["/", "Results are in"]
                .iter()
                .any(|start| line.starts_with(start));
            assert!(long || line.chars().count() <= 80, "{name}: {line}");
        }
    };
    for (size, model, labelled) in [("small", &small, &toys[..]), ("big", &big, &cola)] {
        let labelled = [labelled, &["--limit", "8"]].concat();
        let loss = [
            "--metric",
            "loss",
            "--threshold-mode",
            "drop",
            "--threshold",
            "9",
        ];
        let loss = [&labelled[..], &loss, &["--max-steps", "1"]].concat();
        let patterns = [
            &labelled[..],
            &["--gradients", "--gradient-times-attention"],
        ]
        .concat();
        let studies: [(&str, &[&str]); 12] = [
            ("importance", &labelled),
            ("ablate", &[&labelled[..], &["--heads", "0.1"]].concat()),
            ("evaluate", &labelled),
            ("patterns", &patterns),
            ("mask", &loss),
            ("prune", &loss),
            ("extract", &[&texts[..], &["--hidden-states"]].concat()),
            ("cluster", &texts),
            ("syntax", &treebank),
            ("coref", &treebank),
            ("distance", &treebank),
            ("survey", &survey),
        ];
        let mut runs = Vec::new();
        for (name, more) in studies {
            let out = toy.text(&format!("{size}-{name}"));
            shown(name, &[&[name, model], more, &["--output", &out]].concat());
            if !["mask", "prune", "extract", "survey", "evaluate"].contains(&name) {
                shown("compare", &["compare", &out, &out]);
                runs.push(out);
            }
        }
        let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
        shown("heads", &[&["heads"], &runs[..]].concat());
        shown("inspect", &["inspect", model]);
        let parts = ["1/2", "2/2"].map(|part| (part, toy.text(&format!("{size}-{}", &part[..1]))));
        for (part, out) in &parts {
            let part = ["--chunk", "4", "--part", part, "--output", out];
            shown(
                "part",
                &[&["importance", model], &labelled[..], &part].concat(),
            );
        }
        let merged = toy.text(&format!("{size}-merged"));
        let [(_, first), (_, second)] = &parts;
        shown("merge", &["merge", first, second, "--output", &merged]);
    }
    for family in ["bert-absolute", "gpt2", "bert-absolute-pruned"] {
        let model = crate::harness::golden(family);
        let reference = model.join("golden.safetensors");
        let (model, reference) = (model.to_str().unwrap(), reference.to_str().unwrap());
        let words = ["--reference", reference, "--prefix", "ones.", "--heads"];
        shown("verify", &[&["verify", model], &words[..]].concat());
    }
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
