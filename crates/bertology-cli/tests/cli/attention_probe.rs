//! Attention probes on the command line.

use std::fs;
use std::path::{Path, PathBuf};

use bertology_run::{Identity, RunFolder};
use tempfile::TempDir;

use crate::harness::{Ran, command, run};

/// The embedded model and its treebank, cut in two.
struct Trees {
    folder: TempDir,
}

fn asset(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets")
        .join(name);
    path.to_str().unwrap().to_owned()
}

impl Trees {
    /// `train` sentences to train on and the `dev` behind them to score on.
    fn new(train: usize, dev: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let text = fs::read_to_string(asset("grammar/dev.conllu")).unwrap();
        let sentences: Vec<&str> = text.split_inclusive("\n\n").collect();
        let write = |name: &str, part: &[&str]| {
            fs::write(folder.path().join(name), part.concat()).unwrap();
        };
        write("train.conllu", &sentences[..train]);
        write("dev.conllu", &sentences[train..train + dev]);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, model: &str, more: &[&str]) -> Vec<String> {
        let base = self.folder.path().to_str().unwrap();
        let model = asset(model);
        let first = [
            "attention-probe",
            &model,
            "--train",
            "OUT/train.conllu",
            "--dev",
            "OUT/dev.conllu",
        ];
        let words = first.iter().chain(more);
        words.map(|word| word.replace("OUT", base)).collect()
    }

    fn run(&self, more: &[&str]) -> Ran {
        run(&self.arguments("tiny-bert", more))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn record(&self, run: &str) -> serde_json::Value {
        serde_json::from_slice(&self.bytes(&format!("{run}/run.json"))).unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Correct and total of each row of `probes.csv`.
    fn scores(&self, run: &str) -> Vec<(String, u64, u64)> {
        let text = String::from_utf8(self.bytes(&format!("{run}/probes.csv"))).unwrap();
        let rows = text.lines().skip(1);
        rows.map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            (
                fields[0].to_owned(),
                fields[2].parse().unwrap(),
                fields[3].parse().unwrap(),
            )
        })
        .collect()
    }
}

#[test]
fn probes_beat_the_baselines_on_the_embedded_grammar() {
    let trees = Trees::new(350, 100);
    // One epoch of so few sentences moves no weight far enough.
    let ran = trees
        .run(&["--epochs", "3", "--output", "OUT/run", "--json"])
        .ok();
    assert_eq!(
        trees.names("run"),
        ["probe_weights.npy", "probes.csv", "report.html", "run.json"]
    );
    assert_eq!(ran.json(), trees.record("run"));
    let scores = trees.scores("run");
    let names: Vec<&str> = scores.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "right-branching",
            "best offset",
            "attention",
            "words",
            "distance"
        ]
    );
    // Punctuation left out, from the file itself.
    let dev = String::from_utf8(trees.bytes("dev.conllu")).unwrap();
    let words: Vec<Vec<&str>> = dev
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| line.split('\t').collect())
        .filter(|fields: &Vec<&str>| fields[0].parse::<usize>().is_ok() && fields[7] != "punct")
        .collect();
    let next = words.iter().filter(|fields| {
        let (id, head): (usize, usize) = (fields[0].parse().unwrap(), fields[6].parse().unwrap());
        head == id + 1
    });
    assert_eq!(
        scores[0],
        (
            "right-branching".into(),
            next.count() as u64,
            words.len() as u64
        )
    );
    for (name, correct, total) in &scores[2..] {
        assert_eq!(*total, words.len() as u64);
        assert!(
            *correct > scores[1].1 + total / 10,
            "{name}: {correct} of {total}"
        );
    }
    let bytes = trees.bytes("run/probe_weights.npy");
    let npy = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(npy.shape(), [2, 4, 4]);
    assert!(
        npy.into_vec::<f32>()
            .unwrap()
            .iter()
            .all(|weight| weight.is_finite())
    );
    let results = &trees.record("run")["results"];
    assert_eq!(results["probes"][2]["parameters"], 2 * 16 + 2);
    assert_eq!(results["root_weights"].as_array().unwrap().len(), 2);
    assert_eq!(results["train"]["sentences"], 350);
    assert_eq!(results["dev"]["sentences"], 100);
    assert_eq!(results["cache"]["sentences"], 350);
    // Once more: nothing to do. Another seed: another run.
    let again = ["--epochs", "3", "--output", "OUT/run", "--resume"];
    let ran = trees.run(&again).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
    trees
        .run(&[&again[..], &["--seed", "7"]].concat())
        .failed(2, &["cannot be resumed", "--seed"]);
}

/// The same bytes with and without a cache, with one that is too small, and on any number of threads.
#[test]
fn results_depend_on_the_options_alone() {
    let trees = Trees::new(60, 30);
    let files = |name: &str, more: &[&str]| {
        let out = format!("OUT/{name}");
        let all = [
            &[
                "--output",
                &out,
                "--epochs",
                "2",
                "--tokens-per-batch",
                "150",
            ],
            more,
        ]
        .concat();
        trees.run(&all).ok();
        let of = |file: &str| trees.bytes(&format!("{name}/{file}"));
        (of("probes.csv"), of("probe_weights.npy"))
    };
    let first = files("first", &[]);
    assert_eq!(files("none", &["--cache-limit", "0"]), first);
    assert_eq!(files("threads", &["--threads", "1"]), first);
    let kept = trees.record("first")["results"]["cache"]["sentences"].clone();
    assert_eq!(kept, 60);
    assert_ne!(files("seed", &["--seed", "1"]).1, first.1);
    assert_ne!(files("exact", &["--cache-dtype", "f32"]).1, first.1);
}

