//! Results that say less than they seem to are called so, and advice names the real cause.

use crate::assumed::assets;
use crate::harness::{Toy, run};
use crate::treebanks::treebank;

#[test]
fn a_threshold_that_passes_without_heads_is_noted() {
    let toy = Toy::new();
    for command in ["mask", "prune"] {
        let out = format!("OUT/{command}");
        let loose = [
            "--threshold-mode",
            "absolute",
            "--threshold",
            "0.01",
            "--amount",
            "0.5",
            "--output",
            &out,
        ];
        let ran = toy.run(command, &loose).ok();
        for part in [
            "which chance gives: a model that knows nothing passes it",
            "every head is masked",
            "--min-heads-per-layer N keeps heads",
        ] {
            assert!(ran.err.contains(part), "{command}: {}", ran.err);
        }
        if command == "prune" {
            assert!(ran.out.contains("No head is left"), "{}", ran.out);
        }
    }
    let out = [
        "--threshold-mode",
        "absolute",
        "--threshold",
        "0.01",
        "--amount",
        "0.5",
        "--min-heads-per-layer",
        "1",
        "--output",
        "OUT/kept",
    ];
    let ran = toy.run("prune", &out).ok();
    assert!(!ran.err.contains("every head is masked"), "{}", ran.err);
}

#[test]
fn a_checkpoint_of_full_shape_claims_no_speed() {
    let toy = Toy::new();
    let more = ["--heads", "0:0-2", "--keep-shape", "--output", "OUT/zeroed"];
    let ran = toy.run("prune", &more).ok();
    assert!(!ran.out.contains("times as fast"), "{}", ran.out);
    assert!(ran.out.contains("old size and speed"), "{}", ran.out);
    assert!(toy.record("zeroed")["results"]["timing"].is_null());
    let page = String::from_utf8(toy.bytes("zeroed/report.html")).unwrap();
    assert!(!page.contains("times as fast"));
}

#[test]
fn words_of_noise_have_no_best_relation() {
    let toy = Toy::new();
    toy.write("few.conllu", &treebank(8));
    let (model, trees, out) = (
        toy.text("model"),
        toy.text("few.conllu"),
        toy.text("syntax"),
    );
    run(&["syntax", &model, "--conllu", &trees, "--output", &out]).ok();
    let document = run(&["heads", &out, "--json"]).ok().json();
    for head in document["heads"].as_array().unwrap() {
        assert!(head["best_relation"].is_null(), "{head}");
    }
    // A model that was made for this grammar, on enough of it, has some.
    let (model, trees, out) = (
        assets("tiny-bert"),
        assets("grammar/dev.conllu"),
        toy.text("tiny"),
    );
    run(&["syntax", &model, "--conllu", &trees, "--output", &out]).ok();
    let document = run(&["heads", &out, "--json"]).ok().json();
    let of = |layer: usize, head: usize| &document["heads"][layer * 4 + head];
    assert_eq!(of(1, 1)["best_relation"], "aux");
    assert!(
        of(1, 0)["best_relation"].is_null(),
        "best at `case`, but no better than an offset"
    );
}

#[test]
fn what_differs_between_two_runs_is_on_the_terminal() {
    let toy = Toy::new();
    toy.run("importance", &["--output", "OUT/all"]).ok();
    toy.run("importance", &["--limit", "20", "--output", "OUT/some"])
        .ok();
    let ran = run(&["compare", &toy.text("all"), &toy.text("some")]).ok();
    for part in [
        "Not the same in both:",
        "examples: 40 in A, 20 in B",
        "--limit: ",
    ] {
        assert!(ran.out.contains(part), "no {part}: {}", ran.out);
    }
    let ran = run(&["compare", &toy.text("all"), &toy.text("all")]).ok();
    assert!(!ran.out.contains("Not the same"), "{}", ran.out);
}

#[test]
fn a_text_without_quotes_is_noticed() {
    let toy = Toy::new();
    let (model, page) = (assets("tiny-bert"), toy.text("a.html"));
    let view = |words: &[&str]| {
        run(&[
            &["view", &model][..],
            words,
            &["--output", &page, "--overwrite"],
        ]
        .concat())
    };
    view(&["the", "women", "faint"])
        .failed(2, &["3 texts are given", "view MODEL \"the women faint\""]);
    let ran = view(&["the", "women"]).ok();
    assert!(
        ran.err
            .contains("2 words are read as a pair; quotes make them one text: \"the women\""),
        "{}",
        ran.err
    );
    let ran = view(&["the women faint", "they"]).ok();
    assert!(!ran.err.contains("quotes"), "{}", ran.err);
    let out = toy.text("values");
    let ran = run(&[
        "extract", &model, "the", "women", "--tokens", "--output", &out,
    ])
    .ok();
    assert!(
        ran.err.contains("2 words are each a text of its own"),
        "{}",
        ran.err
    );
}

#[test]
fn a_text_in_the_place_of_a_file_and_a_classifier_without_labels_get_advice_that_works() {
    let toy = Toy::new();
    let model = assets("tiny-bert");
    for command in ["extract", "patterns", "importance"] {
        let out = toy.text(command);
        let words = [
            command,
            &model,
            "--text",
            "the women faint",
            "--output",
            &out,
        ];
        run(&words).failed(
            1,
            &[
                "the women faint: no such file",
                "take a text itself, in quotes",
            ],
        );
    }
    toy.write("texts.txt", "the women faint .\n");
    let texts = toy.text("texts.txt");
    run(&["importance", &model, "--text", &texts]).failed(
        2,
        &[
            "plain text has no labels",
            "--label-column COLUMN",
            "`bertology patterns`",
        ],
    );
    run(&["patterns", &model, "--text", &texts]).ok();
}

/// The brackets of older treebanks, which declare no fields: the whole bracket is the entity.
#[test]
fn old_coreference_is_read_after_the_step_that_the_message_names() {
    let toy = Toy::new();
    let words = [
        ("The", "Entity=(person-1"),
        ("women", "Entity=person-1)"),
        ("faint", "_"),
        ("and", "_"),
        ("they", "Entity=(person-1)"),
        ("arrive", "_"),
    ];
    let mut text = String::from("# newdoc id = d1\n");
    for (at, (word, misc)) in words.iter().enumerate() {
        let head = if at == 2 { 0 } else { 3 };
        let pos = if *word == "they" { "PRON" } else { "NOUN" };
        text += &format!(
            "{}\t{word}\t{word}\t{pos}\t_\t_\t{head}\tdep\t_\t{misc}\n",
            at + 1
        );
    }
    text.push('\n');
    toy.write("old.conllu", &text);
    let (model, old, new) = (
        assets("tiny-bert"),
        toy.text("old.conllu"),
        toy.text("new.conllu"),
    );
    run(&["coref", &model, "--conllu", &old]).failed(
        2,
        &[
            "line 3",
            "was read as a mention of `person`",
            "`# global.Entity = eid`",
        ],
    );
    toy.write("new.conllu", &format!("# global.Entity = eid\n{text}"));
    let out = toy.text("coref");
    let ran = run(&[
        "coref", &model, "--conllu", &new, "--output", &out, "--json",
    ])
    .ok();
    let document = ran.json();
    assert!(
        document.to_string().contains("\"mentions\":2"),
        "{document}"
    );
}
