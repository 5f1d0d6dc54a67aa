//! Interrupted by SIGTERM in their middle, parts go on and merge to the same bytes.

use super::Job;
use crate::harness::Toy;
use crate::interrupted::LONG;
use crate::treebanks::{MANY, treebank};

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
    toy.write("trees.conllu", &treebank(MANY));
    toy.write("other.conllu", &treebank(MANY / 2));
    let base = [command, "OUT/model", "--tokens-per-batch", "64"];
    // The chunks of an extraction are its shards.
    let grid = match command {
        "extract" => ["--shard-size", "100"],
        _ => ["--chunk", "50"],
    };
    Job::new(&toy, &[&base[..], &grid, more].concat()).agrees_when_interrupted();
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
    let base = ["--text", "OUT/texts.txt"];
    unlabelled("extract", &[&base[..], &["--hidden-states"]].concat());
}

#[test]
fn tables_of_shards() {
    let base = ["--text", "OUT/texts.txt"];
    let more = ["--attentions", "1", "--format", "parquet"];
    unlabelled("extract", &[&base[..], &more].concat());
}
