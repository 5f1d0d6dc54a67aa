//! What attention of known make scores on real functions (tools/golden/make_cat_values.py), and the bounds between which the
//! paper's languages were measured.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;

use bertology_code::{Code, GraphKind, Language, Reading, Snippet, Tail};
use serde_json::Value;

use super::*;
use crate::input::snippet::LeafTokens;
use crate::random::Draws;

/// Means of ratios of whole numbers, in another order.
const MEAN: f64 = 1e-12;
/// Ranks are f32, and their sums are taken in another order.
const RHO: f64 = 1e-5;
/// Of attention 1/(1+|i-j|) on the chain.
const OFFSET: std::ops::RangeInclusive<f64> = 0.4..=0.65;
/// The exact mean over all masks.
const NOISE: std::ops::RangeInclusive<f64> = 0.12..=0.13;

/// One token a leaf, and nothing but the tree.
fn item(snippet: &Snippet, graph: GraphKind) -> SnippetItem {
    // A blank between two parts of a string is a leaf, too, though no model reads it.
    let all: Vec<usize> = (0..snippet.leaves().len()).collect();
    let distances = |kind| {
        let graph = snippet.graph(kind, Tail::Keep, &all);
        graph.distances(&all).unwrap().values().to_vec()
    };
    let mut tokens = LeafTokens::default();
    (0..all.len()).for_each(|at| tokens.push([at]));
    let kinds = all
        .iter()
        .map(|leaf| snippet.leaves()[*leaf].kind.to_owned());
    SnippetItem {
        kinds: kinds.collect(),
        tokens,
        distances: distances(graph),
        tree: distances(GraphKind::Ast),
        ..SnippetItem::default()
    }
}

#[test]
fn positions_planted_trees_and_noise_score_what_was_measured() {
    let read = |name: &str| {
        let path = bertology_testkit::golden(&format!("studies/cat/{name}"));
        fs::read_to_string(path).unwrap()
    };
    let expected: BTreeMap<String, Value> = serde_json::from_str(&read("values.json")).unwrap();
    let rules = Rules {
        quantile: Quantile::THIRD_QUARTILE,
        choice: Choice::Quantile,
        causal: false,
        permutations: 0,
        seed: 0,
    };
    for graph in GraphKind::ALL {
        let mut sums: BTreeMap<String, (f64, [f64; 4])> = BTreeMap::new();
        for line in read("values.jsonl").lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let name = record["language"].as_str().unwrap();
            let language = Language::named(name).unwrap();
            let code = Code::new(language, record["code"].as_str().unwrap());
            let snippet = Snippet::new(code, &Reading::default()).unwrap();
            let item = item(&snippet, graph);
            let frame = Frame::new(&item, None, rules);
            let planted = item.distances.iter().map(|d| 1.0 / (1.0 + f32::from(*d)));
            let planted: Vec<f32> = planted.collect();
            let found = frame.layer(&planted, 0, &mut Room::default()).values;
            // Attention without two equal cells, as chance gives it: a quarter of them is high.
            let mut draws = Draws::of([planted.len() as u64]);
            let chance: Vec<f32> = planted.iter().map(|_| draws.unit() as f32).collect();
            let noise = frame.layer(&chance, 0, &mut Room::default()).values;
            let of = |measure: Measure| match measure {
                Measure::Noise => noise[measure as usize],
                other => found[other as usize],
            };
            let (count, sums) = sums.entry(name.to_owned()).or_default();
            *count += 1.0;
            let measures = [
                Measure::Cat,
                Measure::Offset,
                Measure::OffsetRho,
                Measure::Noise,
            ];
            for (sum, measure) in sums.iter_mut().zip(measures) {
                *sum += of(measure);
            }
        }
        assert_eq!(sums.len(), 4);
        for (language, (count, sums)) in sums {
            let [planted, offset, rho, noise] = sums.map(|sum| sum / count);
            let expected = &expected[&language];
            assert_eq!(expected["functions"].as_f64(), Some(count));
            let of = |name: &str| expected[graph.name()][name].as_f64().unwrap();
            let at = format!("{language} {graph:?}: {planted} {offset} {rho} {noise}");
            assert!((planted - of("planted")).abs() < MEAN, "{at}");
            assert!((planted - 1.0).abs() < MEAN, "{at}");
            assert!((offset - of("offset")).abs() < MEAN, "{at}");
            assert!((rho - of("offset_rho")).abs() < RHO, "{at}");
            if graph == GraphKind::Chain {
                assert!(OFFSET.contains(&offset), "{at}");
                assert!(NOISE.contains(&noise), "{at}");
            }
        }
    }
}
