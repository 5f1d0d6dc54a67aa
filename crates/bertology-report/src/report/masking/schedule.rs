//! `bertology mask --schedule`: the paper's curves.

use bertology_run::results::{MaskResults, OrderCurve};

use super::super::Parts;
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Figure, Lines, Point, Series};
use crate::number::{count, plural, significant};
use crate::quantities::metric;

pub(super) fn sections(parts: &mut Parts<'_>, found: &MaskResults) {
    let name = metric(found.metric.clone());
    let mut numbers = Vec::new();
    if let Some(score) = found.score_before {
        let all = "with all heads".into();
        numbers.push((name.clone(), significant(score, 4), all));
    }
    if let Some(heads) = found.heads_before {
        numbers.push(("heads".into(), count(heads), String::new()));
    }
    let drawn = found.curves.iter().filter(|curve| curve.seed.is_some());
    let drawn = plural(drawn.count() as u64, "random order");
    numbers.push(("orders".into(), count(found.curves.len() as u64), drawn));
    parts.add("Summary", vec![Block::Numbers(numbers)]);
    parts.add("Curves", vec![Block::Figures(vec![figure(found, &name)])]);
    parts.add("Every point", vec![Block::Table(table(found))]);
}

/// Mean of the random orders, with lowest and highest, at each count.
fn at_random(found: &MaskResults) -> Vec<Point> {
    let drawn: Vec<&OrderCurve> = found
        .curves
        .iter()
        .filter(|curve| curve.seed.is_some())
        .collect();
    let Some(first) = drawn.first() else {
        return Vec::new();
    };
    let at = |place: usize| -> Option<Point> {
        let masked = *first.masked.get(place)?;
        let scores: Option<Vec<f64>> = drawn
            .iter()
            .map(|curve| curve.scores.get(place).copied().flatten())
            .collect();
        let scores = scores?;
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        Some(Point {
            low: scores.iter().copied().reduce(f64::min),
            high: scores.iter().copied().reduce(f64::max),
            ..Point::new(masked as f64, mean)
        })
    };
    (0..first.masked.len()).filter_map(at).collect()
}

fn figure(found: &MaskResults, name: &str) -> Figure {
    let whole = found.score_before.map(|score| Point::new(0.0, score));
    let mut series: Vec<Series> = found
        .curves
        .iter()
        .filter(|curve| curve.seed.is_none())
        .map(|curve| {
            let points = curve.masked.iter().zip(&curve.scores).enumerate();
            let points = points.filter_map(|(at, (masked, score))| {
                let ends = curve.intervals.get(at).copied().flatten();
                Some(Point {
                    low: ends.map(|(low, _)| low),
                    high: ends.map(|(_, high)| high),
                    ..Point::new(*masked as f64, (*score)?)
                })
            });
            Series {
                name: crate::place::brief_name(&curve.order),
                points: whole.into_iter().chain(points).collect(),
                reference: false,
            }
        })
        .collect();
    series.push(Series {
        name: "random".into(),
        points: whole.into_iter().chain(at_random(found)).collect(),
        reference: false,
    });
    let all = || series.iter().flat_map(|series| &series.points);
    let values = all().flat_map(|point| [Some(point.y), point.low, point.high]);
    let lines = Lines {
        x: Axis::of("heads masked", all().map(|point| point.x)).whole(),
        y: Axis::of(name, values.flatten()).padded().rounded(5),
        series: series.clone(),
        chosen: None,
        falling: false,
    };
    lines.draw().named(
        "schedule",
        format!("{name} against heads masked"),
        "Each order masks its first heads. Bars are 95 % intervals over examples; those of the random orders reach from \
         the lowest to the highest score.",
    )
}

fn table(found: &MaskResults) -> Table {
    let mut columns = vec![Column::number("heads masked")];
    columns.extend(found.curves.iter().map(|curve| {
        let name = crate::place::brief_name(&curve.order);
        Column::number(&match curve.seed {
            Some(seed) => format!("{name} {seed}"),
            None => name,
        })
    }));
    let counts = found.curves.first().map_or(&[][..], |curve| &curve.masked);
    let write = |value: f64| significant(value, 4);
    let rows = counts.iter().enumerate().map(|(at, masked)| {
        let mut cells = vec![Cell::number(Some(*masked as f64), |value| count(value as u64))];
        let scores = found.curves.iter();
        let scores = scores.map(|curve| curve.scores.get(at).copied().flatten());
        cells.extend(scores.map(|score| Cell::number(score, write)));
        Row { cells, head: None }
    });
    Table {
        id: "points".into(),
        title: plural(counts.len() as u64, "point"),
        caption: String::new(),
        columns,
        rows: rows.collect(),
        ..Table::default()
    }
}
