//! `bertology mask` and `bertology prune`.

use bertology_run::registry::MASK;
use bertology_run::results::{ComparedResults, Evaluation, MaskResults, PairedChange, PruneResults};
use bertology_run::rows::StepRow;
use bertology_run::table::Row as _;
use bertology_run::{HeadColumn, Rows, RunError};

use super::{Page, Parts, both};

mod schedule;

use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Chosen, Figure, Heat, Lines, Point, Scale, Series, Shape};
use crate::number::{bytes, change, count, percent, short, significant};
use crate::quantities::{self, metric, numbers};
use crate::speed::spans_one;

pub(super) const PAGES: &[Page] = &[
    Page {
        command: "mask",
        title: "Masking heads",
        write: mask,
        quantities: quantities::masked,
    },
    Page {
        command: "prune",
        title: "Pruning heads",
        write: prune,
        // Its files are those of `mask`.
        quantities: |_, _| Ok(()),
    },
];

fn mask(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: MaskResults = parts.run.results()?;
    if !found.curves.is_empty() {
        schedule::sections(parts, &found);
        return Ok(());
    }
    let mut short_form = Vec::new();
    if let (Some(left), Some(before)) = (found.heads_left, found.heads_before) {
        short_form.push(("heads left".into(), count(left), format!("of {before}")));
    }
    if let (Some(before), Some(after)) = (found.score_before, found.score_after) {
        let (after, beside) = both(before, after);
        short_form.push((metric(found.metric.clone()), after, beside));
    }
    if let Some(bound) = found.bound {
        let rule = found.threshold.replace(':', " ");
        short_form.push(("bound".into(), significant(bound, 4), rule));
    }
    short_form.extend(goal(&found));
    if let Some(stop) = &found.stop {
        short_form.push(("stopped".into(), stop.replace('_', " "), String::new()));
    }
    if !short_form.is_empty() {
        parts.add("Summary", vec![Block::Numbers(short_form)]);
    }
    search(parts, Some(&found))?;
    if let Some(on_data) = &found.on_data {
        let ComparedResults {
            evaluation_before,
            evaluation_after,
            paired,
        } = on_data;
        let scores = scores(evaluation_before.as_ref(), evaluation_after.as_ref());
        let mut table = before_and_after(&[], &scores);
        table.caption = "On data that no head was chosen on.".into();
        parts.add("Before and after", vec![Block::Table(table)]);
        one_by_one(parts, paired.as_ref());
    }
    Ok(())
}

/// What was to be reached, and whether it was.
fn goal(found: &MaskResults) -> Option<(String, String, String)> {
    let (kind, value) = found.goal.as_deref()?.split_once(':')?;
    let (name, value) = match (kind, value.parse::<f64>()) {
        ("heads_left", Ok(heads)) => ("heads to be left", count(heads as u64)),
        ("file_bytes", Ok(size)) => ("largest file", bytes(size as u64)),
        ("speedup", Ok(times)) => ("times as fast", significant(times, 3)),
        _ => ("goal", value.to_owned()),
    };
    let reached = match found.goal_reached {
        Some(false) => "not reached",
        _ => "reached",
    };
    Some((name.into(), value, reached.into()))
}

/// How two models differ, example by example.
fn pairs(found: &PairedChange) -> Option<Vec<(String, String, String)>> {
    let mut all = Vec::new();
    if let (Some(lost), Some(won)) = (found.right_to_wrong, found.wrong_to_right) {
        let test = found.p_value.map_or_else(String::new, |p| {
            format!("exact sign test against the other way round: p = {}", significant(p, 2))
        });
        all.push(("right to wrong".into(), count(lost), test));
        all.push(("wrong to right".into(), count(won), String::new()));
    }
    if let (Some(shift), Some(error)) = (found.loss_change, found.loss_standard_error) {
        let beside = format!("standard error {}, over pairs of examples", significant(error, 2));
        all.push(("change of the loss".into(), change(shift), beside));
    }
    (!all.is_empty()).then_some(all)
}

