//! `bertology compare`: two runs of one command, head by head; of edge probing task by task; of the CAT-score any number.

use std::fmt::Write;

use bertology_report::{Comparison, Shift};
use bertology_run::Run;
use serde_json::{Value, json};

use super::{Done, compare_cat, compare_edge};
use crate::args::CompareArgs;
use crate::failure::Failure;
use crate::pages;
use crate::show::Screen;
use crate::show::escape::name as escaped;
use crate::show::text::plural;

/// Heads named for each number.
const NAMED: usize = 5;

pub(crate) fn run(args: &CompareArgs, screen: &Screen) -> Result<Done, Failure> {
    if let Some(path) = &args.output {
        pages::check("--output", path, args.overwrite)?;
    }
    let (first, second) = (pages::open(&args.first)?, pages::open(&args.second)?);
    let more: Result<Vec<Run>, Failure> = args.more.iter().map(|path| pages::open(path)).collect();
    let more = more?;
    if !more.is_empty() && first.command() != compare_cat::COMMAND {
        return Err(Failure::input(format!(
            "runs of {} are compared two by two; more than two can be of cat",
            first.command()
        )));
    }
    let (said, document, json) = if first.command() == compare_cat::COMMAND {
        let runs: Vec<&Run> = [&first, &second].into_iter().chain(&more).collect();
        compare_cat::compare(&runs)?
    } else if first.command() == compare_edge::COMMAND {
        let found = compare_edge::compare(&first, &second)?;
        let said = compare_edge::text(&found);
        (said, found.document(), compare_edge::json(&found))
    } else {
        let found = bertology_report::compare(&first, &second);
        let found = found.map_err(|error| pages::failure(&error))?;
        (text(&found), found.document(), json(&found))
    };
    pages::unchanged(&first)?;
    pages::unchanged(&second)?;
    more.iter().try_for_each(pages::unchanged)?;
    screen.say(&said);
    if let Some(path) = &args.output {
        pages::write_page(path, &document)?;
        screen.say(&format!("\nThe page is {}", path.display()));
    }
    if let Some(folder) = &args.figures {
        let files = pages::write_figures(folder, &document)?;
        let number = plural(files.len() as u64, "figure");
        screen.say(&format!("{number} are in {}", folder.display()));
    }
    Ok(json.into())
}

pub(super) fn text(found: &Comparison) -> String {
    let [a, b] = &found.runs;
    let mut text = format!("A: {}\nB: {}", escaped(a), escaped(b));
    for (name, before, after) in &found.overall {
        let _ = write!(
            text,
            "\n  {:<24} {before:>12.4}  {after:>12.4}  {:>+10.4}",
            escaped(name),
            after - before
        );
    }
    if found.shifts.is_empty() {
        text.push_str("\nNo number of single heads is in both runs.");
    } else {
        let _ = write!(
            text,
            "\n\n  {:<40} {:>5}  {:>8}  {:>8}",
            "over heads that have a number in both", "heads", "rho", "tau-b"
        );
    }
    for shift in &found.shifts {
        let (rho, tau) = (coefficient(shift.spearman), coefficient(shift.kendall));
        let name: String = escaped(&shift.name).chars().take(40).collect();
        let _ = write!(
            text,
            "\n  {name:<40} {:>5}  {rho:>8}  {tau:>8}",
            shift.common
        );
    }
    if let Some(shift) = found.shifts.first() {
        let _ = write!(
            text,
            "\n\nLargest changes of {}, B less A:\n ",
            escaped(&shift.name)
        );
        for ((layer, head), a, b) in shift.largest.iter().take(NAMED) {
            let _ = write!(text, " L{layer}H{head} {:+.3}", b - a);
        }
    }
    for shift in &found.shifts {
        text.push_str(&missing(shift));
    }
    text.push_str(&not_the_same(&found.differences));
    text
}

pub(super) fn not_the_same(differences: &[(String, String, String)]) -> String {
    let mut text = String::new();
    if !differences.is_empty() {
        text.push_str("\n\nNot the same in both:");
    }
    for (name, a, b) in differences {
        let _ = write!(text, "\n  {name}: {} in A, {} in B", brief(a), brief(b));
    }
    text
}

/// The beginning of what is too long for a line, and the end of a path.
fn brief(value: &str) -> String {
    const MOST: usize = 22;
    let all = value.chars().count();
    if all <= MOST {
        return value.to_owned();
    }
    if value.contains('/') {
        let kept: String = value.chars().skip(all - MOST).collect();
        return format!("…{kept}");
    }
    let kept: String = value.chars().take(MOST).collect();
    format!("{kept}…")
}

fn coefficient(value: f64) -> String {
    if value.is_nan() {
        "undefined".into()
    } else {
        format!("{value:.3}")
    }
}

fn missing(shift: &Shift) -> String {
    let mut text = String::new();
    for (count, run) in [(shift.only_first, "A"), (shift.only_second, "B")] {
        if count > 0 {
            let heads = plural(count as u64, "head");
            let _ = write!(text, "\n{}: {heads} only in {run}", escaped(&shift.name));
        }
    }
    text
}

pub(super) fn json(found: &Comparison) -> Value {
    let finite = |value: f64| value.is_finite().then_some(value);
    let overall = found.overall.iter().map(|(name, before, after)| {
        json!({ "name": name, "first": before, "second": after, "difference": after - before })
    });
    let shifts = found.shifts.iter().map(|shift| {
        let largest = shift.largest.iter().map(|((layer, head), a, b)| {
            json!({ "head": format!("L{layer}H{head}"), "first": a, "second": b })
        });
        json!({
            "name": shift.name,
            "heads_in_both": shift.common,
            "only_in_first": shift.only_first,
            "only_in_second": shift.only_second,
            "spearman": finite(shift.spearman),
            "kendall": finite(shift.kendall),
            "mean_difference": finite(shift.mean_change),
            "largest": largest.collect::<Vec<_>>(),
        })
    });
    json!({
        "runs": found.runs,
        "overall": overall.collect::<Vec<_>>(),
        "heads": shifts.collect::<Vec<_>>(),
        "differences": differences_json(&found.differences),
    })
}

pub(super) fn differences_json(differences: &[(String, String, String)]) -> Value {
    let differences = differences.iter();
    differences
        .map(|(name, a, b)| json!({ "name": name, "first": a, "second": b }))
        .collect()
}
