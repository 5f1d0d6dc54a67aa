//! Each head as the only one of its layer.

use bertology_run::RunError;
use bertology_run::studies::removals::{
    KEEP_ONE_CHANGE, KeepOneLayerRow, KeepOneResults, KeepOneRow,
};
use bertology_run::table::Row as _;

use super::super::{Parts, heat};
use super::whole_or_short;
use crate::document::{Block, Cell, Column, Row, Table};
use crate::number::{change, plural};

/// The best head of every layer, the map of all, the table of all.
pub(super) fn write(
    parts: &mut Parts<'_>,
    found: &KeepOneResults,
    metric: &str,
) -> Result<(), RunError> {
    let examples = found.selection_examples.unwrap_or_default();
    let how = if found.selected_on_scored_data {
        "The best head of a layer was selected on the data it is scored on: the best of many looks better than it is."
            .to_owned()
    } else {
        format!(
            "The best head of a layer was selected on {} of {}, and is scored on the data of the run.",
            plural(examples, "example"),
            found.selected_on
        )
    };
    match parts.run.rows::<KeepOneLayerRow>()? {
        Some(rows) => {
            let blocks = vec![
                Block::Paragraph(how),
                Block::Table(best(&rows.all, metric)),
            ];
            parts.add("The best head of each layer", blocks);
        }
        None => parts.missing(KeepOneLayerRow::FILE, "the best heads are not shown"),
    }
    if let Some(quantity) = parts.quantity("keep_one_change") {
        let mut map = heat(quantity);
        map.title = format!("Change of {metric} with each head alone in its layer");
        map.caption =
            "All other heads of the layer masked, other layers whole: the value less that of the whole model."
                .into();
        parts.add("Heads", vec![Block::Figures(vec![map])]);
    } else {
        parts.missing(
            KEEP_ONE_CHANGE,
            "the change with each head alone is not shown as a map",
        );
    }
    match parts.run.rows::<KeepOneRow>()? {
        Some(rows) => parts.add("All heads", vec![Block::Table(all(&rows.all, metric))]),
        None => parts.missing(KeepOneRow::FILE, "the heads are not listed"),
    }
    Ok(())
}

fn yes(significant: bool) -> Cell {
    Cell::text(if significant { "yes" } else { "no" }).strong(significant)
}

fn columns(names: &[&str]) -> Vec<Column> {
    let mut columns: Vec<Column> = names.iter().map(|name| Column::number(name)).collect();
    columns.push(Column::text("significant at 0.01"));
    columns
}

fn best(rows: &[KeepOneLayerRow], metric: &str) -> Table {
    let named = format!("change of {metric}");
    let whole = |count: Option<u64>| count.map(|count| count as f64);
    let cells = |row: &KeepOneLayerRow| {
        vec![
            Cell::whole(row.layer),
            Cell::whole(row.head),
            Cell::number(row.selection_score, whole_or_short),
            Cell::number(row.score, whole_or_short),
            Cell::number(row.change, change),
            Cell::number(Some(row.loss_change), change),
            Cell::number(row.loss_standard_error, whole_or_short),
            Cell::number(whole(row.right_to_wrong), whole_or_short),
            Cell::number(whole(row.wrong_to_right), whole_or_short),
            Cell::number(row.p_value, whole_or_short),
            yes(row.significant),
        ]
    };
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| Row {
            cells: cells(row),
            head: Some((row.layer, row.head)),
        })
        .collect();
    Table {
        id: "best-heads".into(),
        title: plural(rows.len() as u64, "layer"),
        caption: "p-value: exact two-sided sign test; without classes a change of the loss by more than 2.58 \
                  standard errors is significant. Of one head: nothing is corrected for the number of layers."
            .into(),
        columns: columns(&[
            "layer",
            "head",
            "when selected",
            metric,
            &named,
            "loss change",
            "standard error",
            "right to wrong",
            "wrong to right",
            "p-value",
        ]),
        rows,
        ..Table::default()
    }
}

fn all(rows: &[KeepOneRow], metric: &str) -> Table {
    let named = format!("change of {metric}");
    let cells = |row: &KeepOneRow| {
        vec![
            Cell::whole(row.layer),
            Cell::whole(row.head),
            Cell::number(row.score, whole_or_short),
            Cell::number(row.change, change),
            Cell::number(Some(row.loss_change), change),
            Cell::number(row.loss_standard_error, whole_or_short),
            Cell::number(row.p_value, whole_or_short),
            yes(row.significant),
        ]
    };
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| Row {
            cells: cells(row),
            head: Some((row.layer, row.head)),
        })
        .collect();
    Table {
        id: "heads".into(),
        title: plural(rows.len() as u64, "head"),
        caption: "Each as the only one of its layer.".into(),
        columns: columns(&[
            "layer",
            "head",
            metric,
            &named,
            "loss change",
            "standard error",
            "p-value",
        ]),
        rows,
        ..Table::default()
    }
}
