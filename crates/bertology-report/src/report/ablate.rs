//! `bertology ablate`.

use super::{Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Room, Shape};
use crate::number::{change, plural, short};
use crate::run::{RunError, Table as Csv};

/// Heads whose change is drawn with its interval.
const SHOWN: usize = 30;
/// Standard errors to each side: 95 % of a normal distribution.
const NORMAL: f64 = 1.96;

pub(super) fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let metric = parts
        .run
        .result_text("/metric")
        .unwrap_or("score")
        .to_owned();
    let mut figures = Vec::new();
    if let Some(quantity) = parts.quantity("ablation_change") {
        let mut map = heat(quantity);
        map.title = format!("Change of {metric} without each head");
        map.caption = "The value without the head less the value with it.".into();
        figures.push(map);
    } else {
        parts.missing(
            "head_ablation.npy",
            "the change without each head is not shown as a map",
        );
    }
    if metric != "loss"
        && let Some(quantity) = parts.quantity("ablation_loss")
    {
        let mut map = heat(quantity);
        map.title = "Change of the mean loss".into();
        map.caption = "Above 0 the removal hurts.".into();
        figures.push(map);
    }
    let table = parts.run.table("ablation.csv")?;
    match &table {
        Some(table) => {
            let figure = intervals(table)?;
            let room = if figures.len() == 2 {
                Room::Tall
            } else {
                Room::One
            };
            figures.splice(0..0, figure.map(|figure| figure.takes(room)));
        }
        None => parts.missing("ablation.csv", "intervals and tests are not shown"),
    }
    if !figures.is_empty() {
        parts.add("Heads", vec![Block::Figures(figures)]);
    }
    if let Some(table) = &table {
        let all = all(table, &metric)?;
        parts.add("All heads", vec![Block::Table(all)]);
    }
    Ok(())
}

fn intervals(table: &Csv) -> Result<Option<crate::figure::Figure>, RunError> {
    let heads = table.heads()?;
    let (changes, errors) = (
        table.numbers("loss_change")?,
        table.numbers("loss_standard_error")?,
    );
    let mut rows: Vec<Bar> = heads
        .into_iter()
        .zip(changes.into_iter().zip(errors))
        .filter_map(|(head, (value, error))| {
            let ((layer, head), value) = (head?, value?);
            Some(Bar {
                name: format!("L{layer}H{head}"),
                value,
                low: error.map(|error| value - NORMAL * error),
                high: error.map(|error| value + NORMAL * error),
                head: Some((layer, head)),
                ..Bar::default()
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
    rows.truncate(SHOWN);
    rows.sort_by(|a, b| b.value.total_cmp(&a.value));
    let ends = rows.iter().flat_map(|row| {
        [
            row.value,
            row.low.unwrap_or(row.value),
            row.high.unwrap_or(row.value),
        ]
    });
    let axis = Axis::of("change of the mean loss", ends)
        .with_zero()
        .rounded(5);
    let interval = rows
        .iter()
        .any(|row| row.low.is_some())
        .then_some("95 % interval");
    let bars = Bars {
        rows: &rows,
        axis,
        shape: Shape::Dot,
        kind: "head",
        baseline: None,
        interval,
        write: change,
    };
    let shown = rows.len();
    let figure = bars.draw().named(
        "largest-changes",
        format!("The {shown} largest changes of the loss"),
        "1.96 standard errors over pairs of examples to each side. An interval of one head is not corrected for \
         the number of heads looked at.",
    );
    Ok(Some(figure))
}

/// Columns as people would name them.
fn named(column: &str) -> String {
    match column {
        "loss_standard_error" => "standard error".into(),
        "p_value" => "p-value".into(),
        other => other.replace('_', " "),
    }
}

fn all(table: &Csv, metric: &str) -> Result<Table, RunError> {
    let heads = table.heads()?;
    let mut columns = vec![Column::number("layer"), Column::number("head")];
    let mut values = Vec::new();
    for column in table
        .columns()
        .iter()
        .filter(|name| *name != "layer" && *name != "head")
    {
        let numbers = table.numbers(column)?;
        if numbers.iter().all(Option::is_none) {
            continue;
        }
        let name = if column == "change" {
            format!("change of {metric}")
        } else {
            named(column)
        };
        columns.push(Column::number(&name));
        values.push((column.as_str(), numbers));
    }
    let mut rows = Vec::new();
    for (row, head) in heads.into_iter().enumerate() {
        let Some((layer, head)) = head else { continue };
        let mut cells = vec![Cell::whole(layer), Cell::whole(head)];
        for (name, numbers) in &values {
            let write = |value: f64| match *name {
                "change" | "loss_change" => change(value),
                _ if value.fract() == 0.0 => value.to_string(),
                _ => short(value),
            };
            cells.push(Cell::number(numbers[row], write));
        }
        rows.push(Row {
            cells,
            head: Some((layer, head)),
        });
    }
    Ok(Table {
        id: "heads".into(),
        title: plural(rows.len() as u64, "head"),
        caption: "right to wrong: predictions that are right with the head and wrong without it; p-value: exact \
                  two-sided sign test."
            .into(),
        columns,
        rows,
        ..Table::default()
    })
}
