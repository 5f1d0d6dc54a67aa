//! The CAT-score against numpy and tree_sitter (tools/golden/make_cat_golden.py).

use std::fs;
use std::path::PathBuf;

use bertology::attention::Supply;
use bertology::attention::cat::{
    CatOptions, CatScores, CatState, LeafMean, Measure, leaf_attention,
};
use bertology::drive::{Progress, Study, Work, drive};
use bertology::input::code::{CodeOptions, CodePassages};
use bertology::watch::SnippetMeasures;
use bertology::{HeadId, LoadedModel, Watch};
use bertology_code::{Functions, GraphKind, Language};
use bertology_testkit::Tensors;
use serde_json::Value;

const LAYERS: usize = 4;
const HEADS: usize = 4;
/// Of the axis of heads: the mean of the heads.
const MEAN: usize = HEADS;
const GRAPHS: [GraphKind; 3] = [GraphKind::Ast, GraphKind::Chain, GraphKind::ChainFlow];
/// Attention of f32 against that of float64.
const ATTENTION: f32 = 1e-6;
/// Ranks of such attention: neighbours in order may change places. Stored as f32.
const RHO: f64 = 5e-5;
/// Cells by which a mask may differ beside those next to the threshold: one that lies as far off as the programs differ.
const CELLS: f64 = 1.0;

struct Golden {
    names: Value,
    arrays: Tensors,
}

fn folder() -> PathBuf {
    bertology_testkit::golden("studies/cat")
}

fn golden() -> Golden {
    let names = fs::read(folder().join("tiny-code.json")).unwrap();
    Golden {
        names: serde_json::from_slice(&names).unwrap(),
        arrays: Tensors::read(&folder().join("tiny-code.safetensors")),
    }
}

fn model() -> LoadedModel {
    LoadedModel::open(bertology_testkit::workspace().join("assets/tiny-code")).unwrap()
}

/// The 50 embedded functions and the hand-made cases, in the order of the golden file.
fn passages(
    model: &LoadedModel,
    language: Option<&str>,
    options: CodeOptions,
) -> [CodePassages; 2] {
    let language = language.map(|name| Language::named(name).unwrap());
    let embedded = bertology_testkit::workspace().join("assets/code/functions.jsonl");
    let first = Functions::new(&embedded, language).unwrap();
    let first = first.with_selected((0..50).collect());
    let cases = Functions::new(&folder().join("cases.jsonl"), language).unwrap();
    [first, cases].map(|functions| CodePassages::new(model, functions, options).unwrap())
}

fn of(graph: GraphKind, min_leaves: usize) -> CodeOptions {
    CodeOptions {
        graph,
        min_leaves,
        max_length: Some(256),
        ..CodeOptions::default()
    }
}

/// What is told of every function: `[layers, measures]`.
#[derive(Default)]
struct Told(Vec<Vec<f64>>);

impl Watch for Told {
    fn snippet(&mut self, found: &SnippetMeasures<'_>) {
        self.0.push(found.measures.to_vec());
    }
}

impl Told {
    fn get(&self, function: usize, layer: usize, measure: Measure) -> f64 {
        self.0[function][layer * Measure::ALL.len() + measure as usize]
    }
}

fn options() -> CatOptions {
    let mut options = CatOptions::default();
    (options.resamples, options.permutations) = (3, 3);
    options
}

fn studied(
    model: &LoadedModel,
    passages: &[CodePassages; 2],
    options: &CatOptions,
) -> (Told, CatScores) {
    let mut told = Told::default();
    let mut whole: Option<CatState> = None;
    for supply in passages {
        if supply.total() == 0 {
            continue;
        }
        let mut progress = Progress::new(CatState::new(model, options.clone()).unwrap());
        drive(model, supply, &mut progress, &Work::default(), &mut told).unwrap();
        let state = progress.into_study();
        whole = Some(match whole.take() {
            None => state,
            Some(mut before) => {
                before.merge(state).unwrap();
                before
            }
        });
    }
    (told, whole.unwrap().finish().unwrap())
}

