//! What a run folder holds.

use crate::harness::{HEADS, LAYERS, Toy};

const SHAPE: [u64; 2] = [LAYERS as u64, HEADS as u64];

#[test]
fn importance_fills_its_folder() {
    let toy = Toy::new();
    let ran = toy
        .run("importance", &["--output", "OUT/run", "--json"])
        .ok();
    assert_eq!(
        toy.names("run"),
        [
            "attn_entropy.npy",
            "head_importance.npy",
            "head_importance_raw.npy",
            "head_ranks.npy",
            "heads.csv",
            "predictions.csv",
            "report.html",
            "run.json",
        ]
    );
    let record = toy.record("run");
    assert_eq!(ran.json(), record);
    assert_eq!(record["results"]["evaluation"]["examples"], 40);
    assert_eq!(record["data"]["file"]["examples"], 40);
    assert_eq!(record["model"]["num_heads"], HEADS);
    assert_eq!(record["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(record["options"]["granularity"], "example");

    let (kind, shape, importance) = toy.array("run/head_importance.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f4", &SHAPE[..]));
    let (kind, shape, raw) = toy.array("run/head_importance_raw.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f8", &SHAPE[..]));
    let expected = normalized(&raw);
    for (found, expected) in importance.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 1e-6,
            "{importance:?} {expected:?}"
        );
    }
    let (kind, _, entropy) = toy.array("run/attn_entropy.npy");
    assert_eq!(kind, "<f4");
    assert!(
        entropy.iter().all(|e| (0.0..24_f64.ln()).contains(e)),
        "{entropy:?}"
    );

    let (kind, _, ranks) = toy.array("run/head_ranks.npy");
    assert_eq!(kind, "<i8");
    let best = ranks.iter().position(|rank| *rank == 0.0).unwrap();
    assert_eq!(importance[best], 1.0);

    let heads = toy.table("run/heads.csv");
    assert_eq!(
        heads[0].join(","),
        "layer,head,importance,importance_raw,entropy,rank,live,standard_error,importance_low,importance_high,rank_low,\
         rank_high"
    );
    assert_eq!(heads.len(), 1 + LAYERS * HEADS);
    let row = &heads[1 + 2 * HEADS + 3];
    assert_eq!(&row[..2], ["2", "3"]);
    assert_eq!(row[3].parse::<f64>().unwrap(), raw[2 * HEADS + 3]);

    let predictions = toy.table("run/predictions.csv");
    assert_eq!(
        predictions[0].join(","),
        "index,line,label,prediction,loss,tokens,logit_0,logit_1,logit_2"
    );
    assert_eq!(predictions.len(), 41);
    assert_eq!(&predictions[40][..2], ["39", "41"]);
    let right = predictions[1..]
        .iter()
        .filter(|row| row[2] == row[3])
        .count();
    let accuracy = record["results"]["evaluation"]["metrics"]["acc"]
        .as_f64()
        .unwrap();
    assert!((accuracy - right as f64 / 40.0).abs() < 1e-12);
}

/// Per-layer L2, then min-max, straight from the definition.
fn normalized(raw: &[f64]) -> Vec<f64> {
    let rows = raw.chunks(HEADS).flat_map(|row| {
        let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter().map(move |v| v / norm)
    });
    let rows: Vec<f64> = rows.collect();
    let low = rows.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rows.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    rows.iter().map(|v| (v - low) / (high - low)).collect()
}

#[test]
fn the_numbers_do_not_depend_on_threads() {
    let toy = Toy::new();
    for threads in ["1", "3"] {
        let out = format!("OUT/{threads}");
        toy.run("importance", &["--output", &out, "--threads", threads])
            .ok();
    }
    for name in [
        "head_importance_raw.npy",
        "attn_entropy.npy",
        "predictions.csv",
    ] {
        assert!(
            toy.bytes(&format!("1/{name}")) == toy.bytes(&format!("3/{name}")),
            "{name}"
        );
    }
}

#[test]
fn granularities_and_normalisations_are_obeyed() {
    let toy = Toy::new();
    let raw = |name: &str, more: &[&str]| {
        let out = format!("OUT/{name}");
        let mut all = vec!["--output", &out];
        all.extend(more);
        toy.run("importance", &all).ok();
        toy.array(&format!("{name}/head_importance_raw.npy")).2
    };
    let example = raw("example", &[]);
    let token = raw("token", &["--granularity", "token"]);
    let batch = raw("batch", &["--granularity", "batch", "--batch-size", "1"]);
    let script = raw("script", &["--granularity", "script", "--batch-size", "8"]);
    let tokens = toy.record("example")["results"]["evaluation"]["tokens"]
        .as_f64()
        .unwrap();
    for i in 0..example.len() {
        assert!(token[i] >= example[i] * (1.0 - 1e-6));
        // Batches of one example are examples, divided by tokens instead of examples.
        assert!((batch[i] * tokens / 40.0 / example[i] - 1.0).abs() < 1e-9);
    }
    assert_ne!(script, batch);

    let plain = [
        "--dont_normalize_importance_by_layer",
        "--dont_normalize_global_importance",
    ];
    raw("plain", &plain);
    let (_, _, importance) = toy.array("plain/head_importance.npy");
    let f32s: Vec<f64> = example.iter().map(|v| f64::from(*v as f32)).collect();
    assert_eq!(importance, f32s);
}

