//! `bertology mask` and `bertology prune`.

use super::{Parts, both};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Chosen, Figure, Heat, Lines, Point, Scale, Series, Shape};
use crate::number::{bytes, change, count, percent, short, significant};
use crate::run::{HeadValues, Run, RunError, Table as Csv, numbers};

pub(super) fn mask(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let run = parts.run;
    let mut short_form = Vec::new();
    let number = |at: &str| run.result_number(at);
    if let (Some(left), Some(before)) = (number("/heads_left"), number("/heads_before")) {
        short_form.push((
            "heads left".into(),
            count(left as u64),
            format!("of {before}"),
        ));
    }
    let metric = run.result_text("/metric").unwrap_or("score").to_owned();
    if let (Some(before), Some(after)) = (number("/score_before"), number("/score_after")) {
        let (after, beside) = both(before, after);
        short_form.push((metric, after, beside));
    }
    if let Some(bound) = number("/bound") {
        let rule = run
            .result_text("/threshold")
            .unwrap_or_default()
            .replace(':', " ");
        short_form.push(("bound".into(), significant(bound, 4), rule));
    }
    if let Some(stop) = run.result_text("/stop") {
        short_form.push(("stopped".into(), stop.replace('_', " "), String::new()));
    }
    if !short_form.is_empty() {
        parts.add("Summary", vec![Block::Numbers(short_form)]);
    }
    search(parts, "")?;
    Ok(())
}

pub(super) fn prune(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let run = parts.run;
    let mut found = Vec::new();
    let size = |at: &str| run.result_number(&format!("/sizes/{at}"));
    for (name, before, after) in [
        ("heads", "heads_before", "heads_after"),
        ("parameters", "parameters_before", "parameters_after"),
    ] {
        if let (Some(before), Some(after)) = (size(before), size(after)) {
            found.push((name, before, after));
        }
    }
    let file = |at: &str| run.result_number(&format!("/checkpoint/report/{at}"));
    if let (Some(before), Some(after)) = (file("file_bytes_before"), file("file_bytes_after")) {
        found.push(("file", before, after));
    }
    let speed = run.result_number("/timing/speedup");
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
    if let Some(speed) = speed {
        let range = run.result("/timing/range").and_then(|v| v.as_array());
        let ends: Vec<f64> = range
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_f64())
            .collect();
        let beside = match ends[..] {
            [low, high] => format!("times as fast, {low:.2} to {high:.2}"),
            _ => "times as fast".into(),
        };
        short_form.push(("speed".into(), format!("{speed:.2}"), beside));
    }
    let scores = scores(run);
    for (name, before, after) in &scores {
        let (after, beside) = both(*before, *after);
        short_form.push((name.clone(), after, beside));
    }
    if !short_form.is_empty() {
        parts.add("Summary", vec![Block::Numbers(short_form)]);
    }
    search(parts, "/masking")?;
    let mut blocks = vec![Block::Table(before_and_after(&found, &scores))];
    if !found.is_empty() {
        blocks.insert(0, Block::Figures(vec![left(&found, speed)]));
    }
    parts.add("Before and after", vec![Block::Beside(blocks)]);
    Ok(())
}

/// Metrics and loss with their values before and after.
fn scores(run: &Run) -> Vec<(String, f64, f64)> {
    let of = |when: &str| {
        let mut all = numbers(run.result(&format!("/evaluation_{when}/metrics")));
        let loss = run.result_number(&format!("/evaluation_{when}/loss"));
        all.extend(loss.map(|loss| ("loss".to_owned(), loss)));
        all
    };
    let after = of("after");
    let pairs = of("before").into_iter().filter_map(|(name, before)| {
        let (_, after) = after.iter().find(|(other, _)| *other == name)?;
        Some((name, before, *after))
    });
    pairs.collect()
}

/// What is left of each size, and of the time.
fn left(sizes: &[(&str, f64, f64)], speed: Option<f64>) -> Figure {
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
        ..Bar::default()
    }));
    let most = rows.iter().map(|row| row.value).fold(1.0, f64::max);
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("share of the whole model", [0.0, most]).rounded(5),
        shape: Shape::Bar,
        kind: "what",
        baseline: None,
        interval: None,
        write: percent,
    };
    bars.draw().named(
        "left",
        "What is left",
        "The pruned model as a share of the whole one.",
    )
}

