//! `--part K/N`, `merge` and `status`: a corpus gone through in pieces, and the pieces put together.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Ran, Toy, run};
#[cfg(unix)]
use crate::interrupted::{LONG, Signal, stop_midway};
use crate::treebanks::treebank;

/// The parts in the order in which they are made and named; none is the order of the corpus.
const SHUFFLED: [&str; 3] = ["3/3", "1/3", "2/3"];
/// A grid that `data.tsv` of 40 rows has five chunks of.
const CHUNK: [&str; 2] = ["--chunk", "8"];

/// The folder of a part.
fn folder(part: &str) -> String {
    part.replace('/', "-of-")
}

/// A command with its model and data. `OUT` is the folder of the test.
struct Job<'a> {
    toy: &'a Toy,
    words: Vec<String>,
}

impl<'a> Job<'a> {
    fn new(toy: &'a Toy, words: &[&str]) -> Self {
        let base = toy.text("");
        let words = words.iter().map(|word| word.replace("OUT/", &base));
        Self {
            toy,
            words: words.collect(),
        }
    }

    /// `importance` of the toy and its sentences.
    fn importance(toy: &'a Toy, more: &[&str]) -> Self {
        let words = toy.arguments("importance", &[&CHUNK, more].concat());
        Self { toy, words }
    }

    /// The whole command line that fills this folder.
    fn words(&self, out: &str, more: &[&str]) -> Vec<String> {
        let mut all = self.words.clone();
        all.extend(["--output".into(), self.toy.text(out)]);
        all.extend(more.iter().map(|&word| word.to_owned()));
        all
    }

    fn run(&self, out: &str, more: &[&str]) -> Ran {
        run(&self.words(out, more))
    }

    fn part(&self, part: &str) -> Ran {
        self.run(&folder(part), &["--part", part])
    }

    /// All parts in shuffled order, put together; and the whole. They are the same.
    fn agrees(&self) {
        for part in SHUFFLED {
            let ran = self.part(part).ok();
            assert!(ran.out.contains("bertology merge"), "{}", ran.out);
        }
        self.merged_is_whole();
    }

    fn merged_is_whole(&self) {
        merge(self.toy, &SHUFFLED.map(folder), "merged").ok();
        self.run("whole", &[]).ok();
        same(self.toy, "merged", "whole");
        // For the command the merged folder is its own.
        let ran = self.run("merged", &["--resume"]).ok();
        assert!(ran.err.contains("complete already"), "{}", ran.err);
    }

    /// As [`Job::agrees`]; the second part is stopped by a signal, and goes on.
    #[cfg(unix)]
    fn agrees_when_interrupted(&self) {
        let model = self.toy.text("model");
        let second = folder("2/3");
        let args = |more: &[&str]| self.words(&second, &[&["--part", "2/3"], more].concat());
        stop_midway(args, &model, Signal::Terminate);
        let standing = status(self.toy, &[&second]).ok();
        assert!(standing.out.contains(" units"), "{}", standing.out);
        merge(self.toy, &[&second], "merged").failed(2, &["not finished", "--resume"]);
        // Not as the whole, and not as another part.
        self.run(&second, &["--resume"]).failed(2, &["part"]);
        self.run(&second, &["--resume", "--part", "1/3"])
            .failed(2, &["part", "2/3", "1/3"]);
        let ran = self.run(&second, &["--resume", "--part", "2/3"]).ok();
        assert!(ran.err.contains("resuming after"), "{}", ran.err);
        self.part("3/3").ok();
        self.part("1/3").ok();
        self.merged_is_whole();
    }
}

fn merge<S: AsRef<str>>(toy: &Toy, parts: &[S], out: &str) -> Ran {
    let mut all = vec!["merge".to_owned()];
    all.extend(parts.iter().map(|part| toy.text(part.as_ref())));
    all.extend(["--output".into(), toy.text(out)]);
    run(&all)
}

fn status<S: AsRef<str>>(toy: &Toy, parts: &[S]) -> Ran {
    let mut all = vec!["status".to_owned()];
    all.extend(parts.iter().map(|part| toy.text(part.as_ref())));
    run(&all)
}

