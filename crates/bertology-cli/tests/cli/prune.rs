//! Heads removed for good.

use serde_json::json;

use crate::harness::{Toy, run};

#[test]
fn given_heads_are_removed_without_data() {
    let toy = Toy::new();
    let (model, out) = (toy.text("model"), toy.text("out"));
    let heads = ["--heads", "0:1,3", "--heads", "L2H0-2"];
    // A range belongs to the form with a colon.
    run(&[
        "prune", &model, "--heads", "L2H0-2", "--heads", "0.1", "--output", &out,
    ])
    .ok();
    run(&[
        "prune",
        &model,
        "--output",
        &out,
        "--overwrite",
        "--heads",
        "0:1,3",
        "2.0",
    ])
    .code
    .filter(|code| *code == 2)
    .unwrap();
    let ran = run(&[
        &["prune", &model, "--output", &out, "--overwrite"],
        &heads[..],
    ]
    .concat())
    .ok();
    assert!(ran.out.contains("Opened again and compared"), "{}", ran.out);
    assert_eq!(
        toy.names("out"),
        ["head_mask.npy", "model", "report.html", "run.json"]
    );
    assert_eq!(
        toy.names("out/model"),
        [
            "config.json",
            "model.safetensors",
            "tokenizer_config.json",
            "vocab.txt"
        ]
    );
    let config: serde_json::Value =
        serde_json::from_slice(&toy.bytes("out/model/config.json")).unwrap();
    assert_eq!(config["pruned_heads"], json!({"0": [1, 3], "2": [0, 1, 2]}));
    let (_, _, mask) = toy.array("out/head_mask.npy");
    assert_eq!(mask, [1., 0., 1., 0., 1., 1., 1., 1., 0., 0., 0., 1.]);
    let inspected = run(&["inspect", &toy.text("out/model"), "--json"])
        .ok()
        .json();
    assert_eq!(inspected["heads_present"], 7);
    // 5 heads of 4·32·8 + 3·8 parameters.
    let whole = run(&["inspect", &model, "--json"]).ok().json();
    let removed = whole["parameters"].as_u64().unwrap() - inspected["parameters"].as_u64().unwrap();
    assert_eq!(removed, 5 * (4 * 32 * 8 + 3 * 8));
    // The same by the mask just written; heads already gone are no obstacle.
    let mask = toy.text("out/head_mask.npy");
    let (pruned, twice) = (toy.text("out/model"), toy.text("twice"));
    run(&["prune", &pruned, "--mask", &mask, "--output", &twice]).ok();
    assert!(
        toy.bytes("twice/model/config.json") == toy.bytes("out/model/config.json"),
        "pruning again changes nothing"
    );
}

#[test]
fn a_dry_run_says_what_pruning_would_do_and_writes_nothing() {
    let toy = Toy::new();
    let before = toy.names(".");
    let heads = ["--heads", "1:0-3", "--heads", "0.2"];
    let dry = toy
        .run("prune", &[&heads[..], &["--dry-run"]].concat())
        .ok();
    assert!(dry.out.contains("would go: L0H2 L1H0"), "{}", dry.out);
    assert_eq!(toy.names("."), before);
    let said = toy
        .run("prune", &[&heads[..], &["--dry-run", "--json"]].concat())
        .ok();
    let said = &said.json()["results"];
    toy.run("prune", &[&heads[..], &["--output", "OUT/out"]].concat())
        .ok();
    let done = &toy.record("out")["results"];
    for key in [
        "removed_heads",
        "sizes",
        "evaluation_before",
        "evaluation_after",
        "paired",
    ] {
        assert_eq!(said[key], done[key], "{key}");
    }
    assert_eq!(said["checkpoint"], serde_json::Value::Null);
    // The size of the file that was not written, in the table of both.
    let size = |out: &str| {
        out.lines()
            .find(|line| line.trim_start().starts_with("file "))
            .map(str::to_owned)
    };
    let again = toy
        .run("prune", &[&heads[..], &["--output", "OUT/again"]].concat())
        .ok();
    assert!(size(&dry.out).is_some());
    assert_eq!(size(&dry.out), size(&again.out));

    let most = [
        "--max-drop",
        "1pt",
        "--metric",
        "acc",
        "--dry-run",
        "--output",
        "OUT/found",
    ];
    let found = toy.run("prune", &most).ok();
    assert!(found.out.contains("nothing was written"), "{}", found.out);
    assert!(!toy.path("found").exists());
}

