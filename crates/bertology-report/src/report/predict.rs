//! `bertology predict`.

use bertology_run::RunError;
use bertology_run::studies::predict::{PredictResults, Said};

use super::{Page, Parts};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Shape};
use crate::number::{count, plural, short};

pub(super) const PAGES: &[Page] = &[Page {
    command: "predict",
    title: "Predictions",
    write: predict,
    quantities: |_, _| Ok(()),
}];

/// Classes of which each has a column.
const COLUMNS: usize = 12;

fn predict(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: PredictResults = parts.run.results()?;
    parts.headline();
    if let Some(masked) = &found.masked_heads {
        let heads = Block::Facts(vec![("masked heads".into(), masked.join(" "))]);
        parts.add("Mask", vec![heads]);
    }
    if !found.given.0.is_empty() {
        parts.add("Classes", vec![Block::Figures(vec![given(&found)])]);
    }
    if !found.predictions.is_empty() {
        parts.add("First predictions", vec![Block::Table(table(&found))]);
    }
    Ok(())
}

fn given(found: &PredictResults) -> Figure {
    let rows: Vec<Bar> = found
        .given
        .0
        .iter()
        .map(|(name, number)| Bar {
            name: name.clone(),
            value: *number as f64,
            ..Bar::default()
        })
        .collect();
    let unit = if found.answer == "words" { "words" } else { "texts" };
    let bars = Bars {
        rows: &rows,
        axis: Axis::of(unit, rows.iter().map(|row| row.value)).with_zero().rounded(5),
        shape: Shape::Bar,
        kind: "class",
        baseline: None,
        interval: None,
        write: |value| count(value as u64),
    };
    let caption = match found.answer.as_str() {
        "labels" => "Texts to which each class is given, from a probability of a half on; a text may have several.",
        _ => "How often each class is the likeliest.",
    };
    bars.draw().named("classes", "What is predicted", caption)
}

fn table(found: &PredictResults) -> Table {
    let words = found.answer == "words";
    let value = found.answer == "value";
    let mut columns = vec![Column::number("index"), Column::number("line")];
    if words {
        columns.extend([Column::number("word"), Column::number("start"), Column::number("end")]);
    }
    let shown = found.classes.iter().take(COLUMNS);
    if value {
        columns.extend(shown.map(|name| Column::number(name)));
    } else {
        columns.push(Column::text("label"));
        columns.extend(shown.map(|name| Column::number(&format!("p {name}"))));
    }
    let row = |of: &Said| {
        let number = |value: f64| Cell::number(Some(value), short);
        let whole = |value: u64| Cell::number(Some(value as f64), |_| value.to_string());
        let mut cells = vec![whole(of.index), whole(of.line)];
        if words {
            let word = of.word.clone().unwrap_or_default();
            cells.extend([whole(word.number), whole(word.start), whole(word.end)]);
        }
        let numbers = if value { &of.logits } else { &of.probabilities };
        if !value {
            cells.push(Cell::text(of.labels.join("; ")));
        }
        let all = numbers.0.iter().take(COLUMNS);
        cells.extend(all.map(|(_, value)| match words || found.answer == "value" {
            true => number(*value),
            false => number(*value).with_share(Some(*value)),
        }));
        Row { cells, head: None }
    };
    let rows: Vec<Row> = found.predictions.iter().map(row).collect();
    let caption = match found.rows.saturating_sub(rows.len() as u64) {
        0 => String::new(),
        more => format!("The first of {}; all are in predictions.csv.", plural(more + rows.len() as u64, "row")),
    };
    Table {
        id: "predictions".into(),
        title: plural(rows.len() as u64, "prediction"),
        caption,
        columns,
        rows,
        ..Table::default()
    }
}
