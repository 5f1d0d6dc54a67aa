//! Distances of heads, their map and clusters, on the command line.

use std::fmt::Write;
use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::harness::{HEADS, LAYERS, Ran, Toy, run};

const COUNT: usize = LAYERS * HEADS;

/// A folder with the toy model and so many lines of text.
fn toy(lines: usize) -> Toy {
    let toy = Toy::new();
    let words = ["the", "cat", "sees", "a", "small", "dog", "never", "old"];
    let mut text = String::new();
    for line in 0..lines {
        for at in 0..3 + line % 7 {
            let _ = write!(text, "{} ", words[(line * 5 + at * at + at) % words.len()]);
        }
        text.push('\n');
    }
    toy.write("texts.txt", &text);
    toy
}

fn arguments(toy: &Toy, more: &[&str]) -> Vec<String> {
    let mut all = vec![
        "cluster".to_owned(),
        toy.text("model"),
        "--text".into(),
        toy.text("texts.txt"),
    ];
    let base = toy.text("");
    all.extend(more.iter().map(|word| word.replace("OUT/", &base)));
    all
}

fn cluster(toy: &Toy, more: &[&str]) -> Ran {
    run(&arguments(toy, more))
}

#[test]
fn it_fills_its_folder() {
    let toy = toy(30);
    let ran = cluster(&toy, &["--output", "OUT/run", "--json"]).ok();
    assert_eq!(
        toy.names("run"),
        [
            "clusters.csv",
            "head_distances.npy",
            "report.html",
            "run.json"
        ]
    );
    let record = toy.record("run");
    assert_eq!(ran.json(), record);
    let results = &record["results"];
    let (kind, shape, sums) = toy.array("run/head_distances.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f8", &[COUNT as u64; 2][..]));
    let tokens = results["tokens"].as_f64().unwrap();
    assert_eq!(results["rows"], results["tokens"]);
    assert_eq!(results["counts"]["sequences"], 30);
    for a in 0..COUNT {
        assert_eq!(sums[a * COUNT + a], 0.0);
        for b in 0..a {
            let mean = sums[a * COUNT + b] / tokens;
            assert_eq!(sums[a * COUNT + b], sums[b * COUNT + a]);
            assert!(
                mean > 0.0 && mean < std::f64::consts::LN_2,
                "{a} {b}: {mean}"
            );
        }
    }
    let table = toy.table("run/clusters.csv");
    assert_eq!(table[0].join(","), "layer,head,cluster,x,y,silhouette");
    assert_eq!(table.len(), 1 + COUNT);
    // The map of the table has the stress of the record, the distances being means.
    let mut stress = 0.0;
    let place = |at: usize, axis: usize| table[1 + at][3 + axis].parse::<f64>().unwrap();
    for a in 0..COUNT {
        assert_eq!(
            table[1 + a][..2],
            [(a / HEADS).to_string(), (a % HEADS).to_string()]
        );
        for b in 0..a {
            let apart = (place(a, 0) - place(b, 0)).hypot(place(a, 1) - place(b, 1));
            stress += (apart - sums[a * COUNT + b] / tokens).powi(2);
        }
    }
    let recorded = results["map"]["stress"].as_f64().unwrap();
    assert!(
        (stress / recorded - 1.0).abs() < 1e-6,
        "{stress} {recorded}"
    );
    let clusters = results["clusters"].as_array().unwrap();
    for (label, members) in clusters.iter().enumerate() {
        for member in members.as_array().unwrap() {
            let named = |row: &&Vec<String>| format!("L{}H{}", row[0], row[1]) == *member;
            let row = table[1..].iter().find(named).unwrap();
            assert_eq!(row[2], label.to_string());
        }
    }
    // Once more: nothing to do. Another distance: another run.
    let again = cluster(&toy, &["--output", "OUT/run", "--resume"]).ok();
    assert!(again.err.contains("complete already"), "{}", again.err);
    cluster(
        &toy,
        &["--output", "OUT/run", "--resume", "--distance", "sqrt"],
    )
    .failed(2, &["cannot be resumed", "--distance"]);
}

