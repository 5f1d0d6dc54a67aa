//! Where passes run: `--device` and `bertology devices`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Toy, run};

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
