//! `syntax` and `coref`: treebanks, tables and arrays.

use std::fmt::Write;
use std::path::Path;

use crate::harness::{HEADS, LAYERS, Toy};
#[cfg(unix)]
use crate::interrupted::interrupt;

/// Sentences that keep a run busy for longer than it takes to ask it to stop on a loaded machine.
#[cfg(unix)]
pub(crate) const MANY: usize = if cfg!(debug_assertions) {
    1_000
} else {
    40_000
};

/// Sentences of the toy's words, each a document with a chain of two mentions.
pub(crate) fn treebank(count: usize) -> String {
    let nouns = ["cat", "dog", "horse"];
    let mut text = String::new();
    for at in 0..count {
        let (a, b) = (nouns[at % 3], nouns[(at + 1 + at / 3 % 2) % 3]);
        let _ = write!(
            text,
            "# newdoc\n# global.Entity = eid-etype-head\n# text = the {a} likes a {b} the {a}.\n\
             1\tthe\t_\tDET\t_\t_\t2\tdet\t_\tEntity=(e{at}-x-2\n\
             2\t{a}\t_\tNOUN\t_\tNumber=Sing\t3\tnsubj\t_\tEntity=e{at})\n\
             3\tlikes\t_\tVERB\t_\t_\t0\troot\t_\t_\n\
             4\ta\t_\tDET\t_\t_\t5\tdet\t_\tEntity=(o{at}-x-2\n\
             5\t{b}\t_\tNOUN\t_\tNumber=Sing\t3\tobj\t_\tEntity=o{at})\n\
             6\tthe\t_\tDET\t_\t_\t7\tdet:poss\t_\tEntity=(e{at}-x-2\n\
             7\t{a}\t_\tNOUN\t_\tNumber=Sing\t5\tappos\t_\tEntity=e{at})|SpaceAfter=No\n\
             8\t.\t_\tPUNCT\t_\t_\t3\tpunct\t_\t_\n\n"
        );
    }
    text
}

/// A sentence of two words.
const SHORT: &str =
    "1\tcat\t_\tNOUN\t_\t_\t2\tnsubj\t_\t_\n2\truns\t_\tVERB\t_\t_\t0\troot\t_\t_\n\n";

pub(crate) fn arguments(toy: &Toy, command: &str, more: &[&str]) -> Vec<String> {
    let base = [
        command,
        &toy.text("model"),
        "--conllu",
        &toy.text("data.conllu"),
    ]
    .map(str::to_owned);
    let more = more.iter().map(|word| word.replace("OUT", &toy.text("")));
    base.into_iter().chain(more).collect()
}

pub(crate) fn toy(sentences: usize) -> Toy {
    let toy = Toy::new();
    toy.write("data.conllu", &treebank(sentences));
    toy
}

