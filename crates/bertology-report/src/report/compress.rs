//! `bertology compress`.

use bertology_run::results::Timing;
use bertology_run::studies::compress::{CompressResults, LayerRow, PointRow, VocabularyResults};
use bertology_run::table::Row as _;
use bertology_run::{Rows, RunError};

use super::masking::{before_and_after, left, one_by_one, scores, with_bound};
use super::{Page, Parts, both};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Chosen, Figure, Lines, Point, Shape};
use crate::number::{bytes, count, percent, plural, short, significant};
use crate::quantities::metric;
use crate::speed::times_as_fast;

pub(super) const PAGES: &[Page] = &[Page {
    command: "compress",
    title: "Compression",
    write: compress,
    // The mask is found where that of `mask` is.
    quantities: |_, _| Ok(()),
}];

fn compress(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: CompressResults = parts.run.results()?;
    let sizes = sizes(&found);
    let scores = scores(found.evaluation_before.as_ref(), found.evaluation_after.as_ref());
    let mut numbers = Vec::new();
    for (name, before, after) in &sizes {
        let write = |value: f64| match *name {
            "file" => bytes(value as u64),
            _ => count(value as u64),
        };
        let beside = format!("of {}, {}", write(*before), percent(after / before.max(1.0)));
        numbers.push(((*name).to_owned(), write(*after), beside));
    }
    for (name, before, after) in &scores {
        let (after, beside) = both(*before, *after);
        numbers.push((name.clone(), after, beside));
    }
    for timing in &found.timing {
        if let (Some(speed), Some(range)) = (timing.speedup, timing.range) {
            let what = format!("speed, batch of {}", timing.sequences);
            let place = timing.device.as_ref();
            let place = place.map_or_else(String::new, |device| format!("on {device}"));
            numbers.push((what, times_as_fast(speed, range), place));
        }
    }
    if let Some((before, after)) = found.objective.filter(|(before, _)| *before > 0.0) {
        let beside = format!("{} before units were exchanged", significant(before, 3));
        numbers.push(("expected loss".into(), significant(after, 3), beside));
    }
    parts.add("Summary", vec![Block::Numbers(numbers)]);
    if let Some(found) = &found.vocabulary {
        parts.add("Vocabulary", vec![Block::Facts(vocabulary(found)), Block::Paragraph(VOCABULARY.into())]);
    }
    match parts.run.rows::<LayerRow>()? {
        // Heads and neurons stayed as they are.
        None if found.operations.is_none() && found.vocabulary.is_some() => {}
        Some(rows) => {
            let figures = Block::Figures(vec![operations(&rows.all)]);
            parts.add("Layer by layer", vec![figures, Block::Table(layers(&rows))]);
        }
        None => parts.missing(LayerRow::FILE, "what each layer has lost is not shown"),
    }
    if let Some(rows) = parts.run.rows::<PointRow>()? {
        let figure = curve(&rows.all, &found);
        let mut blocks: Vec<Block> = figure.map(|figure| Block::Figures(vec![figure])).into_iter().collect();
        blocks.push(Block::Table(points(&rows, &found)));
        parts.add("On the way to the score", vec![Block::Beside(blocks)]);
    }
    let timing = found.timing.last();
    let speed = timing.and_then(|timing| timing.speedup);
    let range = timing.and_then(|timing: &Timing| timing.range);
    let mut blocks = vec![Block::Table(before_and_after(&sizes, &scores))];
    if !sizes.is_empty() {
        blocks.insert(0, Block::Figures(vec![left(&sizes, speed, range)]));
    }
    parts.add("Before and after", vec![Block::Beside(blocks)]);
    one_by_one(parts, found.paired.as_ref());
    Ok(())
}

const VOCABULARY: &str = "For the texts that the vocabulary was chosen on the smaller model is the same function: the same pieces under \
                          new ids, which vocabulary_map.csv lists. Where another text has a token that is gone, it falls to \
                          smaller pieces.";

/// What became of the vocabulary.
fn vocabulary(found: &VocabularyResults) -> Vec<(String, String)> {
    let share = |part: u64, of: u64| percent(part as f64 / of.max(1) as f64);
    let whole = |value: u64| count(value);
    let mut facts = vec![
        ("chosen on".into(), format!("{}, {}", plural(found.texts, "text"), plural(found.text_tokens, "token"))),
        ("tokens of these texts".into(), whole(found.distinct)),
        (
            "tokens".into(),
            format!("{} of {}, {}", whole(found.tokens.1), whole(found.tokens.0), share(found.tokens.1, found.tokens.0)),
        ),
        ("weights file with these tokens and all heads and neurons".into(), bytes(found.file_bytes)),
    ];
    if let Some(scored) = &found.scored {
        facts.push((
            "gone from the data that are scored".into(),
            format!(
                "{} of {} ({}), in {} of {}",
                whole(scored.gone),
                plural(scored.tokens, "token"),
                share(scored.gone, scored.tokens),
                whole(scored.changed),
                plural(scored.inputs, "input")
            ),
        ));
        facts.push((
            "tokens of the data that are scored".into(),
            format!(
                "{} before, {} now; unknown: {} before, {} now",
                whole(scored.tokens),
                whole(scored.tokens_now),
                whole(scored.unknown.0),
                whole(scored.unknown.1)
            ),
        ));
    }
    if !found.left_behind.is_empty() {
        facts.push(("left out".into(), found.left_behind.join(", ")));
    }
    facts
}

