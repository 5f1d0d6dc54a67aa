//! States and parts with numbers that cannot be, under a checksum that is right: refused with file and field.

use std::fs;

use bertology_run::{RunFolder, sha256};
use serde_json::{Value, json};

use crate::harness::{Ran, Toy, run};
use crate::treebanks;

/// Rows of a chunk; the toy has forty, and as many sentences.
const CHUNK: u64 = 8;

/// A place in a state and what is put there: refused with these words.
type Damage<'a> = (&'a str, Value, &'a [&'a str]);

/// A command, its first chunk as a state that is to be gone on with, and as the first of two parts.
struct Saved<'a> {
    toy: &'a Toy,
    arguments: Vec<String>,
    identity: bertology_run::Identity,
    chunk: Value,
}

impl<'a> Saved<'a> {
    fn new(toy: &'a Toy, arguments: Vec<String>) -> Self {
        for part in ["1/2", "2/2"] {
            let more = ["--part", part, "--output", &toy.text(&part[..1])];
            run(&with(&arguments, &more)).ok();
        }
        let part: Value = serde_json::from_slice(&toy.bytes("1/part.json")).unwrap();
        let chunks = String::from_utf8(toy.bytes("1/chunks.jsonl")).unwrap();
        let first: Value = serde_json::from_str(chunks.lines().next().unwrap()).unwrap();
        Self {
            toy,
            arguments,
            identity: serde_json::from_value(part["identity"].clone()).unwrap(),
            chunk: first["state"].clone(),
        }
    }

    /// Goes on behind the first chunk.
    fn resumed(&self, chunk: Value) -> Ran {
        let path = self.toy.path("run");
        let _ = fs::remove_dir_all(&path);
        let progress = json!({
            "chunk": CHUNK,
            "part": null,
            "next": CHUNK,
            "total": chunk,
            "open": null,
            "chunks": [],
        });
        let state = json!({
            "stages": [progress],
            "prediction_bytes": null,
            "part": null,
            "units": [CHUNK, 40],
        });
        let folder = RunFolder::open(&path).unwrap();
        folder.save_state(&self.identity, state).unwrap();
        let shard = "shard-00000.safetensors";
        if self.toy.path("1").join(shard).exists() {
            fs::copy(self.toy.path("1").join(shard), path.join(shard)).unwrap();
        }
        drop(folder);
        let more = ["--resume", "--output", &self.toy.text("run")];
        run(&with(&self.arguments, &more))
    }

    /// Puts together parts of which the first begins with this chunk.
    fn merged(&self, chunk: Value) -> Ran {
        let (chunks, part) = ("1/chunks.jsonl", "1/part.json");
        let (whole, record) = (self.toy.bytes(chunks), self.toy.bytes(part));
        let text = String::from_utf8(whole.clone()).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        let line = json!({ "stage": 0, "state": chunk });
        let text = format!("{line}\n{rest}");
        self.toy.write(chunks, &text);
        let mut sealed: Value = serde_json::from_slice(&record).unwrap();
        sealed["files"]["chunks.jsonl"] = sha256(text.as_bytes()).into();
        self.toy.write(part, &sealed.to_string());
        let parts = [self.toy.text("1"), self.toy.text("2")];
        let out = self.toy.text("merged");
        let ran = run(&["merge", &parts[0], &parts[1], "--output", &out]);
        fs::write(self.toy.path(chunks), whole).unwrap();
        fs::write(self.toy.path(part), record).unwrap();
        ran
    }

