//! Options of `edge-probe`, each against an effect that is known beforehand, and runs of it held against each other.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Ran, run};

pub(crate) fn asset(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    root.join(name).to_str().unwrap().to_owned()
}

/// A folder of records and of runs.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Records of texts and their targets.
    pub(crate) fn records<'t>(
        &self,
        name: &str,
        records: impl IntoIterator<Item = (&'t str, Value)>,
    ) {
        let mut lines = String::new();
        for (text, targets) in records {
            writeln!(lines, "{}", json!({ "text": text, "targets": targets })).unwrap();
        }
        fs::write(self.at(name), lines).unwrap();
    }

    /// One probe a layer, no controls, little to learn; options that come again replace these.
    pub(crate) fn try_probe(
        &self,
        model: &str,
        [train, dev]: [&str; 2],
        out: &str,
        more: &str,
    ) -> Ran {
        let (model, train, dev) = (asset(model), self.at(train), self.at(dev));
        let out = self.at(out);
        let mut words = vec!["edge-probe", &model, "--train", &train, "--dev", &dev];
        words.extend(["--output", &out, "--task", "task"]);
        let usual = [
            ("--seeds", "1"),
            ("--epochs", "1"),
            ("--resamples", "50"),
            ("--controls", "none"),
        ];
        for (option, value) in usual {
            if !more.contains(option) {
                words.extend([option, value]);
            }
        }
        words.extend(more.split_whitespace());
        run(&words)
    }

    pub(crate) fn probe(&self, model: &str, files: [&str; 2], out: &str, more: &str) -> Ran {
        self.try_probe(model, files, out, more).ok()
    }

    pub(crate) fn record(&self, out: &str) -> Value {
        let path = Path::new(&self.at(out)).join("run.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub(crate) fn task(&self, out: &str) -> Value {
        self.record(out)["results"]["tasks"][0].clone()
    }

    pub(crate) fn text(&self, out: &str, file: &str) -> String {
        fs::read_to_string(Path::new(&self.at(out)).join(file)).unwrap()
    }

    /// A column of a table, as it is written.
    pub(crate) fn column(&self, out: &str, file: &str, name: &str) -> Vec<String> {
        let text = self.text(out, file);
        let mut lines = text.lines();
        let mut names = lines.next().unwrap().split(',');
        let at = names.position(|other| other == name).unwrap();
        lines
            .map(|line| line.split(',').nth(at).unwrap().to_owned())
            .collect()
    }

    pub(crate) fn numbers(&self, out: &str, file: &str, name: &str) -> Vec<f64> {
        let column = self.column(out, file, name);
        column.iter().map(|value| value.parse().unwrap()).collect()
    }
}

/// Six words, each one token of the embedded model.
const TEXT: &str = "the old woman is some doctor";

/// Targets of two words whose label the first one says.
fn first_decides(desk: &Desk) {
    let firsts = ["the", "some"];
    let seconds = ["man", "woman", "doctor", "pilot"];
    let mut all = Vec::new();
    for round in 0..5 {
        for first in firsts {
            for second in seconds {
                let end = seconds[(round + 1) % 4];
                let text = format!("{first} {second} is {end}");
                all.push((text, json!([{ "span1": [0, 2], "label": first }])));
            }
        }
    }
    let all = || {
        all.iter()
            .map(|(text, targets)| (text.as_str(), targets.clone()))
    };
    desk.records("train", all());
    desk.records("dev", all());
}

