//! Language models: every head-level command on text and on token ids, without labels.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Ran, Toy, golden, run};

/// The toy's folder with a masked language model in `mlm` and a causal one in `gpt2`.
pub(crate) fn toy() -> Toy {
    let toy = Toy::new();
    for (name, source) in [("mlm", "bert-mlm"), ("gpt2", "gpt2-lm")] {
        fs::create_dir(toy.path(name)).unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(golden(source).join(file), toy.path(name).join(file)).unwrap();
        }
    }
    for file in ["vocab.txt", "tokenizer_config.json"] {
        fs::copy(toy.path("model").join(file), toy.path("mlm").join(file)).unwrap();
    }
    let line = "the small cat sees a dog";
    let text: Vec<String> = (1..9)
        .map(|n| [line, "not", line].concat()[..n * 6].to_owned())
        .collect();
    toy.write("text.txt", &format!("{}\n\n", text.join("\n")));
    let ids: Vec<String> = (2..14_u32)
        .map(|n| {
            let row: Vec<String> = (0..3 * n)
                .map(|i| ((n * 7 + i * i) % 59).to_string())
                .collect();
            row.join(" ")
        })
        .collect();
    toy.write("ids.txt", &format!("# ids\n{}\n5\n", ids.join("\n")));
    toy
}

impl Toy {
    fn command(&self, command: &str, model: &str, data: (&str, &str), more: &[&str]) -> Ran {
        let base = self.path("");
        let base = base.to_str().unwrap().trim_end_matches('/');
        let mut all = vec![command.to_owned(), self.text(model), data.0.into()];
        all.push(self.text(data.1));
        all.extend(more.iter().map(|word| word.replace("OUT", base)));
        run(&all)
    }
}

const TEXT: (&str, &str) = ("--text", "text.txt");
const IDS: (&str, &str) = ("--token-ids", "ids.txt");

#[test]
fn every_command_takes_text_without_labels() {
    let toy = toy();
    for (model, data, metric) in [
        ("mlm", TEXT, "pseudo_perplexity"),
        ("gpt2", IDS, "perplexity"),
    ] {
        let out = |name: &str| format!("{name}-{model}");
        let to = |name: &str| format!("OUT/{name}-{model}");
        let ran = toy
            .command("evaluate", model, data, &["--output", &to("e")])
            .ok();
        assert!(ran.out.contains(&format!("{metric} ")), "{}", ran.out);
        let found = toy.record(&out("e"))["results"]["evaluation"].clone();
        let loss = found["loss"].as_f64().unwrap();
        let value = found["metrics"][metric].as_f64().unwrap();
        assert!((value.ln() - loss).abs() < 1e-9);
        let table = toy.table(&format!("{}/predictions.csv", out("e")));
        assert_eq!(table[0].join(","), "index,line,window,tokens,targets,loss");
        let column = |at: usize| {
            table[1..]
                .iter()
                .map(move |row| row[at].parse::<f64>().unwrap())
        };
        let total: f64 = column(4).zip(column(5)).map(|(n, l)| n * l).sum();
        let targets: f64 = column(4).sum();
        assert_eq!(found["targets"].as_f64().unwrap(), targets);
        assert!(
            (total / targets - loss).abs() < 1e-9,
            "{total} {targets} {loss}"
        );

        let ran = toy
            .command("importance", model, data, &["--output", &to("i"), "--json"])
            .ok();
        let record = toy.record(&out("i"));
        assert_eq!(ran.json(), record);
        assert_eq!(record["results"]["evaluation"], found);
        assert!(
            toy.array(&format!("{}/head_importance.npy", out("i")))
                .2
                .contains(&1.0)
        );

        let ran = toy
            .command(
                "mask",
                model,
                data,
                &["--output", &to("m"), "--threshold", "1.02"],
            )
            .ok();
        assert!(
            ran.out.contains(metric) && ran.out.contains("rose above")
                || ran.out.contains("no head"),
            "{}",
            ran.out
        );
        let masked = toy.record(&out("m"));
        assert_eq!(masked["results"]["metric"], "loss");
        assert_eq!(masked["results"]["higher_is_better"], false);
        let mask = format!("OUT/{}/head_mask.npy", out("m"));
        let after = masked["results"]["score_after"].as_f64().unwrap();

        let more = ["--output", &to("p"), "--mask", &mask];
        toy.command("prune", model, data, &more).ok();
        let pruned = toy.record(&out("p"));
        let loss = pruned["results"]["evaluation_after"]["loss"]
            .as_f64()
            .unwrap();
        assert!((loss - after).abs() < 1e-5, "{loss} {after}");
        let smaller = format!("{}/model", out("p"));
        let again = toy
            .command("evaluate", &smaller, data, &["--json"])
            .ok()
            .json();
        let again = again["results"]["evaluation"]["loss"].as_f64().unwrap();
        assert!((again - loss).abs() < 1e-6);
    }
}