fn prune(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let results: PruneResults = parts.run.results()?;
    let mut found = Vec::new();
    if let Some(sizes) = &results.sizes {
        let (heads, parameters) = (
            (sizes.heads_before, sizes.heads_after),
            (sizes.parameters_before, sizes.parameters_after),
        );
        for (name, (before, after)) in [("heads", heads), ("parameters", parameters)] {
            found.push((name, before as f64, after as f64));
        }
    }
    if let Some(written) = &results.checkpoint {
        let report = &written.report;
        let (before, after) = (report.file_bytes_before, report.file_bytes_after);
        found.push(("file", before as f64, after as f64));
    }
    let timing = results.timing.as_ref();
    let speed = timing.and_then(|timing| timing.speedup);
    let mut short_form: Vec<(String, String, String)> = found
        .iter()
        .map(|(name, before, after)| {
            let write = |value: f64| match *name {
                "file" => bytes(value as u64),
                _ if value >= 1e6 => format!("{} M", significant(value / 1e6, 4)),
                _ => count(value as u64),
            };
            (
                (*name).to_owned(),
                write(*after),
                format!("of {}", write(*before)),
            )
        })
        .collect();
    let range = timing.and_then(|timing| timing.range);
    if let Some(speed) = speed {
        let (found, beside) = match range {
            Some((low, high)) if spans_one((low, high)) => (
                format!("{low:.2}–{high:.2}"),
                "times as fast: no measurable change".into(),
            ),
            Some((low, high)) => (
                format!("{speed:.2}"),
                format!("times as fast, {low:.2} to {high:.2}"),
            ),
            None => (format!("{speed:.2}"), "times as fast".into()),
        };
        let place = timing.and_then(|timing| timing.device.as_ref());
        let what = place.map_or_else(|| "speed".to_owned(), |device| format!("speed on {device}"));
        short_form.push((what, found, beside));
    }
    let scores = scores(
        results.evaluation_before.as_ref(),
        results.evaluation_after.as_ref(),
    );
    for (name, before, after) in &scores {
        let (after, beside) = both(*before, *after);
        short_form.push((name.clone(), after, beside));
    }
    short_form.extend(results.masking.as_ref().and_then(goal));
    if !short_form.is_empty() {
        parts.add("Summary", vec![Block::Numbers(short_form)]);
    }
    search(parts, results.masking.as_ref())?;
    let mut blocks = vec![Block::Table(before_and_after(&found, &scores))];
    if !found.is_empty() {
        blocks.insert(0, Block::Figures(vec![left(&found, speed, range)]));
    }
    parts.add("Before and after", vec![Block::Beside(blocks)]);
    one_by_one(parts, results.paired.as_ref());
    Ok(())
}

/// What differs from example to example.
pub(super) fn one_by_one(parts: &mut Parts<'_>, paired: Option<&PairedChange>) {
    if let Some(numbers) = paired.and_then(pairs) {
        parts.add("Example by example", vec![Block::Numbers(numbers)]);
    }
}

/// Metrics and loss with their values before and after.
pub(super) fn scores(
    before: Option<&Evaluation>,
    after: Option<&Evaluation>,
) -> Vec<(String, f64, f64)> {
    let of = |evaluation: Option<&Evaluation>| -> Vec<(String, f64)> {
        let Some(evaluation) = evaluation else {
            return Vec::new();
        };
        let mut all: Vec<_> = numbers(&evaluation.metrics).collect();
        all.extend(evaluation.loss.map(|loss| ("loss".to_owned(), loss)));
        all
    };
    let after = of(after);
    let pairs = of(before);
    let pairs = pairs.into_iter().filter_map(|(name, before)| {
        let (_, after) = after.iter().find(|(other, _)| *other == name)?;
        Some((name, before, *after))
    });
    pairs.collect()
}

/// What is left of each size, and of the time.
pub(super) fn left(
    sizes: &[(&str, f64, f64)],
    speed: Option<f64>,
    range: Option<(f64, f64)>,
) -> Figure {
    let mut rows: Vec<Bar> = sizes
        .iter()
        .filter(|(_, before, _)| *before > 0.0)
        .map(|(name, before, after)| Bar {
            name: (*name).to_owned(),
            value: after / before,
            ..Bar::default()
        })
        .collect();
    rows.extend(speed.filter(|speed| *speed > 0.0).map(|speed| Bar {
        name: "time of a pass".into(),
        value: 1.0 / speed,
        low: range.map(|(_, high)| 1.0 / high),
        high: range.map(|(low, _)| 1.0 / low),
        ..Bar::default()
    }));
    let ends = rows.iter().flat_map(|row| [Some(row.value), row.high]);
    let most = ends.flatten().fold(1.0, f64::max);
    let interval = rows
        .iter()
        .any(|row| row.high.is_some())
        .then_some("interval");
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("share of the whole model", [0.0, most]).rounded(5),
        shape: Shape::Bar,
        kind: "what",
        baseline: None,
        interval,
        write: percent,
    };
    bars.draw().named(
        "left",
        "What is left",
        "The pruned model as a share of the whole one.",
    )
}

