//! Models with the tokens of some texts alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{golden, run};

fn assets(name: &str) -> PathBuf {
    bertology_testkit::workspace().join("assets").join(name)
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A folder for results.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    fn record(&self, name: &str) -> Value {
        json_of(&self.at(name).join("run.json"))
    }

    /// Rows of a table without its header.
    fn table(&self, name: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.at(name)).unwrap();
        let rows = text.lines().skip(1);
        rows.map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    }

    /// Nothing but what is asked for is beside the results.
    fn only(&self, names: &[&str]) {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut found: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names);
    }
}

fn compress(model: &str, more: &[&str], output: &str) -> crate::harness::Ran {
    let model = assets(model);
    let words = [
        &["compress", model.to_str().unwrap()],
        more,
        &["--output", output],
    ];
    run(&words.concat())
}

#[test]
fn the_tokens_of_some_texts_stay_and_the_model_is_the_same_for_them() {
    let place = Place::new();
    let text = "the woman faints .\nMany dogs annoy [MASK] the guest !\n";
    fs::write(place.at("a.txt"), text).unwrap();
    let texts = place.text("a.txt");
    let ran = compress(
        "tiny-bert",
        &["--trim-vocabulary", &texts],
        &place.text("out"),
    )
    .ok();
    assert!(
        ran.out.contains("the same pieces of all these texts"),
        "{}",
        ran.out
    );
    place.only(&["a.txt", "out"]);
    let record = place.record("out");
    let results = &record["results"];
    assert_eq!(results["goal"], "vocabulary");
    let found = &results["vocabulary"];
    let [before, after] = [0, 1].map(|at| found["rows"][at].as_u64().unwrap());
    assert_eq!((before, found["texts"].as_u64()), (481, Some(2)));
    assert!(after < before && after > 20, "{after}");
    assert_eq!(
        record["data"]["trim_vocabulary"][0]["path"],
        json!(texts),
        "{record}"
    );
    let config = json_of(&place.at("out/model/config.json"));
    assert_eq!(config["vocab_size"], after);
    // The map is the vocabulary, in its order.
    let map = place.table("out/vocabulary_map.csv");
    assert_eq!(map.len() as u64, after);
    let vocab = fs::read_to_string(place.at("out/model/vocab.txt")).unwrap();
    let whole = fs::read_to_string(assets("tiny-bert").join("vocab.txt")).unwrap();
    let whole: Vec<&str> = whole.lines().collect();
    for (at, (row, line)) in map.iter().zip(vocab.lines()).enumerate() {
        assert_eq!(row[0], at.to_string());
        let old: usize = row[1].parse().unwrap();
        assert_eq!(line, whole[old]);
    }
    let count = |token: &str| {
        let row = map.iter().find(|row| row[2] == token);
        row.map(|row| row[3].clone())
    };
    assert_eq!(count("the").as_deref(), Some("2"));
    assert_eq!(count("[SEP]").as_deref(), Some("2"));
    assert_eq!(count("[MASK]").as_deref(), Some("1"));
    assert_eq!(count("[PAD]").as_deref(), Some("0"));
    // Other commands take it as any model, and say the same of these texts.
    let [small, model] = [
        place.text("out/model"),
        assets("tiny-bert").to_str().unwrap().to_owned(),
    ];
    let said = |model: &str| {
        let output = place.text("said");
        run(&[
            "predict",
            model,
            "--text",
            &texts,
            "--output",
            &output,
            "--overwrite",
        ])
        .ok();
        fs::read_to_string(place.at("said/predictions.jsonl"))
            .or_else(|_| fs::read_to_string(place.at("said/predictions.csv")))
            .unwrap()
    };
    assert_eq!(said(&small), said(&model));
    run(&["inspect", &small]).ok();
    // Once more there is nothing to gain.
    let output = place.text("again");
    let again = [
        "compress",
        &small,
        "--trim-vocabulary",
        &texts,
        "--output",
        &output,
    ];
    run(&again).failed(2, &["tokens are needed"]);
    assert!(!place.at("again").exists());
}

#[test]
fn with_a_goal_the_result_is_that_of_the_whole_vocabulary() {
    let place = Place::new();
    let data = assets("grammar");
    let data = [
        "--task",
        "cola",
        "--data",
        data.to_str().unwrap(),
        "--limit",
        "60",
        "--choose-on",
        "train:80",
        "--flops",
        "60%",
    ];
    let texts = ["--trim-vocabulary", "train", "dev"];
    compress("tiny-bert", &data, &place.text("alone")).ok();
    let ran = compress(
        "tiny-bert",
        &[&data[..], &texts].concat(),
        &place.text("both"),
    )
    .ok();
    assert!(
        ran.out
            .contains("No token of the data that are scored is gone"),
        "{}",
        ran.out
    );
    let [alone, both] = ["alone", "both"].map(|name| place.record(name)["results"].clone());
    for key in [
        "evaluation_before",
        "evaluation_after",
        "operations",
        "neurons",
        "widths",
    ] {
        assert_eq!(alone[key], both[key], "{key}");
    }
    let parameters = |of: &Value| of["sizes"]["parameters_after"].as_u64().unwrap();
    let [rows, left] = [0, 1].map(|at| both["vocabulary"]["rows"][at].as_u64().unwrap());
    let hidden = json_of(&assets("tiny-bert/config.json"))["hidden_size"]
        .as_u64()
        .unwrap();
    assert_eq!(
        parameters(&alone) - parameters(&both),
        (rows - left) * hidden
    );
    assert_eq!(
        both["sizes"]["parameters_before"],
        alone["sizes"]["parameters_before"]
    );
    assert_eq!(both["timing"].as_array().unwrap().len(), 2);
    let page = fs::read_to_string(place.at("both/report.html")).unwrap();
    assert!(page.contains("Vocabulary") && page.contains("vocabulary_map.csv"));
    place.only(&["alone", "both"]);
    // By its score, of which the whole model has its own.
    let drop = ["--max-drop", "50%", "--examples", "20"];
    let drop = [&data[..8], &drop, &texts].concat();
    compress("tiny-bert", &drop, &place.text("drop")).ok();
    // The vocabulary counts for the file.
    let whole = fs::metadata(assets("tiny-bert/model.safetensors")).unwrap();
    let size = format!("{}B", whole.len() - 1000);
    let goal = [&data[..8], &["--max-size", &size], &texts].concat();
    compress("tiny-bert", &goal, &place.text("no")).failed(2, &["--trim-vocabulary alone"]);
    assert!(!place.at("no").exists());
}

