//! `cat`: how attention follows trees, as tables, arrays, page and text.

use std::fs;
use std::path::Path;

use crate::harness::{Toy, run};

/// Functions in two languages, one of them not a program.
pub(crate) const FUNCTIONS: &str = r#"{"func_name": "till.pay", "language": "python", "code": "def pay(self, price, paid):\n    if paid < price:\n        return None\n    return paid - price\n"}
{"func_name": "most", "language": "java", "code": "int most(int[] all) { int m = all[0]; for (int x : all) { if (x > m) { m = x; } } return m; }"}
{"func_name": "broken", "language": "python", "code": "def broken(:\n    return\n"}
{"func_name": "one", "language": "python", "code": "def one(): pass\n"}
{"func_name": "add", "language": "python", "code": "def add(first, second):\n    # the sum\n    both = first + second\n    print(both)\n    return both\n"}
"#;

fn toy() -> Toy {
    let toy = Toy::new();
    toy.write("functions.jsonl", FUNCTIONS);
    toy
}

fn arguments(toy: &Toy, more: &[&str]) -> Vec<String> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-bert");
    let mut all = vec!["cat".to_owned(), model.display().to_string()];
    all.extend(["--code".to_owned(), toy.text("functions.jsonl")]);
    all.extend(["--permutations", "19", "--resamples", "30"].map(str::to_owned));
    all.extend(more.iter().map(|word| word.replace("OUT", &toy.text(""))));
    all
}

