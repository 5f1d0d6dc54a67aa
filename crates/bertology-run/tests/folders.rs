//! Folders that version 0.1.0 wrote before this crate was made: all of it is read, and written again as it was.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use bertology_run::registry::{self, Kind};
use bertology_run::results::{
    AblateResults, CorefResults, EvaluateResults, ExtractResults, ImportanceResults, MaskResults,
    PatternsResults, ProbeResults, PruneResults, Results, SyntaxAxes, SyntaxResults,
};
use bertology_run::rows::{
    AblationRow, BehaviourRow, CorefBaselineRow, CorefRow, GradientRow, ImportanceRow, PatternRow,
    PredictionRow, ProbeRow, StepRow, SyntaxRow, WindowRow,
};
use bertology_run::studies::cluster::{ClusterResults, ClusterRow};
use bertology_run::table::{Row, table};
use bertology_run::{Rows, Run, RunError};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/folders")
        .join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The results of a folder have all keys and values of its record, and no others.
#[track_caller]
fn same_results<R: Results + Default>(name: &str) -> R {
    let run = Run::open(&folder(name)).unwrap();
    let results: R = run.results().unwrap();
    let written = serde_json::to_value(&results).unwrap();
    assert_eq!(written, run.record()["results"], "{name}");
    // The order of keys is that of the file, too.
    assert_eq!(
        written.to_string(),
        run.record()["results"].to_string(),
        "{name}"
    );
    results
}

#[test]
fn results_are_read_whole() {
    let importance: ImportanceResults = same_results("importance");
    assert_eq!(importance.evaluation.unwrap().examples, 24);
    same_results::<ImportanceResults>("importance-lm");
    let ablate: AblateResults = same_results("ablate");
    assert_eq!(ablate.metric.as_deref(), Some("mcc"));
    same_results::<MaskResults>("mask");
    same_results::<EvaluateResults>("evaluate");
    let pruned: PruneResults = same_results("prune");
    assert!(pruned.masking.is_none() && pruned.timing.is_some());
    let patterns: PatternsResults = same_results("patterns");
    assert!(patterns.gradients.unwrap().0.len() > 2);
    same_results::<SyntaxResults>("syntax");
    same_results::<CorefResults>("coref");
    same_results::<ClusterResults>("cluster");
    same_results::<ProbeResults>("attention-probe");
    same_results::<ExtractResults>("extract");
    // Another command's results are nothing known.
    let run = Run::open(&folder("syntax")).unwrap();
    assert_eq!(
        run.results::<CorefResults>().unwrap(),
        CorefResults::default()
    );
}

#[track_caller]
fn same_table<R: Row>(name: &str) -> Rows<R> {
    let path = folder(name).join(R::FILE);
    let rows: Rows<R> = Rows::read(&path).unwrap();
    let written = table::<R, &R>(&rows.more, &rows.all);
    // The one column that has another name since.
    let then = fs::read_to_string(&path).unwrap();
    let then = then.replacen(",importance,raw,", ",importance,importance_raw,", 1);
    // Columns that came since stand last, and are empty.
    let header = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let since = header(&written);
    let since = since.strip_prefix(&header(&then)).unwrap();
    let empty = ",".repeat(since.matches(',').count());
    let lines = then.lines().enumerate().map(|(at, line)| match at {
        0 => format!("{line}{since}\n"),
        _ => format!("{line}{empty}\n"),
    });
    assert_eq!(written, lines.collect::<String>(), "{name}");
    assert!(!rows.all.is_empty(), "{name}");
    rows
}

#[test]
fn tables_are_written_again_byte_by_byte() {
    let importance = same_table::<ImportanceRow>("importance");
    let raw = importance.all.first().and_then(|row| row.importance_raw);
    assert_eq!(raw, Some(0.017374422030787613), "called `raw` then");
    same_table::<ImportanceRow>("mask");
    let predictions = same_table::<PredictionRow>("importance");
    assert_eq!(predictions.more, ["logit_0", "logit_1"]);
    same_table::<PredictionRow>("evaluate");
    same_table::<WindowRow>("importance-lm");
    let ablation = same_table::<AblationRow>("ablate");
    assert_eq!(ablation.more, ["mcc"]);
    same_table::<StepRow>("mask");
    same_table::<PatternRow>("patterns");
    same_table::<BehaviourRow>("patterns");
    let gradients = same_table::<GradientRow>("patterns");
    assert_eq!(gradients.more.len(), 4);
    same_table::<SyntaxRow>("syntax");
    same_table::<CorefRow>("coref");
    same_table::<CorefBaselineRow>("coref");
    same_table::<ClusterRow>("cluster");
    same_table::<ProbeRow>("attention-probe");
}

#[test]
fn every_file_is_in_the_registry_and_of_its_kind() {
    for name in names(&folder("")) {
        let run = Run::open(&folder(&name)).unwrap();
        for file in names(&folder(&name)) {
            let entry = registry::known(&file).unwrap_or_else(|| panic!("{name}/{file}"));
            if let Kind::Array { axes, .. } = entry.kind {
                let array = run.array(&file).unwrap().unwrap();
                assert_eq!(array.shape.len(), axes.len(), "{name}/{file}");
            }
            assert!(
                entry.commands.is_empty() || entry.commands.contains(&run.command()),
                "{name}/{file} by {}",
                run.command()
            );
        }
    }
}

#[test]
fn axes_of_syntax_are_read_whole() {
    let run = Run::open(&folder("syntax")).unwrap();
    let axes: SyntaxAxes = run.json(registry::RELATIONS).unwrap().unwrap();
    let text = fs::read_to_string(folder("syntax").join(registry::RELATIONS)).unwrap();
    let written = serde_json::to_string_pretty(&axes).unwrap();
    assert_eq!(written, text.trim_end());
    let array = run.array(registry::SYNTAX_HEADS).unwrap().unwrap();
    assert_eq!(array.shape[3], axes.relations.len());
}

#[test]
fn what_is_damaged_or_of_the_future_is_refused_by_name() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run.json");
    let text = fs::read_to_string(folder("mask").join("run.json")).unwrap();
    fs::write(&path, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
    let error = Run::open(base.path()).unwrap_err();
    assert!(
        matches!(
            error,
            RunError::Format {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    fs::write(
        &path,
        text.replacen("\"bound\": ", "\"bound\": \"x\", \"was\": ", 1),
    )
    .unwrap();
    let run = Run::open(base.path()).unwrap();
    let error = run.results::<MaskResults>().unwrap_err().to_string();
    assert!(
        error.contains("run.json: the results of mask are not what they should be"),
        "{error}"
    );
    let path = base.path().join("curve.csv");
    fs::write(
        &path,
        "step,heads_left,score,passed,loss,masked_heads\n0,4,,maybe,1,\n",
    )
    .unwrap();
    let error = run.rows::<StepRow>().unwrap_err().to_string();
    assert!(
        error.contains("row 1, column passed: \"maybe\" is not 0 or 1"),
        "{error}"
    );
}