#[test]
fn long_documents_are_counted_in_text_and_record() {
    let toy = toy();
    let ran = toy
        .command(
            "evaluate",
            "gpt2",
            IDS,
            &["--stride", "5", "--output", "OUT/w"],
        )
        .ok();
    assert!(
        ran.err.contains("1 line") && ran.err.contains("only a comment"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("1 document without a token to predict"),
        "{}",
        ran.err
    );
    assert!(
        ran.out.contains("8 windowed (length 16, stride 5)"),
        "{}",
        ran.out
    );
    let record = toy.record("w");
    let counts = &record["data"]["documents"];
    assert_eq!(counts["documents"], 13);
    assert_eq!(counts["without_targets"], 1);
    assert_eq!(counts["windowed"], 8);
    // Rows of 6, 9 … 39 ids, all but the first of each.
    let targets: u64 = (2..14).map(|n| 3 * n - 1).sum();
    assert_eq!(counts["targets"], targets);
    assert_eq!(record["data"]["stride"], 5);
    assert_eq!(
        record["data"]["objective"],
        json!({"kind": "causal_lm", "bos": false})
    );

    let cut = [
        "--too-long",
        "cut",
        "--max-length",
        "10",
        "--output",
        "OUT/c",
    ];
    let ran = toy.command("evaluate", "gpt2", IDS, &cut).ok();
    assert!(ran.out.contains("10 cut to 10 tokens"), "{}", ran.out);
    let counts = &toy.record("c")["data"]["documents"];
    let lost: u64 = (4..14).map(|n| 3 * n - 10).sum();
    assert_eq!(
        (&counts["cut"], &counts["tokens_cut"]),
        (&json!(10), &json!(lost))
    );
    toy.command("evaluate", "gpt2", IDS, &["--too-long", "error"])
        .failed(
            2,
            &[
                "ids.txt, line 6",
                "18 tokens",
                "the longest input is 16",
                "--too-long",
            ],
        );
    let args = toy.arguments("evaluate", &["--too-long", "window"]);
    run(&args).failed(2, &["a label belongs to a whole text"]);
    toy.run("evaluate", &["--too-long", "error", "--max-length", "8"])
        .failed(2, &["data.tsv, line", "the longest input is 8"]);
}

#[test]
fn the_seed_is_part_of_a_run() {
    let toy = toy();
    let loss = |more: &[&str]| {
        let ran = toy
            .command("evaluate", "mlm", TEXT, &[more, &["--json"]].concat())
            .ok();
        assert!(!ran.err.contains("--seed"), "{}", ran.err);
        let document = ran.json();
        (
            document["results"]["evaluation"]["loss"].as_f64().unwrap(),
            document["seed"].clone(),
        )
    };
    let (default, seed) = loss(&[]);
    assert_eq!(seed, 42);
    assert_eq!(loss(&["--seed", "42"]), (default, json!(42)));
    assert_ne!(loss(&["--seed", "1"]).0, default);
    assert_ne!(loss(&["--mlm-probability", "0.4"]).0, default);
    let (all, seed) = loss(&["--unmasked"]);
    assert_eq!(seed, json!(null));
    assert_eq!(loss(&["--mlm-probability", "0"]).0, all);

    let importance = |more: &[&str]| {
        toy.command(
            "importance",
            "mlm",
            TEXT,
            &[&["--output", "OUT/i", "--resume"], more].concat(),
        )
    };
    importance(&[]).ok();
    let again = importance(&["--seed", "42"]).ok();
    assert!(again.err.contains("complete already"), "{}", again.err);
    importance(&["--seed", "7"]).failed(2, &["objective"]);
    importance(&["--unmasked"]).failed(2, &["unmasked"]);
    let noted = toy.command("evaluate", "gpt2", IDS, &["--seed", "7"]).ok();
    assert!(noted.err.contains("--seed has no effect"), "{}", noted.err);
}

#[test]
fn a_saved_command_line_of_run_prune_gpt_needs_one_word_changed() {
    let toy = toy();
    let (model, ids, out) = (toy.text("gpt2"), toy.text("ids.txt"), toy.text("old"));
    let old = [
        "prune",
        "--model_name_or_path",
        &model,
        "--data_dir",
        &ids,
        "--output_dir",
        &out,
        "--try_masking",
        "--masking_threshold",
        "0.8",
        "--masking_amount",
        "0.2",
        "--no_cuda",
        "--seed",
        "42",
    ];
    let ran = run(&old).ok();
    for note in ["read as token ids", "1.2500", "--no_cuda", "--seed"] {
        assert!(ran.err.contains(note), "no `{note}` in {}", ran.err);
    }
    let found = toy.record("old")["results"]["masking"].clone();
    let (base, bound) = (found["score_before"].as_f64(), found["bound"].as_f64());
    assert!((bound.unwrap() - 1.25 * base.unwrap()).abs() < 1e-9);
    let new = [
        "--threshold",
        "1.25",
        "--amount",
        "0.2",
        "--output",
        "OUT/new",
    ];
    toy.command("prune", "gpt2", IDS, &new).ok();
    assert_eq!(found, toy.record("new")["results"]["masking"]);
    // A share of a score stays what it is.
    let more = ["--masking_threshold", "0.5", "--json"];
    let found = toy.run("mask", &more).ok().json();
    assert_eq!(found["results"]["threshold"], "relative:0.5");
}

#[test]
fn wrong_combinations_say_what_to_do() {
    let toy = toy();
    let grammar = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/grammar");
    let grammar = grammar.to_str().unwrap();
    let (gpt2, classifier) = (toy.text("gpt2"), toy.text("model"));
    run(&["importance", &gpt2, "--task", "cola", "--data", grammar]).failed(
        2,
        &["causal-LM head", "--text FILE", "fine-tuned classifier"],
    );
    toy.command("importance", "model", TEXT, &[]).failed(
        2,
        &[
            "text.txt",
            "no labels",
            "single-label classifier",
            "--objective mlm",
        ],
    );
    toy.command("importance", "model", TEXT, &["--objective", "mlm"])
        .failed(1, &["masked language model", "missing"]);
    toy.command("evaluate", "mlm", TEXT, &["--objective", "label"])
        .failed(2, &["masked-LM head", "classifier"]);
    toy.command("evaluate", "gpt2", IDS, &["--unmasked"])
        .failed(2, &["--unmasked belongs to masked language models"]);
    toy.command("evaluate", "mlm", TEXT, &["--bos"])
        .failed(2, &["--bos belongs to causal language models"]);
    toy.command("evaluate", "mlm", TEXT, &["--mlm-probability", "1.5"])
        .failed(2, &["above 0 and at most 1"]);
    toy.command("evaluate", "gpt2", IDS, &["--stride", "16"])
        .failed(2, &["stride of 16", "1 to 15"]);
    toy.command("mask", "mlm", TEXT, &["--metric", "acc"])
        .failed(2, &["`acc`", "loss, pseudo_perplexity"]);
    toy.command("mask", "mlm", TEXT, &["--threshold", "0.9"])
        .failed(2, &["at least 1, such as 1.1"]);
    toy.command("evaluate", "mlm", TEXT, &["--split", "dev"])
        .failed(2, &["--split dev", "--text"]);
    toy.command("evaluate", "gpt2", TEXT, &[])
        .failed(1, &["tokenizer"]);
    toy.command("evaluate", "gpt2", ("--token-ids", "text.txt"), &[])
        .failed(2, &["text.txt, line 1: `the", "not a token id"]);
    toy.write("high.txt", "5 6\n60 7\n");
    toy.command("evaluate", "gpt2", ("--token-ids", "high.txt"), &[])
        .failed(2, &["high.txt, line 2: the id 60", "vocabulary of 60"]);
    let out = toy.text("q");
    run(&["prune", &gpt2, "--heads", "0:1", "--output", &out, "--bos"])
        .failed(2, &["--bos says how data are scored"]);
    let both = ["--text", "a", "--token-ids", "b"];
    let ran = run(&[&["evaluate", &classifier], &both[..]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}