/// Of long records `error` takes none, `drop` those at their beginning, `window` those that fit somewhere.
#[test]
fn records_that_are_too_long_are_refused_cut_or_read_around_their_spans() {
    let desk = Desk::new();
    let long = "the old woman is some doctor the old man is some pilot";
    let near = |from: usize, to: usize| json!({ "span1": [from, from + 1], "span2": [to, to + 1], "label": "x" });
    // At the beginning, at the end, and too far apart for eight tokens.
    let targets = json!([near(0, 1), near(10, 11), near(0, 11)]);
    desk.records("all", [(long, targets), (TEXT, json!([near(0, 1)]))]);
    let probe = |out: &str, more: &str| {
        let more = format!("--max-length 8 --allow-dropped {more}");
        desk.try_probe("tiny-bert", ["all", "all"], out, &more)
    };
    let refused = probe("error", "--too-long error");
    refused.failed(2, &["line 1", "longest input is 8"]);
    for (how, dropped) in [("drop", 2), ("window", 1)] {
        probe(how, &format!("--too-long {how}")).ok();
        let split = desk.task(how)["splits"]["dev"].clone();
        assert_eq!(split["aligned"]["dropped"], dropped, "{how}: {split}");
        assert_eq!(split["targets"], 4 - dropped, "{how}: {split}");
        assert_eq!(split["dropped_by_label"]["x"], dropped, "{how}: {split}");
        // The rows of every layer are of the same targets.
        let counts = |name: &str| desk.numbers(how, "edge_scores.csv", name);
        for (right, missed) in counts("true_positives")
            .iter()
            .zip(counts("false_negatives"))
        {
            assert_eq!(right + missed, f64::from(4 - dropped), "{how}");
        }
    }
}

#[test]
fn a_norm_behind_the_last_layer_changes_that_layer_and_no_other() {
    let desk = Desk::new();
    desk.records("all", [(TEXT, json!([{ "span1": [1, 4], "label": "x" }]))]);
    let norms = |model: &str, how: &str| {
        let out = format!("{model}-{how}");
        desk.probe(model, ["all", "all"], &out, &format!("--last-layer {how}"));
        desk.column(&out, "edge_layers.csv", "norm")
    };
    let (before, after) = (
        norms("tiny-gpt2", "before-norm"),
        norms("tiny-gpt2", "after-norm"),
    );
    let last = before.len() - 1;
    assert_eq!(before[..last], after[..last]);
    assert_ne!(before[last], after[last]);
    // The blocks of BERT end with their norm.
    assert_eq!(
        norms("tiny-bert", "before-norm"),
        norms("tiny-bert", "after-norm")
    );
}

#[test]
fn without_a_beginning_of_text_contexts_change_and_words_do_not() {
    let desk = Desk::new();
    desk.records("all", [(TEXT, json!([{ "span1": [2, 4], "label": "x" }]))]);
    let norms = |out: &str, more: &str| {
        let more = format!("--layer0 word-only {more}");
        let ran = desk.probe("tiny-gpt2", ["all", "all"], out, &more);
        assert!(ran.err.contains("causal"), "{}", ran.err);
        desk.column(out, "edge_layers.csv", "norm")
    };
    let (usual, with, without) = (
        norms("a", ""),
        norms("b", "--bos yes"),
        norms("c", "--bos no"),
    );
    assert_eq!(usual, with);
    assert_eq!(with[0], without[0]);
    for layer in 1..with.len() {
        assert_ne!(with[layer], without[layer], "layer {layer}");
    }
}

/// The first word says the label, and layer 0 is words alone: whoever reads the last word only cannot know.
#[test]
fn a_pooling_reads_what_it_says() {
    let desk = Desk::new();
    first_decides(&desk);
    let score = |pooling: &str| {
        let more = format!("--pooling {pooling} --layer0 word-only --epochs 40 --decide softmax");
        desk.probe("tiny-bert", ["train", "dev"], pooling, &more);
        desk.numbers(pooling, "edge_layers.csv", "score")[0]
    };
    for pooling in ["attention", "mean", "endpoints"] {
        assert!(score(pooling) > 0.95, "{pooling}: {}", score(pooling));
    }
    let last = score("last");
    assert!((0.3..0.7).contains(&last), "{last}");
}

#[test]
fn probes_of_single_layers_have_no_weights_and_no_gains() {
    let desk = Desk::new();
    first_decides(&desk);
    let more = "--single-layers --epochs 30 --decide softmax";
    let ran = desk.probe("tiny-bert", ["train", "dev"], "out", more);
    assert!(
        ran.out.contains("single layers have no gains"),
        "{}",
        ran.out
    );
    let reads = desk.column("out", "edge_scores.csv", "reads");
    assert_eq!(reads, ["single"; 5]);
    for column in ["weight", "gain", "weight_by_norm"] {
        let found = desk.column("out", "edge_layers.csv", column);
        assert_eq!(found, [""; 5], "{column}");
    }
    // Every layer is read by itself: a layer that the words went into knows them.
    assert!(desk.numbers("out", "edge_layers.csv", "score")[0] > 0.95);
    assert_eq!(desk.task("out")["centre_of_gravity"]["value"], Value::Null);
}

