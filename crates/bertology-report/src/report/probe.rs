//! `bertology attention-probe`.

use super::{Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Shape};
use crate::number::{count, percent};
use crate::run::{RunError, Table as Csv};

pub(super) fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let Some(table) = parts.run.table("probes.csv")? else {
        parts.missing("probes.csv", "scores are not shown");
        return Ok(());
    };
    let mut blocks = vec![Block::Figures(vec![bars(&table)?])];
    blocks.push(Block::Table(scores(&table)?));
    parts.add("Heads found", blocks);
    let weights: Vec<Figure> = parts
        .quantities
        .iter()
        .filter(|quantity| quantity.key.starts_with("probe_"))
        .map(heat)
        .collect();
    if weights.is_empty() {
        parts.missing(
            "probe_weights.npy",
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
fn bars(table: &Csv) -> Result<Figure, RunError> {
    let (names, values) = (table.texts("probe")?, table.numbers("uas")?);
    let (lows, highs) = (table.numbers("low")?, table.numbers("high")?);
    let parameters = table.numbers("parameters")?;
    let rows: Vec<Bar> = names
        .into_iter()
        .enumerate()
        .filter_map(|(row, name)| {
            Some(Bar {
                name: name.to_owned(),
                value: values[row]?,
                low: lows[row],
                high: highs[row],
                pale: parameters[row].unwrap_or(0.0) == 0.0,
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
    Ok(bars.draw().named(
        "probes",
        "Words whose head is found",
        "Without punctuation, root words included; grey: baselines that learn nothing.",
    ))
}

fn scores(table: &Csv) -> Result<Table, RunError> {
    let mut columns = Vec::new();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); table.len()];
    for name in table.columns() {
        let says = match name.as_str() {
            "uas" => "UAS".into(),
            "uas_with_punct" => "UAS with punctuation".into(),
            other => other.replace("_punct", " punctuation").replace('_', " "),
        };
        if name == "probe" {
            columns.push(Column::text(&says));
            for (row, text) in cells.iter_mut().zip(table.texts(name)?) {
                row.push(Cell::text(text).strong(true));
            }
            continue;
        }
        columns.push(Column::number(&says));
        let share = matches!(name.as_str(), "uas" | "low" | "high" | "uas_with_punct");
        for (row, value) in cells.iter_mut().zip(table.numbers(name)?) {
            let write = |value: f64| {
                if share {
                    percent(value)
                } else {
                    count(value.max(0.0) as u64)
                }
            };
            let cell = Cell::number(value, write);
            row.push(if name == "uas" {
                cell.with_share(value)
            } else {
                cell
            });
        }
    }
    Ok(Table {
        id: "probes-table".into(),
        title: "Probes and baselines".into(),
        caption: String::new(),
        columns,
        rows: cells
            .into_iter()
            .map(|cells| Row { cells, head: None })
            .collect(),
        ..Table::default()
    })
}
