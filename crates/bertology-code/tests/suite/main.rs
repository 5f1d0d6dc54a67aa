//! What a program's tree looks like: leaves, graphs, distances, texts for a model, files of functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod baselines;
mod distances;
mod files;
mod hostile;
mod languages;
mod leaves;
mod legacy;
mod properties;
mod texts;

use bertology_code::{Code, Distances, GraphKind, Language, Reading, Refusal, Snippet, Tail};

pub(crate) fn language(name: &str) -> &'static Language {
    Language::named(name).unwrap()
}

pub(crate) fn read(name: &str, text: &str, reading: &Reading) -> Result<Snippet, Refusal> {
    Snippet::new(Code::new(language(name), text), reading)
}

#[track_caller]
pub(crate) fn snippet(name: &str, text: &str) -> Snippet {
    read(name, text, &Reading::default()).unwrap()
}

/// Distances between all leaves.
pub(crate) fn distances(snippet: &Snippet, kind: GraphKind) -> Distances {
    let all: Vec<usize> = (0..snippet.leaves().len()).collect();
    let graph = snippet.graph(kind, Tail::Keep, &all);
    graph.distances(&all).unwrap()
}

pub(crate) fn kinds(snippet: &Snippet) -> Vec<&'static str> {
    snippet.leaves().iter().map(|leaf| leaf.kind).collect()
}

pub(crate) fn texts(snippet: &Snippet) -> Vec<&str> {
    let leaves = 0..snippet.leaves().len();
    leaves.map(|leaf| snippet.leaf_text(leaf)).collect()
}