/// Values of one array with its shape.
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Array {
    fn at(&self, place: &[usize]) -> f64 {
        let flat = place.iter().zip(&self.shape).fold(0, |flat, (at, size)| {
            assert!(at < size);
            flat * size + at
        });
        self.values[flat]
    }
}

impl Golden {
    fn whole(&self, name: &str) -> Array {
        let values: Vec<i64> = self.arrays.whole(name);
        Array {
            shape: self.arrays.shape(name),
            values: values.into_iter().map(|value| value as f64).collect(),
        }
    }

    fn float(&self, name: &str) -> Array {
        let values = self.arrays.f32(name).into_iter().map(f64::from);
        Array {
            shape: self.arrays.shape(name),
            values: values.collect(),
        }
    }

    fn functions(&self) -> &Vec<Value> {
        self.names["functions"].as_array().unwrap()
    }
}

/// J of counts.
fn jaccard(both: f64, attended: f64, near: f64) -> f64 {
    both / (attended + near - both)
}

#[test]
fn functions_are_read_as_the_reference_reads_them() {
    let (golden, model) = (golden(), model());
    for (at, graph) in GRAPHS.into_iter().enumerate() {
        let mut functions = golden.functions().iter();
        for supply in &passages(&model, None, of(graph, 1)) {
            for code in supply.open(0).unwrap() {
                let code = code.unwrap();
                let bertology::attention::Fate::Studied(mut found) = supply.prepare(code).unwrap()
                else {
                    continue;
                };
                let (passage, expected) = (found.pop().unwrap(), functions.next().unwrap());
                let ids: Vec<u64> = passage
                    .sequence
                    .ids
                    .iter()
                    .map(|id| u64::from(*id))
                    .collect();
                assert_eq!(Value::from(ids), expected["ids"]);
                let n = passage.item.leaves();
                assert_eq!(n as u64, expected["n"].as_u64().unwrap());
                let kinds = expected["leaf_kinds"].as_array().unwrap();
                if kinds.len() == n {
                    let sum: u64 = passage.item.distances.iter().map(|d| u64::from(*d)).sum();
                    assert_eq!(sum, expected["distance_sums"][at].as_u64().unwrap());
                    let name =
                        |kind: &Value| &golden.names["kinds"][kind.as_u64().unwrap() as usize];
                    for (kind, own) in kinds.iter().zip(&passage.item.kinds) {
                        assert_eq!(name(kind), own);
                    }
                }
            }
        }
        assert!(functions.next().is_none());
    }
}

#[test]
fn attention_between_leaves_is_the_references() {
    let (golden, model) = (golden(), model());
    let weighted = Array {
        shape: golden.arrays.shape("attention.mean_mean.weighted"),
        values: golden.arrays.f64("attention.mean_mean.weighted"),
    };
    let shown = golden.names["matrices"][0].as_u64().unwrap() as usize;
    let whole = golden.arrays.f32(&format!("{shown}.mean_mean"));
    let mut function = 0;
    for supply in &passages(&model, None, of(GraphKind::ChainFlow, 1)) {
        for code in supply.open(0).unwrap() {
            let prepared = supply.prepare(code.unwrap()).unwrap();
            let bertology::attention::Fate::Studied(mut found) = prepared else {
                continue;
            };
            let passage = found.pop().unwrap();
            let n = passage.item.leaves();
            for (layer, attention) in leaf_attention(&model, &passage).unwrap().iter().enumerate() {
                let weight = |at: usize| ((3 * (at / n) + 7 * (at % n)) % 11) as f64;
                let sum: f64 = attention
                    .iter()
                    .enumerate()
                    .map(|(at, a)| weight(at) * f64::from(*a))
                    .sum();
                let expected = weighted.at(&[function, layer, MEAN]);
                assert!(
                    (sum / expected - 1.0).abs() < 1e-6,
                    "{function} {layer}: {sum} {expected}"
                );
                if function == shown {
                    let start = (layer * (HEADS + 1) + MEAN) * n * n;
                    let expected = &whole[start..start + n * n];
                    let apart = attention.iter().zip(expected).map(|(a, b)| (a - b).abs());
                    let most = apart.fold(0.0, f32::max);
                    assert!(most < ATTENTION, "{layer}: {most}");
                }
            }
            function += 1;
        }
    }
    assert_eq!(function, golden.functions().len());
}

