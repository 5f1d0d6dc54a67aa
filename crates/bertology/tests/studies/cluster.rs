//! Distances of heads, maps and clusters against scipy and scikit-learn
//! (`tools/golden/make_cluster_golden.py`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bertology::attention::cluster::mds::scale_to_plane;
use bertology::attention::cluster::{
    ClusterCount, Clusters, Dendrogram, DistanceOptions, DistanceState, Distances, JsSums,
    MdsOptions, PackedMaps, RowChoice, Scale, Smoothing,
};
use bertology::attention::{TextOptions, TextPassages};
use bertology::drive::{Progress, Study, Work, drive};
use bertology::model::Matrix;
use bertology::watch::Savable;
use bertology::{Error, HeadId, LoadedModel, Source};
use bertology_testkit::Tensors;
use serde_json::Value;

use super::fixture::{Fixture, assets, driven, embedded, spread, stop_after, stopped};

/// Nats a token: f32 logarithms err by up to 3e-7 of a nat, three entropies are subtracted.
const NATS: f64 = 1e-6;

fn golden() -> Value {
    serde_json::from_str(
        &std::fs::read_to_string(bertology_testkit::golden("studies/cluster.json")).unwrap(),
    )
    .unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

fn size(golden: &Value, name: &str) -> usize {
    golden[name].as_u64().unwrap() as usize
}

/// Sums over the documents of one part of the golden file.
fn sums(golden: &Value, part: &str, smoothing: Smoothing) -> JsSums {
    let (heads, tokens) = (size(golden, "heads"), size(golden, "tokens"));
    let mut sums = JsSums::new(heads);
    for maps in golden[part]["maps"].as_array().unwrap() {
        let values: Vec<f32> = numbers(maps).into_iter().map(|v| v as f32).collect();
        let rows = (0..tokens).collect();
        let mut packed = PackedMaps::new(heads, tokens, rows, part == "causal", smoothing);
        for (head, map) in values.chunks(tokens * tokens).enumerate() {
            packed.put(head, Matrix::new(map, tokens, tokens));
        }
        sums.add(&packed);
    }
    sums
}

/// The mean divergences of the golden file.
fn mean_distances(golden: &Value, part: &str) -> Distances {
    let tokens = size(golden, "tokens") * golden[part]["maps"].as_array().unwrap().len();
    let sums = numbers(&golden[part]["sums"]).into_iter();
    Distances::new(
        size(golden, "heads"),
        sums.map(|sum| sum / tokens as f64).collect(),
    )
    .unwrap()
}

#[test]
fn divergences_are_those_of_scipy() {
    let golden = golden();
    for part in ["bidirectional", "causal"] {
        for (name, smoothing) in [
            ("sums", Smoothing::None),
            ("smoothed_sums", Smoothing::Paper),
        ] {
            let sums = sums(&golden, part, smoothing);
            let found = sums.distances(Scale::Sum).unwrap();
            let expected = numbers(&golden[part][name]);
            assert!(expected.iter().any(|sum| *sum > 2.0));
            for (found, expected) in found.values().iter().zip(&expected) {
                let error = (found - expected).abs() / sums.tokens() as f64;
                assert!(error < NATS, "{part} {name}: {found} {expected}");
            }
        }
    }
}

#[test]
fn maps_have_the_lowest_stress_that_scikit_learn_finds() {
    let golden = golden();
    for part in ["bidirectional", "causal"] {
        let distances = mean_distances(&golden, part);
        let options = MdsOptions::default().restarts(50);
        let layout = scale_to_plane(&distances, &options);
        let expected = golden[part]["mean"]["map"]["stress"].as_f64().unwrap();
        // Both end when steps become short; scikit-learn was given 200 starts and shorter steps.
        let ratio = layout.stress / expected;
        assert!((1.0 - 1e-6..1.0 + 1e-4).contains(&ratio), "{part}: {ratio}");
        let expected = numbers(&golden[part]["mean"]["map"]["distances"]);
        let pairs = (0..layout.points.len())
            .flat_map(|a| (a + 1..layout.points.len()).map(move |b| (a, b)));
        for ((a, b), expected) in pairs.zip(expected) {
            let ([x, y], [u, v]) = (layout.points[a], layout.points[b]);
            let found = (x - u).hypot(y - v);
            assert!(
                (found - expected).abs() < 1e-2 * expected.max(0.1),
                "{part} {a} {b}: {found} {expected}"
            );
        }
    }
}

#[test]
fn merges_and_silhouettes_are_those_of_scipy_and_scikit_learn() {
    let golden = golden();
    for part in ["bidirectional", "causal"] {
        let distances = mean_distances(&golden, part);
        let expected = &golden[part]["mean"]["clusters"];
        let tree = Dendrogram::new(&distances);
        let merges = expected["merges"].as_array().unwrap();
        assert_eq!(tree.merges().len(), merges.len());
        for (found, expected) in tree.merges().iter().zip(merges) {
            let [a, b, distance, size] = numbers(expected)[..] else {
                panic!("{expected}");
            };
            assert_eq!(found.clusters.map(|at| at as f64), [a.min(b), a.max(b)]);
            assert_eq!(found.size as f64, size);
            // Rounding of means of means.
            assert!((found.distance - distance).abs() < 1e-12);
        }
        for (count, cut) in expected["cuts"].as_object().unwrap() {
            let count = ClusterCount::Exactly(count.parse().unwrap());
            let found = Clusters::new(&distances, count).unwrap();
            let theirs: Vec<usize> = numbers(&cut["labels"])
                .iter()
                .map(|at| *at as usize)
                .collect();
            assert_eq!(partition(&found.labels), partition(&theirs));
            for (found, expected) in found.silhouettes.iter().zip(numbers(&cut["silhouettes"])) {
                assert!((found - expected).abs() < 1e-12, "{found} {expected}");
            }
        }
    }
}

/// Which things are together, whatever the clusters are called.
fn partition(labels: &[usize]) -> BTreeSet<BTreeSet<usize>> {
    let of = |label| {
        (0..labels.len())
            .filter(|at| labels[*at] == label)
            .collect()
    };
    labels.iter().map(|label| of(*label)).collect()
}

/// Divergences of all pairs of heads by their definition, over every row of every line.
fn naive(model: &LoadedModel, lines: &[&str]) -> Vec<f64> {
    let heads: Vec<HeadId> = model.model().heads().collect();
    let mut sums = vec![0.0; heads.len() * heads.len()];
    let to = |p: f64, m: f64| if p > 0.0 { p * (p / m).ln() } else { 0.0 };
    for maps in model.attentions(lines).unwrap() {
        for (a, one) in heads.iter().enumerate() {
            for (b, other) in heads.iter().enumerate() {
                let [one, other] = [one, other].map(|id| &maps.get(*id).unwrap().data);
                let cells = one
                    .iter()
                    .zip(other)
                    .map(|(p, q)| (f64::from(*p), f64::from(*q)));
                sums[a * heads.len() + b] += cells
                    .map(|(p, q)| 0.5 * (to(p, (p + q) / 2.0) + to(q, (p + q) / 2.0)))
                    .sum::<f64>();
            }
        }
    }
    sums
}

fn texts(model: &LoadedModel, path: &Path) -> TextPassages {
    TextPassages::new(model, Source::lines(path), TextOptions::default()).unwrap()
}

fn threads(threads: usize) -> Work {
    spread(threads, 40)
}

#[test]
fn a_corpus_gives_what_its_maps_give_one_by_one() {
    let text = fs::read_to_string(assets().join("grammar/dev.txt")).unwrap();
    let lines: Vec<&str> = text.lines().take(12).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.txt");
    fs::write(&path, lines.join("\n")).unwrap();
    // One that looks both ways, one causal.
    for name in ["tiny-bert", "tiny-gpt2"] {
        let model = embedded(name);
        let passages = texts(&model, &path);
        let plain = DistanceOptions::default().smoothing(Smoothing::None);
        let fresh = DistanceState::new(&model, &plain).unwrap();
        let state = driven(&model, &passages, fresh.clone(), &threads(1));
        let tokens = state.sums().tokens();
        assert_eq!(
            (state.counts().sequences, state.counts().tokens),
            (12, tokens)
        );
        assert_eq!(state.sums().rows(), tokens);
        let found = state.sums().distances(Scale::Sum).unwrap();
        let expected = naive(&model, &lines);
        assert!(expected.iter().any(|sum| *sum > 0.1 * tokens as f64));
        for (found, expected) in found.values().iter().zip(&expected) {
            let error = (found - expected).abs() / tokens as f64;
            assert!(error < NATS, "{name}: {found} {expected}");
        }
        // Threads change no bit; neither does going on from a file after an interruption.
        let many = driven(&model, &passages, fresh.clone(), &threads(3));
        assert_eq!(many, state);
        let part = Progress::new(fresh);
        let mut part = stopped(&model, &passages, part, &threads(2), &mut stop_after(4));
        assert!((4..12).contains(&part.done(12)));
        drive(&model, &passages, &mut part, &threads(1), &mut ()).unwrap();
        assert_eq!(*part.study(), state);
    }
}

/// The documents of `tools/golden/make_attention_golden.py`: transformers' maps, compared by numpy.
#[test]
fn embedded_models_have_the_distances_of_numpy() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tiny-bert", "tiny-gpt", "tiny-gpt2"] {
        let golden = Tensors::golden(&format!("studies/attention/{name}.safetensors"));
        let ids: Vec<u32> = golden.whole("documents.input_ids");
        let offsets: Vec<usize> = golden.whole("documents.offsets");
        let lines: Vec<String> = offsets
            .windows(2)
            .map(|ends| &ids[ends[0]..ends[1]])
            .map(|ids| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        let path = folder.path().join(name);
        fs::write(&path, lines.join("\n")).unwrap();
        let model = embedded(name);
        let source = Source::token_ids(&path);
        let passages = TextPassages::new(&model, source, TextOptions::default()).unwrap();
        let state = DistanceState::new(&model, &DistanceOptions::default()).unwrap();
        let state = driven(&model, &passages, state, &threads(0));
        assert_eq!(
            vec![state.sums().tokens()],
            golden.whole::<u64>("distances.tokens")
        );
        let found = state.sums().distances(Scale::Sum).unwrap();
        let expected = golden.f64("distances.sum");
        let tokens = state.sums().tokens() as f64;
        for (found, expected) in found.values().iter().zip(expected) {
            // The maps themselves differ by f32 rounding of two programs.
            assert!(
                (found - expected).abs() / tokens < 1e-5,
                "{name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn drawn_rows_give_the_sum_of_all_in_the_mean() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let words: Vec<String> = (5..25).map(|word| format!("w{word}")).collect();
    let path = fixture.write("one.txt", words.join(" "));
    let passages = texts(&model, &path);
    let sums = |options: DistanceOptions| {
        let state = DistanceState::new(&model, &options).unwrap();
        let state = driven(&model, &passages, state, &threads(1));
        state.sums().clone()
    };
    let all = sums(DistanceOptions::default());
    let all = all.distances(Scale::Sum).unwrap();
    let draws = 200;
    let mut mean = vec![0.0; all.values().len()];
    for seed in 0..draws {
        let drawn = sums(DistanceOptions::default().rows(RowChoice::Count(6), seed));
        assert_eq!((drawn.rows(), drawn.tokens()), (6, 22));
        let drawn = drawn.distances(Scale::Sum).unwrap();
        for (mean, value) in mean.iter_mut().zip(drawn.values()) {
            *mean += value / draws as f64;
        }
    }
    // A sum of six rows in 22 scatters by less than 30 %, the mean of 200 by less than 2.2 %; five times that.
    for (found, expected) in mean.iter().zip(all.values()) {
        assert!(
            (found - expected).abs() <= 0.11 * expected,
            "{found} {expected}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let path = fixture.write("texts.txt", "w5 w6\n\nw5 w6 w7 w8 w9 w10\n");
    let passages = texts(&model, &path);
    let options = DistanceOptions::default().memory(2000);
    let state = DistanceState::new(&model, &options).unwrap();
    let mut progress = Progress::new(state);
    // 12 heads: 4 tokens take 768 bytes, 8 take 3072.
    let error = drive(&model, &passages, &mut progress, &threads(1), &mut ()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("line 3") && message.contains("8 tokens"),
        "{message}"
    );
    let few = options.rows(RowChoice::Count(4), 0);
    let drawn = DistanceState::new(&model, &few).unwrap();
    let drawn = driven(&model, &passages, drawn, &threads(1));
    let saved = progress.save().unwrap();
    assert!(progress.into_study().merge(drawn).is_err());
    let none = DistanceOptions::default().rows(RowChoice::Count(0), 0);
    assert!(DistanceState::new(&model, &none).is_err());
    // The state of another model.
    let other = embedded("tiny-bert");
    let other = DistanceState::new(&other, &options).unwrap();
    let refused = Progress::new(other).resume(saved);
    assert!(
        matches!(refused, Err(Error::StateMismatch { .. })),
        "{refused:?}"
    );
}
