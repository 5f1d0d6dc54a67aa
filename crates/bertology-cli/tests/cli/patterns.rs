//! `bertology patterns`

use crate::harness::{HEADS, LAYERS, Ran, Toy, run};

const SHAPE: [u64; 2] = [LAYERS as u64, HEADS as u64];
const KEYS: [&str; 11] = [
    "self",
    "next",
    "previous",
    "sep",
    "cls",
    "punct",
    "sep_sep",
    "rest_sep",
    "entropy",
    "entropy_first",
    "entropy_normalized",
];

/// A model that is in the repository, on a text of its own.
fn on_text(toy: &Toy, model: &str, text: &str, more: &[&str]) -> Ran {
    toy.write("text.txt", text);
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");
    let mut all = vec![
        "patterns".to_owned(),
        format!("{assets}/{model}"),
        "--text".into(),
        toy.text("text.txt"),
    ];
    let base = toy.path("");
    let base = base.to_str().unwrap().trim_end_matches('/');
    all.extend(more.iter().map(|word| word.replace("OUT", base)));
    run(&all)
}

#[test]
fn patterns_fill_their_folder() {
    let toy = Toy::new();
    let more = [
        "--gradients",
        "--denominators",
        "exact",
        "--output",
        "OUT/run",
    ];
    let ran = toy.run("patterns", &[&more[..], &["--json"]].concat()).ok();
    assert!(ran.err.contains("no token `.`"), "{}", ran.err);
    assert_eq!(
        toy.names("run"),
        [
            "attention_gradients.csv",
            "attention_patterns.csv",
            "attn_entropy.npy",
            "attn_entropy_first.npy",
            "behaviours.csv",
            "report.html",
            "run.json",
        ]
    );
    let record = toy.record("run");
    assert_eq!(ran.json(), record);
    let results = &record["results"];
    assert_eq!(results["counts"]["sequences"], 40);
    assert_eq!(results["denominators"], "exact");
    assert_eq!(record["data"]["objective"]["kind"], "labels");
    assert_eq!(results["averages"]["punct"]["documents"], 0);

    let patterns = toy.table("run/attention_patterns.csv");
    assert_eq!(
        patterns[0].join(","),
        "layer,head,key,mean,standard_error,micro,documents"
    );
    assert_eq!(patterns.len(), 1 + LAYERS * HEADS * KEYS.len());
    let (kind, shape, entropy) = toy.array("run/attn_entropy.npy");
    assert_eq!((kind.as_str(), &shape[..]), ("<f8", &SHAPE[..]));
    for (at, row) in patterns[1..].iter().enumerate() {
        let (cell, key) = (at / KEYS.len(), at % KEYS.len());
        let (layer, head) = (cell / HEADS, cell % HEADS);
        assert_eq!(
            row[..3],
            [layer.to_string(), head.to_string(), KEYS[key].into()]
        );
        if KEYS[key] == "punct" {
            assert_eq!(row[3..], ["", "", "", "0"]);
            continue;
        }
        let mean: f64 = row[3].parse().unwrap();
        assert_eq!(results["averages"][KEYS[key]]["heads"][layer][head], mean);
        if KEYS[key] == "entropy" {
            assert_eq!(mean, entropy[cell]);
        }
        let rows: f64 = row[5].parse().unwrap();
        assert!((mean - rows).abs() < 0.5 * mean.max(0.1), "{row:?}");
    }
    let gradients = toy.table("run/attention_gradients.csv");
    assert_eq!(
        gradients[0].join(","),
        "layer,head,class,mean,mean_standard_error,row_sum,row_sum_standard_error,documents"
    );
    assert_eq!(gradients.len(), 1 + LAYERS * HEADS * 4);
    assert_eq!(gradients[1][..3], ["0", "0", "cls"]);
    assert!(gradients[1][3].parse::<f64>().unwrap() > 0.0);
    assert_eq!(gradients[1][7], "40");
    let behaviours = toy.table("run/behaviours.csv");
    assert_eq!(behaviours[0].join(","), "layer,head,behaviour");
    assert_eq!(behaviours.len(), 1 + LAYERS * HEADS);

    // The same numbers whatever the threads; the folder is not overwritten by accident.
    toy.run("patterns", &[&more[..], &["--threads", "1"]].concat())
        .failed(2, &["not empty", "--overwrite"]);
    let again = ["--threads", "1", "--output", "OUT/again"];
    toy.run("patterns", &[&more[..3], &again].concat()).ok();
    assert_eq!(
        toy.bytes("run/attention_gradients.csv"),
        toy.bytes("again/attention_gradients.csv")
    );
    // An earlier run's gradients do not stay beside a run without them.
    toy.run("patterns", &["--output", "OUT/run", "--overwrite"])
        .ok();
    assert!(!toy.names("run").contains(&"attention_gradients.csv".into()));
}

