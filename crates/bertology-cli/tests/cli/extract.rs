//! `bertology extract`: folders, resuming, refusals.

use std::path::Path;
use std::process::{Child, Stdio};

use safetensors::SafeTensors;
use serde_json::json;

use crate::harness::{Ran, Toy, command, run};
#[cfg(unix)]
use crate::interrupted::press;

/// Lines that keep a run busy for longer than it takes to press a key on a loaded machine.
const LONG: usize = if cfg!(debug_assertions) { 1_500 } else { 8_000 };

/// `extract model …`, with `OUT` for the folder.
fn arguments(toy: &Toy, more: &[&str]) -> Vec<String> {
    let mut all = vec!["extract".to_owned(), toy.text("model")];
    all.extend(more.iter().map(|word| word.replace("OUT", &toy.text(""))));
    all
}

fn extract(toy: &Toy, more: &[&str]) -> Ran {
    run(&arguments(toy, more))
}

fn lines(toy: &Toy, count: usize) {
    let words = ["the", "cat", "sees", "a", "small", "dog"];
    let line = |at: usize| words[..1 + at * 5 % 6].join(" ");
    toy.write(
        "lines.txt",
        &(0..count).map(line).collect::<Vec<_>>().join("\n"),
    );
}

/// Shape of an array of the first shard.
fn shape(toy: &Toy, folder: &str, array: &str) -> Vec<usize> {
    let bytes = toy.bytes(&format!("{folder}/shard-00000.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(array).unwrap().shape().to_vec()
}

#[test]
fn a_run_is_a_folder_of_shards() {
    let toy = Toy::new();
    lines(&toy, 25);
    let ran = extract(
        &toy,
        &[
            "--text",
            "OUT/lines.txt",
            "--hidden-states",
            "0,3",
            "--mlp-inner",
            "1",
            "--attentions",
            "1",
            "--attentions",
            "L2H3",
            "--logits",
            "--shard-size",
            "10",
            "--output",
            "OUT/run",
        ],
    )
    .ok();
    assert!(
        ran.out.contains("25 texts") && ran.out.contains("3 shards"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains(" free"), "{}", ran.out);
    assert_eq!(
        toy.names("run"),
        [
            "index.json",
            "report.html",
            "run.json",
            "shard-00000.safetensors",
            "shard-00001.safetensors",
            "shard-00002.safetensors",
            "tokens.json"
        ]
    );
    let record = toy.record("run");
    let counts = &record["results"]["counts"];
    assert_eq!(counts["examples"], json!(25));
    let tokens = counts["tokens"].as_u64().unwrap();
    let index: serde_json::Value = serde_json::from_slice(&toy.bytes("run/index.json")).unwrap();
    let sum: u64 = index["shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| shard["tokens"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, tokens);
    assert_eq!(index["shards"][2]["first_example"], json!(20));
    let names: Vec<&str> = index["arrays"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|array| array["values"].is_object())
        .map(|array| array["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "hidden_states.0",
            "hidden_states.3",
            "mlp_inner.1",
            "attentions.1.0",
            "attentions.1.1",
            "attentions.1.2",
            "attentions.1.3",
            "attentions.2.3",
            "logits"
        ]
    );
    assert_eq!(shape(&toy, "run", "logits"), [10, 3]);
    assert_eq!(shape(&toy, "run", "mlp_inner.1")[1], 48);
    let beyond = ["the cat", "--mlp-inner", "3", "--output", "OUT/none"];
    extract(&toy, &beyond).failed(2, &["no layer 3", "3 layers"]);
    let strings: Vec<String> = serde_json::from_slice(&toy.bytes("run/tokens.json")).unwrap();
    assert_eq!((strings[2].as_str(), strings[5].as_str()), ("[CLS]", "the"));

    // A folder that is not empty is refused; replaced on request, and completely.
    let again = ["the cat", "--tokens", "--output", "OUT/run"];
    extract(&toy, &again).failed(2, &["not empty", "--overwrite"]);
    extract(&toy, &[&again[..], &["--overwrite"]].concat()).ok();
    assert_eq!(
        toy.names("run"),
        [
            "index.json",
            "report.html",
            "run.json",
            "shard-00000.safetensors",
            "tokens.json"
        ]
    );
}

#[test]
fn tables_and_tasks_and_token_ids_are_texts_too() {
    let toy = Toy::new();
    toy.write(
        "x.jsonl",
        "{\"t\": \"the cat\", \"l\": \"LABEL_2\"}\n{\"t\": \"a\", \"l\": \"LABEL_0\"}\n",
    );
    let table = [
        "--data",
        "OUT/x.jsonl",
        "--text-column",
        "t",
        "--label-column",
        "l",
    ];
    let label = [
        "--hidden-states",
        "--gradients",
        "--objective",
        "label",
        "--output",
        "OUT/a",
    ];
    extract(&toy, &[&table[..], &label].concat()).ok();
    assert_eq!(shape(&toy, "a", "gradients.hidden_states.1"), [7, 32]);
    assert_eq!(shape(&toy, "a", "loss"), [2]);

    toy.write("ids.txt", "2 5 6 3\n2 7 3\n");
    let ids = [
        "--token-ids",
        "OUT/ids.txt",
        "--head-outputs",
        "0.1",
        "--output",
        "OUT/b",
    ];
    extract(&toy, &ids).ok();
    assert_eq!(shape(&toy, "b", "head_outputs.0.1"), [7, 8]);

    let parquet = ["the cat sees", "--attentions", "0.0", "--format", "parquet"];
    extract(&toy, &[&parquet[..], &["--output", "OUT/c"]].concat()).ok();
    assert_eq!(
        toy.names("c"),
        [
            "attentions",
            "examples",
            "index.json",
            "report.html",
            "run.json",
            "tokens"
        ]
    );
    assert_eq!(toy.names("c/attentions"), ["shard-00000.parquet"]);
    extract(&toy, &["a", "--tokens", "--output", "OUT/c", "--overwrite"]).ok();
    assert!(!toy.path("c/attentions").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let toy = Toy::new();
    lines(&toy, 25);
    let base = ["--text", "OUT/lines.txt", "--hidden-states", "--json"];
    let dry = extract(
        &toy,
        &[&base[..], &["--dry-run", "--output", "OUT/run"]].concat(),
    )
    .ok();
    assert!(!toy.path("run").exists());
    extract(&toy, &[&base[..], &["--output", "OUT/run"]].concat()).ok();
    let size = toy.bytes("run/shard-00000.safetensors").len();
    assert_eq!(dry.json()["results"]["bytes"], json!(size));
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_written() {
    let toy = Toy::new();
    lines(&toy, 5);
    toy.write("long.txt", &format!("the cat\n{}\n", "the ".repeat(200)));
    let text = ["the cat", "--output", "OUT/run"];
    for (more, parts) in [
        (
            &["--gradients", "--hidden-states"][..],
            &["--objective"][..],
        ),
        (&[], &["no values chosen", "--hidden-states"]),
        (&["--hidden-states", "4"], &["no hidden states 4"]),
        (&["--attentions", "3"], &["no layer 3"]),
        (&["--attentions", "0.4"], &["layer 0, head 4"]),
        (&["--attentions", "x"], &["x"]),
        (&["--logits", "--objective", "class:7"], &["no class 7"]),
        (&["--logits", "--objective", "logit:3"], &["no class 3"]),
        (
            &["--logits", "--objective", "clas"],
            &["not an objective", "mlm"],
        ),
        (&["--logits", "--objective", "label"], &["no labels"]),
        (
            &["--hidden-states", "--dtype", "bf16", "--format", "npz"],
            &["bfloat16"],
        ),
        (&["--attentions", "--pool", "mean"], &["without pooling"]),
        (&["--tokens", "--stride", "3"], &["--too-long window"]),
        (&["--tokens", "--max-length", "9999"], &["9999"]),
    ] {
        extract(&toy, &[&text[..], more].concat()).failed(2, parts);
        assert!(!toy.path("run").exists(), "{more:?}");
    }
    let lm = ["--logits", "--objective", "lm"];
    extract(&toy, &[&text[..], &lm].concat()).failed(1, &["causal language modelling", "GPT"]);
    extract(&toy, &["--tokens", "--output", "OUT/run"]).failed(2, &["no texts given", "--text"]);
    extract(&toy, &["a", "--tokens"]).failed(2, &["--output", "--dry-run"]);
    extract(&toy, &["OUT/lines.txt", "--tokens", "--dry-run"]).failed(2, &["--text", "lines.txt"]);
    let long = ["--text", "OUT/long.txt", "--tokens", "--output", "OUT/run"];
    extract(&toy, &long).failed(2, &["long.txt, line 2", "202 tokens", "--too-long"]);
    assert!(!toy.path("run").exists());
    let ran = extract(&toy, &[&long[..], &["--too-long", "cut"]].concat()).ok();
    assert!(ran.err.contains("1 text cut to"), "{}", ran.err);
    let window = ["--too-long", "window", "--overwrite"];
    let ran = extract(&toy, &[&long[..], &window].concat()).ok();
    assert!(ran.err.contains("1 text longer than"), "{}", ran.err);
}

/// Files of shards in a folder.
fn shards(toy: &Toy, folder: &str) -> usize {
    let names = toy.names(folder).into_iter();
    names.filter(|name| name.starts_with("shard-")).count()
}

fn same_files(toy: &Toy) {
    assert_eq!(toy.names("run"), toy.names("whole"));
    for name in toy.names("whole") {
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        if name == "run.json" || name == "report.html" {
            assert_eq!(toy.record("run")["results"], toy.record("whole")["results"]);
        } else {
            assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
        }
    }
}

/// A command that has come as far as this file.
#[cfg(unix)]
fn begun(args: &[String], file: &Path) -> Child {
    let mut child = command()
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !file.exists() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?} before {}", file.display());
        std::thread::yield_now();
    }
    child
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let toy = Toy::new();
    lines(&toy, LONG);
    let args = |folder: &str, more: &[&str]| {
        let base = [
            "--text",
            "OUT/lines.txt",
            "--hidden-states",
            "--dtype",
            "f16",
        ];
        let output = format!("OUT/{folder}");
        let rest = ["--shard-size", "100", "--output", &output];
        arguments(&toy, &[&base[..], &rest, more].concat())
    };
    let child = begun(&args("run", &[]), &toy.path("run/shard-00001.safetensors"));
    press(&child);
    let ran = Ran::of(child.wait_with_output().unwrap());
    ran.failed(130, &["interrupted after", "texts", "--resume"]);
    let finished = shards(&toy, "run");
    assert!((2..LONG / 100).contains(&finished), "{finished}");
    assert!(toy.path("run/state.json").exists() && !toy.path("run/run.json").exists());
    assert!(toy.names("run").iter().all(|name| !name.starts_with('.')));

    run(&args("run", &[])).failed(2, &["interrupted run", "--resume"]);
    run(&args("run", &["--resume", "--pool", "first"])).failed(2, &["cannot be resumed", "--pool"]);
    run(&args("run", &["--resume", "--limit", "7"])).failed(2, &["cannot be resumed", "--limit"]);

    // Killed this time, with a file that was being written, and one shard that nobody knows of.
    let next = format!("run/shard-{:05}.safetensors", finished + 1);
    let mut child = begun(&args("run", &["--resume"]), &toy.path(&next));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!toy.path("run/run.json").exists());
    toy.write("run/.bertology-half", "half a shard");

    let ran = run(&args("run", &["--resume", "--threads", "1"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    run(&args("whole", &[])).ok();
    same_files(&toy);
    let ran = run(&args("run", &["--resume"])).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
}
