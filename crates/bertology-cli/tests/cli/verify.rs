//! `bertology verify`: what it prints, what it writes as JSON, and how it ends.

use std::fs;
use std::path::Path;

use bertology::Precision;
use bertology::verify::Tolerances;

use crate::harness::{Toy, golden, run};

fn golden_text(folder: &str, file: &str) -> String {
    golden(folder).join(file).to_str().unwrap().to_owned()
}

/// `verify` on a golden folder and its own values.
fn arguments(folder: &str, more: &[&str]) -> Vec<String> {
    let mut all = vec![
        "verify".to_owned(),
        golden_text(folder, ""),
        "--reference".into(),
        golden_text(folder, "golden.safetensors"),
    ];
    all.extend(more.iter().map(|&word| word.to_owned()));
    all
}

#[test]
fn agreement_is_shown_line_by_line() {
    let ran = run(&arguments("gpt2-lm", &["--prefix", "ones."])).ok();
    assert!(
        ran.out
            .contains("4 sequences, 24 tokens compared, 8 positions of padding")
    );
    assert!(ran.out.contains("of the group left."), "{}", ran.out);
    let line = |name: &str| ran.out.lines().find(|line| line.contains(name)).unwrap();
    let hidden: Vec<&str> = line("ones.hidden_states.2").split_whitespace().collect();
    assert_eq!(
        hidden[1], "1",
        "hidden_states.2 is behind layer 1: {hidden:?}"
    );
    assert!(hidden[2].parse::<f64>().unwrap() < 1e-5);
    assert!(ran.out.contains("tensors agree"), "{}", ran.out);
    assert!(!ran.out.contains("head 3 "), "without --heads");
    let ran = run(&arguments("gpt2-lm", &["--prefix", "ones", "--heads"])).ok();
    // Seven sites of four heads in three layers, their gradients, and the mask's.
    let heads = ran.out.lines().filter(|l| l.trim().starts_with("head "));
    assert_eq!(heads.count(), 2 * 6 * 12 + 12);
}

#[test]
fn the_document_has_every_head() {
    let found = run(&arguments(
        "bert-absolute",
        &["--prefix", "ones.", "--json"],
    ))
    .ok()
    .json();
    assert_eq!(found["agrees"], true);
    assert!(found["first_divergence"].is_null());
    let all = found["found"]["comparisons"].as_array().unwrap();
    let attention = all
        .iter()
        .find(|c| c["name"] == "ones.attention_probs.1")
        .unwrap();
    assert_eq!(attention["layer"], 1);
    assert_eq!(attention["heads"].as_array().unwrap().len(), 4);
    assert_eq!(attention["heads"][3]["head"], 3);
    assert!(attention["worst"]["place"]["key"].is_u64());
    assert_eq!(found["found"]["padding"], 8);
}

/// The weights as they are, and another activation.
#[test]
fn a_difference_is_exit_code_one_and_names_the_first_site() {
    let toy = Toy::new();
    let config = toy.path("model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"gelu\"", "\"relu\"")).unwrap();
    let reference = golden_text("bert-absolute", "golden.safetensors");
    let model = toy.text("model");
    let mut args = vec![
        "verify",
        &model,
        "--reference",
        &reference,
        "--prefix",
        "ones.",
    ];
    let ran = run(&args).failed(1, &["differ", "ones.mlp_output.0", "here", "there"]);
    assert!(ran.out.contains("\n! ones.mlp_output.0"), "{}", ran.out);
    assert!(
        ran.out.contains("\n  ones.attention_output.0"),
        "{}",
        ran.out
    );
    args.push("--json");
    let found = run(&args).failed(1, &[]).json();
    assert_eq!(found["first_divergence"], "ones.mlp_output.0");
    assert_eq!(found["agrees"], false);
    args.extend(["--tolerance", "10", "--loss-tolerance", "10"]);
    args.extend(["--gradient-tolerance", "10"]);
    run(&args).ok();
}

#[test]
fn references_that_cannot_be_compared_say_what_to_do() {
    let parts = ["nothing was compared", "ones.", "by its prefix"];
    run(&arguments("bert-absolute", &[])).failed(2, &parts);
    run(&arguments(
        "bert-absolute",
        &["--prefix", "ones.", "--tolerance", "-1"],
    ))
    .failed(2, &["tolerance", "positive"]);
    let toy = Toy::new();
    let (model, absent) = (toy.text("model"), toy.text("absent"));
    run(&["verify", &model, "--reference", &absent]).failed(1, &["cannot read", "absent"]);
    let table = toy.text("data.tsv");
    run(&["verify", &model, "--reference", &table]).failed(1, &["not a safetensors file"]);
    assert_eq!(
        run(&["verify", &model]).code,
        Some(2),
        "--reference is required"
    );
}

#[test]
fn the_page_has_the_default_tolerances() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands/verify.md");
    let page = fs::read_to_string(page).unwrap();
    let help = run(&["verify", "--help"]).ok().out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = |of: fn(&Tolerances) -> f64| {
        let each = Precision::ALL.map(|precision| of(&Tolerances::of(precision)));
        each.map(|value| {
            if value < 0.1 {
                format!("{value:e}")
            } else {
                value.to_string()
            }
        })
    };
    for (option, [single, split, narrow]) in [
        ("--tolerance", rows(|all| all.values)),
        ("--loss-tolerance", rows(|all| all.loss)),
        ("--gradient-tolerance", rows(|all| all.gradients)),
    ] {
        let row = format!("| `{option}` | {single} | {split} | {narrow} |");
        assert!(page.contains(&row), "{row}");
        let with = help.contains(&format!(
            "[default: {single}; with --precision split {split}, bf16 {narrow}]"
        ));
        let short = help.contains(&format!(
            "[default: {single}; split {split}, bf16 {narrow}]"
        ));
        assert!(with || short, "{row} {help}");
    }
}

/// A reference in f32, and ours in the others: each within its own tolerances, and not within those of f32.
#[test]
fn every_precision_has_tolerances_of_its_own() {
    for precision in ["split", "bf16"] {
        let more = ["--prefix", "ones.", "--precision", precision];
        let ran = run(&arguments("bert-absolute", &more)).ok();
        assert!(
            ran.err.contains(precision) || !ran.err.contains("note"),
            "{}",
            ran.err
        );
        let strict = ["--tolerance", "1e-6", "--gradient-tolerance", "1e-6"];
        let ran = run(&arguments("bert-absolute", &[&more[..], &strict].concat()));
        ran.failed(1, &["differ from the reference"]);
    }
    let ran = run(&arguments("bert-absolute", &["--precision", "fp16"]));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("f32, split and bf16"), "{}", ran.err);
}
