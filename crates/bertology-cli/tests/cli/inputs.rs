//! Everything that may be wrong with what the user gives: one sentence, the right exit code.

use std::fs;

use crate::harness::{Toy, golden, run};
use crate::parts::asset;

#[test]
fn data_faults_name_the_file_the_line_and_the_reason() {
    let toy = Toy::new();
    for (name, text, parts) in [
        (
            "label.tsv",
            "text\tlabel\nthe cat\tLABEL_0\nthe dog\tLABEL_9\n",
            &["line 3", "LABEL_9"][..],
        ),
        (
            "columns.tsv",
            "text\tlabel\nthe cat\tLABEL_0\nthe dog\n",
            &["line 3", "1 column"],
        ),
        ("empty.tsv", "", &["empty"]),
        ("header.tsv", "text\tlabel\n", &["no examples"]),
        (
            "missing.jsonl",
            "{\"text\": \"the cat\"}\n",
            &["line 1", "label"],
        ),
        (
            "broken.jsonl",
            "{\"text\"\n",
            &["line 1", "not a JSON object"],
        ),
        (
            "quote.csv",
            "text,label\n\"the cat,LABEL_0\n",
            &["line 2", "never closed"],
        ),
        (
            "column.tsv",
            "sentence\tlabel\nthe cat\tLABEL_0\n",
            &["`text`", "sentence"],
        ),
        ("data.parquet", "PAR1", &[".tsv, .csv or .jsonl"]),
    ] {
        toy.write(name, text);
        let path = toy.text(name);
        let args = [
            "--data",
            &path,
            "--text-column",
            "text",
            "--label-column",
            "label",
        ];
        let mut all = vec!["evaluate".to_owned(), toy.text("model")];
        all.extend(args.map(str::to_owned));
        let mut parts = parts.to_vec();
        parts.push(name);
        run(&all).failed(2, &parts);
    }
    let long = format!(
        "text\tlabel\nthe cat\tLABEL_0\n{}\tLABEL_1\n",
        "x".repeat(2 << 20)
    );
    toy.write("data.tsv", &long);
    toy.run("evaluate", &[])
        .failed(2, &["data.tsv", "line 3", "longer than"]);
    fs::write(toy.path("data.tsv"), b"text\tlabel\nthe \xff\tLABEL_0\n").unwrap();
    toy.run("evaluate", &[]).failed(2, &["line 2", "UTF-8"]);
}

