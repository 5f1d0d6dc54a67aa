//! `--part K/N`, `merge` and `status`: a corpus gone through in pieces, and the pieces put together.

mod refused;
#[cfg(unix)]
mod stopped;

use std::fs;
use std::path::Path;

use crate::harness::{Ran, Toy, run};
#[cfg(unix)]
use crate::interrupted::{Signal, stop, stop_midway};
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

    /// As [`Job::agrees`]; the second part is stopped by signals, and goes on.
    #[cfg(unix)]
    fn agrees_when_interrupted(&self) {
        let model = self.toy.text("model");
        let second = folder("2/3");
        // One thread takes its time until the signal comes.
        let slowly = ["--part", "2/3", "--threads", "1"];
        let args = |more: &[&str]| self.words(&second, &[&slowly[..], more].concat());
        stop_midway(args, &model, Signal::Terminate);
        let standing = status(self.toy, &[&second]).not_yet();
        assert!(standing.out.contains(" units"), "{}", standing.out);
        merge(self.toy, &[&second], "merged").failed(2, &["not finished", "--resume"]);
        // Not as the whole, and not as another part.
        self.run(&second, &["--resume"]).failed(2, &["part"]);
        self.run(&second, &["--resume", "--part", "1/3"])
            .failed(2, &["part", "2/3", "1/3"]);
        // Killed, it goes on from the last saving; killed at its beginning, from there.
        stop(&args(&["--resume"]), &model, Signal::Kill);
        let ran = self.run(&second, &["--resume", "--part", "2/3"]).ok();
        let said = ["resuming after", "complete already"];
        assert!(
            said.iter().any(|part| ran.err.contains(part)),
            "{}",
            ran.err
        );
        self.part("3/3").ok();
        let first = folder("1/3");
        stop(
            &self.words(&first, &["--part", "1/3"]),
            &model,
            Signal::Kill,
        );
        self.run(&first, &["--resume", "--part", "1/3"]).ok();
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
        &[
            "ablate",
            "--chunk",
            "3",
            "--keep-one",
            "--select-split",
            "train",
        ],
        &["ablate", "--chunk", "3", "--and-split", "train"],
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
        let shards = ["--shard-size", "3"];
        Job::new(&toy, &[&words[..], &shards, more].concat()).agrees();
    }
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