#[test]
fn masking_saves_the_whole_curve() {
    let toy = Toy::new();
    // Every step passes, so the curve runs down to no head at all.
    let more = [
        "--output",
        "OUT/run",
        "--threshold-mode",
        "absolute",
        "--threshold",
        "0.01",
    ];
    let ran = toy.run("mask", &more).ok();
    assert!(
        ran.out.contains("0 of 12 heads left (12 masked)"),
        "{}",
        ran.out
    );
    let curve = toy.table("run/curve.csv");
    assert_eq!(
        curve[0].join(","),
        "step,heads_left,score,passed,loss,acc,masked_heads"
    );
    assert_eq!(curve.len(), 1 + 13);
    assert_eq!(&curve[1][..2], ["0", "12"]);
    assert_eq!(&curve[13][..2], ["12", "0"]);
    let (kind, shape, masks) = toy.array("run/masks.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f4", &[13, 3, 4][..]));
    for (step, mask) in masks.chunks(12).enumerate() {
        assert_eq!(mask.iter().sum::<f64>(), 12.0 - step as f64);
    }
    let (kind, shape, mask) = toy.array("run/head_mask.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f4", &SHAPE[..]));
    assert_eq!(mask, [0.0; 12]);
    assert_eq!(toy.record("run")["results"]["stop"], "exhausted");

    let more = [
        "--output",
        "OUT/two",
        "--threshold",
        "0.1",
        "--max-steps",
        "2",
        "--amount",
        "0.2",
    ];
    toy.run("mask", &more).ok();
    let record = toy.record("two");
    let left = record["results"]["heads_left"].as_u64().unwrap();
    let (_, shape, masks) = toy.array("two/masks.npy");
    let (_, _, mask) = toy.array("two/head_mask.npy");
    assert_eq!(mask.iter().sum::<f64>(), left as f64);
    let mut last = masks
        .chunks(12)
        .filter(|step| step.iter().sum::<f64>() == left as f64);
    assert_eq!(last.next_back().unwrap(), mask);
    assert!(shape[0] <= 3);

    // The mask is of use to the other commands, and its score is that of the curve.
    let evaluate = ["--mask", "OUT/two/head_mask.npy", "--json"];
    let found = toy.run("evaluate", &evaluate).ok().json();
    let score = found["results"]["evaluation"]["metrics"]["acc"].as_f64();
    assert_eq!(score, record["results"]["score_after"].as_f64());
    let more = ["--mask", "OUT/two/head_mask.npy", "--output", "OUT/masked"];
    toy.run("importance", &more).ok();
    let (_, _, ranks) = toy.array("masked/head_ranks.npy");
    for (rank, keep) in ranks.iter().zip(&mask) {
        assert_eq!(*rank < 0.0, *keep == 0.0);
    }
}

#[test]
fn a_finished_run_is_not_run_again() {
    let toy = Toy::new();
    let more = ["--output", "OUT/run", "--resume"];
    toy.run("importance", &more).ok();
    let before = toy.bytes("run/run.json");
    let ran = toy.run("importance", &more).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
    assert_eq!(toy.bytes("run/run.json"), before);
    toy.run(
        "importance",
        &["--output", "OUT/run", "--resume", "--granularity", "token"],
    )
    .failed(
        2,
        &["cannot be resumed", "--granularity", "example", "token"],
    );
    toy.run("mask", &more)
        .failed(2, &["cannot be resumed", "importance", "mask"]);
    toy.write("data.tsv", "text\tlabel\nthe cat\tLABEL_0\n");
    toy.run("importance", &more)
        .failed(2, &["cannot be resumed", "SHA-256 of the data"]);
}

/// The language models tell the same story without labels; the loss of tiny-gpt is the one that
/// transformers found (assets/reference-lm.json).
#[test]
fn the_demonstration_has_language_models() {
    let toy = Toy::new();
    for (model, loss) in [("tiny-gpt", Some(2.470_102)), ("tiny-gpt2", None)] {
        let out = toy.text(model);
        let ran = crate::harness::run(&["demo", "--model", model, "--output", &out]).ok();
        assert!(ran.out.contains("No labels were needed"), "{}", ran.out);
        assert!(
            ran.out
                .lines()
                .all(|line| line.chars().count() <= 80 + out.len())
        );
        let found = &toy.record(&format!("{model}/importance"))["results"]["evaluation"]["loss"];
        let found = found.as_f64().unwrap();
        assert!(
            loss.is_none_or(|loss: f64| (loss - found).abs() < 1e-5),
            "{found}"
        );
        let sizes = &toy.record(&format!("{model}/prune"))["results"]["sizes"];
        assert_eq!(sizes["heads_before"], 16);
        assert!(sizes["heads_after"].as_u64().unwrap() < 14, "{sizes}");
        crate::harness::run(&["inspect", &toy.text(&format!("{model}/prune/model"))]).ok();
    }
}

#[test]
fn the_demonstration_tells_its_story() {
    let toy = Toy::new();
    let out = toy.text("demo");
    let ran = crate::harness::run(&["demo", "--output", &out]).ok();
    for part in [
        "$ bertology importance",
        "$ bertology mask",
        "$ bertology prune",
        "Next",
    ] {
        assert!(ran.out.contains(part), "no {part}: {}", ran.out);
    }
    let right = toy.record("demo/importance")["results"]["evaluation"]["metrics"]["mcc"].as_f64();
    assert!(right.unwrap() > 0.5, "{right:?}");
    let sizes = &toy.record("demo/prune")["results"]["sizes"];
    let (before, after) = (
        sizes["heads_before"].as_u64(),
        sizes["heads_after"].as_u64(),
    );
    assert!(after.unwrap() + 3 <= before.unwrap(), "{sizes}");
    crate::harness::run(&["inspect", &toy.text("demo/prune/model")]).ok();
    crate::harness::run(&["demo", "--output", &out]).failed(2, &["not empty", "--overwrite"]);
    let again = crate::harness::run(&["demo", "--output", &out, "--overwrite", "--json"]).ok();
    assert_eq!(again.json()["command"], "demo");
}
