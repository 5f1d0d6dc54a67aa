//! `edge-probe` on the command line, on the embedded model and grammar.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Ran, run};

fn asset(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    root.join(name).to_str().unwrap().to_owned()
}

/// Records of the embedded grammar.
struct Corpus(TempDir);

impl Corpus {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let text = fs::read_to_string(asset("grammar/dev.conllu")).unwrap();
        let sentences: Vec<&str> = text.split_inclusive("\n\n").collect();
        let corpus = Self(folder);
        for (name, range) in [("train", 0..60), ("dev", 60..90)] {
            let trees = corpus.path(&format!("{name}.conllu"));
            fs::write(&trees, sentences[range].concat()).unwrap();
            for kind in ["ud-upos", "ud-deps"] {
                let out = corpus.path(&format!("{kind}-{name}.jsonl"));
                run(&["edge-data", kind, &trees, "--output", &out]).ok();
            }
        }
        corpus
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn probe(&self, more: &[&str]) -> Ran {
        let model = asset("tiny-bert");
        let mut words = vec![
            "edge-probe",
            &model,
            "--seeds",
            "2",
            "--random-encoder",
            "1",
        ];
        words.extend(["--epochs", "2", "--resamples", "50", "--hidden", "16"]);
        words.extend(more);
        run(&words)
    }

    fn deps(&self, more: &[&str]) -> Ran {
        let (train, dev) = (
            self.path("ud-deps-train.jsonl"),
            self.path("ud-deps-dev.jsonl"),
        );
        let mut words = vec!["--train", &train, "--dev", &dev];
        words.extend(more);
        self.probe(&words)
    }
}

#[test]
fn every_layer_has_a_score_and_controls() {
    let corpus = Corpus::new();
    let out = corpus.path("out");
    let ran = corpus.deps(&["--output", &out]).ok();
    assert!(
        ran.out
            .contains("F1 by layer, 0 is what goes into the first block")
    );
    for said in [
        "all layers, untrained encoder",
        "all layers, shuffled labels",
        "selectivity",
        "online code",
    ] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    // Two epochs are not enough, and that is said instead of a summary.
    assert!(ran.out.contains("not converged"), "{}", ran.out);
    let folder = Path::new(&out);
    let layers = fs::read_to_string(folder.join("edge_layers.csv")).unwrap();
    assert_eq!(layers.lines().count(), 1 + 5);
    let scores = fs::read_to_string(folder.join("edge_scores.csv")).unwrap();
    // Two seeds, single words and their means, an untrained encoder, shuffled labels, both control tasks.
    assert_eq!(scores.lines().count(), 1 + 2 * 5 + 2 * 2 + 5 + 5 + 2 * 5);
    assert!(!folder.join("states").exists());
    assert!(folder.join("report.html").exists());
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    let task = &record["results"]["tasks"][0];
    assert_eq!(task["expected_layer"]["value"], serde_json::Value::Null);
    assert_eq!(task["splits"]["dev"]["aligned"]["dropped"], 0);
}

#[test]
fn tasks_of_a_suite_share_their_states_and_their_numbers_are_those_of_each_alone() {
    let corpus = Corpus::new();
    let text = "[[task]]\nname = \"deps\"\ntrain = \"ud-deps-train.jsonl\"\ndev = \"ud-deps-dev.jsonl\"\n\
                [[task]]\nname = \"upos\"\ntrain = \"ud-upos-train.jsonl\"\ndev = \"ud-upos-dev.jsonl\"\n";
    let suite = corpus.path("tasks.toml");
    fs::write(&suite, text).unwrap();
    let (both, one) = (corpus.path("both"), corpus.path("one"));
    let none = ["--controls", "none"];
    corpus
        .probe(&[&["--suite", &suite, "--output", &both], &none[..]].concat())
        .ok();
    corpus
        .deps(&[&["--task", "deps", "--output", &one], &none[..]].concat())
        .ok();
    let rows = |folder: &str| {
        let text = fs::read_to_string(Path::new(folder).join("edge_layers.csv")).unwrap();
        let rows = text.lines().filter(|line| line.starts_with("deps,"));
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rows(&both), rows(&one));
    assert_eq!(rows(&one).len(), 5);
}