/// Every function and layer, in three graphs: scores within the cells that lie on the threshold, and nearly all to the bit.
#[test]
fn scores_are_the_references() {
    let (golden, model) = (golden(), model());
    let [both, attended, near, close] = ["both", "attention", "distance", "close"]
        .map(|name| golden.whole(&format!("masks.{name}")));
    let (mut same, mut all) = (0, 0);
    for (graph, kind) in GRAPHS.into_iter().enumerate() {
        let (told, scores) = studied(&model, &passages(&model, None, of(kind, 1)), &options());
        assert_eq!(told.0.len(), golden.functions().len());
        let j = |f: usize, cells: usize, layer: usize, head: usize| {
            let (a, d) = (
                attended.at(&[f, cells, layer, head]),
                near.at(&[f, graph, cells]),
            );
            let b = both.at(&[f, graph, cells, layer, head]);
            let room = (close.at(&[f, cells, layer, head]) + CELLS) / (a + d - b);
            (jaccard(b, a, d), 2.0 * room)
        };
        for f in 0..told.0.len() {
            for layer in 0..LAYERS {
                for (cells, measure) in [(0, Measure::Cat), (1, Measure::OffDiagonal)] {
                    let (expected, room) = j(f, cells, layer, MEAN);
                    let found = told.get(f, layer, measure);
                    assert!(
                        (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= room,
                        "{kind:?} {f} {layer} {measure:?}: {found} {expected}"
                    );
                    all += 1;
                    same += u32::from(found == expected || expected.is_nan());
                }
            }
        }
        // Of heads the means over functions.
        for id in (0..LAYERS * HEADS).map(|at| HeadId {
            layer: at / HEADS,
            head: at % HEADS,
        }) {
            for (cells, table) in [(0, &scores.heads.cat), (1, &scores.heads.off_diagonal)] {
                let values = (0..told.0.len()).map(|f| j(f, cells, id.layer, id.head).0);
                let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let found = table.get(id).unwrap();
                assert!((found - mean).abs() < 2e-4, "{kind:?} {id} {found} {mean}");
            }
        }
    }
    assert!(
        same * 100 >= all * 97,
        "{same} of {all} are the same to the bit"
    );
}

#[test]
fn correlations_and_controls_are_the_references() {
    let (golden, model) = (golden(), model());
    let [plain, partial] = ["spearman", "spearman.partial"].map(|name| golden.float(name));
    let offset = Array {
        shape: golden.arrays.shape("spearman.offset"),
        values: golden.arrays.f64("spearman.offset"),
    };
    let near = golden.whole("masks.distance");
    let close = golden.whole("masks.close");
    let [by_offset, by_offset_high] =
        ["both", "attention"].map(|name| golden.whole(&format!("offset_mean.{name}")));
    let [nearness, nearness_high] =
        ["both", "attention"].map(|name| golden.whole(&format!("nearness.{name}")));
    let (told, scores) = studied(
        &model,
        &passages(&model, None, of(GraphKind::ChainFlow, 1)),
        &options(),
    );
    let functions = told.0.len();
    for f in 0..functions {
        for layer in 0..LAYERS {
            for (measure, expected) in [
                (Measure::Rho, plain.at(&[f, 2, layer, MEAN])),
                (Measure::PartialRho, partial.at(&[f, 2, layer, MEAN])),
                (Measure::TreeRho, plain.at(&[f, 0, layer, MEAN])),
                (Measure::TreePartialRho, partial.at(&[f, 0, layer, MEAN])),
                (Measure::OffsetRho, offset.at(&[f, 2])),
            ] {
                let found = told.get(f, layer, measure);
                assert!(
                    (found - expected).abs() < RHO,
                    "{f} {layer} {measure:?}: {found} {expected}"
                );
            }
            let d = near.at(&[f, 2, 0]);
            let expected = jaccard(nearness.at(&[f, 2, 0]), nearness_high.at(&[f, 0]), d);
            assert_eq!(told.get(f, layer, Measure::Offset), expected);
            let place = [f, 0, layer, MEAN];
            let (b, a) = (by_offset.at(&place), by_offset_high.at(&place));
            // A mean next to the threshold stands in all cells of its offset.
            let room = (close.at(&place) + CELLS) * 40.0 / (a + d - b);
            let found = told.get(f, layer, Measure::MeanByOffset);
            assert!(
                (found - jaccard(b, a, d)).abs() <= room,
                "{f} {layer} {found}"
            );
        }
    }
    for id in scores.heads.rho.live() {
        for (table, golden) in [
            (&scores.heads.rho, &plain),
            (&scores.heads.partial_rho, &partial),
        ] {
            let sum: f64 = (0..functions)
                .map(|f| golden.at(&[f, 2, id.layer, id.head]))
                .sum();
            let found = table.get(id).unwrap();
            assert!((found - sum / functions as f64).abs() < RHO, "{id} {found}");
        }
    }
}

#[test]
fn summed_keys_keep_their_weight() {
    let (golden, model) = (golden(), model());
    let [both, attended] =
        ["both", "attention"].map(|name| golden.whole(&format!("mean_sum.{name}")));
    let (near, close) = (golden.whole("masks.distance"), golden.whole("masks.close"));
    let mut options = options();
    options.mean = LeafMean::MeanSum;
    let (told, _) = studied(
        &model,
        &passages(&model, None, of(GraphKind::ChainFlow, 1)),
        &options,
    );
    for f in 0..told.0.len() {
        for layer in 0..LAYERS {
            let place = [f, layer, MEAN];
            let (b, a, d) = (both.at(&place), attended.at(&place), near.at(&[f, 2, 1]));
            let room = 2.0 * (close.at(&[f, 1, layer, MEAN]) + CELLS) / (a + d - b);
            let found = told.get(f, layer, Measure::OffDiagonal);
            assert!(
                (found - jaccard(b, a, d)).abs() <= room || found.is_nan(),
                "{f} {layer} {found}"
            );
        }
    }
}

/// Means of functions of 12 leaves or more, by language, and how often attention from or to a kind of leaf is high.
#[test]
fn summaries_and_kinds_are_the_references() {
    let (golden, model) = (golden(), model());
    let summary = golden.float("summary");
    let languages = golden.names["languages"].as_array().unwrap();
    for (at, language) in languages.iter().enumerate() {
        let language = language.as_str().unwrap();
        let supplies = passages(&model, Some(language), of(GraphKind::ChainFlow, 12));
        let (_, scores) = studied(&model, &supplies, &options());
        for (layer, found) in scores.layers.iter().enumerate() {
            let expected = |what: usize| summary.at(&[at, 2, 0, layer, MEAN, what]);
            let mean = |measure: Measure| found.mean(measure).map(|mean| mean.value);
            let all = [
                mean(Measure::Cat),
                found.micro,
                mean(Measure::Chance),
                mean(Measure::Ceiling),
                mean(Measure::Adjusted),
                found.adjusted_of_means,
            ];
            for (what, value) in all.into_iter().enumerate() {
                let (value, expected) = (value.unwrap(), expected(what));
                assert!(
                    (value - expected).abs() < 1e-3,
                    "{language} {layer} {what}: {value} {expected}"
                );
            }
            assert_eq!(scores.snippets as f64, expected(6), "{language}");
        }
        let confidence = golden.names["confidence"][language].as_object().unwrap();
        assert_eq!(confidence.len(), scores.kinds.len());
        for kind in &scores.kinds {
            let expected = &confidence[&kind.kind];
            let number = |at: usize| expected[at].as_u64().unwrap();
            assert_eq!(kind.cells, number(0), "{language} {}", kind.kind);
            for (layer, high) in kind.high.iter().enumerate() {
                let (high, expected) = (*high as f64, number(1 + layer) as f64);
                assert!(
                    (high - expected).abs() <= 2.0 + 0.001 * expected,
                    "{language} {} {layer}: {high} {expected}",
                    kind.kind
                );
            }
        }
    }
}