fn before_and_after(sizes: &[(&str, f64, f64)], scores: &[(String, f64, f64)]) -> Table {
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

/// The masking loop: its curve and the mask that it chose. `at` is where its results are.
fn search(parts: &mut Parts<'_>, at: &str) -> Result<(), RunError> {
    let run = parts.run;
    let mut figures = Vec::new();
    let searched = at.is_empty() || run.result(at).is_some();
    let steps = run.table("curve.csv")?;
    if let Some(table) = &steps {
        figures.extend(curve(run, table, at)?);
    } else if searched {
        parts.missing("curve.csv", "the masking curve is not shown");
    }
    match parts.quantity("kept") {
        Some(kept) => figures.push(chosen(parts, &kept.values)),
        None => parts.missing("head_mask.npy", "the mask is not shown"),
    }
    if !figures.is_empty() {
        parts.add("Which heads", vec![Block::Figures(figures)]);
    }
    if let Some(table) = &steps {
        let table = all_steps(table)?;
        parts.add("Steps", vec![Block::Table(table)]);
    }
    Ok(())
}

/// Importance with a cross through what is masked; without importance the mask alone.
fn chosen(parts: &Parts<'_>, kept: &HeadValues) -> Figure {
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

fn curve(run: &Run, table: &Csv, at: &str) -> Result<Option<Figure>, RunError> {
    let (left, scores) = (table.numbers("heads_left")?, table.numbers("score")?);
    let passed = table.numbers("passed")?;
    let metric = run
        .result_text(&format!("{at}/metric"))
        .unwrap_or("score")
        .to_owned();
    let rows = left.into_iter().zip(scores).zip(passed);
    let points: Vec<(Point, bool)> = rows
        .filter_map(|((left, score), passed)| {
            Some((Point::new(left?, score?), passed == Some(1.0)))
        })
        .collect();
    let Some((first, _)) = points.first() else {
        return Ok(None);
    };
    let chosen = points
        .iter()
        .rev()
        .find(|(_, passed)| *passed)
        .map(|(point, _)| *point);
    let bound = run.result_number(&format!("{at}/bound"));
    let values = points.iter().map(|(point, _)| point.y).chain(bound);
    let y = Axis::of(&metric, values).padded().rounded(5);
    let x = Axis::of(
        "heads left",
        points.iter().map(|(point, _)| point.x).chain([0.0]),
    )
    .whole();
    let (low, high) = (x.low, first.x.max(x.high));
    let mut series = vec![Series {
        name: metric.clone(),
        points: points.into_iter().map(|(point, _)| point).collect(),
        reference: false,
    }];
    series.extend(bound.map(|bound| Series {
        name: "bound".into(),
        points: vec![Point::new(high, bound), Point::new(low, bound)],
        reference: true,
    }));
    let lines = Lines {
        x,
        y,
        series,
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
        "Each step masks the least important heads that are left; the ring is the last step whose score passes the \
         bound.",
    );
    Ok(Some(figure))
}

fn all_steps(table: &Csv) -> Result<Table, RunError> {
    let mut columns = Vec::new();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); table.len()];
    for name in table.columns() {
        let says = name.replace('_', " ");
        if name == "masked_heads" {
            columns.push(Column::text(&says));
            for (row, text) in cells.iter_mut().zip(table.texts(name)?) {
                row.push(Cell::text(text));
            }
            continue;
        }
        columns.push(Column::number(&says));
        for (row, value) in cells.iter_mut().zip(table.numbers(name)?) {
            let write = |value: f64| match name.as_str() {
                "passed" if value == 1.0 => "yes".into(),
                "passed" => "no".into(),
                _ if value.fract() == 0.0 => value.to_string(),
                _ => significant(value, 4),
            };
            row.push(Cell::number(value, write));
        }
    }
    Ok(Table {
        id: "steps".into(),
        title: "Every step".into(),
        caption: String::new(),
        columns,
        rows: cells
            .into_iter()
            .map(|cells| Row { cells, head: None })
            .collect(),
        ..Table::default()
    })
}
