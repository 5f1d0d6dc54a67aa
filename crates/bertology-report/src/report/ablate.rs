//! `bertology ablate`.

mod and;
mod keep_one;

use bertology_run::registry::ABLATION;
use bertology_run::results::AblateResults;
use bertology_run::rows::AblationRow;
use bertology_run::table::Row as _;
use bertology_run::{Rows, RunError};

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Room, Shape};
use crate::number::{change, plural, short};
use crate::quantities::{self, metric};

/// Heads whose change is drawn with its interval.
const SHOWN: usize = 30;
/// Standard errors to each side: 95 % of a normal distribution.
const NORMAL: f64 = 1.96;

pub(super) const PAGES: &[Page] = &[Page {
    command: "ablate",
    title: "Without each head",
    write,
    quantities: quantities::ablation,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let results = parts.run.results::<AblateResults>()?;
    let metric = metric(results.metric);
    if let Some(found) = &results.keep_one {
        return keep_one::write(parts, found, &metric);
    }
    let mut figures = Vec::new();
    if let Some(quantity) = parts.quantity("ablation_change") {
        let mut map = heat(quantity);
        map.title = format!("Change of {metric} without each head");
        map.caption = "The value without the head less the value with it.".into();
        figures.push(map);
    } else {
        parts.missing(
            ABLATION,
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
    let rows = parts.run.rows::<AblationRow>()?;
    match &rows {
        Some(rows) => {
            let figure = intervals(&rows.all);
            let room = if figures.len() == 2 {
                Room::Tall
            } else {
                Room::One
            };
            figures.splice(0..0, figure.map(|figure| figure.takes(room)));
        }
        None => parts.missing(AblationRow::FILE, "intervals and tests are not shown"),
    }
    if !figures.is_empty() {
        parts.add("Heads", vec![Block::Figures(figures)]);
    }
    if let Some(found) = &results.and {
        and::write(parts, found, &metric)?;
    }
    if let Some(rows) = &rows {
        parts.add("All heads", vec![Block::Table(all(rows, &metric))]);
    }
    Ok(())
}

fn intervals(all: &[AblationRow]) -> Option<crate::figure::Figure> {
    let known = all.iter().filter(|row| row.loss_change.is_finite());
    let mut rows: Vec<Bar> = known
        .map(|row| {
            let (value, error) = (row.loss_change, row.loss_standard_error);
            Bar {
                name: format!("L{}H{}", row.layer, row.head),
                value,
                low: error.map(|error| value - NORMAL * error),
                high: error.map(|error| value + NORMAL * error),
                head: Some((row.layer, row.head)),
                ..Bar::default()
            }
        })
        .collect();
    if rows.is_empty() {
        return None;
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
    Some(figure)
}

fn whole_or_short(value: f64) -> String {
    if value.fract() == 0.0 {
        value.to_string()
    } else {
        short(value)
    }
}

fn all(found: &Rows<AblationRow>, metric: &str) -> Table {
    let rows = &found.all;
    let column =
        |name: &str, write: fn(f64) -> String, of: &dyn Fn(&AblationRow) -> Option<f64>| {
            let finite = |row| of(row).filter(|value: &f64| value.is_finite());
            (
                name.to_owned(),
                write,
                rows.iter().map(finite).collect::<Vec<_>>(),
            )
        };
    let whole = |count: Option<u64>| count.map(|count| count as f64);
    let named = format!("change of {metric}");
    let mut numbers = vec![
        column(&named, change, &|row| row.change),
        column("loss change", change, &|row| Some(row.loss_change)),
        column("standard error", whole_or_short, &|row| {
            row.loss_standard_error
        }),
        column("changed", whole_or_short, &|row| whole(row.changed)),
        column("right to wrong", whole_or_short, &|row| {
            whole(row.right_to_wrong)
        }),
        column("wrong to right", whole_or_short, &|row| {
            whole(row.wrong_to_right)
        }),
        column("p-value", whole_or_short, &|row| row.p_value),
        column("loss", whole_or_short, &|row| row.loss),
    ];
    for (at, name) in found.more.iter().enumerate() {
        let value = |row: &AblationRow| row.metrics.0.get(at).copied().flatten();
        numbers.push(column(&name.replace('_', " "), whole_or_short, &value));
    }
    numbers.retain(|(_, _, values)| values.iter().any(Option::is_some));
    let mut columns = vec![Column::number("layer"), Column::number("head")];
    columns.extend(numbers.iter().map(|(name, ..)| Column::number(name)));
    let rows: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let mut cells = vec![Cell::whole(row.layer), Cell::whole(row.head)];
            let numbers = numbers.iter();
            cells.extend(numbers.map(|(_, write, values)| Cell::number(values[at], write)));
            Row {
                cells,
                head: Some((row.layer, row.head)),
            }
        })
        .collect();
    Table {
        id: "heads".into(),
        title: plural(rows.len() as u64, "head"),
        caption: "right to wrong: predictions that are right with the head and wrong without it; p-value: exact \
                  two-sided sign test."
            .into(),
        columns,
        rows,
        ..Table::default()
    }
}