#[test]
fn what_people_see() {
    let toy = Toy::new();
    let text = "The horses were admired.\n\nMary says that the boy sleeps, and so on.\n";
    let ran = on_text(&toy, "tiny-bert", text, &["--gradients"]);
    // Its classifier has labels, plain text has none.
    ran.failed(2, &["no labels", "--objective mlm"]);
    let ran = on_text(&toy, "tiny-bert", text, &[]).ok();
    for part in [
        "2 texts, at most",
        "self   next  previous",
        "rest_sep",
        "counted from 0",
        "first row",
        "too short for any head to be broad",
        "none of these",
        "2 texts, ",
        "none cut",
    ] {
        assert!(ran.out.contains(part), "no `{part}` in {}", ran.out);
    }
    assert!(ran.err.contains("1 line of"), "{}", ran.err);
    let widest = ran
        .out
        .lines()
        .skip(2)
        .map(|line| line.chars().count())
        .max();
    assert!(widest.unwrap() <= 90, "{}", ran.out);

    // A causal language model: its own keys, the loss of the next token.
    let more = [
        "--gradients",
        "--gradient-times-attention",
        "--output",
        "OUT/gpt2",
        "--bos",
    ];
    let ran = on_text(&toy, "tiny-gpt2", text, &more).ok();
    for part in ["next tokens from the first on", "last row", "first  punct"] {
        assert!(ran.out.contains(part), "no `{part}` in {}", ran.out);
    }
    assert!(!ran.out.contains("sep_sep"));
    let patterns = toy.table("gpt2/attention_patterns.csv");
    let keys: Vec<&str> = patterns[1..8].iter().map(|row| row[2].as_str()).collect();
    assert_eq!(
        keys,
        [
            "self",
            "previous",
            "first",
            "punct",
            "entropy",
            "entropy_last",
            "entropy_normalized"
        ]
    );
    assert!(toy.names("gpt2").contains(&"attn_entropy_last.npy".into()));
    let gradients = toy.table("gpt2/attention_gradients.csv");
    assert_eq!(gradients[0].len(), 12);
    assert_eq!(gradients[0][7], "times_attention_mean");
    assert_eq!(gradients[1][2], "first");
    assert_eq!(toy.record("gpt2")["options"]["bos"], true);
    // Whatever precedes every text is what it is: the options say so, and numbers differ.
    let without = on_text(&toy, "tiny-gpt2", text, &["--output", "OUT/plain"]);
    without.ok();
    assert_ne!(
        toy.record("plain")["results"]["averages"]["first"],
        toy.record("gpt2")["results"]["averages"]["first"]
    );
}

#[test]
fn what_cannot_be_obeyed_is_refused() {
    let toy = Toy::new();
    let text = "The horses were admired.\n";
    let refused = |more: &[&str], parts: &[&str]| {
        on_text(&toy, "tiny-bert", text, more).failed(2, parts);
    };
    refused(&["--punctuation", ".§"], &["`§`", "leave it out"]);
    refused(&["--punctuation", ""], &["at least one mark"]);
    refused(&["--bos"], &["beginning-of-text", "leave --bos out"]);
    refused(
        &["--max-length", "4"],
        &["1 of more than 4 tokens", "nothing to study"],
    );
    refused(
        &["--gradients", "--unmasked"],
        &["--unmasked belongs to masked language models"],
    );
    refused(
        &["--packing", "pairs"],
        &["a single sentence", "nothing to study"],
    );
    for option in [
        &["--unmasked"][..],
        &["--objective", "mlm"],
        &["--gradient-times-attention"],
    ] {
        let ran = on_text(&toy, "tiny-bert", text, option);
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains("--gradients"), "{}", ran.err);
    }
    let ran = on_text(
        &toy,
        "tiny-bert",
        text,
        &["--max-length", "4", "--too-long", "cut"],
    )
    .ok();
    assert!(ran.out.contains("1 cut to 4 tokens"), "{}", ran.out);
}

#[test]
fn without_texts_every_way_to_give_them_is_named() {
    let toy = Toy::new();
    for command in ["patterns", "cluster"] {
        let ran = run(&[command, &toy.text("model")]);
        ran.failed(
            2,
            &["no texts given", "--text", "--conllu", "--data", "--task"],
        );
        // What the model reads of a treebank means nothing to other texts.
        let data = toy.text("data.tsv");
        let ran = run(&[
            command,
            &toy.text("model"),
            "--text",
            &data,
            "--input",
            "words",
        ]);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains("--input"), "{}", ran.err);
    }
}
