//! `report`, `heads` and `compare`, and the page that every run leaves.

use std::fs;

use crate::harness::{HEADS, LAYERS, Toy, run};

#[test]
fn every_run_leaves_a_page_that_can_be_made_again() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/run"]).ok();
    let page = toy.bytes("run/report.html");
    let text = String::from_utf8(page.clone()).unwrap();
    assert!(text.starts_with("<!doctype html>") && text.trim_end().ends_with("</html>"));
    // The numbers are those of the array.
    let (_, _, importance) = toy.array("run/head_importance.npy");
    for (at, value) in importance.iter().enumerate() {
        let row = format!("data-row=\"{},{},{value}\"", at / HEADS, at % HEADS);
        assert!(text.contains(&row), "{row}");
    }
    fs::remove_file(toy.path("run/report.html")).unwrap();
    let (folder, figures) = (toy.text("run"), toy.text("figures"));
    run(&["report", &folder, "--figures", &figures]).ok();
    assert!(
        toy.bytes("run/report.html") == page,
        "the page is another one now"
    );
    assert_eq!(
        toy.names("figures"),
        [
            "heat-entropy.svg",
            "heat-importance.svg",
            "importance-intervals.svg",
            "spread-entropy.svg",
            "spread-importance.svg"
        ]
    );
    assert!(toy.names("run").iter().all(|name| !name.starts_with('.')));
    // The page goes with the other files.
    toy.run("evaluate", &["--output", "OUT/run", "--overwrite"])
        .ok();
    assert!(toy.bytes("run/report.html") != page);
}

#[test]
fn damaged_folders_are_refused_by_name() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/run"]).ok();
    toy.write("run/head_importance.npy", "damaged");
    let folder = toy.text("run");
    run(&["report", &folder]).failed(2, &["head_importance.npy", "not a NumPy .npy file"]);
    run(&["report", &toy.text("model")]).failed(2, &["it has no run.json"]);
}

#[test]
fn heads_of_several_runs_stand_in_one_table() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/a"]).ok();
    toy.run("ablate", &["--output", "OUT/b"]).ok();
    let (a, b) = (toy.text("a"), toy.text("b"));
    let (csv, html) = (toy.text("heads.csv"), toy.text("heads.html"));
    let ran = run(&["heads", &a, &b, "--output", &csv, "--html", &html]).ok();
    assert!(ran.out.contains("importance") && ran.out.lines().count() > LAYERS * HEADS);
    assert!(
        ran.out
            .lines()
            .all(|line| line.chars().count() <= 80 || line.contains('/')),
        "{}",
        ran.out
    );
    let table = toy.table("heads.csv");
    assert_eq!(table.len(), LAYERS * HEADS + 1);
    assert_eq!(
        table[0].join(","),
        "layer,head,importance,entropy,ablation_change,ablation_loss,importance_raw"
    );
    let (_, _, importance) = toy.array("a/head_importance.npy");
    let (_, _, loss) = toy.array("b/head_ablation_loss.npy");
    for (at, row) in table[1..].iter().enumerate() {
        assert_eq!(row[2].parse::<f64>().unwrap(), importance[at]);
        assert_eq!(row[5].parse::<f64>().unwrap(), loss[at]);
    }
    assert!(
        String::from_utf8(toy.bytes("heads.html"))
            .unwrap()
            .contains("<table")
    );
    run(&["heads", &a, "--output", &csv]).failed(2, &["heads.csv", "--overwrite"]);
    run(&["heads", &a, "--output", &csv, "--overwrite"]).ok();
    let json = run(&["heads", &a, "--json"]).ok().json();
    assert_eq!(json["heads"].as_array().unwrap().len(), LAYERS * HEADS);
}

#[test]
fn a_pruned_model_is_compared_with_the_whole_one() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/whole"]).ok();
    toy.run("prune", &["--heads", "0:1,3", "--output", "OUT/pruned"])
        .ok();
    for file in ["vocab.txt", "tokenizer_config.json"] {
        let to = toy.path("pruned/model").join(file);
        if !to.exists() {
            fs::copy(toy.path("model").join(file), to).unwrap();
        }
    }
    let data = toy.text("data.tsv");
    let (model, out) = (toy.text("pruned/model"), toy.text("less"));
    let columns = ["--text-column", "text", "--label-column", "label"];
    let mut args = vec!["importance", &model, "--data", &data, "--output", &out];
    args.extend(columns);
    run(&args).ok();
    let whole = toy.text("whole");
    run(&["heads", &whole, &out]).failed(2, &["another model", "SHA-256"]);
    let page = toy.text("both.html");
    let ran = run(&["compare", &whole, &out, "--output", &page]).ok();
    assert!(
        ran.out.contains("importance: 2 heads only in A"),
        "{}",
        ran.out
    );
    let json = run(&["compare", &whole, &out, "--json"]).ok().json();
    assert_eq!(json["heads"][0]["heads_in_both"], LAYERS * HEADS - 2);
    assert_eq!(json["heads"][0]["only_in_first"], 2);
    let same = run(&["compare", &whole, &whole, "--json"]).ok().json();
    for coefficient in ["spearman", "kendall"] {
        let value = same["heads"][0][coefficient].as_f64().unwrap();
        assert!((value - 1.0).abs() < 1e-12, "{coefficient} {value}");
    }
    assert_eq!(same["heads"][0]["mean_difference"], 0.0);
    let pruned = toy.text("pruned");
    run(&["compare", &whole, &pruned]).failed(2, &["is a run of importance", "is one of prune"]);
}
