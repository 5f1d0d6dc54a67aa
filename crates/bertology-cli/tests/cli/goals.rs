//! Goals of `mask` and `prune`, bounds by `--max-drop`, and heads that are chosen on other data.

use std::fmt::Write;

use crate::harness::{HEADS, LAYERS, Toy, run};

const ALL: usize = LAYERS * HEADS;

fn left(toy: &Toy, folder: &str) -> usize {
    let (_, _, mask) = toy.array(&format!("{folder}/head_mask.npy"));
    mask.iter().filter(|kept| **kept == 1.0).count()
}

#[test]
fn shares_and_numbers_of_heads_are_exact() {
    let toy = Toy::new();
    for (number, (more, heads)) in [
        (&["--keep", "50%"][..], 6),
        (&["--keep", "0.4"], 5),
        (&["--keep", "0%"], 0),
        (&["--keep", "100%"], 12),
        (&["--heads-left", "7", "--amount", "0.34"], 7),
        (
            &["--heads-left", "7", "--amount", "1", "--recompute", "once"],
            7,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let out = format!("OUT/{number}");
        let ran = toy.run("mask", &[more, &["--output", &out]].concat()).ok();
        assert!(ran.out.contains("the goal is reached"), "{}", ran.out);
        assert!(!ran.out.contains("bound"), "{}", ran.out);
        let folder = number.to_string();
        assert_eq!(left(&toy, &folder), heads, "{more:?}");
        let results = &toy.record(&folder)["results"];
        assert_eq!(results["stop"], "goal");
        assert_eq!(results["goal"], format!("heads_left:{heads}"));
        assert_eq!(results["goal_reached"], true);
        assert!(results["bound"].is_null());
        assert_eq!(results["threshold"], "none");
        assert_eq!(
            results["masked_heads"].as_array().unwrap().len(),
            ALL - heads
        );
    }
    let page = String::from_utf8(toy.bytes("0/report.html")).unwrap();
    assert!(page.contains("heads to be left"));
    // prune removes the same.
    toy.run("prune", &["--keep", "50%", "--output", "OUT/p"])
        .ok();
    assert_eq!(toy.bytes("p/head_mask.npy"), toy.bytes("0/head_mask.npy"));
    let record = toy.record("p");
    assert_eq!(record["results"]["sizes"]["heads_after"], 6);
}

#[test]
fn a_score_that_fails_before_the_goal_is_told() {
    let toy = Toy::new();
    let strict = ["--keep", "0%", "--metric", "loss", "--threshold", "1.0001"];
    let out = [&strict[..], &["--output", "OUT/m"]].concat();
    let ran = toy.run("mask", &out).ok();
    let heads = left(&toy, "m");
    assert!(heads > 0);
    let noted =
        format!("was not reached: the next step rose above the threshold with {heads} head");
    assert!(ran.err.contains(&noted), "{}", ran.err);
    assert_eq!(toy.record("m")["results"]["goal_reached"], false);
    // prune goes on with what it has.
    let out = [&strict[..], &["--output", "OUT/p"]].concat();
    assert!(toy.run("prune", &out).ok().err.contains(&noted));
    assert!(toy.path("p/model/model.safetensors").exists());
}

#[test]
fn goals_and_bounds_that_cannot_be_are_refused() {
    let toy = Toy::new();
    for (more, parts) in [
        (&["--heads-left", "13"][..], &["from 0 to 12"][..]),
        (
            &["--heads-left", "2", "--min-heads-per-layer", "1"],
            &["3 stay", "--min-heads-per-layer"],
        ),
        (&["--keep", "150%"], &["from 0 to 1"]),
        (
            &["--keep", "0.5", "--heads-left", "3"],
            &["cannot be used with"],
        ),
        (
            &["--max-size", "1MB", "--min-speedup", "2"],
            &["cannot be used with"],
        ),
        (&["--max-size", "much"], &["30MB"]),
        (&["--max-size", "1GB"], &["with all heads already"]),
        (
            &["--max-size", "1kB"],
            &["without any head would still have", "1000 bytes"],
        ),
        (&["--min-speedup", "1"], &["above 1"]),
        (&["--min-speedup", "-1"], &["above 1"]),
        (&["--max-drop", "1"], &["1pt", "1%"]),
        (
            &["--max-drop", "1pt", "--threshold", "0.9"],
            &["cannot be used with"],
        ),
        (
            &["--max-drop", "1pt", "--masking_threshold", "0.9"],
            &["cannot be used with"],
        ),
        (
            &["--max-drop", "1pt", "--threshold-mode", "drop"],
            &["cannot be used with"],
        ),
        (
            &["--max-drop", "1pt", "--metric", "loss"],
            &["--max-drop 1%"],
        ),
        (&["--max-drop", "100%"], &["less than 100%"]),
        (
            &["--max-drop", "100pt"],
            &["acc is never below 0", "the bound 0", "--heads-left N"],
        ),
        (
            &["--threshold-mode", "drop", "--threshold", "1"],
            &["acc is never below 0", "the bound 0", "--heads-left N"],
        ),
        (
            &["--threshold-mode", "absolute", "--threshold", "0"],
            &["acc is never below 0"],
        ),
        (
            &["--keep", "0.5", "--refine"],
            &["--threshold or --max-drop"],
        ),
        (
            &["--schedule", "50%", "--keep", "0.5"],
            &["--keep", "--schedule"],
        ),
        (
            &["--schedule", "50%", "--max-drop", "1pt"],
            &["--max-drop", "--schedule"],
        ),
        (
            &["--schedule", "50%", "--refine"],
            &["--refine", "--schedule"],
        ),
        (
            &["--schedule", "50%", "--amount", "0.2"],
            &["--amount", "--schedule"],
        ),
        (
            &["--choose-on", "OUT/data.tsv"],
            &["the examples that are scored"],
        ),
        (&["--choose-on", "OUT/nowhere.tsv"], &["nowhere.tsv"]),
    ] {
        let ran = toy.run("mask", &[more, &["--output", "OUT/out"]].concat());
        assert!(matches!(ran.code, Some(1 | 2)), "{more:?}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "{more:?}, {part}: {}", ran.err);
        }
        let empty = !toy.path("out").exists() || toy.names("out").is_empty();
        assert!(empty, "{more:?}");
    }
    for more in [
        &["--keep", "50%"][..],
        &["--heads-left", "3"],
        &["--max-size", "1MB"],
        &["--min-speedup", "2"],
        &["--max-drop", "1pt"],
        &["--refine"],
        &["--choose-on", "other.tsv"],
        &["--amount", "0.2"],
        &["--recompute", "once"],
        &["--threshold-mode", "drop"],
    ] {
        let given = ["--heads", "0:1", "--output", "OUT/given"];
        let ran = toy.run("prune", &[more, &given].concat());
        ran.failed(2, &[&format!("{} steers the search", more[0])]);
    }
    for more in [["--max-size", "80kB"], ["--min-speedup", "1.1"]] {
        let ran = toy.run(
            "prune",
            &[&more[..], &["--keep-shape", "--output", "OUT/k"]].concat(),
        );
        ran.failed(2, &["--keep-shape", more[0]]);
    }
}

#[test]
fn the_file_is_no_larger_than_asked_for() {
    let toy = Toy::new();
    let whole = toy.bytes("model/model.safetensors").len();
    // 12 heads of 4 · 32 · 8 + 3 · 8 numbers of four bytes; seven of them must go.
    let head = 4 * (4 * 32 * 8 + 3 * 8);
    let size = (whole - 6 * head - head / 2).to_string();
    for (out, more) in [("a", &[][..]), ("b", &["--amount", "0.4"])] {
        let folder = format!("OUT/{out}");
        let words = [&["--max-size", &size, "--output", &folder], more].concat();
        let ran = toy.run("prune", &words).ok();
        assert!(ran.out.contains("a file of"), "{}", ran.out);
        assert_eq!(left(&toy, out), 5, "{}", ran.out);
        let written = toy.bytes(&format!("{out}/model/model.safetensors")).len();
        assert!(written <= whole - 6 * head - head / 2);
        let results = &toy.record(out)["results"];
        let steps = results["masking"]["steps"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["toward_goal"], written as f64);
        assert_eq!(results["checkpoint"]["report"]["file_bytes_after"], written);
    }
    let size = format!("{}kB", whole as f64 / 2000.0);
    let ran = toy.run("prune", &["--max-size", &size, "--output", "OUT/c"]);
    ran.failed(2, &["without any head would still have"]);
    assert!(!toy.path("c").exists() || toy.names("c").is_empty());
}

/// A toy's times say nothing; that it is never a thousand times as fast is certain.
#[test]
fn a_speed_out_of_reach_writes_no_checkpoint() {
    let toy = Toy::with_examples(6);
    let words = [
        "--min-speedup",
        "1000",
        "--amount",
        "0.5",
        "--output",
        "OUT/p",
    ];
    let ran = toy.run("prune", &words);
    assert!(ran.out.contains("speed >="), "{}", ran.out);
    ran.failed(
        2,
        &[
            "1000 times as fast, is not reached",
            "even without any head",
            "nothing is written",
        ],
    );
    assert!(!toy.path("p/model").exists());
    let ran = toy.run(
        "mask",
        &[
            "--min-speedup",
            "1000",
            "--amount",
            "0.5",
            "--output",
            "OUT/m",
        ],
    );
    let ran = ran.ok();
    assert!(
        ran.err.contains("was not reached: no head is left"),
        "{}",
        ran.err
    );
    let steps = toy.record("m")["results"]["steps"].clone();
    assert!(steps[0].get("toward_goal").is_none());
    assert!(steps[1]["toward_goal"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_last_heads_are_found_one_by_one() {
    let toy = Toy::new();
    let base = ["--metric", "loss", "--amount", "0.5"];
    let with = |out: &str, more: &[&str]| {
        let words = [&base[..], &["--output", out], more].concat();
        toy.run("mask", &words).ok()
    };
    with("OUT/coarse", &["--threshold", "1.005"]);
    with("OUT/fine", &["--threshold", "1.005", "--refine"]);
    with("OUT/drop", &["--max-drop", "0.5%"]);
    assert_eq!(toy.bytes("fine/curve.csv"), toy.bytes("drop/curve.csv"));
    assert_eq!(toy.record("drop")["results"]["threshold"], "relative:1.005");
    let (coarse, fine) = (toy.table("coarse/curve.csv"), toy.table("fine/curve.csv"));
    // The blocks are those of a search that is not refined, single heads follow.
    assert_eq!(fine[..coarse.len()], coarse);
    assert!(fine.len() > coarse.len() + 1);
    let failed = coarse.len() - 1;
    assert_eq!(fine[failed][3], "0");
    let last = fine[failed].len() - 1;
    for row in &fine[coarse.len()..] {
        assert!(!row[last].contains(' '), "{row:?}");
    }
    assert!(left(&toy, "fine") <= left(&toy, "coarse"));
    // What the record calls masked is what the mask masks.
    let results = &toy.record("fine")["results"];
    let masked = results["masked_heads"].as_array().unwrap().len();
    assert_eq!(masked, ALL - left(&toy, "fine"));
    assert_eq!(results["refined"], true);
    assert_eq!(toy.array("fine/masks.npy").1[0] as usize, fine.len() - 1);
    assert!(
        String::from_utf8(toy.bytes("fine/report.html"))
            .unwrap()
            .contains("single heads were masked")
    );
}

#[test]
fn heads_are_chosen_on_other_data_and_reported_on_these() {
    let toy = Toy::new();
    let text = String::from_utf8(toy.bytes("data.tsv")).unwrap();
    let mut other = String::new();
    for (at, line) in text.lines().enumerate() {
        if at % 3 == 0 {
            let _ = writeln!(other, "{line}");
        }
    }
    toy.write("other.tsv", &other);
    let other = toy.text("other.tsv");
    let words = ["--heads-left", "5", "--metric", "loss"];
    let ran = toy
        .run("mask", &[&words[..], &["--output", "OUT/same"]].concat())
        .ok();
    assert!(
        ran.err
            .contains("chosen on the data that are scored, which flatters"),
        "{}",
        ran.err
    );
    let few = format!("{other}:8");
    let elsewhere = [&words[..], &["--choose-on", &few]].concat();
    let ran = toy
        .run("mask", &[&elsewhere[..], &["--output", "OUT/m"]].concat())
        .ok();
    assert!(!ran.err.contains("flatters"), "{}", ran.err);
    assert!(
        ran.out.contains("heads are chosen on") && ran.out.contains("8 examples"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("Right to wrong") && ran.out.contains("over pairs of examples"),
        "{}",
        ran.out
    );
    // The search is that of the other data alone.
    let alone = [
        "mask",
        &toy.text("model"),
        "--data",
        &other,
        "--limit",
        "8",
        "--text-column",
        "text",
        "--label-column",
        "label",
        "--output",
        &toy.text("alone"),
    ];
    run(&[&alone[..], &words].concat()).ok();
    for file in ["head_mask.npy", "curve.csv", "heads.csv"] {
        let (found, expected) = (format!("m/{file}"), format!("alone/{file}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{file}");
    }
    // And the report that of these.
    let found = toy.record("m")["results"]["on_data"].clone();
    for (heads, key) in [(false, "evaluation_before"), (true, "evaluation_after")] {
        let mask = toy.text("m/head_mask.npy");
        let mask: &[&str] = if heads { &["--mask", &mask] } else { &[] };
        let expected = toy
            .run("evaluate", &[mask, &["--json"]].concat())
            .ok()
            .json();
        let expected = &expected["results"]["evaluation"];
        for key in ["metrics", "loss", "examples"] {
            assert_eq!(
                found[if heads {
                    "evaluation_after"
                } else {
                    "evaluation_before"
                }][key],
                expected[key]
            );
        }
        assert_eq!(found[key]["examples"], 40);
    }
    // The counts are those of the predictions, which `evaluate` writes down one by one.
    let right = |heads: bool| -> Vec<bool> {
        let mask = toy.text("m/head_mask.npy");
        let out = format!("OUT/e{heads}");
        let mask: &[&str] = if heads { &["--mask", &mask] } else { &[] };
        toy.run("evaluate", &[mask, &["--output", &out]].concat())
            .ok();
        let rows = toy.table(&format!("e{heads}/predictions.csv"));
        let column = |name: &str| rows[0].iter().position(|own| own == name).unwrap();
        let (label, said) = (column("label"), column("prediction"));
        rows[1..]
            .iter()
            .map(|row| row[label] == row[said])
            .collect()
    };
    let (before, after) = (right(false), right(true));
    let count = |was: bool, is: bool| {
        let both = before.iter().zip(&after);
        both.filter(|(b, a)| (**b, **a) == (was, is)).count()
    };
    let paired = &found["paired"];
    assert_eq!(paired["right_to_wrong"], count(true, false));
    assert_eq!(paired["wrong_to_right"], count(false, true));
    let changed = paired["changed"].as_u64().unwrap() as usize;
    assert!(changed >= count(true, false) + count(false, true) && changed > 0);
    // prune finds the same heads, and says the same of them.
    let ran = toy
        .run("prune", &[&elsewhere[..], &["--output", "OUT/p"]].concat())
        .ok();
    assert!(ran.out.contains("exact sign test"), "{}", ran.out);
    assert_eq!(toy.bytes("p/head_mask.npy"), toy.bytes("m/head_mask.npy"));
    for folder in ["m", "p"] {
        let page = String::from_utf8(toy.bytes(&format!("{folder}/report.html"))).unwrap();
        for part in ["right to wrong", "wrong to right", "change of the loss"] {
            assert!(page.contains(part), "{folder}: {part}");
        }
    }
    let results = toy.record("p")["results"].clone();
    let key = "right_to_wrong";
    assert_eq!(results["paired"][key], found["paired"][key]);
    assert_eq!(results["evaluation_before"], found["evaluation_before"]);
    // Of another number of examples it is another run.
    let more = format!("{other}:9");
    let again = [
        &words[..],
        &["--choose-on", &more, "--output", "OUT/m", "--resume"],
    ]
    .concat();
    toy.run("mask", &again).failed(2, &["--choose-on"]);
}