pub(super) fn before_and_after(sizes: &[(&str, f64, f64)], scores: &[(String, f64, f64)]) -> Table {
    let columns = [
        Column::text("what"),
        Column::number("before"),
        Column::number("after"),
        Column::number("change"),
    ];
    let sizes = sizes.iter().map(|(name, before, after)| {
        let write = |value: f64| match *name {
            "file" => bytes(value as u64),
            _ => count(value as u64),
        };
        let share = if *before > 0.0 {
            (after - before) / before
        } else {
            0.0
        };
        let percent = format!("{} %", change(share * 100.0));
        let shown = Cell {
            text: percent,
            value: Some(after - before),
            ..Cell::default()
        };
        (
            *name,
            Cell::number(Some(*before), write),
            Cell::number(Some(*after), write),
            shown,
        )
    });
    let scores = scores.iter().map(|(name, before, after)| {
        let write = |value: f64| significant(value, 4);
        let shown = Cell::number(Some(after - before), change);
        (
            name.as_str(),
            Cell::number(Some(*before), write),
            Cell::number(Some(*after), write),
            shown,
        )
    });
    let rows = sizes
        .chain(scores)
        .map(|(name, before, after, change)| Row {
            cells: vec![Cell::text(name), before, after, change],
            head: None,
        });
    Table {
        id: "before-and-after".into(),
        title: "Before and after".into(),
        caption: String::new(),
        columns: columns.to_vec(),
        rows: rows.collect(),
        ..Table::default()
    }
}

/// The masking loop, if there was one: its curve and the mask that it chose.
fn search(parts: &mut Parts<'_>, found: Option<&MaskResults>) -> Result<(), RunError> {
    let mut figures = Vec::new();
    let steps = parts.run.rows::<StepRow>()?;
    if let Some(steps) = &steps {
        figures.extend(curve(&steps.all, found));
    } else if found.is_some() {
        parts.missing(StepRow::FILE, "the masking curve is not shown");
    }
    match parts.quantity("kept") {
        Some(kept) => figures.push(chosen(parts, &kept.values)),
        None => parts.missing(MASK, "the mask is not shown"),
    }
    if !figures.is_empty() {
        parts.add("Which heads", vec![Block::Figures(figures)]);
    }
    if let Some(steps) = &steps {
        parts.add("Steps", vec![Block::Table(all_steps(steps))]);
    }
    Ok(())
}

/// Importance with a cross through what is masked; without importance the mask alone.
fn chosen(parts: &Parts<'_>, kept: &HeadColumn) -> Figure {
    let masked: Vec<bool> = kept
        .values
        .iter()
        .map(|value| *value == Some(0.0))
        .collect();
    let pruned = parts.run.command() == "prune";
    let word = if pruned { "removed" } else { "masked" };
    let (values, name, scale) = match parts.quantity("importance") {
        Some(importance) => (
            &importance.values,
            "importance before masking",
            Scale::Between(0.0, 1.0),
        ),
        None => (kept, "1 kept, 0 removed", Scale::Between(0.0, 1.0)),
    };
    let mut heat = Heat::new(values, name, "", scale);
    heat.crossed = Some((&masked, word));
    let left = masked.iter().filter(|masked| !**masked).count();
    heat.draw().named(
        "mask",
        if pruned {
            "Heads removed"
        } else {
            "Heads masked"
        },
        format!("{left} of {} heads are left.", masked.len()),
    )
}

/// A score with the bound that it must keep to, if there is one, from `low` to `high` of the other axis.
pub(super) fn with_bound(
    name: &str,
    points: Vec<Point>,
    bound: Option<f64>,
    low: f64,
    high: f64,
) -> Vec<Series> {
    let mut series = vec![Series {
        name: name.to_owned(),
        points,
        reference: false,
    }];
    series.extend(bound.map(|bound| Series {
        name: "bound".into(),
        points: vec![Point::new(high, bound), Point::new(low, bound)],
        reference: true,
    }));
    series
}