    fn refuses(&self, all: &[Damage<'_>]) {
        self.resumed(self.chunk.clone()).ok();
        for (place, value, words) in all {
            let mut chunk = self.chunk.clone();
            *chunk.pointer_mut(place).expect(place) = value.clone();
            println!("{place} as {value}");
            let ran = self.resumed(chunk.clone());
            let ran = ran.failed(2, &["run/state.json: ", "state is damaged", "--overwrite"]);
            for word in *words {
                assert!(ran.err.contains(word), "{place}: no {word} in {}", ran.err);
            }
            if *place == "/bytes" {
                // Those of a part's files, which lie elsewhere.
                continue;
            }
            let ran = self
                .merged(chunk)
                .failed(2, &["1/chunks.jsonl: ", "make part 1/2 again"]);
            assert!(ran.err.contains(words[0]), "{place}: {}", ran.err);
        }
        self.merged(self.chunk.clone()).ok();
    }
}

fn with(arguments: &[String], more: &[&str]) -> Vec<String> {
    let more = more.iter().map(|&word| word.to_owned());
    arguments.iter().cloned().chain(more).collect()
}

#[test]
fn a_state_of_patterns() {
    let toy = Toy::new();
    let arguments = toy.arguments("patterns", &["--gradients", "--chunk", "8"]);
    let saved = Saved::new(&toy, arguments);
    let documents = &["in keys", "a share of attention"][..];
    saved.refuses(&[
        ("/counts/sequences", json!(7), &["in keys"]),
        ("/counts/tokens", json!(7), &["in counts", "tokens"]),
        (
            "/counts/tokens",
            json!(u64::MAX),
            &["in counts", "larger than any corpus"],
        ),
        ("/counts/cut", json!(1), &["in counts", "cut off"]),
        ("/keys/0/sums/0", json!(8.1), documents),
        ("/keys/0/sums/0", json!(-0.1), documents),
        ("/keys/2/documents", json!(9), documents),
        ("/keys/1/denominators", json!(0.5), documents),
        ("/keys/3/numerators/5", json!(1e6), documents),
        ("/keys/3/deviations/5", json!(-1.0), documents),
        ("/entropies/0/sums/0", json!(100.0), &["in entropies"]),
        ("/entropies/2/sums/3", json!(8.1), &["in entropies"]),
        ("/uniform/sums/0", json!(-1.0), &["in uniform"]),
        ("/gradients/0/0/sums/0", json!(-1.0), &["in gradients"]),
    ]);
}

#[test]
fn a_state_of_cluster() {
    let toy = Toy::new();
    let saved = Saved::new(&toy, toy.arguments("cluster", &["--chunk", "8"]));
    saved.refuses(&[
        ("/counts/sequences", json!(7), &["in sums", "other tokens"]),
        ("/counts/too_long", json!(1_u64 << 50), &["in counts"]),
        ("/sums/tokens", json!(1), &["in sums", "other tokens"]),
        ("/sums/rows", json!(1), &["in sums", "other tokens"]),
        ("/sums/sums/0", json!(-1.0), &["in sums", "divergence"]),
        ("/sums/sums/65", json!(1e9), &["in sums", "divergence"]),
    ]);
}

#[test]
fn a_state_of_distance() {
    let toy = treebanks::toy(40);
    let saved = Saved::new(
        &toy,
        treebanks::arguments(&toy, "distance", &["--chunk", "8"]),
    );
    let far = &["in sums", "farther"][..];
    saved.refuses(&[
        ("/counts/unpaired", json!(3), &["in counts", "as are done"]),
        ("/words", json!(u64::MAX), &["in words"]),
        ("/words", json!(1), far),
        ("/sums/0/sentences", json!(9), far),
        ("/sums/0/sentences", json!(0), far),
        ("/sums/1/weight", json!(1e6), far),
        ("/sums/2/distance", json!(1e6), far),
        ("/sums/2/distance", json!(-1.0), far),
        ("/sums/30/weight_squared", json!(0.0), far),
        ("/sums/30/product", json!(0.0), far),
    ]);
}

#[test]
fn a_state_of_relations() {
    let toy = Toy::new();
    let (model, pairs) = (toy.text("model"), toy.text("pairs.jsonl"));
    let record = "{\"text\": \"the cat sees a dog\", \"pairs\": [[1, 2, \"subject\"], [4, 2, \"object\"]]}\n";
    toy.write("pairs.jsonl", &record.repeat(40));
    let words = ["relations", &model, "--data", &pairs, "--chunk", "8"];
    let saved = Saved::new(&toy, words.map(str::to_owned).to_vec());
    let mean = &["in sums", "as many texts"][..];
    saved.refuses(&[
        ("/counts/sequences", json!(7), mean),
        ("/counts/empty", json!(3), &["in counts", "as are done"]),
        ("/tally/pairs", json!(u64::MAX), &["in tally"]),
        ("/pairs/0", json!(1_u64 << 50), &["in tally"]),
        ("/sums/0/scored/precision/0/texts", json!(99), mean),
        ("/sums/0/scored/precision/0/sum", json!(-1.0), mean),
        ("/sums/3/scored/accuracy/0/part", json!(99), mean),
    ]);
}

#[test]
fn a_state_of_extract() {
    let toy = Toy::new();
    let mut arguments = toy.arguments("extract", &["--hidden-states", "--shard-size", "8"]);
    arguments.retain(|word| word != "--label-column" && word != "label");
    let saved = Saved::new(&toy, arguments);
    saved.refuses(&[
        ("/shards", json!(6), &["in shards"]),
        ("/shards", json!(2), &["in shards"]),
        ("/bytes", json!(3), &["in bytes"]),
        ("/overflows", json!(u64::MAX), &["in overflows"]),
        ("/nonfinite", json!(1_u64 << 40), &["in overflows"]),
    ]);
}

#[test]
fn states_of_counts_are_of_what_was_read() {
    let toy = treebanks::toy(40);
    for (command, field) in [
        ("syntax", "/tally/sentences"),
        ("coref", "/tally/documents"),
    ] {
        for part in ["1", "2"] {
            let _ = fs::remove_dir_all(toy.path(part));
        }
        let saved = Saved::new(&toy, treebanks::arguments(&toy, command, &["--chunk", "8"]));
        saved.refuses(&[(field, json!(7), &["in tally", "as are done"])]);
        let _ = fs::remove_dir_all(toy.path("merged"));
    }
    let more = ["--granularity", "example", "--chunk", "8"];
    for part in ["1", "2"] {
        let _ = fs::remove_dir_all(toy.path(part));
    }
    let saved = Saved::new(&toy, toy.arguments("importance", &more));
    let mut chunk = saved.chunk.clone();
    chunk["scores"][0] = json!(-1.0);
    saved
        .merged(chunk)
        .failed(2, &["1/chunks.jsonl", "in scores", "make part 1/2 again"]);
}
