//! Heads and neurons taken out under a cost.

use serde_json::{Value, json};

use crate::harness::{Toy, run};

fn config(toy: &Toy, folder: &str) -> Value {
    serde_json::from_slice(&toy.bytes(&format!("{folder}/model/config.json"))).unwrap()
}

#[test]
fn a_share_of_the_operations_is_kept_and_the_checkpoint_reads_back() {
    let toy = Toy::new();
    let ran = toy
        .run("compress", &["--flops", "60%", "--output", "OUT/out"])
        .ok();
    assert!(ran.out.contains("Opened again and compared"), "{}", ran.out);
    assert!(ran.err.contains("which flatters"), "{}", ran.err);
    assert_eq!(
        toy.names("out"),
        [
            "head_mask.npy",
            "layer_costs.csv",
            "model",
            "neuron_mask.npy",
            "report.html",
            "run.json"
        ]
    );
    let results = toy.record("out")["results"].clone();
    let [before, after] = [0, 1].map(|at| results["operations"][at].as_f64().unwrap());
    assert!(
        after <= 0.6 * before && after > 0.5 * before,
        "{before} {after}"
    );
    let (_, shape, mask) = toy.array("out/neuron_mask.npy");
    assert_eq!(shape, [3, 48]);
    let kept = mask.iter().filter(|value| **value == 1.0).count();
    assert_eq!(results["neurons"], json!([144, kept]));
    let widths = mask
        .chunks(48)
        .map(|layer| layer.iter().filter(|v| **v == 1.0).count());
    assert_eq!(results["widths"], json!(widths.collect::<Vec<_>>()));
    // What is written is what was scored.
    let model = toy.text("out/model");
    let data = toy.text("data.tsv");
    let columns = [
        "--data",
        &data,
        "--text-column",
        "text",
        "--label-column",
        "label",
    ];
    let scored = run(&[&["evaluate", &model, "--json"], &columns[..]].concat())
        .ok()
        .json();
    let close = |a: &Value, b: &Value| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5;
    let evaluation = &results["evaluation_after"];
    assert!(
        close(
            &scored["results"]["evaluation"]["loss"],
            &evaluation["loss"]
        ),
        "{scored}"
    );
    // Whatever a smaller model may be used for: other commands take it, pruning and this one among them.
    let inspected = run(&["inspect", &model]).ok();
    assert!(inspected.out.contains("neurons left"), "{}", inspected.out);
    run(&[&["importance", &model], &columns[..]].concat()).ok();
    let (again, pruned) = (toy.text("again"), toy.text("pruned"));
    run(&[
        &["compress", &model, "--flops", "80%", "--output", &again],
        &columns[..],
    ]
    .concat())
    .ok();
    run(&["prune", &model, "--heads", "0:0", "--output", &pruned]).ok();
    let extracted = toy.text("extracted");
    let extract = [
        "extract",
        &model,
        "--data",
        &data,
        "--text-column",
        "text",
        "--mlp-inner",
        "all",
    ];
    run(&[&extract[..], &["--output", &extracted]].concat()).ok();
}

#[test]
fn uniform_and_full_shapes_are_what_other_programs_read() {
    let toy = Toy::new();
    toy.run(
        "compress",
        &["--flops", "60%", "--uniform", "--output", "OUT/even"],
    )
    .ok();
    let even = config(&toy, "even");
    assert!(even["intermediate_size"].as_u64().unwrap() < 48);
    assert!(even.get("intermediate_sizes").is_none());
    assert_eq!(toy.record("even")["results"]["export"], "uniform");
    toy.run(
        "compress",
        &["--flops", "60%", "--keep-shape", "--output", "OUT/full"],
    )
    .ok();
    let full = config(&toy, "full");
    assert_eq!(full["intermediate_size"], 48);
    assert!(full.get("intermediate_sizes").is_none());
    toy.run("compress", &["--flops", "60%", "--output", "OUT/own"])
        .ok();
    let own = config(&toy, "own");
    assert_eq!(own["intermediate_size"], 48);
    assert_eq!(own["intermediate_sizes"].as_array().unwrap().len(), 3);
    // The same choice, in two forms.
    let of = |folder: &str| toy.record(folder)["results"]["evaluation_after"]["metrics"].clone();
    assert_eq!(of("full"), of("own"));
    // A file that says another width than its tensors have is refused with the layer.
    let text = own.to_string();
    let sizes = own["intermediate_sizes"].to_string();
    toy.write("own/model/config.json", &text.replace(&sizes, "[48,48,47]"));
    run(&["inspect", &toy.text("own/model")])
        .code
        .filter(|code| *code == 1)
        .unwrap();
    for (wrong, why) in [
        ("[48,48]", "3 numbers"),
        ("[48,48,49]", "1 to 48"),
        ("[48,48,0]", "layer 2"),
        ("[48,48,\"x\"]", "layer 2"),
        ("7", "3 numbers"),
    ] {
        toy.write("own/model/config.json", &text.replace(&sizes, wrong));
        run(&["inspect", &toy.text("own/model")]).failed(1, &["intermediate_sizes", why]);
    }
}

