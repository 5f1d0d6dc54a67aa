//! The score without each head, on the command line.

use std::path::Path;

use crate::harness::{HEADS, LAYERS, Toy, run};

const SHAPE: [u64; 2] = [LAYERS as u64, HEADS as u64];

#[test]
fn it_fills_its_folder_with_what_evaluations_say() {
    let toy = Toy::new();
    let ran = toy.run("ablate", &["--output", "OUT/run", "--json"]).ok();
    assert_eq!(
        toy.names("run"),
        [
            "ablation.csv",
            "head_ablation.npy",
            "head_ablation_loss.npy",
            "report.html",
            "run.json"
        ]
    );
    let record = toy.record("run");
    assert_eq!(ran.json(), record);
    let results = &record["results"];
    assert_eq!(
        (results["metric"].as_str(), results["direction"].as_str()),
        (Some("acc"), Some("higher"))
    );
    let (kind, shape, change) = toy.array("run/head_ablation.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f4", &SHAPE[..]));
    let (kind, shape, loss_change) = toy.array("run/head_ablation_loss.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f4", &SHAPE[..]));
    let table = toy.table("run/ablation.csv");
    assert_eq!(
        table[0].join(","),
        "layer,head,change,loss_change,loss_standard_error,changed,right_to_wrong,\
         wrong_to_right,p_value,loss,acc"
    );
    assert_eq!(table.len(), 1 + LAYERS * HEADS);
    let score = |results: &serde_json::Value| {
        let evaluation = &results["evaluation"];
        let acc = evaluation["metrics"]["acc"].as_f64().unwrap();
        (acc, evaluation["loss"].as_f64().unwrap())
    };
    let (acc, loss) = score(results);
    for (layer, head) in [(0, 0), (1, 3), (2, 2)] {
        let name = format!("L{layer}H{head}");
        let one = toy
            .run("evaluate", &["--heads", &name, "--json"])
            .ok()
            .json();
        let (without, loss_without) = score(&one["results"]);
        let at = layer * HEADS + head;
        assert!((change[at] - (without - acc)).abs() < 1e-6, "{name}");
        assert!(
            (loss_change[at] - (loss_without - loss)).abs() < 1e-5,
            "{name}"
        );
        let row = &table[1 + at];
        assert_eq!((&row[0], &row[1]), (&layer.to_string(), &head.to_string()));
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        // Each example lost or won is one in forty.
        let counted = (number(7) - number(6)) / 40.0;
        assert!((counted - (without - acc)).abs() < 1e-9, "{row:?}");
        let of = &results["heads"][at];
        assert_eq!(of["head"], name);
        assert_eq!(of["p_value"].as_f64(), Some(number(8)));
        assert_eq!(of["metrics"]["acc"].as_f64(), Some(number(10)));
    }
    // Once more: nothing to do. Other heads: another run.
    let again = ["--output", "OUT/run", "--resume"];
    let ran = toy.run("ablate", &again).ok();
    assert!(ran.err.contains("complete already"), "{}", ran.err);
    let more = [&again[..], &["--heads", "0.1"]].concat();
    toy.run("ablate", &more)
        .failed(2, &["cannot be resumed", "--heads"]);
}

#[test]
fn some_heads_under_a_mask() {
    let toy = Toy::new();
    toy.write("mask.json", "[[1,1,0,1],[1,1,1,1],[0.5,1,1,1]]");
    let more = [
        "--heads",
        "0:0,3",
        "--heads",
        "L2H0",
        "--mask",
        "OUT/mask.json",
    ];
    let out = [&more[..], &["--output", "OUT/run", "--metric", "loss"]].concat();
    toy.run("ablate", &out).ok();
    let (_, _, change) = toy.array("run/head_ablation.npy");
    let studied: Vec<usize> = (0..12).filter(|at| !change[*at].is_nan()).collect();
    assert_eq!(studied, [0, 3, 8]);
    assert_eq!(
        toy.bytes("run/head_ablation.npy"),
        toy.bytes("run/head_ablation_loss.npy")
    );
    assert_eq!(toy.table("run/ablation.csv").len(), 4);
    assert_eq!(toy.record("run")["results"]["direction"], "lower");
    let text = toy.run("ablate", &more).ok().out;
    assert!(text.contains("  layer 1   .  .  .  ."), "{text}");
    // Its files are this program's, so they may be replaced.
    let more = ["--output", "OUT/run", "--overwrite"];
    toy.run("importance", &more).ok();
    assert!(!toy.names("run").contains(&"ablation.csv".to_owned()));
}

#[test]
fn what_cannot_be_left_out_is_refused() {
    let toy = Toy::new();
    toy.write("mask.json", "[[1,1,0,1],[1,1,1,1],[1,1,1,1]]");
    toy.run("ablate", &["--heads", "0.2", "--mask", "OUT/mask.json"])
        .failed(2, &["L0H2 is masked already"]);
    toy.run("ablate", &["--heads", "7.2"])
        .failed(2, &["layer 7, head 2 does not exist"]);
    toy.run("ablate", &["--metric", "mcc"])
        .failed(2, &["mcc", "acc"]);
    toy.run("prune", &["--heads", "1.1", "--output", "OUT/pruned"])
        .ok();
    let data = toy.text("data.tsv");
    let model = toy.text("pruned/model");
    let columns = ["--text-column", "text", "--label-column", "label"];
    let mut args = vec!["ablate", &model, "--data", &data, "--heads", "1.1"];
    args.extend(columns);
    run(&args).failed(2, &["L1H1 is pruned away"]);
}

#[test]
fn the_text_names_heads_counts_and_probabilities() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let asset = |name: &str| assets.join(name).to_str().unwrap().to_owned();
    let (model, data) = (asset("tiny-bert"), asset("grammar"));
    let args = [
        "ablate", &model, "--task", "cola", "--data", &data, "--limit", "250",
    ];
    let ran = run(&args).ok();
    // What transformers found (golden/studies/ablation.json): 18 lost, none won.
    let row = ran.out.lines().find(|line| line.contains("L1H0")).unwrap();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[..2], ["L1H0", "0.7599"]);
    assert_eq!(row[row.len() - 3..], ["18", "0", "8e-6"]);
    assert!(ran.out.contains("Removal hurts most"), "{}", ran.out);
    for line in ran.out.lines().filter(|line| !line.starts_with('/')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // A language model: no predictions to count.
    let (model, text) = (asset("tiny-gpt2"), asset("grammar/dev.txt"));
    for metric in ["loss", "perplexity", "bits_per_byte"] {
        let args = [
            "ablate", &model, "--text", &text, "--limit", "20", "--metric", metric,
        ];
        let ran = run(&args).ok();
        assert!(ran.out.contains("positive hurts"), "{}", ran.out);
        assert!(!ran.out.contains("lost"), "{}", ran.out);
        for line in ran.out.lines().filter(|line| !line.starts_with('/')) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