#[test]
fn the_papers_score_on_the_development_file() {
    let desk = Desk::new();
    let target = |at: usize, label: &str| json!([{ "span1": [at, at + 1], "label": label }]);
    desk.records("train", [(TEXT, target(0, "x")), (TEXT, target(1, "y"))]);
    desk.records("dev", [(TEXT, target(2, "x"))]);
    desk.records("test", [(TEXT, target(3, "y")), (TEXT, target(4, "y"))]);
    let test = format!("--test {}", desk.at("test"));
    let files = ["train", "dev"];
    desk.probe("tiny-bert", files, "plain", "");
    desk.probe("tiny-bert", files, "test-run", &test);
    desk.probe("tiny-bert", files, "paper", &format!("{test} --paper-dev"));
    let of = |out: &str| {
        let task = desk.task(out);
        let split = desk.column(out, "edge_scores.csv", "split");
        (
            task["scored_on"].clone(),
            task["targets"].clone(),
            split[0].clone(),
        )
    };
    assert_eq!(of("test-run"), (json!("test"), json!(2), "test".into()));
    assert_eq!(of("paper"), (json!("dev"), json!(1), "dev".into()));
    for table in ["edge_layers.csv", "edge_scores.csv", "edge_strata.csv"] {
        assert_eq!(desk.text("paper", table), desk.text("plain", table));
    }
}

/// Of the records that the means are of, the mean square of every layer is 1: its mean length is near √H and not above it.
#[test]
fn standardized_layers_have_one_length_and_the_record_says_so() {
    let desk = Desk::new();
    first_decides(&desk);
    let files = ["train", "dev"];
    let more = "--epochs 30 --decide softmax --seeds 2";
    let usual = desk.probe("tiny-bert", files, "usual", more);
    let ran = desk.probe("tiny-bert", files, "same", &format!("{more} --standardize"));
    let lengths = desk.numbers("same", "edge_layers.csv", "norm");
    let most = 128_f64.sqrt();
    for length in &lengths {
        assert!((0.8 * most..=1.001 * most).contains(length), "{lengths:?}");
    }
    let spread = |norms: &[f64]| {
        let most = norms.iter().copied().fold(0.0, f64::max);
        most / norms.iter().copied().fold(f64::INFINITY, f64::min)
    };
    assert!(spread(&desk.numbers("usual", "edge_layers.csv", "norm")) > spread(&lengths));
    for (out, said, ran) in [("usual", false, usual), ("same", true, ran)] {
        assert_eq!(desk.record(out)["results"]["probe"]["standardized"], said);
        assert_eq!(ran.out.contains("centre of gravity, standardized"), said);
        assert_eq!(
            desk.text(out, "report.html")
                .contains("of layers of one length"),
            said
        );
    }
    assert!(desk.numbers("same", "edge_layers.csv", "score")[4] > 0.95);
}

