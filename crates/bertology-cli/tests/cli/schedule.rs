//! `mask --schedule` on the command line.

use crate::harness::{HEADS, LAYERS, Toy, run};

#[test]
fn every_order_goes_from_all_heads_to_none() {
    let toy = Toy::new();
    let more = [
        "--schedule",
        "25%",
        "--order",
        "importance,ablation",
        "--seeds",
        "2",
    ];
    let more: Vec<&str> = more
        .into_iter()
        .chain(["--output", "OUT/out", "--metric", "loss"])
        .collect();
    let ran = toy.run("mask", &more).ok();
    assert!(ran.err.contains("--choose-on"), "{}", ran.err);
    let rows = toy.table("out/schedule.csv");
    // The whole model, and four orders of four points.
    assert_eq!(rows.len(), 1 + 1 + 4 * 4, "{rows:?}");
    let of = |order: &str, seed: &str| -> Vec<(usize, f64)> {
        let own = rows[1..]
            .iter()
            .filter(|row| row[0] == order && row[1] == seed);
        own.map(|row| (row[2].parse().unwrap(), row[3].parse().unwrap()))
            .collect()
    };
    let all = LAYERS * HEADS;
    for (order, seed) in [
        ("importance", ""),
        ("ablation", ""),
        ("random", "1"),
        ("random", "2"),
    ] {
        let points = of(order, seed);
        let counts: Vec<usize> = points.iter().map(|(masked, _)| *masked).collect();
        assert_eq!(
            counts,
            [all / 4, all / 2, 3 * all / 4, all],
            "{order} {seed}"
        );
        // Without any head all orders are one.
        assert_eq!(points[3].1, of("importance", "")[3].1);
    }
    assert_ne!(of("random", "1")[0].1, of("random", "2")[0].1);
    // A point is what `evaluate` says under the same mask.
    let curves = &toy.record("out")["results"]["curves"];
    let heads: Vec<&str> = curves[0]["heads"].as_array().unwrap()[..3]
        .iter()
        .map(|head| head.as_str().unwrap())
        .collect();
    let mut words = vec!["--json"];
    for head in &heads {
        words.extend(["--heads", head]);
    }
    let found = toy.run("evaluate", &words).ok().json();
    let loss = found["results"]["evaluation"]["loss"].as_f64().unwrap();
    assert!((loss - of("importance", "")[0].1).abs() < 1e-9, "{loss}");
    // And the first heads are those that `importance` ranks last.
    toy.run("importance", &["--output", "OUT/scores"]).ok();
    let ranks = toy.table("scores/heads.csv");
    let rank = ranks[0].iter().position(|name| name == "rank").unwrap();
    let last = ranks[1..]
        .iter()
        .find(|row| row[rank] == (all - 1).to_string())
        .unwrap();
    assert_eq!(heads[0], format!("L{}H{}", last[0], last[1]));
}

#[test]
fn heads_are_ranked_by_a_file_or_on_other_data() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/scores"]).ok();
    let file = toy.text("scores/head_importance.npy");
    let base = [
        "--schedule",
        "0.5",
        "--seeds",
        "1",
        "--metric",
        "loss",
        "--json",
    ];
    let with = |more: &[&str]| {
        let all: Vec<&str> = base.into_iter().chain(more.iter().copied()).collect();
        toy.run("mask", &all)
    };
    let by_file = with(&["--order", &file]).ok().json();
    let by_score = with(&[]).ok().json();
    let scores = |document: &serde_json::Value| document["results"]["curves"][0]["scores"].clone();
    assert_eq!(scores(&by_file), scores(&by_score));
    let text = String::from_utf8(toy.bytes("data.tsv")).unwrap();
    let other: Vec<&str> = text
        .lines()
        .enumerate()
        .filter(|(at, _)| at % 3 == 0)
        .map(|(_, l)| l)
        .collect();
    toy.write("other.tsv", &(other.join("\n") + "\n"));
    let other = toy.text("other.tsv");
    let elsewhere = with(&["--choose-on", &other]).ok().json();
    assert_ne!(
        elsewhere["results"]["curves"][0]["heads"],
        by_score["results"]["curves"][0]["heads"]
    );
    let few = format!("{other}:5");
    let some = ["--schedule", "0.5", "--seeds", "1", "--choose-on", &few];
    let ran = toy.run("mask", &some).ok();
    assert!(ran.out.contains("5 examples"), "{}", ran.out);
}

#[test]
fn a_schedule_is_gone_on_with_and_wrong_words_are_refused() {
    let toy = Toy::new();
    let words = ["--schedule", "50%", "--seeds", "1", "--output", "OUT/out"];
    toy.run("mask", &words).ok();
    let whole = toy.bytes("out/schedule.csv");
    let again: Vec<&str> = words.into_iter().chain(["--resume"]).collect();
    assert!(
        toy.run("mask", &again)
            .ok()
            .err
            .contains("complete already")
    );
    assert_eq!(toy.bytes("out/schedule.csv"), whole);
    toy.run("mask", &["--schedule", "50%", "--threshold", "0.8"])
        .failed(2, &["--threshold", "--schedule"]);
    for (more, part) in [
        (&["--schedule", "0"][..], "above 0"),
        (&["--schedule", "x"], "--schedule"),
        (&["--order", "importance"], "--schedule"),
        (
            &["--schedule", "1", "--order", "best"],
            "importance, ablation",
        ),
        (&["--schedule", "1", "--seeds", "0"], "--seeds"),
    ] {
        let ran = toy.run("mask", more);
        assert!(ran.code == Some(2) && ran.err.contains(part), "{}", ran.err);
    }
    let mrpc = [
        "mask",
        &toy.text("model"),
        "--task",
        "mrpc",
        "--data",
        "nowhere",
        "--schedule",
        "10%",
    ];
    run(&mrpc).failed(2, &["nowhere"]);
}