#[test]
fn what_other_texts_lose_is_counted_and_said() {
    let place = Place::new();
    fs::write(place.at("a.txt"), "the woman faints .\n").unwrap();
    let (texts, data) = (place.text("a.txt"), assets("grammar"));
    let scored = [
        "--task",
        "cola",
        "--data",
        data.to_str().unwrap(),
        "--limit",
        "50",
        "--trim-vocabulary",
        &texts,
    ];
    let ran = compress("tiny-bert", &scored, &place.text("out")).ok();
    let found = place.record("out")["results"]["vocabulary"]["scored"].clone();
    let number = |key: &str| found[key].as_u64().unwrap();
    assert_eq!(number("inputs"), 50);
    assert!(number("gone") > 50 && number("changed") > 40, "{found}");
    assert!(number("tokens_now") > number("tokens"), "{found}");
    assert!(
        ran.out.contains(&format!(
            "changes the pieces of {} of 50",
            number("changed")
        )),
        "{}",
        ran.out
    );
    // A language model's loss is of fewer tokens.
    let dev = fs::read_to_string(assets("grammar/dev.txt")).unwrap();
    let lines: Vec<&str> = dev.lines().take(12).collect();
    fs::write(place.at("b.txt"), lines.join("\n") + "\n").unwrap();
    let dev = place.text("b.txt");
    let lm = ["--text", &dev, "--trim-vocabulary", &dev];
    let ran = compress("tiny-gpt2", &lm, &place.text("lm")).ok();
    assert!(ran.out.contains("not to be compared"), "{}", ran.out);
    assert!(place.at("lm/model/merges.txt").exists());
    run(&["evaluate", &place.text("lm/model"), "--text", &dev]).ok();
}

#[test]
fn what_cannot_be_trimmed_is_refused_and_leaves_nothing() {
    let place = Place::new();
    fs::write(place.at("a.txt"), "the woman faints .\n").unwrap();
    fs::write(place.at("ids.txt"), "1 2 3\n").unwrap();
    let texts = place.text("a.txt");
    let refused = |model: &str, more: &[&str], code: i32, parts: &[&str]| {
        compress(model, more, &place.text("out")).failed(code, parts);
        place.only(&["a.txt", "ids.txt"]);
    };
    refused("tiny-bert", &[], 2, &["--trim-vocabulary FILE"]);
    let none = place.text("none.txt");
    refused(
        "tiny-bert",
        &["--trim-vocabulary", &none],
        2,
        &["no such file", "a text a line"],
    );
    let grammar = assets("grammar");
    let task = ["--task", "cola", "--data", grammar.to_str().unwrap()];
    refused(
        "tiny-bert",
        &[&task[..], &["--trim-vocabulary", "nowhere"]].concat(),
        2,
        &["or a split of the task"],
    );
    for more in [
        &["--heads-only"][..],
        &["--uniform"],
        &["--no-tune"],
        &["--examples", "5"],
        &["--measure", "michel"],
        &["--then", "finetune"],
        &["--choose-on", "train"],
    ] {
        let words = [&["--trim-vocabulary", texts.as_str()], more].concat();
        refused("tiny-bert", &words, 2, &[more[0], "give a goal"]);
    }
    let ids = place.text("ids.txt");
    refused(
        "tiny-gpt2",
        &["--trim-vocabulary", &texts, "--token-ids", &ids],
        2,
        &["--token-ids", "give the texts"],
    );
    fs::write(place.at("a.txt"), "\n").unwrap();
    refused("tiny-bert", &["--trim-vocabulary", &texts], 2, &["empty"]);
    // Letters of proteins.
    fs::write(place.at("a.txt"), "MKTAYIAK\n").unwrap();
    let esm = place.at("esm");
    fs::create_dir(&esm).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden("esm").join(name), esm.join(name)).unwrap();
    }
    let tokenizer = bertology_testkit::golden("tokenizer/esm");
    for name in ["vocab.txt", "tokenizer_config.json"] {
        fs::copy(tokenizer.join(name), esm.join(name)).unwrap();
    }
    let (esm, output) = (place.text("esm"), place.text("out"));
    let words = [
        "compress",
        &esm,
        "--trim-vocabulary",
        &texts,
        "--output",
        &output,
    ];
    run(&words).failed(2, &["letters of proteins", "nothing to gain"]);
    place.only(&["a.txt", "esm", "ids.txt"]);
}