#[test]
fn a_run_that_was_cut_short_comes_to_the_same_end() {
    let trees = Trees::new(80, 20);
    let base = ["--epochs", "2", "--tokens-per-batch", "120", "--keep-cache"];
    trees
        .run(&[&base[..], &["--output", "OUT/whole"]].concat())
        .ok();
    let maps = trees.names("whole/maps");
    assert_eq!(maps.len(), 1);
    // A run that was killed behind its maps: no run.json yet, but its state and a half file.
    fs::create_dir_all(trees.path("cut/maps")).unwrap();
    let run = trees.record("whole");
    let identity: Identity = serde_json::from_value(run["identity"].clone()).unwrap();
    let killed = || {
        let folder = RunFolder::open(&trees.path("cut")).unwrap();
        folder.save_state(&identity, serde_json::json!({})).unwrap();
    };
    killed();
    fs::write(trees.path("cut/maps/.bertology-1"), b"half").unwrap();
    let whole = trees.bytes(&format!("whole/maps/{}", maps[0]));
    fs::write(trees.path(&format!("cut/maps/{}", maps[0])), &whole).unwrap();
    let ran = trees
        .run(&[&base[..], &["--output", "OUT/cut", "--resume"]].concat())
        .ok();
    assert!(
        ran.err.contains("resuming with the maps of 80 sentences"),
        "{}",
        ran.err
    );
    for file in ["probes.csv", "probe_weights.npy"] {
        let of = |name: &str| trees.bytes(&format!("{name}/{file}"));
        assert_eq!(of("cut"), of("whole"));
    }
    assert_eq!(trees.names("cut/maps"), maps);
    // A damaged file is made again.
    fs::remove_file(trees.path("cut/run.json")).unwrap();
    killed();
    fs::write(
        trees.path(&format!("cut/maps/{}", maps[0])),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    trees
        .run(&[&base[..], &["--output", "OUT/cut", "--resume"]].concat())
        .ok();
    assert_eq!(trees.bytes(&format!("cut/maps/{}", maps[0])), whole);
    assert_eq!(
        trees.bytes("cut/probes.csv"),
        trees.bytes("whole/probes.csv")
    );
    // All of it can be replaced.
    trees
        .run(&[
            "--output",
            "OUT/whole",
            "--overwrite",
            "--probe",
            "attention",
        ])
        .ok();
    assert_eq!(
        trees.names("whole"),
        ["probe_weights.npy", "probes.csv", "report.html", "run.json"]
    );
}

#[test]
fn word_vectors_come_from_a_file() {
    let trees = Trees::new(40, 20);
    fs::write(trees.path("v.txt"), "3 2\nthe 0.5 -1\nwoman 1 2\n. 0 1\n").unwrap();
    let out = [
        "--output",
        "OUT/run",
        "--probe",
        "words",
        "--vectors",
        "OUT/v.txt",
    ];
    trees.run(&out).ok();
    let record = trees.record("run");
    assert_eq!(record["data"]["vectors"]["dim"], 2);
    assert_eq!(record["data"]["vectors"]["words_used"], 3);
    assert_eq!(
        record["results"]["probes"][2]["parameters"],
        (2 * 2 + 1) * 32 + 2
    );
    assert!(record["results"]["words_without_vector"]["train"].as_u64() > Some(100));
    // Other content under the same name is another run.
    fs::write(trees.path("v.txt"), "3 2\nthe 0.5 -1\nwoman 1 3\n. 0 1\n").unwrap();
    trees
        .run(&[&out[..], &["--resume"]].concat())
        .failed(2, &["cannot be resumed", "--vectors"]);
    fs::write(trees.path("v.txt"), "the 0.5 -1\nwoman 1\n").unwrap();
    trees
        .run(&["--vectors", "OUT/v.txt"])
        .failed(2, &["v.txt, line 2"]);
}

#[test]
fn a_causal_model_is_probed_by_its_first_column() {
    let trees = Trees::new(60, 20);
    let more = [
        "--output",
        "OUT/run",
        "--probe",
        "attention",
        "--probe",
        "words",
    ];
    run(&trees.arguments("tiny-gpt2", &more)).ok();
    let record = trees.record("run");
    assert_eq!(
        record["results"]["root_weights"].as_array().unwrap().len(),
        1
    );
    assert_eq!(record["data"]["input"], "text");
}

#[test]
fn what_has_no_effect_or_cannot_be_is_refused() {
    let trees = Trees::new(10, 5);
    trees
        .run(&["--probe", "attention", "--legacy-alignment"])
        .failed(2, &["--legacy-alignment has no effect"]);
    trees
        .run(&["--probe", "attention", "--vectors", "embeddings"])
        .failed(2, &["--vectors has no effect"]);
    trees
        .run(&["--learning-rate", "0"])
        .failed(2, &["--learning-rate 0"]);
    trees
        .run(&["--max-length", "3", "--output", "OUT/run"])
        .failed(2, &["no sentence of this file can be used", "too long"]);
    fs::write(trees.path("dev.conllu"), "1\tonly\n").unwrap();
    trees.run(&[]).failed(2, &["dev.conllu"]);
}

/// The text fits a terminal.
#[test]
fn the_text_is_a_table() {
    let trees = Trees::new(30, 10);
    let args = trees.arguments("tiny-bert", &["--threads", "1"]);
    let ran = Ran::of(command().args(&args).output().unwrap()).ok();
    assert!(
        ran.out.contains("  right-branching            -"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("word attends to its head"), "{}", ran.out);
    for line in ran
        .out
        .lines()
        .filter(|line| !line.contains(".conllu") && !line.starts_with('/'))
    {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
