//! `cat`: how attention follows trees, as tables, arrays, page and text.

use std::fs;
use std::path::Path;

use crate::harness::{Toy, run};

/// Functions in two languages with their tokens, one of them not a program.
pub(crate) const FUNCTIONS: &str = r#"{"func_name": "till.pay", "language": "python", "code": "def pay(self, price, paid):\n    if paid < price:\n        return None\n    return paid - price\n", "code_tokens": ["def", "pay", "(", "self", ",", "price", ",", "paid", ")", ":", "if", "paid", "<", "price", ":", "return", "None", "return", "paid", "-", "price"]}
{"func_name": "most", "language": "java", "code": "int most(int[] all) { int m = all[0]; for (int x : all) { if (x > m) { m = x; } } return m; }", "code_tokens": ["int", "most", "(", "int", "[", "]", "all", ")", "{", "int", "m", "=", "all", "[", "0", "]", ";", "for", "(", "int", "x", ":", "all", ")", "{", "if", "(", "x", ">", "m", ")", "{", "m", "=", "x", ";", "}", "}", "return", "m", ";", "}"]}
{"func_name": "broken", "language": "python", "code": "def broken(:\n    return\n", "code_tokens": ["def", "broken", "(", ":", "return"]}
{"func_name": "one", "language": "python", "code": "def one(): pass\n", "code_tokens": ["def", "one", "(", ")", ":", "pass"]}
{"func_name": "add", "language": "python", "code": "def add(first, second):\n    # the sum\n    both = first + second\n    print(both)\n    return both\n", "code_tokens": ["def", "add", "(", "first", ",", "second", ")", ":", "both", "=", "first", "+", "second", "print", "(", "both", ")", "return", "both"]}
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
    let without = FUNCTIONS.replace("code_tokens", "no_tokens");
    toy.write("functions.jsonl", &without);
    fails(&["--input", "tokens"], &["code_tokens", "line 1"]);
    fails(&["--legacy"], &["--legacy", "code_tokens", "line 1"]);
    toy.write("functions.jsonl", FUNCTIONS);
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

/// The embedded model of code on its functions, which have lists of tokens.
fn of_code(toy: &Toy, more: &[&str]) -> Vec<String> {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let [model, code] = ["tiny-code", "code/functions.jsonl"].map(|name| assets.join(name));
    let mut all = vec!["cat".to_owned(), model.display().to_string()];
    all.extend(["--code".to_owned(), code.display().to_string()]);
    let few = [
        "--random-encoder",
        "0",
        "--permutations",
        "0",
        "--resamples",
        "9",
    ];
    all.extend(few.map(str::to_owned));
    all.extend(more.iter().map(|word| word.replace("OUT", &toy.text(""))));
    all
}

/// What the numbers are: `scores_are_those_of_the_released_code` of the library.
#[test]
fn the_released_code_stands_beside_the_scores() {
    let toy = toy();
    let few = ["--limit", "24", "--output"];
    let plain = run(&of_code(&toy, &[&few[..], &["OUT/plain"]].concat())).ok();
    let with = run(&of_code(
        &toy,
        &[&few[..], &["OUT/with", "--legacy"]].concat(),
    ))
    .ok();
    assert!(!plain.out.contains("released code"), "{}", plain.out);
    assert!(
        with.out.contains("As the paper's released code scores"),
        "{}",
        with.out
    );
    assert!(!toy.names("plain").contains(&"cat_legacy.csv".to_owned()));
    // Nothing else uses it.
    for name in ["cat_layers.csv", "cat_snippets.csv", "cat_kinds.csv"] {
        assert!(
            toy.bytes(&format!("plain/{name}")) == toy.bytes(&format!("with/{name}")),
            "{name}"
        );
    }
    let rows = toy.table("with/cat_legacy.csv");
    // Four languages, four layers, three choices of leaves.
    assert_eq!(rows.len(), 1 + 4 * 4 * 3);
    for row in &rows[1..] {
        let cat: f64 = row[5].parse().unwrap();
        assert!((0.0..=1.0).contains(&cat), "{row:?}");
        assert_eq!(row[2] == "top", !row[8].is_empty(), "{row:?}");
    }
    let page = fs::read_to_string(toy.path("with/report.html")).unwrap();
    assert!(page.contains("As the released code scores"));
}

