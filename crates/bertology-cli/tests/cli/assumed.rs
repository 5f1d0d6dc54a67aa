//! What is taken for granted about data and classes is said, and can be said otherwise.

use std::fs;
use std::path::Path;

use crate::harness::{Toy, run};

pub(crate) fn assets(name: &str) -> String {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    assets.join(name).to_str().unwrap().to_owned()
}

/// MNLI's columns, with `labels` in turn.
fn mnli(labels: &[&str]) -> String {
    let header: Vec<String> = (0..12).map(|at| format!("c{at}")).collect();
    let mut text = header.join("\t") + "\n";
    for (at, label) in labels.iter().enumerate() {
        let mut row: Vec<String> = (0..12).map(|_| at.to_string()).collect();
        row[8] = "the cat sees".into();
        row[9] = "a dog runs".into();
        row[11] = (*label).into();
        text += &(row.join("\t") + "\n");
    }
    text
}

#[test]
fn the_first_row_of_a_file_without_a_header_counts() {
    let toy = Toy::new();
    let model = assets("tiny-bert");
    let rows = "The women faint .\t1\nWomen the faint .\t0\nThe doctors arrive .\t1\n";
    toy.write("a.tsv", rows);
    toy.write("b.tsv", &format!("satz\tgut\n{rows}"));
    toy.write("c.tsv", "a b\tx\nc d\ty\n");
    let evaluate = |name: &str, more: &[&str]| {
        let data = toy.text(name);
        let words = ["evaluate", &model, "--json", "--data", &data];
        let columns = ["--text-column", "0", "--label-column", "1"];
        run(&[&words[..], &columns, more].concat())
    };
    for (name, more, examples, note) in [
        (
            "a.tsv",
            &[][..],
            3,
            Some("taken for an example, not for a header; if that is wrong, say --header yes"),
        ),
        ("a.tsv", &["--header", "yes"], 2, None),
        ("a.tsv", &["--header", "no"], 3, None),
        (
            "b.tsv",
            &[],
            3,
            Some("taken for the header; if that is wrong, say --header no"),
        ),
    ] {
        let ran = evaluate(name, more).ok();
        assert_eq!(ran.json()["data"]["file"]["examples"], examples, "{name}");
        match note {
            Some(note) => assert!(ran.err.contains(note), "{}", ran.err),
            None => assert!(!ran.err.contains("line 1"), "{}", ran.err),
        }
    }
    evaluate("c.tsv", &[]).failed(2, &["line 1 (`a b`, `x`)", "--header yes or --header no"]);
    // The advice, taken: the labels are not those of the model, and the next advice.
    let refused = evaluate("c.tsv", &["--header", "no"]);
    refused.failed(2, &["line 1: the label `x`", "--label-order"]);
    evaluate("c.tsv", &["--header", "no", "--label-order", "x,y"]).ok();
    // Whoever reads tables says it.
    let data = toy.text("a.tsv");
    let texts = ["--data", &data, "--text-column", "0"];
    for (command, more) in [
        ("patterns", &[][..]),
        ("cluster", &[]),
        ("extract", &["--tokens", "--dry-run"]),
    ] {
        let out = toy.text(command);
        let words = [&[command, &model][..], &texts, more, &["--output", &out]].concat();
        let ran = run(&words).ok();
        assert!(ran.err.contains("taken for an example"), "{}", ran.err);
    }
}

#[test]
fn true_and_false_are_classes_of_a_model_without_names() {
    let toy = Toy::new();
    let model = assets("tiny-bert");
    toy.write(
        "a.jsonl",
        "{\"t\":\"The women faint .\",\"y\":true}\n{\"t\":\"Women the faint .\",\"y\":false}\n",
    );
    let data = toy.text("a.jsonl");
    let words = [
        "evaluate",
        &model,
        "--json",
        "--data",
        &data,
        "--text-column",
        "t",
        "--label-column",
        "y",
    ];
    let ran = run(&words).ok();
    assert_eq!(ran.json()["results"]["evaluation"]["metrics"]["acc"], 1.0);
    assert!(
        ran.err
            .contains("false is taken for class 0 and true for class 1"),
        "{}",
        ran.err
    );
    let ran = run(&[&words[..], &["--label-order", "true,false"]].concat()).ok();
    assert_eq!(ran.json()["results"]["evaluation"]["metrics"]["acc"], 0.0);
    assert!(!ran.err.contains("taken for class"), "{}", ran.err);
}

