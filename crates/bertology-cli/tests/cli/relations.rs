//! `relations` and `contacts`: tables, regressions, pages, parts, mistakes.

use std::fs;
use std::path::Path;

use bertology_testkit::golden;

use crate::harness::{HEADS, LAYERS, Toy, run};
use crate::parts::asset;

/// Of the embedded model.
const LAYERS_OF_TINY: usize = 4;
const HEADS_OF_TINY: usize = 4;

fn pairs(name: &str) -> String {
    let file = golden(&format!("studies/relations/{name}.jsonl"));
    file.to_str().unwrap().to_owned()
}

#[test]
fn relations_write_every_head_and_the_regression() {
    let toy = Toy::new();
    let (model, test, train) = (asset("tiny-bert"), pairs("test"), pairs("train"));
    let out = toy.text("run");
    let base = ["relations", &model, "--data", &test];
    let ran = run(&[&base[..], &["--train", &train, "--output", &out]].concat()).ok();
    for part in [
        "12 texts",
        "related pairs of 3 labels",
        "fitted on",
        "share of attention",
        "average precision",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    assert_eq!(
        toy.names("run"),
        [
            "regression.json",
            "relation_example.json",
            "relation_heads.csv",
            "relation_regressions.csv",
            "report.html",
            "run.json",
        ]
    );
    let heads = toy.table("run/relation_heads.csv");
    assert_eq!(heads.len(), 1 + 3 * LAYERS_OF_TINY * HEADS_OF_TINY);
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(golden("studies/relations/expected.json")).unwrap())
            .unwrap();
    let share = heads[0].iter().position(|name| name == "share").unwrap();
    // The first label is `det`.
    for (at, row) in heads[1..=LAYERS_OF_TINY * HEADS_OF_TINY].iter().enumerate() {
        let known = expected["measures"]["directed"]["det all"]["heads"][at]["share"]
            .as_f64()
            .unwrap();
        let found: f64 = row[share].parse().unwrap();
        assert!((found - known).abs() < 2e-6, "{row:?} {known}");
    }
    let page = fs::read_to_string(Path::new(&toy.text("run/report.html"))).unwrap();
    for part in [
        "Whether attention follows relations",
        "relation-shares",
        "relation-example",
        "Regressions over all heads",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    let table = run(&["heads", &out, "--json"]).ok().json();
    assert!(table.to_string().contains("relation_0"), "{table}");

    // The same by the regression that lies there, on one thread.
    let (file, again) = (toy.text("run/regression.json"), toy.text("again"));
    let more = ["--regression", &file, "--threads", "1", "--output", &again];
    run(&[&base[..], &more].concat()).ok();
    for name in [
        "regression.json",
        "relation_heads.csv",
        "relation_regressions.csv",
        "relation_example.json",
    ] {
        assert!(
            toy.bytes(&format!("run/{name}")) == toy.bytes(&format!("again/{name}")),
            "{name}"
        );
    }
}

#[test]
fn parts_of_relations_merge_to_the_whole() {
    let toy = Toy::new();
    let (model, test, train) = (asset("tiny-bert"), pairs("test"), pairs("train"));
    let with = |more: &[&str]| {
        let base = [
            "relations",
            &model,
            "--data",
            &test,
            "--train",
            &train,
            "--chunk",
            "3",
            "--symmetric",
            "--apc",
        ];
        let ranges = ["--distances", "near=1-2,far=3-", "--output"];
        run(&[&base[..], &ranges, more].concat()).ok()
    };
    let names = ["whole", "part-1", "part-2", "merged"].map(|name| toy.text(name));
    let [whole, first, second, merged] = &names;
    with(&[whole]);
    with(&[second, "--part", "2/2"]);
    with(&[first, "--part", "1/2"]);
    run(&["merge", first, second, "--output", merged]).ok();
    for name in [
        "relation_heads.csv",
        "relation_regressions.csv",
        "relation_example.json",
        "regression.json",
    ] {
        assert!(
            toy.bytes(&format!("whole/{name}")) == toy.bytes(&format!("merged/{name}")),
            "{name}"
        );
    }
}

/// A protein model of the golden files, with its contact head.
fn proteins(toy: &Toy) -> String {
    let model = crate::proteins::model(toy);
    toy.write(
        "test.fasta",
        ">a\nMKTAYIAKQRQISFVKSHFSRQLE\n>b of two\nGGSGGSGGSGGS\n",
    );
    toy.write(
        "test.jsonl",
        "{\"id\": \"b\", \"contacts\": [[0, 7]]}\n{\"id\": \"a\", \"contacts\": [[0, 6], [6, 0], [2, 15], [3, 23]]}\n",
    );
    model
}

#[test]
fn contacts_are_judged_by_range_and_by_the_checkpoints_own_head() {
    let toy = Toy::new();
    let model = proteins(&toy);
    let (fasta, contacts, out) = (
        toy.text("test.fasta"),
        toy.text("test.jsonl"),
        toy.text("run"),
    );
    let base = [
        "contacts",
        &model,
        "--fasta",
        &fasta,
        "--contacts",
        &contacts,
    ];
    let trained = [
        "--train-fasta",
        &fasta,
        "--train-contacts",
        &contacts,
        "--penalty",
        "l1",
        "--inverse-penalty",
        "50",
    ];
    let ran = run(&[&base[..], &trained, &["--output", &out]].concat()).ok();
    for part in [
        "2 proteins",
        "4 related pairs of 1 label",
        "has a contact head",
        "contact, short (6 to 11)",
        "at L/2",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    let table = toy.table("run/relation_regressions.csv");
    let names: Vec<&str> = table[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        names,
        [
            "regression",
            "regression",
            "regression",
            "contact head",
            "contact head",
            "contact head"
        ]
    );
    let ranges: Vec<&str> = table[1..4].iter().map(|row| row[2].as_str()).collect();
    assert_eq!(ranges, ["short", "medium", "long"]);
    let page = fs::read_to_string(Path::new(&toy.text("run/report.html"))).unwrap();
    assert!(
        page.contains("Whether attention follows contacts")
            && page.contains("a: contact by the regression")
    );
}

/// The probabilities of the example are those of the model's own contact head, which has a golden file.
#[test]
fn the_contact_head_is_the_models() {
    let toy = Toy::new();
    let model = proteins(&toy);
    let (fasta, contacts, out) = (
        toy.text("test.fasta"),
        toy.text("test.jsonl"),
        toy.text("run"),
    );
    run(&[
        "contacts",
        &model,
        "--fasta",
        &fasta,
        "--contacts",
        &contacts,
        "--distances",
        "all=1-",
        "--output",
        &out,
    ])
    .ok();
    let example: serde_json::Value =
        serde_json::from_slice(&toy.bytes("run/relation_example.json")).unwrap();
    assert_eq!(example["regression"], "contact head");
    let loaded = bertology::LoadedModel::open(&model).unwrap();
    let encoding = loaded
        .tokenizer()
        .unwrap()
        .encode("MKTAYIAKQRQISFVKSHFSRQLE", None, None)
        .unwrap();
    let batch = bertology::model::PackedBatch::new(
        loaded.architecture(),
        &[bertology::LoadedModel::sequence(encoding)],
    )
    .unwrap();
    let found = loaded
        .model()
        .contacts(&batch, &Default::default(), &mut Default::default())
        .unwrap();
    let strongest = example["strongest"].as_array().unwrap();
    assert_eq!(strongest.len(), 24);
    for pair in strongest {
        let at = |place: usize| pair[place].as_u64().unwrap() as usize;
        let known = found[0].probabilities[at(0) * 24 + at(1)];
        assert!(
            (pair[2].as_f64().unwrap() - known).abs() < 1e-6,
            "{pair} {known}"
        );
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_do() {
    let toy = Toy::new();
    let (model, test) = (asset("tiny-bert"), pairs("test"));
    let base = ["relations", &model, "--data", &test];
    toy.write("none.jsonl", "{\"text\": \"a b\", \"pairs\": []}\n");
    toy.write(
        "all.jsonl",
        "{\"text\": \"dog dog\", \"pairs\": [[0, 1, \"x\"], [1, 0, \"x\"]]}\n",
    );
    toy.write("wrong.json", "{}");
    let [none, all, wrong] = ["none.jsonl", "all.jsonl", "wrong.json"].map(|name| toy.text(name));
    for (more, says) in [
        (&["--stride", "3"][..], &["--stride 3"][..]),
        (&["--distances", "near"], &["NAME=LEAST-MOST"]),
        (&["--distances", "near=0-3"], &["begin at 1"]),
        (&["--distances", "near=5-3"], &["begin at 1"]),
        (
            &["--min-attention", "1.5"],
            &["least attention", "between 0 and 1"],
        ),
        (&["--inverse-penalty", "0"], &["above 0"]),
        (&["--train", &none], &["none.jsonl", "has a pair"]),
        (&["--train", &all], &["nothing to tell apart"]),
        (
            &["--regression", &wrong],
            &["wrong.json", "regression.json of a run"],
        ),
        (
            &["--regression", &wrong, "--train", &test],
            &["cannot be used with"],
        ),
        (&["--too-long", "window"], &["is window"]),
        (&["--limit", "0"], &["limit"]),
    ] {
        let ran = run(&[&base[..], more].concat());
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        for part in says {
            assert!(ran.err.contains(part), "no {part} in {}", ran.err);
        }
    }
    // A regression of maps that are made in another way, and of another model.
    let out = toy.text("run");
    run(&[&base[..], &["--train", &test, "--output", &out]].concat()).ok();
    let file = toy.text("run/regression.json");
    run(&[&base[..], &["--regression", &file, "--symmetric"]].concat())
        .failed(2, &["what the regression reads", "with its direction"]);
    let other = [
        "relations",
        &toy.text("model"),
        "--data",
        &test,
        "--regression",
        &file,
    ];
    run(&other).failed(
        2,
        &[
            "the model of the regression",
            &format!("{LAYERS} layers of {HEADS} heads"),
        ],
    );
    let half = ["contacts", &model, "--fasta", &test, "--contacts", &test];
    let ran = run(&[&half[..], &["--train-fasta", &test]].concat());
    assert!(
        ran.code == Some(2) && ran.err.contains("--train-contacts"),
        "{}",
        ran.err
    );
}

#[test]
fn the_pages_example_is_what_the_command_prints() {
    crate::harness::example("relations");
}