/// Functions on which kinds are chosen are not scored, and are the same whenever the seed is.
#[test]
fn kinds_are_chosen_on_functions_that_are_not_scored() {
    let toy = toy();
    let own = ["--limit", "30", "--frequent", "own", "--output"];
    let put = |more: &[&str]| run(&of_code(&toy, &[&own[..], more].concat())).ok();
    let ran = put(&["OUT/own"]);
    let said = "6 functions held out to choose kinds on, not scored";
    assert!(ran.out.contains(said), "{}", ran.out);
    let record = toy.record("own");
    assert_eq!(record["results"]["held_out"], 6);
    assert!(!record["results"]["frequent"].as_array().unwrap().is_empty());
    let scored = |folder: &str| -> Vec<String> {
        let rows = toy.table(&format!("{folder}/cat_snippets.csv"));
        let mut all: Vec<String> = rows[1..].iter().map(|row| row[0].clone()).collect();
        all.dedup();
        all
    };
    let counts = &record["results"]["counts"];
    let left_out =
        counts["too_few_leaves"].as_u64().unwrap() + counts["with_errors"].as_u64().unwrap();
    assert_eq!(scored("own").len() as u64 + left_out, 24);
    let layers = toy.table("own/cat_layers.csv");
    assert!(layers.iter().any(|row| row[2] == "frequent"));
    put(&["OUT/again", "--threads", "1"]);
    put(&["OUT/other", "--seed", "7"]);
    put(&["OUT/half", "--held-out", "1/2"]);
    assert!(toy.bytes("own/cat_layers.csv") == toy.bytes("again/cat_layers.csv"));
    assert_ne!(scored("own"), scored("other"));
    assert_eq!(toy.record("half")["results"]["held_out"], 15);
    for part in ["1/2", "2/2"] {
        put(&[&format!("OUT/part-{}", &part[..1]), "--part", part]);
    }
    let [first, second, merged] = ["part-1", "part-2", "merged"].map(|name| toy.text(name));
    run(&["merge", &first, &second, "--output", &merged]).ok();
    assert!(toy.bytes("own/cat_layers.csv") == toy.bytes("merged/cat_layers.csv"));
    let fails = |more: &[&str], parts: &[&str]| run(&of_code(&toy, more)).failed(2, parts);
    fails(&["--held-out", "1/2"], &["--held-out", "--frequent own"]);
    let alone = ["--limit", "1", "--frequent", "own"];
    fails(
        &alone,
        &["--frequent own", "of 1 functions 1 would be held out"],
    );
}

/// Two runs of one shape are compared by heads as well; more are not, and of other commands there are no more.
#[test]
fn several_models_stand_beside_each_other() {
    let toy = toy();
    let names = ["one", "two", "three"];
    for (name, bleu) in names.into_iter().zip(["17.5", "18.5", "19.25"]) {
        let (folder, score) = (format!("OUT/{name}"), format!("bleu={bleu}"));
        let graph = if name == "three" { "ast" } else { "chain" };
        run(&of_code(
            &toy,
            &[
                "--limit",
                "12",
                "--graph",
                graph,
                "--downstream",
                &score,
                "--output",
                &folder,
            ],
        ))
        .ok();
    }
    let [one, two, three] = names.map(|name| toy.text(name));
    let page = toy.text("all.html");
    let ran = run(&["compare", &one, &two, &three, "--output", &page]).ok();
    for part in [
        "CAT-score of every layer",
        "exact p",
        "over 3 models",
        "not of the same functions",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    let page = fs::read_to_string(page).unwrap();
    for part in [
        "cat-models",
        "cat-kinds-2",
        "cat-downstream-0-models",
        "CAT-score against bleu",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    let found = run(&["compare", &one, &two, &three, "--json"]).ok().json();
    let models = &found["models"]["downstream"][0];
    // The first two read the same and have one score.
    assert_eq!(models["models"][0]["cat"], models["models"][1]["cat"]);
    assert!(models["p_value"].as_f64().unwrap() >= 1.0 / 3.0);
    let two_runs = run(&["compare", &one, &two]).ok();
    for part in [
        "heads",
        "CAT-score of every layer",
        "fewer than three models",
    ] {
        assert!(two_runs.out.contains(part), "no {part} in {}", two_runs.out);
    }
    let mut other = arguments(&toy, &[]);
    other.truncate(2);
    other[0] = "patterns".to_owned();
    toy.write("texts.txt", "one two\n");
    other.extend([
        "--text".to_owned(),
        toy.text("texts.txt"),
        "--output".to_owned(),
        toy.text("p"),
    ]);
    run(&other).ok();
    let patterns = toy.text("p");
    run(&["compare", &patterns, &patterns, &patterns]).failed(2, &["two by two", "cat"]);
    run(&["compare", &one, &two, &patterns]).failed(2, &["is a run of cat", "is one of patterns"]);
}