fn curve(steps: &[StepRow], found: Option<&MaskResults>) -> Option<Figure> {
    let metric = metric(found.and_then(|found| found.metric.clone()));
    let points = steps.iter().filter_map(|step| {
        let point = Point::new(step.heads_left as f64, step.score?);
        Some((point, step.passed))
    });
    let mut points: Vec<(Point, bool)> = points.collect();
    let first = points.first()?.0.x;
    let chosen = points
        .iter()
        .rev()
        .find(|(_, passed)| *passed)
        .map(|(point, _)| *point);
    let bound = found.and_then(|found| found.bound);
    let values = points.iter().map(|(point, _)| point.y).chain(bound);
    let y = Axis::of(&metric, values).padded().rounded(5);
    let x = Axis::of(
        "heads left",
        points.iter().map(|(point, _)| point.x).chain([0.0]),
    )
    .whole();
    let (low, high) = (x.low, first.max(x.high));
    // A refined search goes back to a mask of more heads.
    points.sort_by(|(one, _), (other, _)| other.x.total_cmp(&one.x));
    let points = points.into_iter().map(|(point, _)| point).collect();
    let lines = Lines {
        x,
        y,
        series: with_bound(&metric, points, bound, low, high),
        chosen: chosen.map(|point| Chosen {
            x: point.x,
            y: point.y,
            text: format!("{} heads: {}", point.x, short(point.y)),
        }),
        falling: true,
    };
    let figure = lines.draw().named(
        "masking-curve",
        format!("Masking curve: {metric} against heads left"),
        match (bound, found.and_then(|found| found.refined)) {
            (None, _) => {
                "Each step masks the least important heads that are left; the ring is the last step."
            }
            (Some(_), None) => {
                "Each step masks the least important heads that are left; the ring is the last step whose score passes the \
                 bound."
            }
            (Some(_), Some(_)) => {
                "Each step masks the least important heads that are left; where one failed, single heads were masked from the \
                 step before it on. The ring is the last step whose score passes the bound."
            }
        },
    );
    Some(figure)
}

fn all_steps(steps: &Rows<StepRow>) -> Table {
    let number = |value: Option<f64>| {
        let write = |value: f64| match value.fract() == 0.0 {
            true => value.to_string(),
            false => significant(value, 4),
        };
        Cell::number(value.filter(|value| value.is_finite()), write)
    };
    let columns = ["step", "heads left", "score", "passed", "loss"];
    let mut columns: Vec<Column> = columns.map(Column::number).into();
    let more = steps.more.iter();
    columns.extend(more.map(|name| Column::number(&name.replace('_', " "))));
    columns.push(Column::text("masked heads"));
    let rows = steps.all.iter().map(|step| {
        let passed = |value: f64| {
            if value == 1.0 {
                "yes".into()
            } else {
                "no".into()
            }
        };
        let mut cells = vec![
            number(Some(step.step as f64)),
            number(Some(step.heads_left as f64)),
            number(step.score),
            Cell::number(Some(f64::from(u8::from(step.passed))), passed),
            number(Some(step.loss)),
        ];
        cells.extend(step.metrics.0.iter().copied().map(number));
        cells.push(Cell::text(&step.masked_heads));
        Row { cells, head: None }
    });
    Table {
        id: "steps".into(),
        title: "Every step".into(),
        caption: String::new(),
        columns,
        rows: rows.collect(),
        ..Table::default()
    }
}

#[cfg(test)]
mod tests {
    use bertology_run::table::More;

    use super::*;

    /// Where a refined search goes back, the line does not.
    #[test]
    fn the_curve_is_drawn_by_heads_left() {
        let steps = [
            (12, true),
            (7, true),
            (2, false),
            (6, true),
            (5, true),
            (4, false),
        ];
        let row = |(step, (heads_left, passed)): (usize, &(usize, bool))| StepRow {
            step,
            heads_left: *heads_left,
            score: Some(*heads_left as f64 / 12.0),
            passed: *passed,
            loss: 0.0,
            metrics: More(Vec::new()),
            masked_heads: String::new(),
        };
        let mut rows: Vec<StepRow> = steps.iter().enumerate().map(row).collect();
        let svg = |rows: &[StepRow]| curve(rows, None).map(|figure| figure.file());
        let found = svg(&rows);
        assert!(found.as_ref().is_some_and(|svg| svg.contains("5 heads")));
        rows.sort_by_key(|row| std::cmp::Reverse(row.heads_left));
        assert_eq!(found, svg(&rows));
    }
}
