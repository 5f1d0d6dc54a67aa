//! `bertology judge`.

use bertology_run::studies::judge::{CurveRow, DifferenceRow, JudgeResults, MeasureRow};
use bertology_run::table::Row as _;
use bertology_run::{Rows, RunError};

use super::{Page, Parts};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Lines, Point, Series, Shape};
use crate::number::{count, plural, significant};
use crate::quantities::metric;

pub(super) const PAGES: &[Page] = &[Page {
    command: "judge",
    title: "Measures on trial",
    write: judge,
    quantities: |_, _| Ok(()),
}];

/// What is gone by draws, to compare with.
const RANDOM: &str = "random";

fn judge(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: JudgeResults = parts.run.results()?;
    let name = metric(Some(found.metric.clone()));
    let (pairs, real) = found.pairs;
    let mut numbers = Vec::new();
    if let Some(whole) = found.whole {
        let all = format!("with all {} {}", count(found.count), found.units);
        numbers.push((name.clone(), significant(whole, 4), all));
    }
    let seeds = plural(found.seeds.len() as u64, "draw");
    let beside = format!("of {}", plural(found.examples, "example"));
    numbers.push(("seeds".into(), seeds, beside));
    numbers.push((
        "real differences".into(),
        count(real),
        format!("of {}", plural(pairs, "pair")),
    ));
    parts.add("Summary", vec![Block::Numbers(numbers)]);
    let Some(measures) = parts.run.rows::<MeasureRow>()? else {
        parts.missing(MeasureRow::FILE, "areas are not shown");
        return Ok(());
    };
    let mut figures = Vec::new();
    match parts.run.rows::<CurveRow>()? {
        Some(rows) => figures.push(curves(&rows.all, &measures.all, &found, &name)),
        None => parts.missing(CurveRow::FILE, "curves are not shown"),
    }
    figures.push(areas(&measures.all, &name));
    parts.add("Curves", vec![Block::Figures(figures)]);
    if let Some(rows) = parts.run.rows::<DifferenceRow>()? {
        parts.add("Which differ", vec![Block::Table(differences(&rows))]);
    }
    Ok(())
}

/// The mean over seeds, with the lowest and the highest.
fn curves(rows: &[CurveRow], measures: &[MeasureRow], found: &JudgeResults, name: &str) -> Figure {
    let series: Vec<Series> = measures
        .iter()
        .map(|measure| {
            let mut points: Vec<Point> = Vec::new();
            let of = || rows.iter().filter(|row| row.measure == measure.measure);
            let mut left: Vec<usize> = of().map(|row| row.left).collect();
            left.sort_unstable();
            left.dedup();
            for left in left.into_iter().rev() {
                let at = || of().filter(move |row| row.left == left);
                let scores: Vec<f64> = at().filter_map(|row| row.score).collect();
                let Some(share) = at().next().map(|row| row.share) else {
                    continue;
                };
                if scores.is_empty() {
                    continue;
                }
                let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                points.push(Point {
                    low: scores.iter().copied().reduce(f64::min),
                    high: scores.iter().copied().reduce(f64::max),
                    ..Point::new(share, mean)
                });
            }
            Series {
                name: measure.measure.clone(),
                points,
                reference: false,
            }
        })
        .collect();
    let all = || series.iter().flat_map(|series| &series.points);
    let values = all().flat_map(|point| [Some(point.y), point.low, point.high]);
    let lines = Lines {
        x: Axis::of(&format!("share of the {}", found.units), all().map(|point| point.x)),
        y: Axis::of(name, values.flatten()).padded().rounded(5),
        series: series.clone(),
        chosen: None,
        falling: true,
    };
    lines.draw().named(
        "judged-curves",
        format!("{name} as {} go", found.units),
        "Those of least importance go first. Lines are means over draws of examples, bars reach from the lowest to the highest.",
    )
}

fn areas(rows: &[MeasureRow], name: &str) -> Figure {
    let bars: Vec<Bar> = rows
        .iter()
        .filter_map(|row| {
            Some(Bar {
                name: row.measure.clone(),
                value: row.area?,
                low: row.low,
                high: row.high,
                pale: row.measure == RANDOM,
                ..Bar::default()
            })
        })
        .collect();
    let values = bars.iter().flat_map(|bar| [Some(bar.value), bar.low, bar.high]);
    let bars = Bars {
        rows: &bars,
        axis: Axis::of(&format!("mean {name}"), values.flatten()).padded().rounded(4),
        shape: Shape::Dot,
        kind: "measure",
        baseline: None,
        interval: Some("95 % interval"),
        write: |value| significant(value, 4),
    };
    bars.draw().named(
        "judged-areas",
        format!("Mean {name} along the way"),
        "The area under each curve by its width. Intervals of single measures share the examples that judge; which differ is in the table.",
    )
}

fn differences(found: &Rows<DifferenceRow>) -> Table {
    let rows = found.all.iter().map(|row| {
        let number = |value: Option<f64>| Cell::number(value, |value| significant(value, 3));
        Row {
            cells: vec![
                Cell::text(row.better.clone()),
                Cell::text(row.worse.clone()),
                number(Some(row.difference)),
                number(row.low),
                number(row.high),
                number(row.p_value),
                Cell::text(if row.real { "yes" } else { "no" }),
            ],
            head: None,
        }
    });
    Table {
        id: "judged-differences".into(),
        title: plural(found.all.len() as u64, "pair"),
        caption: "Of the areas, on the same draws of examples and the same judging examples. The interval is of draws and of judging \
                  examples together; real is what Holm's procedure leaves of all pairs at 5 %."
            .into(),
        columns: vec![
            Column::text("better"),
            Column::text("worse"),
            Column::number("by"),
            Column::number("low"),
            Column::number("high"),
            Column::number("p"),
            Column::text("real"),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}
