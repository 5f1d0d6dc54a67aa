//! `bertology survey`: the folders of several commands, made in one pass.

use crate::harness::{Ran, Toy, run};
#[cfg(unix)]
use crate::interrupted::{Signal, stop_midway};
use crate::parts::{asset, grammar, same};
#[cfg(unix)]
use crate::treebanks::{MANY, treebank};

const STUDIES: [&str; 3] = ["patterns", "syntax", "cluster"];

/// `COMMAND model --conllu trees.conllu …`.
fn arguments(toy: &Toy, command: &str, model: &str, out: &str, more: &[&str]) -> Vec<String> {
    let (trees, out) = (toy.text("trees.conllu"), toy.text(out));
    let base = [command, model, "--conllu", &trees, "--output", &out];
    base.iter()
        .chain(more)
        .map(|&word| word.to_owned())
        .collect()
}

/// The three commands, each by itself, write what the survey in `survey` wrote.
fn same_as_alone(toy: &Toy, model: &str, more: &[&str]) {
    for study in STUDIES {
        run(&arguments(toy, study, model, study, more)).ok();
        same(toy, &format!("survey/{study}"), study);
    }
}

#[test]
fn three_studies_are_the_bytes_of_three_commands() {
    let toy = grammar(23);
    let model = asset("tiny-bert");
    let survey = |more: &[&str]| -> Ran {
        let studies = ["--studies", "cluster,patterns,syntax"];
        let more = [&studies[..], more].concat();
        run(&arguments(&toy, "survey", &model, "survey", &more))
    };
    let grid = ["--chunk", "4", "--max-length", "12", "--too-long", "skip"];
    let ran = survey(&grid).ok();
    assert_eq!(toy.names("survey"), ["cluster", "patterns", "syntax"]);
    for study in STUDIES {
        assert!(ran.out.contains(&format!("\n{study}\n")), "{}", ran.out);
    }
    same_as_alone(&toy, &model, &grid);

    // Finished, it is safe; replaced on request.
    survey(&grid).failed(2, &["patterns", "not empty", "--overwrite"]);
    let again = survey(&[&grid[..], &["--resume"]].concat()).ok();
    assert!(again.err.contains("complete already"), "{}", again.err);
    let other = ["--chunk", "5", "--max-length", "12", "--too-long", "skip"];
    survey(&[&other[..], &["--resume"]].concat()).failed(2, &["cannot be resumed", "--chunk"]);
    survey(&[&other[..], &["--overwrite"]].concat()).ok();
    let document = survey(&[&other[..], &["--overwrite", "--json"]].concat()).ok();
    let document = document.json();
    for study in STUDIES {
        assert_eq!(document["studies"][study]["command"], study);
        let record = toy.record(&format!("survey/{study}"));
        assert_eq!(document["studies"][study]["results"], record["results"]);
    }
}

#[test]
fn one_study_is_a_survey_too() {
    let toy = grammar(9);
    let model = asset("tiny-bert");
    let more = ["--studies", "syntax", "--input", "text", "--limit", "7"];
    run(&arguments(&toy, "survey", &model, "survey", &more)).ok();
    run(&arguments(&toy, "syntax", &model, "syntax", &more[2..])).ok();
    assert_eq!(toy.names("survey"), ["syntax"]);
    same(&toy, "survey/syntax", "syntax");
}

#[test]
fn what_cannot_be_surveyed_is_refused() {
    let toy = grammar(3);
    let (model, trees) = (asset("tiny-bert"), toy.text("trees.conllu"));
    let base = ["survey", &model, "--conllu", &trees];
    run(&[&base[..], &["--studies", "syntax"]].concat()).failed(2, &["--output DIR"]);
    let out = toy.text("survey");
    let ran = run(&[&base[..], &["--studies", "coref", "--output", &out]].concat());
    assert!(
        ran.code == Some(2) && ran.err.contains("coref"),
        "{}",
        ran.err
    );
    let ran = run(&[&base[..], &["--output", &out]].concat());
    assert!(
        ran.code == Some(2) && ran.err.contains("--studies"),
        "{}",
        ran.err
    );
    assert!(!toy.path("survey").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_survey_goes_on_to_the_same_bytes() {
    let toy = Toy::new();
    toy.write("trees.conllu", &treebank(MANY / 2));
    let model = toy.text("model");
    let grid = ["--chunk", "50", "--tokens-per-batch", "64"];
    let args = |more: &[&str]| {
        let studies = ["--studies", "patterns,syntax,cluster"];
        let more = [&studies[..], &grid, more].concat();
        arguments(&toy, "survey", &model, "survey", &more)
    };
    let slowly = |more: &[&str]| args(&[&["--threads", "1"], more].concat());
    let ran = stop_midway(slowly, &model, Signal::Terminate);
    assert!(ran.err.contains("sentence"), "{}", ran.err);
    assert!(toy.path("survey/state.json").exists());
    run(&args(&["--resume", "--max-length", "5"]))
        .failed(2, &["cannot be resumed", "--max-length"]);
    let ran = run(&args(&["--resume"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    assert_eq!(toy.names("survey"), ["cluster", "patterns", "syntax"]);
    same_as_alone(&toy, &model, &grid);
}
