//! `bertology syntax`.

use bertology_run::RunError;
use bertology_run::rows::SyntaxRow;
use bertology_run::table::Row as _;

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Room, Shape};
use crate::number::{count, minus, percent};
use crate::quantities;

/// Relations that are drawn at most, of at least so many words.
const SHOWN: usize = 30;
const FEWEST: f64 = 20.0;

/// The best head of a relation.
#[derive(Debug, Clone)]
struct Best {
    relation: String,
    direction: String,
    head: (usize, usize),
    accuracy: f64,
    low: Option<f64>,
    high: Option<f64>,
    total: f64,
    baseline: Option<f64>,
    offset: Option<f64>,
}

/// The best heads of all relations, in the better of both directions.
fn best(rows: Vec<SyntaxRow>) -> Vec<Best> {
    let better = rows.into_iter().filter(|row| row.best != Some(false));
    let found = better.filter_map(|row| {
        Some(Best {
            relation: row.relation,
            direction: row.direction,
            head: (row.layer, row.head),
            accuracy: row.accuracy?,
            low: row.low,
            high: row.high,
            total: row.total as f64,
            baseline: row.baseline_accuracy,
            offset: row.baseline_offset.map(|offset| offset as f64),
        })
    });
    found.collect()
}

pub(super) const PAGES: &[Page] = &[Page {
    command: "syntax",
    title: "Heads and syntax",
    write,
    quantities: quantities::syntax,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    match parts.run.rows::<SyntaxRow>()? {
        Some(rows) => {
            let best = best(rows.all);
            let mut figures = vec![bars(&best).takes(Room::Tall)];
            figures.extend(
                parts
                    .quantities
                    .iter()
                    .filter(|q| q.key.starts_with("syntax"))
                    .map(heat),
            );
            parts.add("Best heads", vec![Block::Figures(figures)]);
            parts.add("Relations", vec![Block::Table(relations(&best))]);
        }
        None => parts.missing(SyntaxRow::FILE, "the best heads are not shown"),
    }
    Ok(())
}

fn says(best: &Best) -> String {
    let (layer, head) = best.head;
    let arrow = match best.direction.as_str() {
        "head<-dep" => " ←",
        "both" => " ↔",
        _ => "",
    };
    format!("L{layer}H{head}{arrow}")
}

fn bars(best: &[Best]) -> Figure {
    let mut shown: Vec<&Best> = best.iter().collect();
    shown.sort_by(|a, b| b.total.total_cmp(&a.total));
    shown.truncate(SHOWN);
    let common = shown.iter().filter(|best| best.total >= FEWEST).count();
    if common > 0 {
        shown.truncate(common);
    }
    let rows: Vec<Bar> = shown
        .into_iter()
        .map(|best| Bar {
            name: best.relation.clone(),
            note: says(best),
            value: best.accuracy,
            low: best.low,
            high: best.high,
            baseline: best.baseline,
            head: Some(best.head),
            ..Bar::default()
        })
        .collect();
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("share of words whose head is found", [0.0, 1.0]),
        shape: Shape::Bar,
        kind: "relation",
        baseline: Some("best fixed offset"),
        interval: Some("95 % interval"),
        write: percent,
    };
    bars.draw().named(
        "best-heads",
        "The best head of each relation",
        "The commonest relations. ← marks heads that attend from the syntactic head to its dependent. The best of \
         so many heads is chosen on these very words unless the run chose it on others.",
    )
}

fn relations(best: &[Best]) -> Table {
    let rows = best.iter().map(|best| {
        let (layer, head) = best.head;
        let gain = best.baseline.map(|baseline| best.accuracy - baseline);
        let points = |value: f64| minus(&format!("{:+.1}", value * 100.0));
        Row {
            cells: vec![
                Cell::text(&best.relation).strong(true),
                Cell::number(Some(best.total), |value| count(value as u64)),
                Cell::whole(layer),
                Cell::whole(head),
                Cell::text(&best.direction),
                Cell::number(Some(best.accuracy), percent).with_share(Some(best.accuracy)),
                Cell::number(best.low, percent),
                Cell::number(best.high, percent),
                Cell::number(best.baseline, percent),
                Cell::number(best.offset, |value| minus(&format!("{value:+}"))),
                Cell::number(gain, points),
            ],
            head: Some(best.head),
        }
    });
    Table {
        id: "relations".into(),
        title: "Relations and their best heads".into(),
        caption:
            "The baseline guesses the word at one fixed distance, the best one for the relation."
                .into(),
        columns: vec![
            Column::text("relation"),
            Column::number("words"),
            Column::number("layer"),
            Column::number("head"),
            Column::text("direction"),
            Column::number("accuracy"),
            Column::number("low"),
            Column::number("high"),
            Column::number("baseline"),
            Column::number("offset"),
            Column::number("gain (points)"),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}