#[test]
fn masked_zeroed_and_pruned_models_agree() {
    let toy = Toy::new();
    // All of layer 1, and one head more.
    let heads = ["--heads", "1:0-3", "--heads", "0.2"];
    let masked = [&heads[..], &["--output", "OUT/masked"]].concat();
    toy.run("evaluate", &masked).ok();
    let pruned = [&heads[..], &["--output", "OUT/pruned"]].concat();
    let ran = toy.run("prune", &pruned).ok();
    assert!(ran.out.contains("Layer 1 has no head left"), "{}", ran.out);
    let zeroed = [&heads[..], &["--output", "OUT/zeroed", "--keep-shape"]].concat();
    let ran = toy.run("prune", &zeroed).ok();
    assert!(ran.out.contains("full shape"), "{}", ran.out);
    let config: serde_json::Value =
        serde_json::from_slice(&toy.bytes("zeroed/model/config.json")).unwrap();
    assert_eq!(config.get("pruned_heads"), None);

    let (_, _, expected) = logits(&toy, "masked");
    for form in ["pruned", "zeroed"] {
        let model = toy.text(&format!("{form}/model"));
        let data = toy.text("data.tsv");
        let out = toy.text(&format!("{form}-again"));
        run(&[
            "evaluate",
            &model,
            "--data",
            &data,
            "--text-column",
            "text",
            "--label-column",
            "label",
            "--output",
            &out,
        ])
        .ok();
        let (rows, columns, found) = logits(&toy, &format!("{form}-again"));
        assert_eq!((rows, columns), (40, 3));
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 2e-5,
                "{form}: {found} {expected}"
            );
        }
    }
    // Heads of zeros are no heads: all numbers are those of the model in memory, which lacks them.
    let data = toy.text("data.tsv");
    for command in ["importance", "ablate", "patterns"] {
        for form in ["pruned", "zeroed"] {
            let (model, out) = (
                toy.text(&format!("{form}/model")),
                format!("{form}-{command}"),
            );
            let labels: &[&str] = match command {
                "patterns" => &[],
                _ => &["--label-column", "label"],
            };
            let out = toy.text(&out);
            let all = [
                &[
                    command,
                    &model,
                    "--data",
                    &data,
                    "--text-column",
                    "text",
                    "--output",
                    &out,
                ],
                labels,
            ];
            run(&all.concat()).ok();
        }
        let (pruned, zeroed) = (format!("pruned-{command}"), format!("zeroed-{command}"));
        for file in toy.names(&pruned) {
            if file.ends_with(".npy") || file.ends_with(".csv") {
                let (one, other) = (format!("{pruned}/{file}"), format!("{zeroed}/{file}"));
                assert!(toy.bytes(&one) == toy.bytes(&other), "{command}: {file}");
            }
        }
    }
    for row in &toy.table("pruned-importance/heads.csv")[1..] {
        let gone = row[0] == "1" || row[..2] == ["0", "2"];
        assert_eq!(row[2].is_empty(), gone, "{row:?}");
    }
    let model = toy.text("zeroed/model");
    let found = run(&["inspect", &model, "--json"]).ok().json();
    assert_eq!(found["heads_present"], 7);
    // The record's comparison is that of the same two models.
    let record = &toy.record("pruned")["results"];
    let evaluated = &toy.record("masked")["results"]["evaluation"];
    assert_eq!(record["evaluation_after"]["metrics"], evaluated["metrics"]);
    assert!(record["timing"]["speedup"].as_f64().unwrap() > 0.0);
}

fn logits(toy: &Toy, folder: &str) -> (usize, usize, Vec<f64>) {
    let table = toy.table(&format!("{folder}/predictions.csv"));
    let columns = table[0]
        .iter()
        .filter(|name| name.starts_with("logit_"))
        .count();
    let first = table[0].len() - columns;
    let values = table[1..].iter().flat_map(|row| &row[first..]);
    (
        table.len() - 1,
        columns,
        values.map(|v| v.parse().unwrap()).collect(),
    )
}