/// The names of all files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let below = files(&path).into_iter();
            names.extend(below.map(|below| format!("{name}/{below}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Two folders hold the same files; those with times in them tell of the same run.
pub(crate) fn same(toy: &Toy, found: &str, expected: &str) {
    assert_eq!(files(&toy.path(found)), files(&toy.path(expected)));
    for name in files(&toy.path(expected)) {
        let bytes = |folder: &str| toy.bytes(&format!("{folder}/{name}"));
        match name.as_str() {
            "report.html" => {}
            "run.json" => {
                let (found, expected) = (toy.record(found), toy.record(expected));
                for key in ["command", "results", "data", "model", "identity"] {
                    assert_eq!(found[key], expected[key], "{key}");
                }
            }
            _ => assert!(bytes(found) == bytes(expected), "{name}"),
        }
    }
}

/// The file of an embedded model or its corpus.
pub(crate) fn asset(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    root.join(name).to_str().unwrap().to_owned()
}

/// A folder with the first sentences of the embedded corpus as a treebank and as lines.
pub(crate) fn grammar(sentences: usize) -> Toy {
    let toy = Toy::new();
    let head = |name: &str, end: &str| -> String {
        let text = fs::read_to_string(asset(name)).unwrap();
        text.split_inclusive(end).take(sentences).collect()
    };
    toy.write("trees.conllu", &head("grammar/dev.conllu", "\n\n"));
    toy.write("lines.txt", &head("grammar/dev.txt", "\n"));
    toy
}

#[test]
fn labelled_examples_merge_to_the_whole() {
    let (bert, cola) = (asset("tiny-bert"), asset("grammar/CoLA"));
    let data = [&bert, "--task", "cola", "--data", &cola, "--limit", "23"];
    for more in [
        &["importance", "--chunk", "4"][..],
        &["importance", "--chunk", "4", "--granularity", "token"],
        // Chunks are made of whole batches.
        &[
            "importance",
            "--chunk",
            "4",
            "--granularity",
            "batch",
            "--batch-size",
            "3",
        ],
        // Of two chunks three parts are made, one of them of nothing.
        &["importance", "--chunk", "12"],
        &["ablate", "--chunk", "3", "--heads", "0:1,3"],
        &["evaluate", "--chunk", "4", "--heads", "2.1"],
    ] {
        let toy = Toy::new();
        Job::new(&toy, &[&more[..1], &data, &more[1..]].concat()).agrees();
    }
}

#[test]
fn language_models_merge_to_the_whole() {
    let gpt = asset("tiny-gpt");
    let window = ["--too-long", "window", "--max-length", "9", "--stride", "4"];
    for (command, model, more) in [
        ("importance", &gpt, &window[..]),
        ("evaluate", &gpt, &window[..]),
        ("ablate", &gpt, &["--heads", "0.1"]),
    ] {
        let toy = grammar(20);
        let words = [command, model, "--text", "OUT/lines.txt", "--chunk", "5"];
        Job::new(&toy, &[&words[..], more].concat()).agrees();
    }
    // What is masked depends on the place in the whole corpus.
    let toy = crate::language::toy();
    let words = ["importance", "OUT/mlm", "--text", "OUT/text.txt", "--chunk"];
    Job::new(&toy, &[&words[..], &["2", "--seed", "7"]].concat()).agrees();
}

#[test]
fn studies_of_attention_merge_to_the_whole() {
    let (gpt, bert) = (asset("tiny-gpt"), asset("tiny-bert"));
    for (command, model, more) in [
        (
            "patterns",
            &gpt,
            &["--text", "OUT/lines.txt", "--gradients"][..],
        ),
        ("patterns", &bert, &["--conllu", "OUT/trees.conllu"]),
        ("cluster", &bert, &["--text", "OUT/lines.txt"]),
        ("cluster", &bert, &["--conllu", "OUT/trees.conllu"]),
        ("syntax", &bert, &["--conllu", "OUT/trees.conllu"]),
        (
            "syntax",
            &bert,
            &[
                "--conllu",
                "OUT/trees.conllu",
                "--select",
                "OUT/other.conllu",
            ],
        ),
        ("coref", &bert, &["--conllu", "OUT/entities.conllu"]),
    ] {
        let toy = grammar(23);
        let trees = String::from_utf8(toy.bytes("trees.conllu")).unwrap();
        let other: String = trees.split_inclusive("\n\n").take(11).collect();
        toy.write("other.conllu", &other);
        toy.write("entities.conllu", &treebank(23));
        let words = [command, model, "--chunk", "4"];
        Job::new(&toy, &[&words[..], more].concat()).agrees();
    }
}

#[test]
fn extracted_shards_merge_to_the_whole() {
    let (gpt, bert) = (asset("tiny-gpt"), asset("tiny-bert"));
    for (model, more) in [
        (&bert, &["--hidden-states", "--attentions", "1"][..]),
        (&bert, &["--attentions", "0.1", "--format", "parquet"]),
        (
            &bert,
            &[
                "--logits",
                "--pool",
                "mean",
                "--hidden-states",
                "2",
                "--format",
                "npz",
            ],
        ),
        (
            &gpt,
            &["--gradients", "--objective", "lm", "--head-outputs", "0.1"],
        ),
    ] {
        let toy = grammar(20);
        let words = ["extract", model, "--text", "OUT/lines.txt"];
        let shards = ["--shard-size", "3", "--chunk", "3"];
        Job::new(&toy, &[&words[..], &shards, more].concat()).agrees();
    }
}

/// Interrupted by SIGTERM in their middle, parts go on and merge to the same bytes.
#[cfg(unix)]
mod stopped {
    use super::*;

    /// The toy's sentences with labels.
    fn labelled(command: &str, count: usize, more: &[&str]) {
        let toy = Toy::with_examples(count);
        let base = ["--chunk", "16", "--tokens-per-batch", "64"];
        let words = toy.arguments(command, &[&base, more].concat());
        Job { toy: &toy, words }.agrees_when_interrupted();
    }

    /// Texts and trees of the toy's words.
    fn unlabelled(command: &str, more: &[&str]) {
        let toy = Toy::new();
        let text = "the cat sees a small dog\nnever a horse\nthe old dog runs\n";
        toy.write("texts.txt", &text.repeat(LONG / 2));
        toy.write("trees.conllu", &treebank(LONG / 2));
        toy.write("other.conllu", &treebank(LONG / 4));
        let base = [
            command,
            "OUT/model",
            "--chunk",
            "50",
            "--tokens-per-batch",
            "64",
        ];
        Job::new(&toy, &[&base[..], more].concat()).agrees_when_interrupted();
    }

    #[test]
    fn importance() {
        labelled("importance", 2 * LONG, &[]);
    }

    #[test]
    fn ablation() {
        labelled("ablate", LONG, &[]);
    }

    #[test]
    fn evaluation() {
        labelled("evaluate", 4 * LONG, &[]);
    }

    #[test]
    fn patterns() {
        unlabelled("patterns", &["--text", "OUT/texts.txt"]);
    }

    #[test]
    fn distances() {
        unlabelled("cluster", &["--text", "OUT/texts.txt"]);
    }

    #[test]
    fn syntax() {
        let more = [
            "--conllu",
            "OUT/trees.conllu",
            "--select",
            "OUT/other.conllu",
        ];
        unlabelled("syntax", &more);
    }

    #[test]
    fn coref() {
        unlabelled("coref", &["--conllu", "OUT/trees.conllu"]);
    }

    #[test]
    fn shards() {
        let base = ["--text", "OUT/texts.txt", "--shard-size", "100"];
        unlabelled("extract", &[&base[..], &["--hidden-states"]].concat());
    }

    #[test]
    fn tables_of_shards() {
        let base = ["--text", "OUT/texts.txt", "--shard-size", "100"];
        let more = ["--attentions", "1", "--format", "parquet"];
        unlabelled("extract", &[&base[..], &more].concat());
    }
}

#[test]
fn what_is_no_whole_is_not_merged() {
    let toy = Toy::new();
    let job = Job::importance(&toy, &[]);
    job.part("1/3").ok();
    job.part("3/3").ok();
    let refused = |parts: &[&str], said: &[&str]| {
        merge(&toy, parts, "merged").failed(2, said);
        // What stands there is no obstacle.
        let there = toy.path("merged").exists();
        assert!(!there || toy.names("merged").is_empty(), "{parts:?}");
    };
    let (one, two, three) = ("1-of-3", "2-of-3", "3-of-3");
    refused(
        &[three, one],
        &["part 2/3 is missing", "--part", "name all parts"],
    );
    refused(&[three], &["parts 1/3 to 2/3 are missing"]);
    refused(&[one], &["parts 2/3 to 3/3 are missing"]);
    // What it says helps.
    job.part("2/3").ok();
    merge(&toy, &[three, one, two], "merged").ok();
    fs::remove_dir_all(toy.path("merged")).unwrap();

    refused(
        &[one, two, two, three],
        &["part 2/3 is there twice", two, "once"],
    );
    // Parts of other numbers, other options, other data, another model, another command.
    job.run("2-of-4", &["--part", "2/4"]).ok();
    refused(&[one, "2-of-4", three], &["2-of-4", "part 2/4", "one of 3"]);
    let stranger = |out: &str, job: Job<'_>, said: &str| {
        job.run(out, &["--part", "2/3"]).ok();
        let parts = [one, out, three];
        refused(
            &parts,
            &[
                out,
                one,
                "different runs",
                said,
                "name the parts of one run",
            ],
        );
        status(&toy, &parts).failed(2, &[out, one, "different runs", said]);
    };
    stranger(
        "shorter",
        Job::importance(&toy, &["--max-length", "6"]),
        "--max-length",
    );
    stranger(
        "coarser",
        Job::importance(&toy, &["--granularity", "token"]),
        "--granularity",
    );
    let mut finer = Job::importance(&toy, &[]);
    finer.words.retain(|word| !CHUNK.contains(&word.as_str()));
    finer.words.extend(["--chunk", "4"].map(str::to_owned));
    stranger("finer", finer, "--chunk");
    let words = toy.arguments("evaluate", &CHUNK);
    stranger("evaluated", Job { toy: &toy, words }, "evaluate");
    let data = toy.bytes("data.tsv");
    toy.write("data.tsv", "text\tlabel\nthe cat\tLABEL_0\n");
    stranger("elsewhere", Job::importance(&toy, &[]), "data");
    // The parts are one run's, but the data are no longer theirs.
    refused(
        &[one, two, three],
        &["1-of-3", "SHA-256 of the data", "same model and data"],
    );
    fs::write(toy.path("data.tsv"), data).unwrap();

    // A whole run, a folder of something else, no folder.
    job.run("whole", &[]).ok();
    refused(
        &[one, "whole", three],
        &["whole", "a whole run", "--part K/N"],
    );
    refused(&[one, "model", three], &["model", "no part.json"]);
    refused(&[one, "nowhere", three], &["nowhere", "no part.json"]);
    refused(&[one, "data.tsv", three], &["data.tsv", "no part.json"]);
    status(&toy, &["whole"]).failed(2, &["whole", "a whole run"]);
    // The output is as safe as that of any command.
    merge(&toy, &[one, two, three], "whole").failed(2, &["not empty", "--overwrite"]);
    let mut again = vec!["merge".to_owned()];
    again.extend([one, two, three].map(|part| toy.text(part)));
    again.extend(["--output".into(), toy.text("whole"), "--overwrite".into()]);
    run(&again).ok();
    // A part is not made twice.
    job.part("2/3").failed(2, &["not empty", "--overwrite"]);
    let ran = job.run(two, &["--part", "2/3", "--resume"]).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
}

#[test]
fn damaged_parts_and_those_of_the_future_are_named() {
    let toy = Toy::new();
    let job = Job::importance(&toy, &[]);
    for part in SHUFFLED {
        job.part(part).ok();
    }
    let parts = SHUFFLED.map(folder);
    let path = toy.path("2-of-3/part.json");
    let record = fs::read(&path).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed: Value = serde_json::from_slice(&record).unwrap();
        changed[key] = value;
        fs::write(&path, changed.to_string()).unwrap();
    };
    with("format", 99.into());
    let said = [
        "2-of-3",
        "part.json",
        "format is 99",
        "the version that wrote it",
    ];
    merge(&toy, &parts, "merged").failed(2, &said);
    status(&toy, &parts).failed(2, &said);
    with("format", Value::Null);
    merge(&toy, &parts, "merged").failed(2, &["2-of-3", "not a part of a run"]);
    with(
        "stages",
        serde_json::json!([{ "first": 9, "end": 3, "total": 1, "chunk": 0 }]),
    );
    merge(&toy, &parts, "merged").failed(2, &["2-of-3", "make the part again"]);
    with(
        "arguments",
        serde_json::json!(["importance", "--no-such-option"]),
    );
    fs::write(&path, b"{").unwrap();
    merge(&toy, &parts, "merged").failed(2, &["2-of-3", "part.json", "not valid JSON"]);
    fs::write(&path, &record).unwrap();

    let path = toy.path("2-of-3/chunks.jsonl");
    let chunks = fs::read_to_string(&path).unwrap();
    let fewer: String = chunks.split_inclusive('\n').skip(1).collect();
    for damaged in [fewer.as_str(), "{}\n", &chunks[..chunks.len() - 9]] {
        fs::write(&path, damaged).unwrap();
        let said = [
            "2-of-3",
            "chunks.jsonl",
            "--part 2/3",
            "make the part again",
        ];
        merge(&toy, &parts, "merged").failed(2, &said);
    }
    fs::remove_file(&path).unwrap();
    merge(&toy, &parts, "merged").failed(1, &["2-of-3", "chunks.jsonl"]);
    // What it says helps.
    job.run("2-of-3", &["--part", "2/3", "--overwrite"]).ok();
    merge(&toy, &parts, "merged").ok();
}

#[test]
fn status_lists_what_is_there_and_what_is_missing() {
    let toy = Toy::new();
    let job = Job::importance(&toy, &[]);
    job.part("3/3").ok();
    let all = |parts: &[&str], more: &[&str]| {
        let mut words = vec!["status".to_owned()];
        words.extend(parts.iter().map(|part| toy.text(part)));
        words.extend(more.iter().map(|&word| word.to_owned()));
        run(&words).ok()
    };
    let ran = all(&["3-of-3"], &[]);
    assert!(ran.out.contains("3/3  finished"), "{}", ran.out);
    assert!(ran.out.contains("Missing: 1/3 2/3"), "{}", ran.out);
    job.part("1/3").ok();
    job.part("2/3").ok();
    let parts = ["3-of-3", "1-of-3", "2-of-3"];
    let ran = all(&parts, &[]);
    assert!(ran.out.contains("All parts are there"), "{}", ran.out);
    let document = all(&parts, &["--json"]).json();
    assert_eq!(document["missing"], serde_json::json!([]));
    let rows = document["parts"].as_array().unwrap();
    let units: u64 = rows.iter().map(|row| row["total"].as_u64().unwrap()).sum();
    assert_eq!((rows.len(), units), (3, 40));
    assert!(
        rows.iter()
            .all(|row| row["finished"] == true && row["done"] == row["total"])
    );
}

/// Parts remember where they were made: they are merged from anywhere.
#[test]
fn relative_names_are_those_of_the_part() {
    let toy = Toy::new();
    let there = |words: &[&str]| {
        let mut command = crate::harness::command();
        command.args(words).current_dir(toy.path(""));
        Ran::of(command.output().unwrap())
    };
    let base = [
        "importance",
        "model",
        "--data",
        "data.tsv",
        "--text_column",
        "text",
    ];
    let more = ["--label_column", "label", "--chunk", "8"];
    for part in ["1/2", "2/2"] {
        let out = folder(part);
        let last = ["--output", &out, "--part", part];
        there(&[&base[..], &more, &last].concat()).ok();
    }
    there(&[&base[..], &more, &["--output", "whole"]].concat()).ok();
    // From elsewhere, by names as seen from here.
    let elsewhere = toy.path("model");
    let mut command = crate::harness::command();
    command.args(["merge", "../2-of-2", "../1-of-2", "--output", "../merged"]);
    Ran::of(command.current_dir(elsewhere).output().unwrap()).ok();
    same(&toy, "merged", "whole");
}

#[test]
fn what_has_no_parts_says_why() {
    let toy = grammar(6);
    let cola = asset("grammar/CoLA");
    let labelled = ["--task", "cola", "--data", &cola, "--limit", "9"];
    let trees = toy.text("trees.conllu");
    let script = ["--granularity", "script"];
    let (probe, survey) = (["--train", &trees, "--dev", &trees], ["--conllu", &trees]);
    for (command, more, reason) in [
        (
            "mask",
            &labelled[..],
            "every step of the masking loop depends on the one before",
        ),
        (
            "prune",
            &labelled[..],
            "every step of the masking loop depends on the one before",
        ),
        ("attention-probe", &probe, "one after the other"),
        (
            "importance",
            &[&labelled[..], &script].concat(),
            "every batch depends on all before it",
        ),
        (
            "survey",
            &[&survey[..], &["--studies", "syntax"]].concat(),
            "each study's own command",
        ),
    ] {
        let bert = asset("tiny-bert");
        let out = toy.text("run");
        let mut words = vec![command, &bert];
        words.extend(more);
        words.extend(["--output", &out]);
        let parts = [&words[..], &["--part", "1/2"]].concat();
        run(&parts).failed(2, &[reason]);
        let there = toy.path("run").exists();
        assert!(!there || toy.names("run").is_empty(), "{command}");
    }
    // The advice: leave it out.
    let bert = asset("tiny-bert");
    let out = toy.text("run");
    run(&[
        &["mask", &bert, "--output", &out, "--max-steps", "1"],
        &labelled[..],
    ]
    .concat())
    .ok();

    let mut wrong = String::new();
    for part in ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"] {
        let _ = write!(wrong, " {part}");
        let out = toy.text("none");
        let part = format!("--part={part}");
        let ran = run(&[&["evaluate", &bert, "--output", &out, &part], &labelled[..]].concat());
        assert_eq!(ran.code, Some(2), "{wrong}: {}", ran.err);
        assert!(ran.err.contains("give K/N"), "{}", ran.err);
    }
    // A part is of use only where it is kept.
    let ran = run(&[&["evaluate", &bert, "--part", "1/2"], &labelled[..]].concat());
    assert!(
        ran.code == Some(2) && ran.err.contains("--output"),
        "{}",
        ran.err
    );
}