#[test]
fn neither_threads_nor_batches_nor_memory_change_a_byte() {
    let toy = toy(40);
    let given = [
        "--clusters",
        "3",
        "--rows",
        "3",
        "--seed",
        "7",
        "--smoothing",
        "none",
    ];
    for (out, more) in [
        (
            "OUT/one",
            &["--threads", "1", "--tokens-per-batch", "9"][..],
        ),
        ("OUT/three", &["--threads", "3", "--memory", "0.5"]),
    ] {
        cluster(&toy, &[&given[..], more, &["--output", out]].concat()).ok();
    }
    for name in ["clusters.csv", "head_distances.npy"] {
        assert!(
            toy.bytes(&format!("one/{name}")) == toy.bytes(&format!("three/{name}")),
            "{name}"
        );
    }
    let results = &toy.record("one")["results"];
    assert_eq!(results, &toy.record("three")["results"]);
    assert_eq!(
        (
            results["rows"].as_u64(),
            results["clusters"].as_array().unwrap().len()
        ),
        (Some(120), 3)
    );
    // Another seed draws other rows.
    cluster(
        &toy,
        &[
            "--rows",
            "3",
            "--seed",
            "8",
            "--smoothing",
            "none",
            "--output",
            "OUT/other",
        ],
    )
    .ok();
    assert!(toy.bytes("one/head_distances.npy") != toy.bytes("other/head_distances.npy"));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let toy = toy(5);
    for (more, parts) in [
        (
            &["--clusters", "13"][..],
            &["--clusters 13", "at most 12"][..],
        ),
        (&["--clusters", "0"], &["auto"]),
        (
            &["--rows", "2", "--row-fraction", "0.5"],
            &["--row-fraction"],
        ),
        (&["--row-fraction", "1.5"], &["share of rows", "1.5"]),
        (&["--memory", "-1"], &["--memory -1"]),
        (
            &["--memory", "1e-7"],
            &["texts.txt, line 1", "--max-length", "--rows"],
        ),
        (&["--max-length", "3"], &["so there is nothing to study"]),
    ] {
        let ran = cluster(&toy, &[more, &["--output", "OUT/refused"]].concat());
        assert_ne!(ran.code, Some(0), "{more:?}");
        for part in parts {
            assert!(ran.err.contains(part), "no `{part}` in: {}", ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        if toy.path("refused").exists() {
            assert!(
                toy.names("refused").is_empty(),
                "{:?}",
                toy.names("refused")
            );
        }
    }
}

#[test]
fn the_text_has_a_table_and_a_map() {
    let toy = toy(12);
    toy.write(
        "texts.txt",
        "the cat sees the dog\n\nthe old dog runs and runs and runs and runs\na cat\n",
    );
    let ran = cluster(
        &toy,
        &[
            "--clusters",
            "2",
            "--max-length",
            "8",
            "--row-fraction",
            "0.5",
        ],
    )
    .ok();
    assert!(ran.out.contains("2 clusters of heads"), "{}", ran.out);
    assert!(ran.out.contains("compared"), "{}", ran.out);
    assert!(
        ran.err.contains("1 text left out: 1 of more than 8 tokens"),
        "{}",
        ran.err
    );
    for line in ran.out.lines().filter(|line| !line.starts_with('/')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let map = ran.out.lines().filter(|line| line.starts_with("  |"));
    let places: usize = map.map(|line| line.matches(['0', '1', '*']).count()).sum();
    assert!((2..=COUNT).contains(&places), "{}", ran.out);
}

/// Every head looks everywhere alike, but for the first.
fn alike_but_one(toy: &Toy) {
    let path = toy.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed = tensors.tensors().into_iter().map(|(name, view)| {
        let mut data = view.data().to_vec();
        if name.contains("self.query") {
            // Scores of queries of zeros are all 0.
            let kept = match name.contains("layer.0.") {
                true => data.len() / HEADS,
                false => 0,
            };
            data[kept..].fill(0);
        }
        (name, view.shape().to_vec(), data)
    });
    let changed: Vec<_> = changed.collect();
    let views = changed.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_cut_of_one_head_against_the_rest_is_called_so() {
    let toy = toy(12);
    alike_but_one(&toy);
    let ran = cluster(&toy, &[]).ok();
    for part in [
        "2 clusters of heads",
        "sets 1 head apart and leaves 11 together",
        "finds outliers, not\ngroups. --clusters K cuts into K clusters",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    // What it advises.
    let ran = cluster(&toy, &["--clusters", "4"]).ok();
    assert!(ran.out.contains("4 clusters of heads"), "{}", ran.out);
}