#[test]
fn the_order_of_mnli_is_said_and_can_be_chosen() {
    let toy = Toy::new();
    let labels = ["contradiction", "entailment", "neutral", "neutral"];
    toy.write("dev_matched.tsv", &mnli(&labels));
    let (model, data) = (toy.text("model"), toy.text(""));
    let evaluate = |more: &[&str]| {
        let words = ["evaluate", &model, "--task", "mnli", "--data", &data];
        let out = toy.text("out");
        let output = ["--output", &out, "--overwrite"];
        let ran = run(&[&words[..], &output, more].concat()).ok();
        let classes = toy.table("out/predictions.csv");
        let at = classes[0].iter().position(|name| name == "label").unwrap();
        let classes = classes[1..].iter().map(|row| row[at].clone());
        (ran.err, classes.collect::<Vec<_>>())
    };
    let (said, classes) = evaluate(&[]);
    assert!(
        said.contains("taken for contradiction, entailment, neutral."),
        "{said}"
    );
    assert!(said.contains("--swapped-mnli-labels"), "{said}");
    assert_eq!(classes, ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_2"]);
    for (more, expected) in [
        (
            &["--swapped-mnli-labels"][..],
            ["LABEL_0", "LABEL_2", "LABEL_1", "LABEL_1"],
        ),
        (
            &["--label-order", "entailment,neutral,contradiction"],
            ["LABEL_2", "LABEL_0", "LABEL_1", "LABEL_1"],
        ),
    ] {
        let (said, classes) = evaluate(more);
        assert!(!said.contains("does not name its classes"), "{said}");
        assert_eq!(classes, expected);
    }
    let words = ["evaluate", &model, "--task", "mnli", "--data", &data];
    let refused = run(&[&words[..], &["--label-order", "entailment,neutral"]].concat());
    refused.failed(
        2,
        &[
            "2 labels are given for the 3 classes",
            "--label-order gives it",
        ],
    );
}

#[test]
fn a_model_at_chance_or_of_another_task_is_noted() {
    let toy = Toy::new();
    let (model, data) = (assets("tiny-bert"), assets("grammar"));
    let cola = ["--task", "cola", "--data", &data, "--limit", "200"];
    let beyond = "with its classes in another order the accuracy would be";
    for command in ["evaluate", "importance", "ablate"] {
        let heads = if command == "ablate" {
            &["--heads", "0.1"][..]
        } else {
            &[]
        };
        let words = [&[command, &model][..], &cola, heads].concat();
        let ran = run(&words).ok();
        assert!(!ran.err.contains("chance"), "{}", ran.err);
        let ran = run(&[&words[..], &["--label-order", "1,0"]].concat()).ok();
        for part in [
            "is not above chance: 0 is what chance gives",
            beyond,
            "(--label-order 0,1)",
        ] {
            assert!(ran.err.contains(part), "{}", ran.err);
        }
    }
    let masked = [
        "--label-order",
        "1,0",
        "--max-steps",
        "1",
        "--threshold-mode",
        "drop",
        "--threshold",
        "0.01",
    ];
    let ran = run(&[&["mask", &model][..], &cola, &masked].concat()).ok();
    assert!(ran.err.contains("is not above chance"), "{}", ran.err);

    let other = toy.path("other");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(&model).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
    }
    let config = fs::read_to_string(other.join("config.json")).unwrap();
    let config = config.replacen('{', "{\"finetuning_task\": \"glue:sst2\",", 1);
    fs::write(other.join("config.json"), config).unwrap();
    let ran = run(&[&["evaluate", other.to_str().unwrap()][..], &cola].concat()).ok();
    assert!(
        ran.err
            .contains("fine-tuned on sst-2, and here it is scored on cola"),
        "{}",
        ran.err
    );
}