#[test]
fn data_that_are_not_there_or_not_said() {
    let toy = Toy::new();
    let model = toy.text("model");
    let folder = toy.text("");
    run(&["evaluate", &model]).failed(2, &["no data given", "--task"]);
    run(&["evaluate", &model, "--data", &folder]).failed(2, &["--text-column"]);
    run(&["evaluate", &model, "--task", "nope", "--data", &folder])
        .failed(2, &["unknown GLUE task `nope`", "mrpc"]);
    run(&["evaluate", &model, "--task", "mrpc", "--data", "/nope"]).failed(2, &["no such folder"]);
    run(&["evaluate", &model, "--task", "mrpc", "--data", &folder]).failed(2, &["dev.tsv"]);
    run(&[
        "evaluate", &model, "--task", "mrpc", "--split", "x", "--data", &folder,
    ])
    .failed(2, &["unknown split `x`"]);
    toy.run("evaluate", &["--split", "dev"])
        .failed(2, &["--split dev", "leave --split out"]);
    toy.run("evaluate", &["--task", "mrpc"])
        .failed(2, &["give one of the two"]);
    toy.run("evaluate", &["--limit", "0"])
        .failed(2, &["limit of 0"]);
    toy.run("evaluate", &["--max-length", "25"])
        .failed(2, &["25", "24"]);
    // Faults of single options are clap's to report.
    let ran = toy.run("evaluate", &["--max-length", "0"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let ran = toy.run("evaluate", &["--no-such-option"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

#[test]
fn head_masks_that_do_not_fit() {
    let toy = Toy::new();
    for (name, text, parts) in [
        ("m.json", "[[1, 1], [1, 1]]", &["[2, 2]", "[3, 4]"][..]),
        ("m.json", "[[1, 1, 1, 1], [1]]", &["layer 1 has 1 entries"]),
        ("m.json", "{}", &["one list per layer"]),
        ("m.json", "[[1,", &["not JSON"]),
        ("m.npy", "nothing", &["not a NumPy .npy file"]),
        ("m.txt", "1 1", &[".npy or .json"]),
    ] {
        toy.write(name, text);
        let mask = format!("OUT/{name}");
        let mut parts = parts.to_vec();
        parts.push(name);
        toy.run("evaluate", &["--mask", &mask]).failed(2, &parts);
        toy.run("prune", &["--mask", &mask, "--output", "OUT/p"])
            .failed(2, &parts);
    }
    assert!(!toy.path("p").exists());
    toy.run("evaluate", &["--mask", "OUT/none.npy"])
        .failed(2, &["none.npy", "cannot be read"]);
    // Half a head can be evaluated, but not removed.
    toy.write("half.json", "[[0.5, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]");
    toy.run("evaluate", &["--mask", "OUT/half.json"]).ok();
    toy.run("prune", &["--mask", "OUT/half.json", "--output", "OUT/p"])
        .failed(2, &["L0H0 is 0.5", "removed (0)"]);
    for (heads, part) in [
        ("3:0", "layers 0 to 2"),
        ("0:4", "heads 0 to 3"),
        ("x", "does not name heads"),
        ("0:3-1", "backwards"),
        ("", "names no head"),
    ] {
        toy.run("evaluate", &["--heads", heads]).failed(2, &[part]);
        toy.run("prune", &["--heads", heads, "--output", "OUT/p"])
            .failed(2, &[part]);
    }
}

#[test]
fn model_folders_that_cannot_be_used() {
    let toy = Toy::new();
    run(&["inspect", "./nope"]).failed(2, &["no folder ./nope"]);
    run(&["inspect"]).failed(2, &["no MODEL given"]);
    run(&["inspect", &toy.text("data.tsv")]).failed(2, &["is a file"]);
    run(&["inspect", &toy.text("")]).failed(1, &["no config.json"]);
    run(&["inspect", "org/model"]).failed(1, &["org/model", "not in the cache", "offline"]);
    let local = toy.text("model");
    run(&["inspect", &local, "--revision", "v2"]).failed(2, &["no revision \"v2\""]);

    let bare = golden("bert-bare");
    let bare = bare.to_str().unwrap();
    let ran = run(&["inspect", bare]).failed(1, &["no tokenizer in "]);
    assert!(
        ran.out.contains("base model without task head"),
        "{}",
        ran.out
    );
    let data = toy.text("data.tsv");
    run(&[
        "evaluate",
        bare,
        "--data",
        &data,
        "--text-column",
        "text",
        "--label-column",
        "label",
    ])
    .failed(2, &["no task head", "sequence classifier"]);

    fs::write(toy.path("model/vocab.txt"), "").unwrap();
    fs::remove_file(toy.path("model/vocab.txt")).unwrap();
    toy.run("evaluate", &[]).failed(1, &["tokenizer"]);

    let weights = toy.path("model/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    run(&["inspect", &local]).failed(1, &["model.safetensors", "damaged or incomplete"]);
    fs::remove_file(&weights).unwrap();
    run(&["inspect", &local]).failed(1, &["holds no weights"]);
    toy.write("model/tf_model.h5", "");
    run(&["inspect", &local]).failed(1, &["TensorFlow", "save_pretrained"]);
}

#[test]
fn a_config_that_contradicts_the_weights_is_reported_in_full() {
    let toy = Toy::new();
    let local = toy.text("model");
    let config = fs::read_to_string(toy.path("model/config.json")).unwrap();
    let wider = config.replace("\"intermediate_size\": 48", "\"intermediate_size\": 64");
    toy.write("model/config.json", &wider);
    let ran = run(&["inspect", &local]).failed(1, &["[48, 32]", "[64, 32]"]);
    assert!(ran.out.contains("problems"), "{}", ran.out);
    let ran = run(&["inspect", &local, "--json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.json()["problems"].as_array().unwrap().len() > 3);
    let fewer = config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2");
    toy.write("model/config.json", &fewer);
    run(&[
        "evaluate",
        &local,
        "--data",
        "x.tsv",
        "--text-column",
        "text",
    ])
    .failed(1, &["encoder.layer.2", "allow unexpected"]);
    run(&["inspect", &local]).failed(1, &["encoder.layer.2"]);
    toy.run("evaluate", &["--allow-unexpected"]).ok();
}

#[test]
fn weights_that_are_not_numbers_never_give_a_result() {
    let toy = Toy::new();
    let path = toy.path("model/model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let end = weights.len();
    // The last tensor of the file, whichever it is, becomes NaN.
    for at in (end - 64..end).step_by(4) {
        weights[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    }
    fs::write(&path, weights).unwrap();
    toy.run("importance", &["--output", "OUT/run"])
        .failed(1, &["data.tsv, line 2", "not a finite number"]);
    assert!(toy.names("run").is_empty(), "{:?}", toy.names("run"));
}

/// A weight that every study passes: each command names the line, the layer and the site, and leaves no results.
#[test]
fn every_command_refuses_a_model_that_computes_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let assets = bertology_testkit::workspace().join("assets");
    let (good, model) = (assets.join("tiny-bert"), folder.path().join("model"));
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(&good).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let path = model.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let size = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let query = &header["bert.encoder.layer.1.attention.self.query.bias"];
    assert_eq!(query["dtype"], "F16");
    let first = 8 + size + query["data_offsets"][0].as_u64().unwrap() as usize;
    // NaN in half precision.
    bytes[first..first + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();

    let (model, grammar) = (model.to_str().unwrap(), assets.join("grammar"));
    let grammar = grammar.to_str().unwrap();
    let (trees, text) = (
        format!("{grammar}/dev.conllu"),
        format!("{grammar}/dev.txt"),
    );
    let task = ["--task", "cola", "--data", grammar, "--limit", "8"];
    let probes = ["--train", &trees, "--dev", &trees];
    for (command, input) in [
        ("importance", &task[..]),
        ("evaluate", &task),
        ("mask", &task),
        ("prune", &task),
        ("ablate", &task),
        ("patterns", &["--text", &text]),
        ("distance", &["--conllu", &trees]),
        ("cluster", &["--conllu", &trees]),
        ("syntax", &["--conllu", &trees]),
        (
            "survey",
            &["--conllu", &trees, "--studies", "patterns,syntax"],
        ),
        ("extract", &["--text", &text, "--attentions"]),
        ("attention-probe", &probes),
    ] {
        let out = folder.path().join(command);
        let output = ["--output", out.to_str().unwrap()];
        let ran = run(&[&[command, model], input, &output].concat());
        let ran = ran.failed(1, &["line ", "not a finite number"]);
        // Where maps are seen, the head is known; elsewhere what the layer adds.
        let places = ["AttentionProbs of L1H0", "AttentionOutput of layer 1"];
        let named = places.iter().any(|place| ran.err.contains(place));
        assert!(named, "{command}: {}", ran.err);
        assert!(!out.join("run.json").exists(), "{command}");
    }
    let page = folder.path().join("page.html");
    run(&["view", model, "she won", "--output", page.to_str().unwrap()])
        .failed(1, &["not a finite number"]);
    let out = folder.path().join("allowed");
    let output = ["--allow-nonfinite", "--output", out.to_str().unwrap()];
    let values = ["extract", model, "--text", &text, "--attentions"];
    let ran = run(&[&values[..], &output].concat()).ok();
    assert!(ran.err.contains("gives as NaN or infinity"), "{}", ran.err);
}

#[test]
fn masking_options_out_of_range() {
    let toy = Toy::new();
    for (more, parts) in [
        (&["--threshold", "1.5"][..], &["threshold", "1.5"][..]),
        (&["--amount", "2"], &["amount", "2"]),
        (
            &["--threshold-mode", "drop"],
            &["no default", "--threshold"],
        ),
        (
            &["--threshold-mode", "absolute", "--threshold", "2"],
            &["wrong side"],
        ),
        (&["--metric", "f2"], &["f2", "acc"]),
    ] {
        toy.run("mask", more).failed(2, parts);
    }
    let ran = toy.run("prune", &[]);
    ran.failed(2, &["--output DIR"]);
    run(&["prune", &toy.text("model"), "--output", &toy.text("p")])
        .failed(2, &["which heads shall go"]);
    toy.run(
        "prune",
        &["--heads", "0:1", "--threshold", "0.5", "--output", "OUT/p"],
    )
    .failed(2, &["--threshold steers the search"]);
}

#[test]
fn output_folders_are_not_overwritten_by_accident() {
    let toy = Toy::new();
    fs::create_dir(toy.path("out")).unwrap();
    toy.write("out/mine.txt", "keep");
    toy.run("importance", &["--output", "OUT/out"])
        .failed(2, &["not empty", "--overwrite"]);
    toy.run("importance", &["--output", "OUT/out", "--resume"])
        .failed(2, &["no state.json"]);
    toy.run("importance", &["--output", "OUT/data.tsv"])
        .failed(2, &["is a file"]);
    toy.run("importance", &["--output", "OUT/data.tsv/out"])
        .failed(1, &["data.tsv"]);
    assert_eq!(toy.names("out"), ["mine.txt"]);
    toy.run("importance", &["--output", "OUT/out", "--overwrite"])
        .ok();
    assert_eq!(toy.bytes("out/mine.txt"), b"keep");
    // Another command's files do not stay behind.
    toy.run("mask", &["--output", "OUT/out", "--overwrite"])
        .ok();
    assert!(!toy.path("out/attn_entropy.npy").exists());
    assert!(toy.path("out/mine.txt").exists());
}

/// A tokenizer that puts nothing around texts makes nothing of an empty one: every command leaves it out, counts it
/// and says so.
#[test]
fn an_empty_row_is_left_out_by_every_command() {
    let toy = Toy::new();
    let (model, data) = (asset("tiny-gpt2"), toy.text("rows.tsv"));
    toy.write(
        "rows.tsv",
        "text\tmore\nthe cat sleeps .\tx\n\tx\nthe dog sleeps .\tx\n",
    );
    toy.write(
        "rows.jsonl",
        "{\"text\": \"the cat\"}\n{\"text\": \"\"}\n{\"text\": \"a dog\"}\n",
    );
    for (command, more) in [
        ("evaluate", &[][..]),
        ("importance", &[]),
        ("ablate", &["--heads", "0.1"]),
        ("mask", &["--threshold", "1.5", "--max-steps", "1"]),
        ("prune", &["--heads", "0.1"]),
        ("patterns", &[]),
        ("cluster", &[]),
        ("extract", &["--hidden-states"]),
    ] {
        for file in ["rows.tsv", "rows.jsonl"] {
            let out = toy.text(&format!("{command}-{file}"));
            let path = data.replace("rows.tsv", file);
            let fixed = [
                command,
                &model,
                "--data",
                &path,
                "--text-column",
                "text",
                "--output",
                &out,
            ];
            let ran = run(&[&fixed[..], more].concat()).ok();
            let said = ran.err.lines().find(|line| line.contains("left out"));
            assert!(
                said.is_some_and(|line| line.contains("1 ")),
                "{command}: {}",
                ran.err
            );
        }
    }
    toy.write("nothing.jsonl", "{\"text\": \"\"}\n{\"text\": \"\"}\n");
    let nothing = toy.text("nothing.jsonl");
    for (command, more) in [
        ("evaluate", &[][..]),
        ("patterns", &[]),
        ("cluster", &[]),
        ("extract", &["--hidden-states"]),
    ] {
        let out = toy.text("none");
        let fixed = [
            command,
            &model,
            "--data",
            &nothing,
            "--text-column",
            "text",
            "--output",
            &out,
        ];
        run(&[&fixed[..], more].concat()).failed(2, &["nothing.jsonl"]);
    }
    // The same for texts of the command line.
    let out = toy.text("given");
    let ran = run(&[
        "extract", &model, "the cat", "", "--tokens", "--output", &out,
    ])
    .ok();
    assert!(
        ran.err.contains("1 text without a token left out"),
        "{}",
        ran.err
    );
    assert_eq!(
        toy.record("given")["results"]["counts"]["empty_examples"],
        1
    );
}
