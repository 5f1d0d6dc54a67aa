//! `distance`: how far heads look, as table, arrays, page and text.

use std::fs;
use std::path::Path;

use crate::harness::{HEADS, LAYERS, run};
use crate::treebanks::{arguments, toy};

#[test]
fn distance_writes_a_row_a_head_and_an_array_a_measure() {
    let toy = toy(30);
    let ran = run(&arguments(&toy, "distance", &["--output", "OUT/run"])).ok();
    for part in [
        "Distance between words, 0 nearest to 9 farthest",
        "in tokens, special ones left out",
        "30 sentences with 240 words",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    assert_eq!(
        toy.names("run"),
        [
            "attention_distance.csv",
            "distance_tokens.npy",
            "distance_tokens_without_special.npy",
            "distance_words.npy",
            "report.html",
            "run.json",
        ]
    );
    let table = toy.table("run/attention_distance.csv");
    assert_eq!(table.len(), 1 + LAYERS * HEADS);
    for name in ["tokens", "tokens_without_special", "words"] {
        let (_, shape, values) = toy.array(&format!("run/distance_{name}.npy"));
        assert_eq!(shape, [LAYERS as u64, HEADS as u64]);
        let column = table[0].iter().position(|other| other == name).unwrap();
        for (row, value) in table[1..].iter().zip(values) {
            assert_eq!(row[column].parse::<f64>().unwrap(), value);
            assert!(row[column + 1].parse::<f64>().unwrap() > 0.0);
            // No sentence has more than eight words, and ten tokens.
            assert!(value > 0.0 && value < 10.0);
        }
    }
    let record = toy.record("run");
    assert_eq!(record["results"]["counts"]["words"], 240);
    let page = fs::read_to_string(Path::new(&toy.text("run/report.html"))).unwrap();
    for part in ["How far heads look", "heat-distance-words"] {
        assert!(page.contains(part), "no {part}");
    }
    // Its numbers stand in tables of heads.
    let table = run(&["heads", &toy.text("run"), "--json"]).ok().json();
    assert!(table.to_string().contains("distance_words"), "{table}");
}

#[test]
fn the_pages_example_is_what_the_command_prints() {
    crate::harness::example("distance");
}

#[test]
fn parts_of_a_distance_run_merge_to_the_whole() {
    let toy = toy(30);
    let with = |more: &[&str]| run(&arguments(&toy, "distance", more)).ok();
    let chunk = ["--chunk", "7", "--output"];
    with(&[&chunk[..], &["OUT/whole"]].concat());
    for part in ["2/2", "1/2"] {
        let folder = format!("OUT/part-{}", &part[..1]);
        with(&[&chunk[..], &[&folder, "--part", part]].concat());
    }
    let [first, second, merged] = ["part-1", "part-2", "merged"].map(|name| toy.text(name));
    run(&["merge", &first, &second, "--output", &merged]).ok();
    for name in ["attention_distance.csv", "distance_words.npy"] {
        assert!(toy.bytes(&format!("whole/{name}")) == toy.bytes(&format!("merged/{name}")));
    }
}
