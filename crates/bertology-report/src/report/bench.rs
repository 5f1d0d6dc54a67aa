//! `bertology bench`.

use bertology_run::studies::bench::{BenchCell, BenchResults, BenchRow};
use bertology_run::table::Row as _;
use bertology_run::{Rows, RunError};

use super::{Page, Parts};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Shape};
use crate::number::{bytes, count, percent, plural, short};
use crate::speed::{spans_one, times_as_fast};

pub(super) const PAGES: &[Page] = &[Page {
    command: "bench",
    title: "Speed",
    write: bench,
    quantities: |_, _| Ok(()),
}];

/// Michel, Levy and Neubig 2019, table 4: sizes of batch, and the gain of a BERT without half of its heads in per cent.
const PAPER: [(u64, f64); 4] = [(1, 1.9), (4, 2.7), (16, 17.5), (64, 17.5)];

fn bench(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: BenchResults = parts.run.results()?;
    let mut numbers = Vec::new();
    for (model, what) in found.models.iter().zip(["model", "against"]) {
        numbers.push((
            what.into(),
            parts.places.brief(&model.name),
            format!(
                "{}, {} parameters",
                plural(model.heads, "head"),
                count(model.parameters)
            ),
        ));
    }
    numbers.push(("threads".into(), count(found.threads), String::new()));
    if let Some(peak) = found.peak_bytes {
        let beside = match found.models.len() {
            0 | 1 => "of the process",
            _ => "of the process, which held both models",
        };
        numbers.push(("peak memory".into(), bytes(peak), beside.into()));
    }
    parts.add("Summary", vec![Block::Numbers(numbers)]);
    let ratios: Vec<(&BenchCell, f64, (f64, f64))> = found
        .cells
        .iter()
        .filter_map(|cell| Some((cell, cell.speed?, cell.interval?)))
        .collect();
    if !ratios.is_empty() {
        let blocks = vec![
            Block::Figures(vec![ratio(&ratios, found.coverage)]),
            Block::Table(told(&ratios)),
        ];
        parts.add("How many times as fast", vec![Block::Beside(blocks)]);
    }
    match parts.run.rows::<BenchRow>()? {
        Some(rows) => {
            let figure = Block::Figures(vec![throughput(&rows.all)]);
            let blocks = vec![figure, Block::Table(all(&rows))];
            parts.add("Latency and throughput", blocks);
        }
        None => parts.missing(BenchRow::FILE, "latencies and throughput are not shown"),
    }
    Ok(())
}

fn name(batch_size: u64, length: u64) -> String {
    format!("{batch_size} × {length}")
}

fn ratio(ratios: &[(&BenchCell, f64, (f64, f64))], coverage: f64) -> Figure {
    let rows: Vec<Bar> = ratios
        .iter()
        .map(|(cell, ratio, (low, high))| Bar {
            name: name(cell.batch_size, cell.length),
            value: *ratio,
            low: Some(*low),
            high: Some(*high),
            pale: spans_one((*low, *high)),
            ..Bar::default()
        })
        .collect();
    let ends = ratios
        .iter()
        .flat_map(|(_, ratio, (low, high))| [*ratio, *low, *high]);
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("times as fast", ends.chain([1.0])).rounded(5),
        shape: Shape::Dot,
        kind: "batch × length",
        baseline: None,
        interval: Some("interval"),
        write: short,
    };
    let caption = format!(
        "Intervals hold the ratios of all rows together with a probability of {}. Pale: no measurable change.",
        percent(coverage)
    );
    bars.draw().named("ratio", "Ratio of the speeds", caption)
}

fn told(ratios: &[(&BenchCell, f64, (f64, f64))]) -> Table {
    let rows = ratios.iter().map(|(cell, ratio, interval)| {
        let paper = PAPER.iter().find(|(size, _)| *size == cell.batch_size);
        Row {
            cells: vec![
                Cell::whole(cell.batch_size as usize),
                Cell::whole(cell.length as usize),
                Cell::text(times_as_fast(*ratio, *interval)),
                Cell::number(paper.map(|(_, gain)| 1.0 + gain / 100.0), |v| {
                    format!("{v:.3}")
                }),
            ],
            head: None,
        }
    });
    Table {
        id: "ratios".into(),
        title: plural(ratios.len() as u64, "ratio"),
        caption: "The last column: BERT-base without half of its heads on MNLI, a GTX 1080 Ti, in Michel, Levy and Neubig \
                  2019, table 4; another model on another machine."
            .into(),
        columns: vec![
            Column::number("batch"),
            Column::number("length"),
            Column::text("result"),
            Column::number("in the paper"),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}

fn which(row: &BenchRow) -> &'static str {
    if row.model == 0 { "model" } else { "against" }
}

fn throughput(rows: &[BenchRow]) -> Figure {
    let bars: Vec<Bar> = rows
        .iter()
        .map(|row| Bar {
            name: name(row.batch_size, row.length),
            note: which(row).into(),
            value: row.examples_per_second,
            pale: row.model == 0 && rows.iter().any(|row| row.model > 0),
            ..Bar::default()
        })
        .collect();
    let values = rows.iter().map(|row| row.examples_per_second);
    let bars = Bars {
        rows: &bars,
        axis: Axis::of("examples per second", values)
            .with_zero()
            .rounded(4),
        shape: Shape::Bar,
        kind: "batch × length",
        baseline: None,
        interval: None,
        write: short,
    };
    bars.draw().named(
        "throughput",
        "Throughput",
        "Sequences of a batch over the median time of a batch.",
    )
}

fn all(found: &Rows<BenchRow>) -> Table {
    let rows = found.all.iter().map(|row| {
        let number = |value: f64| Cell::number(Some(value), short);
        Row {
            cells: vec![
                Cell::whole(row.batch_size as usize),
                Cell::whole(row.length as usize),
                Cell::text(which(row)),
                Cell::whole(row.rounds as usize),
                number(row.p50_ms),
                number(row.p90_ms),
                number(row.p99_ms),
                number(row.examples_per_second),
                number(row.tokens_per_second),
            ],
            head: None,
        }
    });
    Table {
        id: "latencies".into(),
        title: plural(found.all.len() as u64, "row"),
        caption: "Milliseconds of a batch: the median, and what nine in ten and ninety-nine in a hundred do not exceed."
            .into(),
        columns: vec![
            Column::number("batch"),
            Column::number("length"),
            Column::text("model"),
            Column::number("rounds"),
            Column::number("p50 ms"),
            Column::number("p90 ms"),
            Column::number("p99 ms"),
            Column::number("examples/s"),
            Column::number("tokens/s"),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}
