//! What the commands print.

use std::fmt::Write as _;
use std::time::Duration;

use bertology::attention::relations::Relations;
use bertology_run::studies::relations::BestValue;

use super::output::{best_of, views};
use super::range;
use crate::show::text::{count, plural, seconds};

/// Labels that are listed; the files hold all.
const LISTED: usize = 30;

pub(super) fn text(study: &Relations, time: Duration) -> String {
    let mut all: Vec<(usize, usize)> = views(study).filter(|(l, r)| study.related(*l, *r) > 0.0).collect();
    // The most frequent labels first, their ranges together.
    let weight = |label: usize| -> f64 {
        (0..study.settings().distances.len()).map(|range| study.related(label, range)).sum()
    };
    all.sort_by(|a, b| weight(b.0).total_cmp(&weight(a.0)).then(a.cmp(b)));
    let mut text = String::from("\nPer cent, the best head of each; in brackets what unrelated pairs of the same texts and distances give\n(layers and heads counted from 0)");
    for (label, at) in all.iter().take(LISTED) {
        let best = best_of(study, *label, *at);
        let distances = &study.settings().distances;
        let of_range = if distances.len() > 1 || distances[*at].least > 1 || distances[*at].most.is_some() {
            format!(", {}", range(&distances[*at]))
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "\n\n{}{of_range}: {} of {} per cent of all pairs",
            best.label,
            pairs(best.pairs),
            best.background.map_or("no".to_owned(), |share| format!("{:.2}", share * 100.0)),
        );
        let symmetric = study.settings().symmetric;
        let from = if symmetric { "strongest partner is related" } else { "strongest partner, from first to second" };
        for (name, value) in [
            ("share of attention", &best.share),
            ("precision of the strongest pairs", &best.precision),
            (from, &best.from),
            ("strongest partner, from second to first", &best.to),
        ] {
            if let Some(value) = value {
                let _ = write!(text, "\n  {name:<40} {}", line(value));
            }
        }
        for (name, scores) in &best.regressions.0 {
            let Some(precision) = scores.precision else { continue };
            let _ = write!(text, "\n  {name:<40} precision {:.1}", precision * 100.0);
            if symmetric {
                let at = |cut: &str| scores.precision_at.get(cut).copied().flatten();
                for (cut, short) in [("length", "L"), ("half", "L/2"), ("fifth", "L/5")] {
                    if let Some(value) = at(cut) {
                        let _ = write!(text, ", at {short} {:.1}", value * 100.0);
                    }
                }
            }
            for (name, value) in [("average precision", scores.average_precision), ("AUC", scores.auc), ("matched AUC", scores.matched_auc)] {
                if let Some(value) = value {
                    let _ = write!(text, ", {name} {:.1}", value * 100.0);
                }
            }
        }
    }
    let more = all.len().saturating_sub(LISTED);
    if more > 0 {
        let _ = write!(text, "\n\n{} more labels and ranges are in the files", count(more as u64));
    }
    let _ = write!(text, "\n\n{}\n{}", account(study), seconds(time));
    text
}

/// By their weights, which are 1 unless the file says otherwise.
fn pairs(weight: f64) -> String {
    match weight.fract() == 0.0 {
        true => plural(weight as u64, "related pair"),
        false => format!("related pairs of weight {weight:.1}"),
    }
}

fn line(best: &BestValue) -> String {
    let mut text = format!("{:<8} {:>5.1}", best.head, best.value * 100.0);
    if let Some(matched) = best.matched {
        let _ = write!(text, " ({:.1})", matched * 100.0);
    }
    if let (Some(low), Some(high)) = (best.low, best.high) {
        let _ = write!(text, ", {:.1} to {:.1}", low * 100.0, high * 100.0);
    }
    text
}

/// What was studied, and what was not.
fn account(study: &Relations) -> String {
    let (counts, tally) = (study.counts(), study.tally());
    let mut text = format!(
        "{} with {}, {} and {}",
        plural(counts.sequences, "text"),
        plural(tally.units, "unit"),
        plural(counts.tokens, "token"),
        plural(tally.pairs, "related pair"),
    );
    for (number, noun, what) in [
        (counts.too_long, "text", "left out, too long"),
        (counts.empty, "text", "left out, without a token"),
        (counts.cut, "text", "cut"),
        (tally.beyond, "unit", "cut off"),
        (tally.without_tokens, "unit", "without a token"),
        (tally.straddling, "token", "with characters of two units"),
        (tally.lost, "related pair", "not looked at: a unit was cut off, has no token, or nothing is known of it"),
    ] {
        if number > 0 {
            let _ = write!(text, "\n{} {what}", plural(number, noun));
        }
    }
    text
}