#[test]
fn syntax_writes_the_best_heads_and_all_counts() {
    let toy = toy(30);
    let args = arguments(
        &toy,
        "syntax",
        &["--output", "OUT/run", "--min-count", "31"],
    );
    let ran = crate::harness::run(&args).ok();
    for part in [
        "dep->head",
        "det",
        "not shown: 5 relations of fewer than 31 words",
        "30 sentences",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    assert_eq!(
        toy.names("run"),
        [
            "relations.json",
            "report.html",
            "run.json",
            "syntax.csv",
            "syntax_heads.npy"
        ]
    );
    let table = toy.table("run/syntax.csv");
    let column = |name: &str| table[0].iter().position(|other| other == name).unwrap();
    // all, all without punct, det, four relations, det:poss: three directions each; no root.
    assert_eq!(table.len(), 1 + 8 * 3);
    let (_, shape, heads) = toy.array("run/syntax_heads.npy");
    let relations: serde_json::Value =
        serde_json::from_slice(&toy.bytes("run/relations.json")).unwrap();
    let names: Vec<&str> = relations["relations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["relation"].as_str().unwrap())
        .collect();
    assert_eq!(shape, [3, LAYERS as u64, HEADS as u64, names.len() as u64]);
    assert_eq!(
        relations["abstained"][0].as_array().unwrap().len(),
        LAYERS * HEADS
    );
    let mut marked = 0;
    for row in &table[1..] {
        let number = |name: &str| row[column(name)].parse::<f64>().unwrap();
        let relation = names.iter().position(|name| *name == row[0]).unwrap();
        let direction = ["dep->head", "head<-dep", "both"]
            .iter()
            .position(|name| *name == row[1])
            .unwrap();
        let all = LAYERS * HEADS;
        let scores: Vec<f64> = (0..all)
            .map(|head| heads[(direction * all + head) * names.len() + relation])
            .collect();
        let head = number("layer") as usize * HEADS + number("head") as usize;
        let best = scores.iter().copied().fold(0.0, f64::max);
        assert_eq!((number("correct"), scores[head]), (best, best));
        assert!(scores[..head].iter().all(|score| *score < best));
        assert_eq!(
            number("total"),
            relations["relations"][relation]["total"].as_f64().unwrap()
        );
        assert!(number("low") <= number("accuracy") && number("accuracy") <= number("high"));
        if row[0] == "det" {
            assert_eq!(
                (number("baseline_offset"), number("baseline_correct")),
                (1.0, 60.0)
            );
        }
        marked += number("best") as usize;
    }
    assert_eq!(marked, 8);
    let record = toy.record("run");
    assert_eq!(record["results"]["counts"]["words"], 240);
    assert_eq!(record["data"]["input"], "words");
    // With the same options there is nothing left to do; with others it is another run.
    let more = ["--output", "OUT/run", "--resume"];
    let again = crate::harness::run(&arguments(&toy, "syntax", &more)).ok();
    assert!(again.err.contains("complete already"), "{}", again.err);
    let more = ["--output", "OUT/run", "--resume", "--base-relations"];
    crate::harness::run(&arguments(&toy, "syntax", &more)).failed(2, &["--base-relations"]);
}

#[test]
fn heads_are_chosen_on_another_treebank() {
    let toy = toy(30);
    toy.write("other.conllu", &treebank(9).replace("appos", "conj"));
    let more = ["--select", "OUT/other.conllu", "--output", "OUT/run"];
    let ran = crate::harness::run(&arguments(&toy, "syntax", &more)).ok();
    assert!(ran.out.contains("best on 9 others"), "{}", ran.out);
    let table = toy.table("run/syntax.csv");
    // Nothing chooses a head for appos, and none of conj is scored.
    assert!(
        table
            .iter()
            .all(|row| row[0] != "appos" && row[0] != "conj")
    );
    let chosen = table[0]
        .iter()
        .position(|name| name == "chosen_by_total")
        .unwrap();
    let det = table.iter().find(|row| row[0] == "det").unwrap();
    assert_eq!((det[6].as_str(), det[chosen].as_str()), ("60", "18"));
    // Another file to choose on is another run.
    toy.write("other.conllu", &treebank(8));
    let more = [
        "--select",
        "OUT/other.conllu",
        "--output",
        "OUT/run",
        "--resume",
    ];
    crate::harness::run(&arguments(&toy, "syntax", &more)).failed(2, &["--select"]);
}

#[test]
fn coref_writes_every_head_and_the_baselines() {
    let toy = toy(30);
    let args = arguments(&toy, "coref", &["--output", "OUT/run"]);
    let ran = crate::harness::run(&args).ok();
    for part in [
        "nearest",
        "sieves",
        "among mention heads",
        "30 documents",
        "60 mentions without an antecedent",
    ] {
        assert!(ran.out.contains(part), "no {part} in {}", ran.out);
    }
    assert_eq!(
        toy.names("run"),
        [
            "coref.csv",
            "coref_baselines.csv",
            "report.html",
            "run.json"
        ]
    );
    let table = toy.table("run/coref.csv");
    assert_eq!(table.len(), 1 + 3 * LAYERS * HEADS * 4);
    for row in table.iter().skip(1).filter(|row| row[3] == "all") {
        let (correct, total): (u64, u64) = (row[4].parse().unwrap(), row[5].parse().unwrap());
        assert!(correct <= total && total == 30, "{row:?}");
    }
    // The nearest mention is another animal; the one with the same head word is right.
    let baselines = toy.table("run/coref_baselines.csv");
    let right = |name: &str| {
        let row = baselines
            .iter()
            .find(|row| row[0] == name && row[1] == "all")
            .unwrap();
        row[2].clone()
    };
    assert_eq!(
        [right("nearest"), right("head-match"), right("sieves")],
        ["0", "30", "30"]
    );
}

#[test]
fn bad_treebanks_are_refused_in_one_sentence() {
    let toy = toy(3);
    let run = |command: &str, more: &[&str]| crate::harness::run(&arguments(&toy, command, more));
    run("syntax", &["--max-length", "4000"]).failed(2, &["maximum length", "4000"]);
    run("syntax", &["--bos"]).failed(2, &["beginning-of-text"]);
    // Not every command takes every way with long texts; one that it names is taken.
    let long = ["--max-length", "6", "--too-long"];
    run("syntax", &[&long[..], &["error"]].concat()).failed(2, &["line 1", "another --too-long"]);
    run("syntax", &[&long[..], &["cut"]].concat()).failed(2, &["cut", "leave those"]);
    run("syntax", &[&long[..], &["window"]].concat()).failed(2, &["window", "leave texts"]);
    toy.write("data.conllu", &format!("{}{}", treebank(1), SHORT));
    let ran = run("syntax", &[&long[..], &["skip"]].concat()).ok();
    assert!(ran.out.contains("1 sentence"), "{}", ran.out);
    toy.write("data.conllu", "1\tthe\t_\n");
    run("syntax", &["--output", "OUT/run"]).failed(2, &["data.conllu", "line 1"]);
    assert!(!Path::new(&toy.text("run")).exists());
    toy.write("data.conllu", &treebank(2).replace("Entity=", "Other="));
    run("coref", &[]).failed(2, &["no mention", "Entity="]);
    toy.write(
        "data.conllu",
        &treebank(2).replace("# text = the", "# text = a"),
    );
    run("syntax", &["--input", "text"]).failed(2, &["data.conllu"]);
    run("syntax", &[]).ok();
}

#[cfg(unix)]
#[test]
fn killed_and_resumed_runs_give_the_same_bytes() {
    let toy = toy(if cfg!(debug_assertions) {
        1_000
    } else {
        10_000
    });
    toy.write("other.conllu", &treebank(500));
    for (command, more, files) in [
        (
            "syntax",
            vec!["--select", "OUT/other.conllu"],
            vec!["relations.json", "syntax.csv", "syntax_heads.npy"],
        ),
        ("coref", vec![], vec!["coref.csv", "coref_baselines.csv"]),
        (
            "distance",
            vec![],
            vec!["attention_distance.csv", "distance_words.npy"],
        ),
    ] {
        let args = |out: &str, last: &[&str]| {
            let out = format!("OUT/{command}-{out}");
            let mut all = more.clone();
            all.extend(["--tokens-per-batch", "64", "--output", &out]);
            all.extend(last);
            arguments(&toy, command, &all)
        };
        let ran = interrupt(&args("run", &[]), &toy.text("model"));
        ran.failed(130, &["interrupted after", "--resume"]);
        assert_eq!(toy.names(&format!("{command}-run")), ["state.json"]);
        interrupt(&args("run", &["--resume"]), &toy.text("model")).failed(130, &["interrupted"]);
        let ran = crate::harness::run(&args("run", &["--resume", "--threads", "1"])).ok();
        assert!(ran.err.contains("resuming after"), "{}", ran.err);
        crate::harness::run(&args("whole", &[])).ok();
        let file = |folder: &str, name: &str| toy.bytes(&format!("{command}-{folder}/{name}"));
        for name in files {
            assert!(file("run", name) == file("whole", name), "{name}");
        }
        let results = |folder: &str| toy.record(&format!("{command}-{folder}"))["results"].clone();
        assert_eq!(results("run"), results("whole"));
    }
}
