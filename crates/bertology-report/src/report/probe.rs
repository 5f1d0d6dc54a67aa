//! `bertology attention-probe`.

use bertology_run::RunError;
use bertology_run::registry::PROBE_WEIGHTS;
use bertology_run::rows::ProbeRow;
use bertology_run::table::Row as _;

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Shape};
use crate::number::{count, percent};
use crate::quantities;

pub(super) const PAGES: &[Page] = &[Page {
    command: "attention-probe",
    title: "What all heads know of syntax",
    write,
    quantities: quantities::probe,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let Some(rows) = parts.run.rows::<ProbeRow>()? else {
        parts.missing(ProbeRow::FILE, "scores are not shown");
        return Ok(());
    };
    let blocks = vec![
        Block::Figures(vec![bars(&rows.all)]),
        Block::Table(scores(&rows.all)),
    ];
    parts.add("Heads found", blocks);
    let weights: Vec<Figure> = parts
        .quantities
        .iter()
        .filter(|quantity| quantity.key.starts_with("probe_"))
        .map(heat)
        .collect();
    if weights.is_empty() {
        parts.missing(
            PROBE_WEIGHTS,
            "the weights of the probe of attention are not shown",
        );
    } else {
        parts.add(
            "Weights of the probe of attention",
            vec![Block::Figures(weights)],
        );
        parts.heads_table("", "Weights of the probe of attention alone.");
    }
    Ok(())
}

/// A baseline has no parameters.
fn bars(found: &[ProbeRow]) -> Figure {
    let rows: Vec<Bar> = found
        .iter()
        .filter_map(|row| {
            Some(Bar {
                name: row.probe.clone(),
                value: row.uas?,
                low: row.low,
                high: row.high,
                pale: row.parameters == 0,
                ..Bar::default()
            })
        })
        .collect();
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("unlabelled attachment score", [0.0, 1.0]),
        shape: Shape::Bar,
        kind: "probe",
        baseline: None,
        interval: Some("95 % interval"),
        write: percent,
    };
    bars.draw().named(
        "probes",
        "Words whose head is found",
        "Without punctuation, root words included; grey: baselines that learn nothing.",
    )
}

fn scores(found: &[ProbeRow]) -> Table {
    let columns = [
        "parameters",
        "correct",
        "total",
        "UAS",
        "low",
        "high",
        "correct with punctuation",
        "total with punctuation",
        "UAS with punctuation",
    ];
    let mut columns: Vec<Column> = columns.map(Column::number).into();
    columns.insert(0, Column::text("probe"));
    let whole = |value: u64| Cell::number(Some(value as f64), |value| count(value as u64));
    let share = |value: Option<f64>| Cell::number(value, percent);
    let rows = found.iter().map(|row| Row {
        cells: vec![
            Cell::text(&row.probe).strong(true),
            whole(row.parameters as u64),
            whole(row.correct),
            whole(row.total),
            share(row.uas).with_share(row.uas),
            share(row.low),
            share(row.high),
            whole(row.correct_with_punct),
            whole(row.total_with_punct),
            share(row.uas_with_punct),
        ],
        head: None,
    });
    Table {
        id: "probes-table".into(),
        title: "Probes and baselines".into(),
        caption: String::new(),
        columns,
        rows: rows.collect(),
        ..Table::default()
    }
}
