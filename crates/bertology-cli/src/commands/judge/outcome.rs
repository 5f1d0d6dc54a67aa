//! What is said and kept of a judgement.

use bertology::compress::PerUnit;
use bertology::judge::{Curve, Difference, MeanArea, Units, area, areas, compare};
use bertology::masking::{Direction, Metric};
use bertology_run::results::finite;
use bertology_run::studies::judge::{
    CurveRow, DifferenceRow, JudgeResults, MeasureRow, RealDifference, UnitRow,
};

use super::{Found, JudgeArgs};
use crate::failure::Failure;
use crate::record;
use crate::run_folder::RunFolder;
use crate::show::text::plural;

/// What is concluded.
pub(super) struct Judged {
    areas: Vec<MeanArea>,
    differences: Vec<Difference>,
    /// Of the units that are left, at which points lie, and the mean score of each measure there, in the order of areas.
    table: Vec<(f64, Vec<f64>)>,
    pub(super) results: JudgeResults,
}

pub(super) fn judged(args: &JudgeArgs, found: &Found, metric: &Metric) -> Judged {
    let curves: Vec<Curve> = found.finished.iter().map(|of| of.curve.clone()).collect();
    let (areas, differences) = (areas(&curves, metric), compare(&curves, metric));
    let shares: Vec<f64> = curves
        .first()
        .map(|curve| curve.points.iter().map(|point| point.share).collect())
        .unwrap_or_default();
    let mean = |measure: &str, point: usize| {
        let of = curves.iter().filter(|curve| curve.measure == measure);
        let scores: Vec<f64> = of
            .filter_map(|curve| Some(curve.points.get(point)?.scored.score))
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    let table: Vec<(f64, Vec<f64>)> = shares
        .iter()
        .enumerate()
        .map(|(point, share)| {
            let scores = areas.iter().map(|area| mean(&area.measure, point));
            (*share, scores.collect())
        })
        .collect();
    let real: Vec<RealDifference> = differences
        .iter()
        .filter(|pair| pair.real)
        .map(|pair| RealDifference {
            better: pair.better.clone(),
            worse: pair.worse.clone(),
            difference: pair.difference,
            interval: pair.interval.map(Into::into),
        })
        .collect();
    let left = curves.first().map_or(&[][..], |curve| &curve.points[..]);
    let of_measure = |at: usize| table.iter().map(|(_, scores)| finite(scores[at])).collect();
    let results = JudgeResults {
        units: record::name_of(&args.units),
        count: args.units.units().count(&found.groups) as u64,
        metric: metric.name.clone(),
        falling: metric.direction == Direction::Lower,
        whole: finite(found.whole.score),
        examples: args.examples.get(),
        seeds: found.seeds.clone(),
        folds: found.whole.without.len() as u64,
        measures: areas.iter().map(|area| area.measure.clone()).collect(),
        areas: areas
            .iter()
            .map(|area| (finite(area.area), area.interval.map(Into::into)))
            .collect(),
        left: left.iter().map(|point| point.left as u64).collect(),
        curves: (0..areas.len()).map(of_measure).collect(),
        pairs: (differences.len() as u64, real.len() as u64),
        real,
    };
    Judged {
        areas,
        differences,
        table,
        results,
    }
}

pub(super) fn write_tables(
    folder: &RunFolder,
    args: &JudgeArgs,
    found: &Found,
    judged: &Judged,
) -> Result<(), Failure> {
    let ends = |interval: Option<[f64; 2]>| match interval {
        Some([low, high]) => (finite(low), finite(high)),
        None => (None, None),
    };
    let measures: Vec<MeasureRow> = judged
        .areas
        .iter()
        .map(|area| {
            let (low, high) = ends(area.interval);
            MeasureRow {
                measure: area.measure.clone(),
                area: finite(area.area),
                low,
                high,
                seeds: area.seeds,
            }
        })
        .collect();
    folder.write_table::<MeasureRow, _>(&[], &measures)?;
    let differences: Vec<DifferenceRow> = judged
        .differences
        .iter()
        .map(|pair| {
            let (low, high) = ends(pair.interval);
            DifferenceRow {
                better: pair.better.clone(),
                worse: pair.worse.clone(),
                difference: pair.difference,
                low,
                high,
                p_value: pair.p_value,
                real: pair.real,
            }
        })
        .collect();
    folder.write_table::<DifferenceRow, _>(&[], &differences)?;
    let units = args.units.units();
    let places = places(units, found);
    let (mut points, mut scores) = (Vec::new(), Vec::new());
    for of in &found.finished {
        let values: Vec<f64> = of.scores.iter().map(|score| score.value).collect();
        for point in &of.curve.points {
            let keep = units.keep(&found.groups, &values, point.left);
            points.push(CurveRow {
                measure: of.curve.measure.clone(),
                seed: of.curve.seed,
                left: point.left,
                share: point.share,
                operations: found.operations.of(&keep) / found.operations.whole().max(1.0),
                score: finite(point.scored.score),
                loss: finite(point.scored.loss),
            });
        }
        for ((layer, unit), score) in places.iter().zip(&of.scores) {
            scores.push(UnitRow {
                measure: of.curve.measure.clone(),
                seed: of.curve.seed,
                layer: *layer,
                unit: *unit,
                score: score.value,
                standard_error: score.error,
            });
        }
    }
    folder.write_table::<CurveRow, _>(&[], &points)?;
    folder.write_table::<UnitRow, _>(&[], &scores)?;
    Ok(())
}

/// Layer and number of each unit, in order.
fn places(units: Units, found: &Found) -> Vec<(usize, Option<usize>)> {
    let groups = &found.groups;
    if units == Units::Layers {
        return (0..groups.layers()).map(|layer| (layer, None)).collect();
    }
    let counts = groups.counts();
    let all: PerUnit<(usize, Option<usize>)> = counts
        .iter()
        .enumerate()
        .map(|(group, count)| {
            let heads = groups.heads(group / 2);
            let number = |unit: usize| match group % 2 {
                0 => heads[unit],
                _ => unit,
            };
            (0..*count)
                .map(|unit| (group / 2, Some(number(unit))))
                .collect()
        })
        .collect();
    units.of(&all)
}

/// Of a finished curve.
pub(super) fn line(curve: &Curve, metric: &Metric) -> String {
    format!(
        "  seed {}  {:<14} mean {} {:.4}",
        curve.seed,
        curve.measure,
        metric.name,
        area(curve, |scored| scored.score)
    )
}

/// An interval, where there is one, behind what it is of.
fn written(interval: Option<[f64; 2]>) -> String {
    let text = |[low, high]: [f64; 2]| format!(" ({low:.4} to {high:.4})");
    interval.map(text).unwrap_or_default()
}

pub(super) fn text(judged: &Judged) -> String {
    let results = &judged.results;
    let name = &results.metric;
    let mut lines = vec![format!(
        "{name} with fewer {}, those of least importance gone first, in the mean of {}:",
        results.units,
        plural(results.seeds.len() as u64, "seed")
    )];
    let mut head = format!("  {:>7}", "left");
    for area in &judged.areas {
        head.push_str(&format!("  {:>13}", area.measure));
    }
    lines.push(head);
    for (share, scores) in &judged.table {
        let mut line = format!("  {:>6.1}%", 100.0 * share);
        for score in scores {
            line.push_str(&format!("  {score:>13.4}"));
        }
        lines.push(line);
    }
    lines.push(format!("Mean {name} along the way (95 % interval):"));
    for area in &judged.areas {
        let interval = written(area.interval);
        lines.push(format!("  {:<14} {:.4}{interval}", area.measure, area.area));
    }
    let (pairs, real) = results.pairs;
    lines.push(format!(
        "{real} of {pairs} differences between measures are real, all pairs considered (Holm, 5 %):"
    ));
    for pair in judged.differences.iter().filter(|pair| pair.real) {
        let interval = written(pair.interval);
        lines.push(format!(
            "  {} is better than {} by {:.4}{interval}",
            pair.better, pair.worse, pair.difference
        ));
    }
    let beaten = |measure: &str| {
        let mut pairs = judged.differences.iter();
        pairs.any(|pair| pair.real && pair.better == measure && pair.worse == "random")
    };
    let not_better: Vec<&str> = results
        .measures
        .iter()
        .map(String::as_str)
        .filter(|measure| *measure != "random" && !beaten(measure))
        .collect();
    if !not_better.is_empty() {
        lines.push(format!(
            "Not shown to be better than chance here: {}",
            not_better.join(", ")
        ));
    }
    lines.join("\n")
}
