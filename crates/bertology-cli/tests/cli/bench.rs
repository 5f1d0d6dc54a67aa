//! `bench` on the command line. What it finds is never held against anything: it depends on the machine.

use crate::harness::{Ran, Toy, run};

fn bench(toy: &Toy, more: &[&str]) -> Ran {
    let base = toy.text("");
    let mut all = vec!["bench".to_owned(), toy.text("model")];
    let more = more
        .iter()
        .map(|word| word.replace("OUT/", &base).replace("OUT", &base));
    all.extend(more);
    run(&all)
}

const SMALL: [&str; 8] = [
    "--batch-sizes",
    "1,3",
    "--lengths",
    "5,8",
    "--rounds",
    "12",
    "--threads",
    "1",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn every_cell_has_its_numbers() {
    let toy = Toy::new();
    let ran = bench(&toy, &with(&["--output", "OUT/out", "--json"])).ok();
    let results = &ran.json()["results"];
    assert_eq!(results["threads"], 1);
    assert_eq!(results["models"].as_array().unwrap().len(), 1);
    let rows = toy.table("out/bench.csv");
    let at = |name: &str| rows[0].iter().position(|column| column == name).unwrap();
    let cells: Vec<_> = rows[1..]
        .iter()
        .map(|row| (row[at("length")].as_str(), row[at("batch_size")].as_str()))
        .collect();
    assert_eq!(cells, [("5", "1"), ("5", "3"), ("8", "1"), ("8", "3")]);
    for (row, cell) in rows[1..].iter().zip(results["cells"].as_array().unwrap()) {
        let number = |name: &str| row[at(name)].parse::<f64>().unwrap();
        assert_eq!(number("rounds"), 12.0);
        let mut seconds: Vec<f64> = cell["seconds"][0]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap())
            .collect();
        assert_eq!(seconds.len(), 12);
        seconds.sort_by(f64::total_cmp);
        let median = (seconds[5] + seconds[6]) / 2.0;
        assert!((number("p50_ms") / (median * 1e3) - 1.0).abs() < 1e-9);
        assert!(number("p50_ms") <= number("p90_ms") && number("p90_ms") <= number("p99_ms"));
        let examples = number("examples_per_second");
        assert!((examples * median / number("batch_size") - 1.0).abs() < 1e-9);
        let tokens = number("tokens_per_second");
        assert!((tokens / examples - number("length")).abs() < 1e-6);
        assert!(row[at("speed")].is_empty() && cell["speed"].is_null());
    }
    let page = String::from_utf8(toy.bytes("out/report.html")).unwrap();
    assert!(page.contains("Throughput") && page.contains("examples/s"));
    // The page can be made again, and the folder is not written over by accident.
    run(&["report", &toy.text("out")]).ok();
    bench(&toy, &with(&["--output", "OUT/out"])).failed(2, &["--overwrite"]);
}

#[test]
fn two_models_are_compared_cell_by_cell() {
    let toy = Toy::new();
    let (model, pruned) = (toy.text("model"), toy.text("pruned"));
    let heads = "0:0-2";
    run(&["prune", &model, "--heads", heads, "--output", &pruned]).ok();
    let more = with(&["--against", "OUT/pruned/model", "--output", "OUT/out"]);
    let ran = bench(&toy, &more).ok();
    assert_eq!(ran.out.matches("times as fast").count(), 4, "{}", ran.out);
    let record = &toy.record("out")["results"];
    assert_eq!(record["models"][0]["heads"], 12);
    assert_eq!(record["models"][1]["heads"], 9);
    assert_ne!(record["models"][0]["sha256"], record["models"][1]["sha256"]);
    for cell in record["cells"].as_array().unwrap() {
        let of = |at: usize| cell["interval"][at].as_f64().unwrap();
        let ratio = cell["speed"].as_f64().unwrap();
        assert!(of(0) <= ratio && ratio <= of(1), "{cell}");
        for model in 0..2 {
            assert_eq!(cell["seconds"][model].as_array().unwrap().len(), 12);
        }
    }
    let rows = toy.table("out/bench.csv");
    assert_eq!(rows.len(), 9);
    let speed = rows[0].iter().position(|name| name == "speed").unwrap();
    for row in &rows[1..] {
        assert_eq!(row[speed].is_empty(), row[0] == "0", "{row:?}");
    }
    let page = String::from_utf8(toy.bytes("out/report.html")).unwrap();
    assert!(page.contains("How many times as fast") && page.contains("in the paper"));
}

#[test]
fn models_of_other_vocabularies_share_the_ids_that_both_have() {
    let toy = Toy::new();
    let gpt = bertology_testkit::workspace().join("assets/tiny-gpt2");
    let more = ["--batch-sizes", "2", "--rounds", "10"];
    let more = [&more[..], &["--against", gpt.to_str().unwrap()]].concat();
    let ran = bench(&toy, &more).ok();
    assert!(ran.err.contains("first 60"), "{}", ran.err);
    let alone = bench(&toy, &["--batch-sizes", "2", "--rounds", "3"]).ok();
    assert!(!alone.err.contains("vocabular"), "{}", alone.err);
    assert!(!alone.out.contains("times as fast"), "{}", alone.out);
}

#[test]
fn wrong_words_are_refused() {
    let toy = Toy::new();
    for (more, parts) in [
        (
            &["--lengths", "5000"][..],
            &["--lengths 5000", "no more than"][..],
        ),
        (&["--lengths", "0"], &["--lengths"]),
        (&["--batch-sizes", "0"], &["--batch-sizes"]),
        (&["--batch-sizes", "70000"], &["65536"]),
        (&["--batch-sizes", "2,1,2"], &["2 is given twice"]),
        (&["--lengths", "8,8"], &["8 is given twice"]),
        (
            &["--rounds", "9", "--against", "OUT/model"],
            &["at least 10"],
        ),
        (&["--rounds", "0"], &["--rounds"]),
        (&["--against", "OUT/none"], &["none"]),
        (&["--part", "1/2"], &["--part 1/2"]),
        (&["--output", "OUT/model", "--overwrite"], &["lies in it"]),
    ] {
        let ran = bench(&toy, more);
        assert_eq!(ran.code, Some(2), "{more:?}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "no `{part}` in: {}", ran.err);
        }
    }
}
