//! Targets one by one.

use bertology_run::studies::edge::{EdgeExampleRow, EdgeResults, EdgeTask, PROBABILITIES};
use bertology_run::table::Row as _;
use bertology_run::RunError;

use super::{Parts, figure, number};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Point, Room, Series, Shape};
use crate::number::percent;

/// Targets whose traces are drawn.
const TRACES: usize = 6;
/// Targets of the table.
const EXAMPLES: usize = 200;

pub(super) fn write(parts: &mut Parts<'_>, found: &EdgeResults) -> Result<(), RunError> {
    let Some(rows) = parts.run.rows::<EdgeExampleRow>()? else {
        return Ok(());
    };
    let mut blocks = Vec::new();
    let histograms: Vec<Figure> = found.tasks.iter().enumerate().filter_map(histogram).collect();
    if !histograms.is_empty() {
        blocks.push(Block::Figures(histograms));
    }
    let chosen = telling(&rows.all);
    let probabilities = parts.run.array(PROBABILITIES)?;
    let traces = match &probabilities {
        Some(array) if array.shape.len() == 3 && array.shape[0] == rows.all.len() && array.shape[2] == 2 => {
            let layers = array.shape[1];
            let trace = |at: &usize| trace(*at, &rows.all[*at], &array.values[at * layers * 2..(at + 1) * layers * 2]);
            chosen.iter().take(TRACES).filter_map(trace).collect()
        }
        _ => Vec::new(),
    };
    if !traces.is_empty() {
        blocks.push(Block::Paragraph(
            "The probes of two layers are trained apart, so that a change from one layer to the next is of the \
             encoder and of the probe."
                .into(),
        ));
        blocks.push(Block::Figures(traces));
    }
    if !chosen.is_empty() {
        blocks.push(Block::Table(examples_table(&rows.all, &chosen)));
    }
    parts.add("Targets", blocks);
    Ok(())
}

/// Targets by the layer from which on they are right.
fn histogram((at, task): (usize, &EdgeTask)) -> Option<Figure> {
    let total: u64 = task.stable_from.iter().sum();
    let last = task.stable_from.len().checked_sub(1).filter(|_| total > 0)?;
    let bar = |(layer, number): (usize, &u64)| Bar {
        name: if layer == last { "never".into() } else { format!("layer {layer}") },
        value: *number as f64 / total as f64,
        pale: layer == last,
        ..Bar::default()
    };
    let rows: Vec<Bar> = task.stable_from.iter().enumerate().map(bar).collect();
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("share of targets", rows.iter().map(|row| row.value)).with_zero().rounded(5),
        shape: Shape::Bar,
        kind: "layer",
        baseline: None,
        interval: None,
        write: percent,
    };
    let title = format!("{}: right from which layer on", task.name);
    Some(bars.draw().named(
        &format!("edge-stable-{at}"),
        title,
        "The probe of this layer and of every layer above is right.",
    ))
}

/// Targets that are ambiguous and turn right late, the most turns first; none twice of one text.
fn telling(rows: &[EdgeExampleRow]) -> Vec<usize> {
    let turns = |row: &EdgeExampleRow| row.flips > 0 && row.stable_from.is_some();
    let mut chosen: Vec<usize> = (0..rows.len()).filter(|at| turns(&rows[*at])).collect();
    chosen.sort_by_key(|at| {
        let row = &rows[*at];
        (!row.ambiguous, std::cmp::Reverse(row.stable_from), row.flips, *at)
    });
    chosen.truncate(EXAMPLES);
    chosen
}

fn named(row: &EdgeExampleRow) -> String {
    if row.text2.is_empty() {
        row.text1.clone()
    } else {
        format!("{} → {}", row.text1, row.text2)
    }
}

fn trace(at: usize, row: &EdgeExampleRow, values: &[f64]) -> Option<Figure> {
    let line = |name: &str, which: usize| Series {
        name: name.to_owned(),
        points: values
            .chunks_exact(2)
            .enumerate()
            .map(|(layer, pair)| Point::new(layer as f64, pair[which]))
            .collect(),
        reference: false,
    };
    let figure = figure("probability", vec![line(&row.label, 0), line(&row.rival, 1)], true)?;
    Some(
        figure
            .named(
                &format!("edge-trace-{at}"),
                format!("{}, line {}: {}", row.task, row.line, named(row)),
                format!("Solid: {}, which is right. Dashed: the strongest wrong label.", row.label),
            )
            .takes(Room::One),
    )
}

fn examples_table(rows: &[EdgeExampleRow], chosen: &[usize]) -> Table {
    let mut columns = vec![Column::text("task"), Column::text("target"), Column::text("label"), Column::text("rival")];
    columns.extend(["line", "right from layer", "first right", "turns", "expected layer"].map(Column::number));
    let row = |at: &usize| {
        let row = &rows[*at];
        let whole = |value: Option<usize>| Cell::number(value.map(|value| value as f64), |value| format!("{value}"));
        Row {
            cells: vec![
                Cell::text(&row.task),
                Cell::text(named(row)).strong(true),
                Cell::text(&row.label),
                Cell::text(&row.rival),
                Cell::number(Some(row.line as f64), |value| format!("{value}")),
                whole(row.stable_from),
                whole(row.first_right),
                Cell::whole(row.flips),
                number(row.expected_layer),
            ],
            head: None,
        }
    };
    Table {
        id: "edge-examples".into(),
        title: "Targets that are decided on the way".into(),
        caption: format!(
            "Ambiguous ones first, then by the layer from which on they are right; up to {EXAMPLES}. All are in {}.",
            EdgeExampleRow::FILE
        ),
        columns,
        rows: chosen.iter().map(row).collect(),
        ..Table::default()
    }
}
