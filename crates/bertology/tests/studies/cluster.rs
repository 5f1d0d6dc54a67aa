//! Distances of heads, maps and clusters against scipy and scikit-learn
//! (`tools/golden/make_cluster_golden.py`).

use std::collections::BTreeSet;

use bertology::attention::cluster::mds::scale_to_plane;
use bertology::attention::cluster::{
    ClusterCount, Clusters, Dendrogram, Distances, JsSums, MdsOptions, PackedMaps, Scale, Smoothing,
};
use bertology::model::Matrix;
use serde_json::Value;

/// Nats a token: f32 logarithms err by up to 3e-7 of a nat, three entropies are subtracted.
const NATS: f64 = 1e-6;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/cluster.json")).unwrap()
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