#[test]
fn sizes_speeds_and_scores_are_goals_too() {
    let toy = Toy::new();
    let whole = std::fs::metadata(toy.path("model/model.safetensors"))
        .unwrap()
        .len();
    let goal = whole * 9 / 10;
    let size = format!("{goal}B");
    toy.run("compress", &["--max-size", &size, "--output", "OUT/size"])
        .ok();
    let written = std::fs::metadata(toy.path("size/model/model.safetensors"))
        .unwrap()
        .len();
    assert!(
        written <= goal && written > goal * 9 / 10,
        "{written} {goal}"
    );
    let choose = ["--choose-on", "OUT/data.tsv:30", "--examples", "20"];
    let drop = [
        &[
            "--max-drop",
            "50%",
            "--metric",
            "acc",
            "--output",
            "OUT/drop",
        ],
        &choose[..],
    ]
    .concat();
    toy.run("compress", &drop).ok();
    let results = &toy.record("drop")["results"];
    assert_eq!(results["metric"], "acc");
    let points = toy.table("drop/compression.csv");
    assert_eq!(points[1][1], "1");
    let bound = results["bound"].as_f64().unwrap();
    for row in &points[1..] {
        let score: f64 = row[4].parse().unwrap();
        assert_eq!(row[5] == "1", score >= bound, "{row:?}");
    }
    // What is taken is the smallest that passed.
    let share = |row: &Vec<String>| row[1].parse::<f64>().unwrap();
    let least = points[1..]
        .iter()
        .filter(|row| row[5] == "1")
        .map(share)
        .fold(1.0, f64::min);
    let taken: Vec<f64> = [0, 1]
        .map(|at| results["operations"][at].as_f64().unwrap())
        .to_vec();
    assert!((taken[1] / taken[0] - least).abs() < 1e-9);
    for measure in ["michel", "taylor", "taylor2", "random"] {
        let more = [
            "--flops",
            "70%",
            "--measure",
            measure,
            "--no-exchange",
            "--no-tune",
        ];
        let more = [&more[..], &["--output", "OUT/measure", "--overwrite"]].concat();
        toy.run("compress", &more).ok();
    }
    toy.run(
        "compress",
        &["--flops", "80%", "--heads-only", "--output", "OUT/heads"],
    )
    .ok();
    assert_eq!(toy.record("heads")["results"]["neurons"], json!([144, 144]));
    toy.run(
        "compress",
        &[
            "--flops",
            "80%",
            "--neurons-only",
            "--output",
            "OUT/neurons",
        ],
    )
    .ok();
    assert_eq!(toy.record("neurons")["results"]["sizes"]["heads_after"], 12);
    // The same draws, the same weights, whatever the number of threads.
    for (folder, threads) in [("OUT/one", "1"), ("OUT/two", "2")] {
        toy.run(
            "compress",
            &["--flops", "70%", "--threads", threads, "--output", folder],
        )
        .ok();
    }
    let weights = |folder: &str| toy.bytes(&format!("{folder}/model/model.safetensors"));
    assert!(weights("one") == weights("two"));
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let toy = Toy::new();
    let refused = |more: &[&str], code: i32, parts: &[&str]| {
        let more = [more, &["--output", "OUT/no"]].concat();
        toy.run("compress", &more).failed(code, parts);
        assert!(!toy.path("no").exists());
    };
    refused(&["--flops", "1%"], 2, &["no less than", "%"]);
    refused(&["--flops", "30%", "--heads-only"], 2, &["all neurons"]);
    refused(
        &["--max-size", "1kB"],
        2,
        &["cannot have less than", "give at least"],
    );
    refused(&["--max-size", "1GB"], 2, &["nothing need go"]);
    refused(&["--speedup", "1000"], 2, &["times as fast", "give less"]);
    refused(&["--max-drop", "1pt", "--metric", "f1"], 2, &["f1"]);
    refused(
        &["--max-drop", "100%", "--metric", "acc"],
        2,
        &["--flops 60%"],
    );
    // The advice, tried once.
    let said = toy.run("compress", &["--flops", "1%", "--output", "OUT/no"]);
    let least = said
        .err
        .split("no less than ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let least = least.split('%').next().unwrap();
    toy.run(
        "compress",
        &["--flops", &format!("{least}%"), "--output", "OUT/least"],
    )
    .ok();
    let said = toy.run("compress", &["--max-size", "1kB", "--output", "OUT/no"]);
    let least = said.err.trim_end().rsplit(' ').next().unwrap().to_owned();
    toy.run("compress", &["--max-size", &least, "--output", "OUT/small"])
        .ok();
    let written = std::fs::metadata(toy.path("small/model/model.safetensors"))
        .unwrap()
        .len();
    assert!(
        written <= least.trim_end_matches('B').parse().unwrap(),
        "{written} {least}"
    );
    // Without a goal, an output, data; two goals.
    let model = toy.text("model");
    run(&["compress", &model]).failed(2, &["--flops"]);
    run(&["compress", &model, "--flops", "60%"]).failed(2, &["--output"]);
    run(&[
        "compress",
        &model,
        "--flops",
        "60%",
        "--output",
        &toy.text("no"),
    ])
    .failed(2, &["--task"]);
    for more in [
        &["--flops", "60%", "--speedup", "2"][..],
        &["--flops", "100%"],
    ] {
        let more = [more, &["--output", "OUT/no"]].concat();
        assert_eq!(toy.run("compress", &more).code, Some(2));
    }
    let within = [&["compress", &model, "--flops", "60%", "--output", &model][..]].concat();
    assert_ne!(run(&within).code, Some(0));
}

#[test]
fn the_smaller_model_recovers_at_once() {
    let toy = Toy::new();
    let refused = toy.run(
        "compress",
        &[
            "--flops", "60%", "--then", "finetune", "--output", "OUT/out",
        ],
    );
    refused.failed(2, &["--then finetune trains on", "--choose-on"]);
    std::fs::copy(toy.path("data.tsv"), toy.path("more data.tsv")).unwrap();
    let more = toy.text("more data.tsv");
    let options = [
        "--flops",
        "60%",
        "--then",
        "finetune",
        "--choose-on",
        &format!("{more}:20"),
        "--output",
        "OUT/out",
    ];
    let ran = toy.run("compress", &options).ok();
    // The command that is shown is the one that was run: it finds its work done.
    let said = ran
        .out
        .lines()
        .find(|line| line.starts_with("  bertology finetune"))
        .unwrap();
    assert!(
        said.contains("--distill") && said.contains("--dev") && said.contains("'"),
        "{said}"
    );
    let words = format!("{} --resume", said.trim().trim_start_matches("bertology "));
    let mut parts = words.split('\'');
    let mut all: Vec<String> = Vec::new();
    while let Some(plain) = parts.next() {
        all.extend(plain.split_whitespace().map(str::to_owned));
        all.extend(parts.next().map(str::to_owned));
    }
    let again = run(&all).ok();
    assert!(again.err.contains("complete already"), "{}", again.err);
    let trained = toy.record("out/finetuned");
    assert_eq!(trained["command"], "finetune");
    // The next run in the folder takes it away, as it does what it has written itself.
    let pruned = trained["model"]["heads_present"].clone();
    assert_eq!(toy.record("out")["results"]["sizes"]["heads_after"], pruned);
    let again = ["--flops", "70%", "--overwrite", "--output", "OUT/out"];
    toy.run("compress", &again).ok();
    assert!(!toy.path("out/finetuned").exists());
}

#[test]
fn options_of_the_goal_and_of_the_training_are_obeyed_or_refused() {
    let toy = Toy::new();
    let of = |more: &[&str]| toy.run("compress", &[&["--output", "OUT/out"], more].concat());
    of(&["--flops", "60%", "--time-again"]).failed(2, &["--time-again", "--speedup"]);
    of(&["--speedup", "1.1", "--keep-shape"]).failed(2, &["nothing gets faster"]);
    let then = [
        "--flops",
        "60%",
        "--then",
        "finetune",
        "--choose-on",
        &toy.text("data.tsv:20"),
    ];
    let ran = of(&[&then[..], &["--seed", "5", "--tokens-per-batch", "64"]].concat()).ok();
    let said = ran
        .out
        .lines()
        .find(|line| line.starts_with("  bertology finetune"))
        .unwrap();
    assert!(
        said.contains("--seed 5") && said.contains("--tokens-per-batch 64"),
        "{said}"
    );
    assert_eq!(toy.record("out/finetuned")["options"]["seed"], 5);
}

#[test]
fn times_of_layers_are_measured_once() {
    let toy = Toy::new();
    let cache = toy.path("cache");
    let compress = |more: &[&str]| {
        let output = ["--speedup", "1.01", "--overwrite", "--output", "OUT/out"];
        let base = toy.text("");
        let words = toy.arguments("compress", &[&output[..], more].concat());
        let words = words.iter().map(|word| word.replace("OUT/", &base));
        let ran = crate::harness::command()
            .args(words)
            .env("XDG_CACHE_HOME", &cache)
            .output()
            .unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        // What cannot be had by the times of a busy machine is refused, and measured all the same.
        assert!(
            ran.status.success() || said.contains("times as fast"),
            "{said}"
        );
        said.contains("times of layers as measured")
    };
    assert!(!compress(&[]));
    let folder = cache.join("bertology/layer-times");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert!(compress(&[]));
    assert!(!compress(&["--time-again"]));
    // Of other texts the times are others.
    assert!(!compress(&["--max-length", "4"]));
    // What no measurement gives is measured anew.
    let path = files[0].as_ref().unwrap().path();
    std::fs::write(
        &path,
        r#"{"measured": 0, "times": {"heads": [1.0, 0.5], "neurons": [], "fixed": 0.0}}"#,
    )
    .unwrap();
    assert!(!compress(&[]));
    assert!(compress(&[]));
}
