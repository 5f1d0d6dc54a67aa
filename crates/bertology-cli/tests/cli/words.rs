//! Token classifiers and question answering: the whole way through the commands.

use std::path::PathBuf;

use bertology_testkit::golden;
use serde_json::Value;

use crate::harness::{Ran, Toy, run};

/// A golden model with its data.
struct Words {
    toy: Toy,
    folder: PathBuf,
    /// How its data are named.
    data: Vec<String>,
    expected: Value,
}

impl Words {
    fn new(name: &str, option: &str, file: &str, more: &[&str]) -> Self {
        let folder = golden(&format!("studies/{name}"));
        let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let path = folder.join(file).to_str().unwrap().to_owned();
        let more = more.iter().map(|&word| word.to_owned());
        Self {
            toy: Toy::new(),
            data: [option.to_owned(), path].into_iter().chain(more).collect(),
            expected: serde_json::from_str(&text).unwrap(),
            folder,
        }
    }

    fn tags() -> Self {
        Self::new("tags", "--ner", "data.conll", &["--max-length", "24"])
    }

    fn answers() -> Self {
        let more = ["--max-length", "40", "--doc_stride", "12"];
        Self::new("answers", "--squad", "squad2.json", &more)
    }

    fn words(&self, command: &str, more: &[&str]) -> Vec<String> {
        let model = self.folder.to_str().unwrap().to_owned();
        let more = more
            .iter()
            .map(|word| word.replace("OUT", &self.toy.text("")));
        let begun = [command.to_owned(), model].into_iter();
        begun.chain(self.data.clone()).chain(more).collect()
    }

    fn run(&self, command: &str, more: &[&str]) -> Ran {
        run(&self.words(command, more))
    }

    /// Every command ends with the same metrics, or those of its own masks.
    fn whole_way(&self, expected: &Value, counted: &str, metric: &str) {
        let near = |found: &Value, what: &str| {
            for (name, value) in expected["metrics"].as_object().unwrap() {
                let (found, value) = (found[name].as_f64().unwrap(), value.as_f64().unwrap());
                assert!(
                    (found - value).abs() < 1e-9 * (1.0 + value),
                    "{what} {name}: {found} {value}"
                );
            }
        };
        for command in ["evaluate", "importance", "ablate"] {
            let out = format!("OUT/{command}");
            let ran = self.run(command, &["--output", &out]).ok();
            assert!(ran.out.contains(counted), "{}", ran.out);
            let record = self.toy.record(command);
            near(&record["results"]["evaluation"]["metrics"], command);
            assert!(self.toy.path(&format!("{command}/report.html")).exists());
        }
        let ran = self.run(
            "mask",
            &[
                "--metric-name",
                metric,
                "--threshold",
                "0.5",
                "--output",
                "OUT/mask",
            ],
        );
        assert!(ran.ok().out.contains(metric));
        near(
            &self.toy.record("mask")["results"]["steps"][0]["metrics"],
            "mask",
        );
        let removed = ["--heads", "0:1", "--output", "OUT/prune"];
        self.run("prune", &removed).ok();
        let (pruned, masked) = (self.toy.text("prune/model"), ["--heads", "0:1"]);
        let masked = self.run("evaluate", &masked).ok().out;
        let mut words = self.words("evaluate", &[]);
        words[1] = pruned;
        let smaller = run(&words).ok().out;
        let metrics = |text: &str| {
            text.lines()
                .find(|line| line.contains("loss"))
                .map(str::to_owned)
        };
        assert_eq!(metrics(&masked), metrics(&smaller));
    }

    /// Parts, put together, are the whole run, byte by byte.
    fn in_parts(&self, command: &str, files: &[&str]) {
        let run_of = |more: &[&str]| self.run(command, &[&["--chunk", "5"], more].concat()).ok();
        run_of(&["--output", "OUT/whole", "--overwrite"]);
        for part in ["2", "1"] {
            let (number, out) = (format!("{part}/2"), format!("OUT/part-{part}"));
            run_of(&["--part", &number, "--output", &out, "--overwrite"]);
        }
        let parts = ["part-1", "part-2", "merged"].map(|name| self.toy.text(name));
        run(&[
            "merge",
            &parts[0],
            &parts[1],
            "--output",
            &parts[2],
            "--overwrite",
        ])
        .ok();
        for file in files {
            let (whole, merged) = (format!("whole/{file}"), format!("merged/{file}"));
            assert!(
                self.toy.bytes(&whole) == self.toy.bytes(&merged),
                "{command} {file}"
            );
        }
        let of = |folder: &str| self.toy.record(folder)["results"].clone();
        assert_eq!(of("whole"), of("merged"));
        let ran = self
            .run(
                command,
                &["--chunk", "5", "--output", "OUT/whole", "--resume"],
            )
            .ok();
        assert!(ran.err.contains("complete already"), "{}", ran.err);
    }
}