#[test]
fn targets_are_scored_by_distance_and_height() {
    let desk = Desk::new();
    let target = |one: [usize; 2], other: [usize; 2], label: &str, height: Option<u64>| {
        let mut target = json!({ "span1": one, "span2": other, "label": label });
        if let Some(height) = height {
            target["info"] = json!({ "height": height });
        }
        target
    };
    // Words between: 0 (touching), 0 (overlapping), 1, 4 both ways round, 4.
    let targets = json!([
        target([0, 1], [1, 2], "x", Some(1)),
        target([0, 4], [2, 3], "y", Some(2)),
        target([0, 1], [2, 4], "x", None),
        target([0, 1], [5, 6], "y", Some(2)),
        target([5, 6], [0, 1], "x", Some(9)),
    ]);
    desk.records("all", [(TEXT, targets)]);
    desk.probe("tiny-bert", ["all", "all"], "out", "--seeds 3");
    let table = |name: &str| desk.column("out", "edge_strata.csv", name);
    let (by, stratum, targets) = (table("by"), table("stratum"), table("targets"));
    let mut seen: Vec<(&str, &str, &str)> = by
        .iter()
        .zip(&stratum)
        .zip(&targets)
        .map(|((by, stratum), targets)| (by.as_str(), stratum.as_str(), targets.as_str()))
        .collect();
    seen.dedup();
    let expected = [
        ("distance", "0", "2"),
        ("distance", "1", "1"),
        ("distance", "3-5", "2"),
        ("height", "1", "1"),
        ("height", "2", "2"),
        ("height", "8+", "1"),
    ];
    assert_eq!(seen, expected);
    // Each target has one label, and there are three seeds; all distances together are all decisions.
    let counts = |file: &str, name: &str| desk.numbers("out", file, name);
    let support = counts("edge_strata.csv", "true_positives")
        .into_iter()
        .zip(counts("edge_strata.csv", "false_negatives"));
    for ((right, missed), targets) in support.zip(&targets) {
        assert_eq!(right + missed, 3.0 * targets.parse::<f64>().unwrap());
    }
    for name in ["true_positives", "false_positives", "false_negatives"] {
        let strata = counts("edge_strata.csv", name);
        let of_distance = strata.iter().zip(&by).filter(|(_, by)| *by == "distance");
        let total: f64 = of_distance.map(|(count, _)| count).sum();
        assert_eq!(
            total,
            counts("edge_scores.csv", name).iter().sum::<f64>(),
            "{name}"
        );
    }
    assert!(
        desk.text("out", "report.html")
            .contains("Targets by distance and height")
    );
}

/// Of every probe and seed they add up to 1, and the table of layers has the means of those of the whole mix.
#[test]
fn mixing_weights_are_told_for_every_probe() {
    let desk = Desk::new();
    first_decides(&desk);
    desk.probe("tiny-bert", ["train", "dev"], "out", "--seeds 2 --epochs 3");
    let column = |name: &str| desk.numbers("out", "edge_weights.csv", name);
    let (probes, layers, weights) = (column("probe"), column("layer"), column("weight"));
    // One to five layers, two seeds.
    assert_eq!(weights.len(), 2 * (1 + 2 + 3 + 4 + 5));
    assert!((weights.iter().sum::<f64>() - 10.0).abs() < 1e-5);
    let means = desk.numbers("out", "edge_layers.csv", "weight");
    for (layer, mean) in means.iter().enumerate() {
        let own = (0..weights.len()).filter(|at| probes[*at] == 4.0 && layers[*at] == layer as f64);
        let sum: f64 = own.map(|at| weights[at]).sum();
        assert!((sum / 2.0 - mean).abs() < 1e-9, "layer {layer}");
    }
}

#[test]
fn the_size_of_the_states_is_told_before_they_are_written() {
    let desk = Desk::new();
    desk.records("all", [(TEXT, json!([{ "span1": [1, 4], "label": "x" }]))]);
    let more = "--controls random-encoder --random-encoder 2 --keep-cache";
    let files = ["all", "all"];
    let ran = desk.probe("tiny-bert", files, "out", more);
    let said = "states: 3 tokens × 5 layers × 128 numbers × 2 bytes, of 3 encoders: ";
    let (said, scores) = (ran.out.find(said), ran.out.find("F1 by layer"));
    assert!(said.unwrap() < scores.unwrap(), "{}", ran.out);
    assert!(ran.out.contains(" are free"), "{}", ran.out);
}