fn sizes(found: &CompressResults) -> Vec<(&'static str, f64, f64)> {
    let mut all = Vec::new();
    if let Some(sizes) = &found.sizes {
        all.push(("heads", sizes.heads_before as f64, sizes.heads_after as f64));
    }
    if let Some(found) = &found.vocabulary {
        all.push(("tokens", found.rows.0 as f64, found.rows.1 as f64));
    }
    if let Some((before, after)) = found.neurons {
        all.push(("neurons", before as f64, after as f64));
    }
    if let Some((before, after)) = found.operations {
        all.push(("operations", before, after));
    }
    if let Some(sizes) = &found.sizes {
        let (before, after) = (sizes.parameters_before, sizes.parameters_after);
        all.push(("parameters", before as f64, after as f64));
    }
    if let Some(written) = &found.checkpoint {
        let report = &written.report;
        let (before, after) = (report.file_bytes_before, report.file_bytes_after);
        all.push(("file", before as f64, after as f64));
    }
    all
}

/// Share of each layer's operations that is left.
fn operations(rows: &[LayerRow]) -> Figure {
    let bars: Vec<Bar> = rows
        .iter()
        .map(|row| Bar {
            name: format!("layer {}", row.layer),
            note: format!("{} heads, {} neurons", row.heads_after, row.neurons_after),
            value: row.operations_after / row.operations_before.max(1.0),
            ..Bar::default()
        })
        .collect();
    let bars = Bars {
        rows: &bars,
        axis: Axis::of("share of the operations", [0.0, 1.0]),
        shape: Shape::Bar,
        kind: "layer",
        baseline: None,
        interval: None,
        write: percent,
    };
    bars.draw().named(
        "layers",
        "What is left of each layer",
        "Multiply-adds per token; layers are counted from 0.",
    )
}

fn layers(found: &Rows<LayerRow>) -> Table {
    let rows = found.all.iter().map(|row| {
        let of = |after: usize, before: usize| Cell::text(format!("{after} of {before}"));
        let share = |value: Option<f64>| Cell::number(value, percent);
        Row {
            cells: vec![
                Cell::whole(row.layer),
                of(row.heads_after, row.heads_before),
                of(row.neurons_after, row.neurons_before),
                share(row.attention_missed),
                share(row.attention_missed_tuned),
                share(row.feed_forward_missed),
                share(row.feed_forward_missed_tuned),
            ],
            head: None,
        }
    });
    Table {
        id: "compressed-layers".into(),
        title: plural(found.all.len() as u64, "layer"),
        caption: "Missed: the share of what a half of the layer has to add to the residual stream, so that this is what it is in \
                  the whole model, that is missed with everything below as it now is, in squares; without factors and with them."
            .into(),
        columns: vec![
            Column::number("layer"),
            Column::text("heads"),
            Column::text("neurons"),
            Column::number("attention missed"),
            Column::number("tuned"),
            Column::number("feed-forward missed"),
            Column::number("tuned "),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}

fn curve(rows: &[PointRow], found: &CompressResults) -> Option<Figure> {
    let mut tried: Vec<&PointRow> = rows.iter().filter(|row| row.score.is_some()).collect();
    tried.sort_by(|a, b| b.operations.total_cmp(&a.operations));
    let point = |row: &&PointRow| Some(Point::new(row.operations, row.score?));
    let points: Vec<Point> = tried.iter().filter_map(point).collect();
    let passed = tried.iter().rev().find(|row| row.passed);
    let chosen = passed.and_then(point);
    let first = points.first()?.x;
    let values = points.iter().map(|point| point.y).chain(found.bound);
    let name = metric(found.metric.clone());
    let y = Axis::of(&name, values).padded().rounded(5);
    let x = Axis::of("share of the operations", points.iter().map(|point| point.x)).padded().rounded(5);
    let (low, high) = (x.low, first.max(x.high));
    let lines = Lines {
        x,
        y,
        series: with_bound(&name, points, found.bound, low, high),
        chosen: chosen.map(|point| Chosen {
            x: point.x,
            y: point.y,
            text: format!("{}: {}", percent(point.x), short(point.y)),
        }),
        falling: true,
    };
    Some(lines.draw().named(
        "compression-curve",
        format!("{name} against operations"),
        "On examples that neither chose units nor tuned them; the ring is the model that was taken.",
    ))
}

fn points(found: &Rows<PointRow>, results: &CompressResults) -> Table {
    let rows = found.all.iter().map(|row| Row {
        cells: vec![
            Cell::number(Some(row.operations), percent),
            Cell::whole(row.heads),
            Cell::whole(row.neurons),
            Cell::number(row.score, short),
            Cell::text(if row.passed { "yes" } else { "no" }),
        ],
        head: None,
    });
    Table {
        id: "compression-points".into(),
        title: plural(found.all.len() as u64, "model"),
        caption: "In the order in which they were tried; the first is the whole model.".into(),
        columns: vec![
            Column::number("operations"),
            Column::number("heads"),
            Column::number("neurons"),
            Column::number(&metric(results.metric.clone())),
            Column::text("enough"),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}