#[test]
fn heads_found_by_masking_are_removed() {
    let toy = Toy::new();
    let more = ["--threshold", "0.8", "--amount", "0.25"];
    let mask = [&more[..], &["--output", "OUT/mask"]].concat();
    toy.run("mask", &mask).ok();
    let prune = [&more[..], &["--output", "OUT/prune"]].concat();
    let ran = toy.run("prune", &prune).ok();
    for part in ["heads", "parameters", "file", "acc", "times as fast"] {
        assert!(ran.out.contains(part), "no {part}: {}", ran.out);
    }
    assert_eq!(
        toy.bytes("mask/head_mask.npy"),
        toy.bytes("prune/head_mask.npy")
    );
    assert_eq!(toy.bytes("mask/curve.csv"), toy.bytes("prune/curve.csv"));
    let record = &toy.record("prune")["results"];
    let score = record["masking"]["score_after"].as_f64();
    assert_eq!(record["evaluation_after"]["metrics"]["acc"].as_f64(), score);
    assert_eq!(
        record["sizes"]["heads_after"],
        record["masking"]["heads_left"]
    );
}

#[test]
fn a_head_of_zeros_is_counted_by_nobody() {
    let toy = Toy::new();
    // All of layer 1, and one head more: 12 - 5 are left.
    let heads = ["--heads", "1:0-3", "--heads", "0.2"];
    let pruned = [&heads[..], &["--output", "OUT/pruned"]].concat();
    toy.run("prune", &pruned).ok();
    let zeroed = [&heads[..], &["--output", "OUT/zeroed", "--keep-shape"]].concat();
    toy.run("prune", &zeroed).ok();
    let forms = ["pruned", "zeroed"];
    for form in forms {
        let ran = run(&["inspect", &toy.text(&format!("{form}/model")), "--json"]).ok();
        assert_eq!(ran.json()["heads_present"], 7, "{form}");
        let ran = run(&["inspect", &toy.text(&format!("{form}/model"))]).ok();
        assert!(ran.out.contains("7 of 12 present"), "{}", ran.out);
    }

    // What masks make of the whole model is what every form gives, to the last bit.
    let mask = toy.text("pruned/head_mask.npy");
    for command in ["importance", "ablate"] {
        toy.run(
            command,
            &["--mask", &mask, "--output", &format!("OUT/{command}")],
        )
        .ok();
    }
    // The tables and arrays of a command on one form of the model.
    let outputs = |command: &str, form: &str, more: &[&str]| {
        let (model, out) = (
            toy.text(&format!("{form}/model")),
            format!("{command}-{form}"),
        );
        let mut arguments = toy.arguments(command, more);
        arguments[1] = model;
        arguments.extend(["--output".to_owned(), toy.text(&out)]);
        run(&arguments).ok();
        (files(&toy, &out), toy.record(&out)["results"].clone())
    };
    for command in ["importance", "ablate"] {
        let expected = files(&toy, command);
        assert!(!expected.is_empty());
        for form in forms {
            let (found, _) = outputs(command, form, &[]);
            assert_eq!(found, expected, "{command} of the {form} model");
        }
    }
    for (command, more) in [
        ("patterns", &[][..]),
        ("mask", &["--threshold", "0.5"]),
        ("evaluate", &[]),
        ("cluster", &[]),
        ("extract", &["--attentions", "--limit", "3"]),
    ] {
        let [first, second] = forms.map(|form| outputs(command, form, more));
        assert_eq!(first.0, second.0, "{command}");
    }
    let ranks = toy.array("importance-zeroed/head_ranks.npy").2;
    let mut live: Vec<f64> = ranks.into_iter().filter(|rank| *rank >= 0.0).collect();
    live.sort_by(f64::total_cmp);
    assert_eq!(live, [0., 1., 2., 3., 4., 5., 6.]);
    // Normalised scores reach from 0 to 1 among those that are there.
    let scores = toy.array("importance-pruned/head_importance.npy").2;
    let least = (0..12)
        .filter(|at| ![2, 4, 5, 6, 7].contains(at))
        .map(|at| scores[at]);
    assert_eq!(least.fold(f64::INFINITY, f64::min), 0.0);
}

/// Every file of a run that holds its numbers alone.
fn files(toy: &Toy, folder: &str) -> Vec<(String, Vec<u8>)> {
    let names = toy.names(folder).into_iter();
    let numbers = names.filter(|name| {
        [".npy", ".csv", ".safetensors"]
            .iter()
            .any(|end| name.ends_with(end))
    });
    numbers
        .map(|name| {
            let bytes = toy.bytes(&format!("{folder}/{name}"));
            (name, bytes)
        })
        .collect()
}