/// Twice the same run: nothing lies between. One that has learnt and one that has not: something does.
#[test]
fn runs_are_compared_task_by_task() {
    let desk = Desk::new();
    first_decides(&desk);
    let files = ["train", "dev"];
    let learnt = "--epochs 40 --seeds 3 --decide softmax --layer0 word-only";
    desk.probe("tiny-bert", files, "learnt", learnt);
    // Knows one of the two labels, gives it always, and is right half of the time.
    let text = fs::read_to_string(desk.at("train")).unwrap();
    let one_label = text
        .lines()
        .filter(|line| line.contains(r#""label":"the""#));
    fs::write(desk.at("poor"), one_label.collect::<Vec<_>>().join("\n")).unwrap();
    desk.probe(
        "tiny-bert",
        ["poor", "dev"],
        "blind",
        &learnt.replace("40", "2"),
    );
    let compare = |a: &str, b: &str, more: &[&str]| {
        let (a, b) = (desk.at(a), desk.at(b));
        let mut ran = run(&[&["compare", &a, &b], more].concat()).ok();
        // Sentences are broken to the width of a terminal.
        if more != ["--json"] {
            ran.out = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        ran
    };
    let same = compare("learnt", "learnt", &["--json"]).json();
    let top = &same["tasks"][0]["numbers"][0];
    assert_eq!(top["difference"], 0.0);
    assert_eq!(top["over_sentences"], json!([0.0, 0.0]));
    assert_eq!(
        (&top["paired"], &top["ordered"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(same["differences"], json!([]));

    let page = desk.at("page.html");
    let ran = compare("blind", "learnt", &["--output", &page]);
    for said in [
        "both on the same 40 targets",
        "sentences, paired",
        "--epochs: 2 in A, 40 in B",
    ] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    assert!(!ran.out.contains("head"), "{}", ran.out);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("task: score by layer") && page.contains("What lies between"));
    let found = compare("blind", "learnt", &["--json"]).json();
    let top = &found["tasks"][0]["numbers"][0];
    assert_eq!(top["ordered"], true, "{top}");
    assert!(top["over_sentences"][0].as_f64().unwrap() > 0.0, "{top}");
    let scores = desk.numbers("learnt", "edge_layers.csv", "score");
    assert_eq!(found["tasks"][0]["scores"][1], json!(scores));

    // Other targets are no pairs.
    let text = fs::read_to_string(desk.at("dev")).unwrap();
    let half: String = text
        .lines()
        .take(20)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(desk.at("half"), half).unwrap();
    desk.probe("tiny-bert", ["train", "half"], "half-run", learnt);
    let ran = compare("learnt", "half-run", &[]);
    assert!(
        ran.out.contains("(40 targets and 20 targets)"),
        "{}",
        ran.out
    );
    let found = compare("learnt", "half-run", &["--json"]).json();
    assert_eq!(found["tasks"][0]["numbers"][0]["paired"], false);

    // A model that sees one side only.
    desk.probe("tiny-gpt2", files, "causal", learnt);
    let ran = compare("learnt", "causal", &[]);
    assert!(
        ran.out.contains("no evidence of another pipeline"),
        "{}",
        ran.out
    );
    assert!(!compare("learnt", "blind", &[]).out.contains("pipeline"));

    let (learnt, blind) = (desk.at("learnt"), desk.at("blind"));
    run(&["heads", &learnt, &blind]).failed(2, &["no", "single heads", "bertology compare"]);
}

/// A tenth of the targets has one label, the others one of ninety by no rule: no label is ever likely enough, and who always
/// says the frequent one is right more often.
#[test]
fn a_probe_below_a_guess_has_no_summary() {
    let desk = Desk::new();
    let text = fs::read_to_string(asset("grammar/dev.conllu")).unwrap();
    let sentences: Vec<&str> = text.split_inclusive("\n\n").take(60).collect();
    fs::write(desk.at("trees"), sentences.concat()).unwrap();
    let (trees, all) = (desk.at("trees"), desk.at("all"));
    run(&["edge-data", "ud-deps", &trees, "--output", &all]).ok();
    let mut number = 0_u32;
    let mut lines = Vec::new();
    for line in fs::read_to_string(&all).unwrap().lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        for target in record["targets"].as_array_mut().unwrap() {
            number += 1;
            let label = if number.is_multiple_of(10) {
                99
            } else {
                number.wrapping_mul(2_654_435_761) % 90
            };
            target["label"] = Value::from(label.to_string());
        }
        lines.push(record.to_string() + "\n");
    }
    let (train, dev) = lines.split_at(40);
    fs::write(desk.at("none"), train.concat()).unwrap();
    fs::write(desk.at("none-dev"), dev.concat()).unwrap();
    let ran = desk.probe(
        "tiny-bert",
        ["none", "none-dev"],
        "out",
        "--epochs 300 --seeds 2",
    );
    assert!(ran.out.contains("nothing was learnt"), "{}", ran.out);
    assert_eq!(desk.task("out")["expected_layer"]["value"], Value::Null);
}