#[test]
fn a_token_classifier_goes_the_whole_way() {
    let words = Words::tags();
    words.whole_way(&words.expected, "40 sentences", "f1");
}

#[test]
fn question_answering_goes_the_whole_way() {
    let words = Words::answers();
    words.whole_way(
        &words.expected["squad2"],
        "24 questions, 67 windows",
        "exact_match",
    );
}

#[test]
fn parts_of_sentences_and_of_questions_are_the_whole() {
    for words in [Words::tags(), Words::answers()] {
        words.in_parts(
            "importance",
            &["head_importance_raw.npy", "predictions.csv"],
        );
        words.in_parts("evaluate", &["predictions.csv"]);
        words.in_parts("ablate", &["ablation.csv"]);
    }
}

/// Batches of windows do not go over the end of a chunk, or parts could not be put together.
#[test]
fn batches_of_windows_are_put_together() {
    let mut words = Words::answers();
    words
        .data
        .extend(["--granularity", "batch", "--batch-size", "5"].map(String::from));
    words.in_parts("importance", &["head_importance_raw.npy"]);
}

#[test]
fn data_that_the_head_is_not_scored_on_are_refused_with_what_to_do() {
    let (tags, answers, toy) = (Words::tags(), Words::answers(), Toy::new());
    let model = |words: &Words| words.folder.to_str().unwrap().to_owned();
    let text = toy.text("data.tsv");
    let of = |model: &str, data: &[&str]| run(&[&["evaluate", model], data].concat());
    of(&model(&tags), &["--text", &text]).failed(
        2,
        &["a token classifier", "sentences whose words", "--ner FILE"],
    );
    of(&model(&answers), &["--text", &text]).failed(2, &["questions with answers", "--squad FILE"]);
    of(&model(&answers), &["--ner", &tags.data[1]])
        .failed(2, &["these data are sentences", "--squad FILE"]);
    of(&toy.text("model"), &["--ner", &tags.data[1]])
        .failed(2, &["texts with a label each", "--label-column"]);
    let squad = answers.data[1].as_str();
    let long = ["--squad", squad, "--max-length", "24"];
    of(&model(&answers), &long).failed(2, &["two windows share 128", "--doc-stride N"]);
    let stride = ["--squad", squad, "--stride", "3"];
    of(&model(&answers), &stride).failed(2, &["how many tokens", "--doc-stride N"]);
    let column = ["--data", &text, "--label-column", "label"];
    of(&toy.text("model"), &column).failed(2, &["--text-column COLUMN"]);
    let metric = ["--ner", &tags.data[1], "--metric", "mcc"];
    run(&[&["ablate", &model(&tags)], &metric[..]].concat())
        .failed(2, &["f1, precision, recall, accuracy, loss"]);
}

/// A model without names for its classes is given them, or said to have none.
#[test]
fn classes_without_names_are_named() {
    let words = Words::tags();
    let toy = &words.toy;
    for file in [
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
    ] {
        std::fs::copy(words.folder.join(file), toy.path("model").join(file)).unwrap();
    }
    let text = std::fs::read_to_string(toy.path("model/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["id2label"] = (0..7)
        .map(|id| (id.to_string(), Value::from(format!("LABEL_{id}"))))
        .collect();
    config.as_object_mut().unwrap().remove("label2id");
    toy.write("model/config.json", &config.to_string());
    let evaluate = |more: &[&str]| {
        let mut all = words.words("evaluate", more);
        all[1] = toy.text("model");
        run(&all)
    };
    evaluate(&[]).failed(2, &["is not one of the model's labels", "--label-order"]);
    let order = "O,B-PER,I-PER,B-LOC,I-LOC,B-MISC,I-MISC";
    let named = evaluate(&["--label-order", order]).ok();
    let own = words.run("evaluate", &[]).ok();
    let metrics = |ran: &Ran| {
        ran.out
            .lines()
            .find(|line| line.contains("f1 "))
            .map(str::to_owned)
    };
    assert_eq!(metrics(&named), metrics(&own));
    let numbers = golden("studies/tags").join("data.json");
    let columns = [
        "--ner",
        numbers.to_str().unwrap(),
        "--text-column",
        "words",
        "--label-column",
        "tags",
    ];
    let model = toy.text("model");
    let ran = run(&[&["evaluate", model.as_str()], &columns[..]].concat()).ok();
    assert!(ran.err.contains("does not name its classes"), "{}", ran.err);
}