#[test]
fn cat_writes_every_layer_head_and_function() {
    let toy = toy();
    let with = arguments(
        &toy,
        &[
            "--output",
            "OUT/run",
            "--min-leaves",
            "8",
            "--frequent",
            "static",
        ],
    );
    let ran = run(&with).ok();
    for part in [
        "CAT-score of every layer",
        "3 functions with",
        "1 function left out, not of their language",
        "1 function left out, with too few leaves",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    assert_eq!(
        toy.names("run"),
        [
            "cat.npy",
            "cat_curve.csv",
            "cat_example.json",
            "cat_heads.csv",
            "cat_kinds.csv",
            "cat_layers.csv",
            "cat_partial_rho.npy",
            "cat_snippets.csv",
            "report.html",
            "run.json",
        ]
    );
    // The embedded BERT: four layers of four heads.
    let (_, shape, scores) = toy.array("run/cat.npy");
    assert_eq!(shape, [4, 4]);
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    let heads = toy.table("run/cat_heads.csv");
    assert_eq!(heads.len(), 1 + 16);
    let snippets = toy.table("run/cat_snippets.csv");
    assert_eq!(snippets.len(), 1 + 3 * 4);
    let column = |name: &str| snippets[0].iter().position(|other| other == name).unwrap();
    // The mean of the functions is the layer's.
    let layers = toy.table("run/cat_layers.csv");
    for measure in ["cat", "rho", "offset", "linear", "random_tree", "permuted"] {
        let of = layers[1..]
            .iter()
            .find(|row| row[0] == "model" && row[1] == "2" && row[2] == measure);
        let mean: f64 = of.unwrap()[4].parse().unwrap();
        let rows = snippets[1..]
            .iter()
            .filter(|row| row[column("layer")] == "2");
        let values: Vec<f64> = rows
            .map(|row| row[column(measure)].parse().unwrap())
            .collect();
        let found = values.iter().sum::<f64>() / values.len() as f64;
        assert!((found - mean).abs() < 1e-12, "{measure}: {found} {mean}");
    }
    assert!(layers.iter().any(|row| row[0] == "random 1"));
    let record = toy.record("run");
    let counts = &record["results"]["counts"];
    for (name, number) in [("functions", 3), ("with_errors", 1), ("too_few_leaves", 1)] {
        assert_eq!(counts[name], number, "{name}");
    }
    let page = fs::read_to_string(toy.path("run/report.html")).unwrap();
    for part in [
        "cat-layers",
        "cat-kinds",
        "cat-example-distances",
        "How attention follows",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    let joined = run(&["heads", &toy.text("run"), "--json"]).ok().json();
    assert!(joined.to_string().contains("cat_partial_rho"), "{joined}");
    run(&["compare", &toy.text("run"), &toy.text("run")]).ok();
}

#[test]
fn threads_parts_and_batches_change_no_number() {
    let toy = toy();
    let with = |more: &[&str]| run(&arguments(&toy, more)).ok();
    let common = ["--chunk", "2", "--min-leaves", "8", "--output"];
    let put = |more: &[&str]| with(&[&common[..], more].concat());
    put(&["OUT/one", "--threads", "1"]);
    put(&["OUT/two", "--threads", "2", "--tokens-per-batch", "40"]);
    for part in ["1/2", "2/2"] {
        put(&[&format!("OUT/part-{}", &part[..1]), "--part", part]);
    }
    let [first, second, merged] = ["part-1", "part-2", "merged"].map(|name| toy.text(name));
    run(&["merge", &second, &first, "--output", &merged]).ok();
    for name in [
        "cat_layers.csv",
        "cat_heads.csv",
        "cat_snippets.csv",
        "cat_kinds.csv",
        "cat.npy",
    ] {
        let one = toy.bytes(&format!("one/{name}"));
        for other in ["two", "merged"] {
            assert!(
                one == toy.bytes(&format!("{other}/{name}")),
                "{name} of {other}"
            );
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let toy = toy();
    let fails = |more: &[&str], parts: &[&str]| run(&arguments(&toy, more)).failed(2, parts);
    fails(&["--quantile", "5/4"], &["5/4", "above 0 and below 1"]);
    fails(&["--prefix", "encoder-only"], &["<encoder-only>"]);
    fails(&["--too-long", "window"], &["whole sequences"]);
    fails(
        &["--min-leaves", "400"],
        &["no function has a score", "--min-leaves"],
    );
    fails(
        &["--example", "2", "--min-leaves", "8", "--output", "OUT/e"],
        &["--example 2"],
    );
    fails(&["--input", "tokens"], &["code_tokens", "line 1"]);
    for (option, wrong, right) in [
        ("--quantile", "x", "0.75"),
        ("--downstream", "bleu", "bleu=19.3"),
    ] {
        let ran = run(&arguments(&toy, &[option, wrong]));
        assert!(
            ran.code == Some(2) && ran.err.contains(right),
            "{}",
            ran.err
        );
    }
    toy.write("kinds.txt", "identifier\nidentifer\n");
    fails(
        &["--frequent", &toy.text("kinds.txt")],
        &["identifer", "cat-tree"],
    );
    toy.write("indices.txt", "0\nx\n");
    fails(&["--indices", &toy.text("indices.txt")], &["line 2", "`x`"]);
    toy.write(
        "functions.jsonl",
        &FUNCTIONS.replacen("python", "pascal", 1),
    );
    fails(&[], &["line 1", "pascal"]);
    toy.write("functions.jsonl", "{\"code\": \"def f(): pass\"}\n");
    fails(&[], &["line 1", "language", "--language"]);
    toy.write("functions.jsonl", "not json\n");
    fails(&[], &["line 1", "JSON"]);
    toy.write("functions.jsonl", "");
    fails(&[], &["no functions"]);
}

/// A function of a file, by its number; a sample is the same twice.
#[test]
fn functions_can_be_chosen() {
    let toy = toy();
    toy.write("indices.txt", "4\n0\n");
    let chosen = arguments(
        &toy,
        &[
            "--indices",
            &toy.text("indices.txt"),
            "--min-leaves",
            "8",
            "--output",
            "OUT/chosen",
        ],
    );
    run(&chosen).ok();
    let rows = toy.table("chosen/cat_snippets.csv");
    let indices: Vec<&str> = rows[1..].iter().map(|row| &*row[0]).collect();
    assert_eq!(indices, ["0", "0", "0", "0", "4", "4", "4", "4"]);
    for name in ["first", "again"] {
        let folder = format!("OUT/{name}");
        let sample = ["--sample", "3", "--min-leaves", "2", "--output", &folder];
        run(&arguments(&toy, &sample)).ok();
    }
    assert!(toy.bytes("first/cat_snippets.csv") == toy.bytes("again/cat_snippets.csv"));
}
