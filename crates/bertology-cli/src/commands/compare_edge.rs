//! `bertology compare` of two runs of edge probing: task by task, since they have no number of a head.

use std::fmt::Write as _;

use bertology_report::{CAUSAL, EdgeComparison, EdgeDecisions, EdgePair, EdgeShift, EdgeStatistic};
use bertology_run::Run;
use bertology_run::studies::edge::EdgeQuantity;
use bertology_train::edge::chance::{Decisions, difference_over_sentences};
use bertology_train::edge::experiment::mean_expected_layer;
use bertology_train::edge::summary::mean_curve;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::pages;
use crate::show::escape::name as escaped;
use crate::show::text::{plural, wrapped};

/// The command whose runs these are.
pub(super) const COMMAND: &str = "edge-probe";
/// Times that sentences are drawn again.
const RESAMPLES: usize = 1000;

pub(super) fn compare(first: &Run, second: &Run) -> Result<EdgeComparison, Failure> {
    let found = bertology_report::compare_edge(first, second, &redraw);
    found.map_err(|error| pages::failure(&error))
}

/// The interval of the difference, second less first, over the sentences that both have.
fn redraw(statistic: EdgeStatistic, decisions: [&EdgeDecisions; 2]) -> Option<[f64; 2]> {
    let views = decisions.map(|seeds| -> Vec<Decisions<'_>> {
        let seeds = seeds.iter();
        seeds
            .map(|layers| layers.iter().map(Vec::as_slice).collect())
            .collect()
    });
    // The second comes first, so that it is that less the first.
    let of = |side: usize, curves: &[Vec<f64>]| match statistic {
        EdgeStatistic::Top => mean_curve(curves).last().copied(),
        EdgeStatistic::ExpectedLayer(factors) => {
            Some(mean_expected_layer(curves)? * factors[1 - side])
        }
    };
    difference_over_sentences([&views[1], &views[0]], true, RESAMPLES, of)?.interval
}

pub(super) fn text(found: &EdgeComparison) -> String {
    let [a, b] = &found.runs;
    let mut text = format!("A: {}\nB: {}", escaped(a), escaped(b));
    for pair in &found.pairs {
        text.push_str(&of_task(pair));
    }
    if found.pairs.is_empty() {
        text.push_str("\n\nNo task is in both runs.");
    }
    let mut notes = found.notes();
    if found.one_is_causal {
        notes.push(CAUSAL.into());
    }
    for note in &notes {
        let _ = write!(text, "\n\n{}", wrapped(&escaped(note), 80));
    }
    text.push_str(&super::compare::not_the_same(&found.differences));
    text
}

fn of_task(pair: &EdgePair) -> String {
    let mut text = format!("\n\n{}: F1 by layer", escaped(&pair.task));
    if pair.same_targets {
        let _ = write!(
            text,
            ", both on the same {}",
            plural(pair.targets[0], "target")
        );
    }
    let layers = pair.curves.iter().map(Vec::len).max().unwrap_or(0);
    for block in (0..layers).collect::<Vec<_>>().chunks(11) {
        let mut line = |name: &str, of: &dyn Fn(usize) -> String| {
            let _ = write!(text, "\n  {name:<8}");
            for layer in block {
                let _ = write!(text, "{:>6}", of(*layer));
            }
        };
        line("layer", &|layer| layer.to_string());
        for (name, curve) in ["A", "B"].iter().zip(&pair.curves) {
            line(name, &|layer| {
                let score = curve.get(layer).and_then(|row| row.score);
                score.map_or_else(|| "-".into(), |score| format!("{:.1}", 100.0 * score))
            });
        }
    }
    for shift in &pair.shifts {
        text.push_str(&of_shift(shift));
    }
    text
}

fn of_shift(shift: &EdgeShift) -> String {
    let factor = if shift.share { 100.0 } else { 1.0 };
    let decimals = if shift.share { 1 } else { 2 };
    let value = |of: &EdgeQuantity| match (of.value, of.low, of.high) {
        (Some(value), Some(low), Some(high)) => format!(
            "{:.decimals$} ({:.decimals$} to {:.decimals$})",
            factor * value,
            factor * low,
            factor * high
        ),
        (Some(value), ..) => format!("{:.decimals$}", factor * value),
        _ => "-".into(),
    };
    let mut text = format!(
        "\n  {}: {} in A, {} in B",
        shift.name,
        value(&shift.values[0]),
        value(&shift.values[1])
    );
    let Some(difference) = shift.difference else {
        return text;
    };
    let _ = write!(text, "\n    B less A {:+.2}", factor * difference);
    let interval = |[low, high]: [f64; 2]| format!("{:+.2} to {:+.2}", factor * low, factor * high);
    if let Some(ends) = shift.over_seeds {
        let _ = write!(text, "; seeds {}", interval(ends));
    }
    if let Some(ends) = shift.over_sentences {
        let how = if shift.paired { "paired" } else { "unpaired" };
        let _ = write!(text, "; sentences, {how}, {}", interval(ends));
    }
    let said = match (shift.is_ordered(), difference > 0.0) {
        (false, _) => "not ordered",
        (true, true) => "B is higher",
        (true, false) => "A is higher",
    };
    let _ = write!(text, ": {said}");
    text
}

pub(super) fn json(found: &EdgeComparison) -> Value {
    let tasks = found.pairs.iter().map(|pair| {
        let shifts = pair.shifts.iter().map(|shift| {
            json!({
                "name": shift.name,
                "first": shift.values[0],
                "second": shift.values[1],
                "difference": shift.difference,
                "over_seeds": shift.over_seeds,
                "over_sentences": shift.over_sentences,
                "paired": shift.paired,
                "ordered": shift.is_ordered(),
            })
        });
        let scores = pair.curves.each_ref().map(|rows| {
            let scores = rows.iter().map(|row| row.score);
            scores.collect::<Vec<_>>()
        });
        json!({
            "task": pair.task,
            "same_targets": pair.same_targets,
            "targets": pair.targets,
            "judged_by": pair.judged_by,
            "scores": scores,
            "numbers": shifts.collect::<Vec<_>>(),
            "guards": pair.guards,
        })
    });
    json!({
        "runs": found.runs,
        "tasks": tasks.collect::<Vec<_>>(),
        "only_in_first": found.only[0],
        "only_in_second": found.only[1],
        "one_is_causal": found.one_is_causal,
        "notes": found.notes(),
        "differences": super::compare::differences_json(&found.differences),
    })
}