#[test]
fn threads_change_no_byte() {
    let corpus = Corpus::new();
    let (whole, other) = (corpus.path("whole"), corpus.path("other"));
    corpus.deps(&["--output", &whole, "--threads", "1"]).ok();
    corpus.deps(&["--output", &other, "--threads", "2"]).ok();
    let tables = [
        "edge_layers.csv",
        "edge_scores.csv",
        "edge_labels.csv",
        "edge_examples.csv",
    ];
    for table in tables.iter().chain(&["edge_probabilities.npy"]) {
        let of = |folder: &str| fs::read(Path::new(folder).join(table)).unwrap();
        assert!(of(&whole) == of(&other), "{table}");
    }
}

#[test]
fn wrong_inputs_are_refused_in_one_sentence() {
    let corpus = Corpus::new();
    let dev = corpus.path("ud-deps-dev.jsonl");
    let out = corpus.path("out");
    let record = |name: &str, text: &str| {
        let path = corpus.path(name);
        fs::write(&path, text).unwrap();
        path
    };
    let reversed = record(
        "a",
        "{\"text\":\"a b\",\"targets\":[{\"span1\":[1,1],\"label\":\"x\"}]}\n",
    );
    let beyond = record(
        "b",
        "{\"text\":\"a b\",\"targets\":[{\"span1\":[1,3],\"label\":\"x\"}]}\n",
    );
    let unlabelled = record("c", "{\"text\":\"a b\",\"targets\":[{\"span1\":[0,1]}]}\n");
    let empty = record("d", "");
    let no_json = record("e", "text\n");
    let upos = corpus.path("ud-upos-train.jsonl");
    let suite = record("f.toml", "[[task]]\ntrain = \"x\"\n");
    let nothing = record("g.toml", "");
    let unknown = record(
        "h.toml",
        "[[task]]\ntrain = \"x\"\ndev = \"y\"\nscore = \"f2\"\n",
    );
    for (words, said) in [
        (vec!["--train", reversed.as_str(), "--dev", &dev], "span1"),
        (vec!["--train", &beyond, "--dev", &dev], "span1"),
        (vec!["--train", &unlabelled, "--dev", &dev], "label"),
        (vec!["--train", &empty, "--dev", &dev], "d"),
        (vec!["--train", &no_json, "--dev", &dev], "line 1"),
        // One span in training, two in the other file.
        (vec!["--train", &upos, "--dev", &dev], "span"),
        (
            vec!["--train", "nowhere.jsonl", "--dev", &dev],
            "nowhere.jsonl",
        ),
        (vec!["--suite", &suite], "dev"),
        (vec!["--suite", &nothing], "[[task]]"),
        (vec!["--suite", &unknown], "f2"),
        (
            vec!["--train", &dev, "--dev", &dev, "--controls", "none,words"],
            "--controls",
        ),
        (
            vec!["--train", &dev, "--dev", &dev, "--max-length", "3"],
            "tokens",
        ),
    ] {
        let ran = corpus.probe(&[&words[..], &["--output", &out]].concat());
        assert!(
            ran.code == Some(1) || ran.code == Some(2),
            "{words:?}: {}",
            ran.err
        );
        let failed = ran.err;
        assert_eq!(failed.matches("error:").count(), 1, "{words:?}: {failed}");
        assert!(failed.contains(said), "{words:?}: {failed}");
        assert!(!Path::new(&out).join("run.json").exists(), "{words:?}");
        let _ = fs::remove_dir_all(&out);
    }
}

#[test]
fn a_state_of_other_records_is_refused() {
    let corpus = Corpus::new();
    let out = corpus.path("out");
    corpus
        .deps(&["--output", &out, "--keep-cache", "--controls", "none"])
        .ok();
    fs::remove_file(Path::new(&out).join("run.json")).unwrap();
    // Without its record the folder holds states of nobody knows what.
    let (train, dev) = (
        corpus.path("ud-upos-train.jsonl"),
        corpus.path("ud-upos-dev.jsonl"),
    );
    let ran = corpus.probe(&[
        "--train", &train, "--dev", &dev, "--output", &out, "--resume",
    ]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains(&out), "{}", ran.err);
}
