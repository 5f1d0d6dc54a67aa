//! Where passes run: `--device` and `bertology devices`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Toy, run};

/// Every command that makes models smaller, each with a way of its own.
const SMALLER: [&[&str]; 5] = [
    &["prune", "--keep", "50%"],
    &["prune", "--heads", "0:1,3", "--heads", "1:0-3"],
    &["compress", "--flops", "60%"],
    &[
        "judge",
        "--units",
        "layers",
        "--examples",
        "8",
        "--left",
        "67%",
    ],
    &[
        "judge",
        "--measures",
        "integrated,leave-one-out,gates-l0,key-norm",
        "--gate-steps",
        "2",
        "--points",
        "2",
        "--examples",
        "8",
        "--left",
        "50%",
    ],
];

#[test]
fn the_processor_is_there() {
    let ran = run(&["devices"]).ok();
    assert!(ran.out.starts_with("cpu    "), "{}", ran.out);
    let document = run(&["devices", "--json"]).ok().json();
    assert_eq!(document["devices"][0]["kind"], "cpu");
}

/// What cannot be had is an error that says why, before anything is read or written.
#[test]
fn what_is_no_device_is_refused() {
    let toy = Toy::new();
    let model = toy.text("model");
    for name in ["cuda:0", "gpu:", ""] {
        let ran = run(&["view", &model, "a", "--device", name]);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(
            ran.err.contains("no device") || ran.err.contains("value is required"),
            "{}",
            ran.err
        );
    }
    let ran = run(&["view", &model, "a", "--device", "gpu:no such card"]);
    ran.failed(
        1,
        &[
            "gpu:no such card cannot be used",
            "everything runs on the processor",
        ],
    );
    // Those that make models smaller, before anything is written.
    for words in SMALLER {
        let words = [words, &["--device", "gpu:no such card"]].concat();
        let ran = toy.run(words[0], &[&words[1..], &["--output", "OUT/no"]].concat());
        ran.failed(1, &["gpu:no such card cannot be used"]);
        assert!(!toy.path("no").exists());
    }
    // Training is done by the processor.
    let ran = run(&["finetune", &model, "--device", "cpu"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("--device"), "{}", ran.err);
}

#[cfg(feature = "gpu")]
#[test]
fn precisions_are_those_of_the_processor() {
    let toy = Toy::new();
    let model = toy.text("model");
    let words = [
        "view",
        &model,
        "a",
        "--device",
        "host",
        "--precision",
        "split",
    ];
    run(&words).failed(2, &["computes in f32", "split"]);
}

/// The record says where a run was computed; parts of several kinds of devices are merged, with a word.
#[test]
fn parts_say_where_they_were_computed() {
    let toy = Toy::new();
    let mut parts = Vec::new();
    for number in 1..=2 {
        let (folder, part) = (toy.text(&format!("part-{number}")), format!("{number}/2"));
        toy.run(
            "importance",
            &["--part", &part, "--output", &folder, "--chunk", "8"],
        )
        .ok();
        parts.push(folder);
    }
    let merge = |to: &str| {
        let output = toy.text(to);
        let ran = run(&["merge", &parts[0], &parts[1], "--output", &output]).ok();
        (ran.err, toy.record(to)["device"].clone())
    };
    let (said, device) = merge("whole");
    assert!(!said.contains("kinds of devices"), "{said}");
    assert_eq!(device["kind"], "cpu");
    let file = toy.path("part-2/part.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    record["device"] = json!({ "name": "a card", "kind": "gpu", "through": "Vulkan" });
    fs::write(&file, record.to_string()).unwrap();
    let (said, _) = merge("mixed");
    assert!(
        said.contains("different kinds of devices (cpu, gpu)"),
        "{said}"
    );
}

/// Where `run.json` of a folder says that passes ran, and its results.
#[cfg(feature = "gpu")]
fn computed(toy: &Toy, folder: &str) -> (Value, Value) {
    let record = toy.record(folder);
    (record["device"]["kind"].clone(), record["results"].clone())
}

/// The processor's scores but for rounding; and whose times are told.
#[cfg(feature = "gpu")]
#[test]
fn smaller_models_are_found_and_compared_where_they_are_to_be() {
    let toy = Toy::new();
    for words in SMALLER {
        let found = ["cpu", "host"].map(|device| {
            let more = ["--device", device, "--overwrite", "--output", "OUT/out"];
            let ran = toy.run(words[0], &[&words[1..], &more].concat()).ok();
            let said = ran.err.contains("passes run on");
            assert_eq!(said, device == "host", "{words:?}: {}", ran.err);
            let (kind, results) = computed(&toy, "out");
            assert_eq!(kind, device, "{words:?}");
            results
        });
        let [here, there] = &found;
        let scores = match words[0] {
            "judge" => vec!["whole"],
            _ => vec!["evaluation_before", "evaluation_after"],
        };
        for of in scores {
            let loss = |results: &Value| results[of].get("loss").unwrap_or(&results[of]).as_f64();
            let [here, there] = [here, there].map(|results| loss(results).unwrap());
            assert!((here - there).abs() < 1e-4, "{words:?}: {here} {there}");
        }
        if words[0] == "judge" {
            continue;
        }
        let times = there["timing"].as_array().cloned();
        let times = times.unwrap_or_else(|| vec![there["timing"].clone()]);
        assert!(times.iter().all(|timing| timing["device"].is_string()));
        let times = here["timing"].get(0).unwrap_or(&here["timing"]);
        assert!(times.get("device").is_none(), "{times}");
    }
    // What was computed elsewhere may be gone on with here.
    let more = ["--device", "cpu", "--resume", "--output", "OUT/out"];
    let ran = toy.run("judge", &[&SMALLER[4][1..], &more].concat()).ok();
    assert!(ran.err.contains("nothing to resume"), "{}", ran.err);
    assert_eq!(computed(&toy, "out").0, "host");
}

/// Fewer tokens are looked for on the device, too; training is the processor's, which is said.
#[cfg(feature = "gpu")]
#[test]
fn fewer_tokens_and_training_say_where_they_are() {
    let toy = Toy::new();
    let texts = toy.text("texts.txt");
    toy.write("texts.txt", "the cat sees a dog\na small horse\n");
    std::fs::copy(toy.path("data.tsv"), toy.path("more.tsv")).unwrap();
    let words = [
        "--trim-vocabulary",
        &texts,
        "--device",
        "host",
        "--output",
        "OUT/out",
    ];
    toy.run("compress", &words).ok();
    assert_eq!(computed(&toy, "out").0, "host");
    let more = ["--flops", "60%", "--then", "finetune", "--overwrite"];
    let choose = ["--choose-on", &format!("{}:20", toy.text("more.tsv"))];
    let ran = toy.run("compress", &[&words[..], &more, &choose].concat());
    let ran = ran.ok();
    assert!(ran.err.contains("the processor trains"), "{}", ran.err);
    assert_eq!(computed(&toy, "out").0, "host");
    assert_eq!(computed(&toy, "out/finetuned").0, "cpu");
}

/// Times of layers are those of the device, and kept apart from the processor's.
#[cfg(feature = "gpu")]
#[test]
fn times_are_of_the_device() {
    let toy = Toy::new();
    let cache = toy.path("cache");
    for (device, known) in [("cpu", 1), ("host", 2), ("host", 2)] {
        let base = toy.text("");
        let more = ["--speedup", "1.01", "--device", device, "--overwrite"];
        let words = toy.arguments("compress", &[&more[..], &["--output", "OUT/out"]].concat());
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
        let kept = fs::read_dir(cache.join("bertology/layer-times")).unwrap();
        assert_eq!(kept.count(), known, "{device}");
    }
}
