//! `bertology edge-probe`.

use bertology_run::studies::edge::{
    EdgeLayerRow, EdgeOrder, EdgeQuantity, EdgeResults, EdgeStratumRow, EdgeTask,
};
use bertology_run::table::Row as _;
use bertology_run::RunError;

use super::{Page, Parts};
use crate::compare_edge::CAUSAL;
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Lines, Point, Series, Shape};
use crate::number::{count, minus, percent, short};

mod examples;

pub(super) const PAGES: &[Page] = &[Page {
    command: "edge-probe",
    title: "What layers know of structure",
    write,
    quantities: |_, _| Ok(()),
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: EdgeResults = parts.run.results()?;
    let rows = parts.run.rows::<EdgeLayerRow>()?;
    summary(parts, &found);
    match &rows {
        Some(rows) => layers(parts, &found, &rows.all),
        None => parts.missing(EdgeLayerRow::FILE, "the layers are not shown"),
    }
    strata(parts, &found)?;
    examples::write(parts, &found)?;
    Ok(())
}

/// Of which states the centre of gravity is.
const STANDARDIZED: &str = "Probes read standardized states: each layer less its mean over the training data, divided by the root of \
     the mean square that is left. Mixing weights and the centre of gravity are of layers of one length.";

/// What the record says of the probes.
fn said(found: &EdgeResults, what: &str) -> bool {
    found.probe.get(what).and_then(serde_json::Value::as_bool) == Some(true)
}

fn summary(parts: &mut Parts<'_>, found: &EdgeResults) {
    let mut figures = vec![ends(&found.tasks)];
    figures.extend(mean_layers(&found.tasks));
    let mut blocks = vec![Block::Figures(figures)];
    if said(found, "causal") {
        blocks.push(Block::Paragraph(CAUSAL.into()));
    }
    if said(found, "standardized") {
        blocks.push(Block::Paragraph(STANDARDIZED.into()));
    }
    for task in &found.tasks {
        if let Some(guard) = &task.guard {
            blocks.push(Block::Paragraph(format!("{}: {guard}.", task.name)));
        }
    }
    blocks.push(Block::Table(tasks_table(&found.tasks)));
    blocks.extend(groups_table(&found.tasks).map(Block::Table));
    if !found.order.is_empty() {
        blocks.push(Block::Table(order_table(&found.order)));
    }
    parts.add("Tasks", blocks);
}

/// Score of layer 0 and of all layers.
fn ends(tasks: &[EdgeTask]) -> Figure {
    let rows: Vec<Bar> = tasks
        .iter()
        .filter_map(|task| {
            Some(Bar {
                name: task.name.clone(),
                value: task.top.value?,
                low: task.top.low,
                high: task.top.high,
                baseline: task.bottom.value,
                ..Bar::default()
            })
        })
        .collect();
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("F1", [0.0, 1.0]),
        shape: Shape::Bar,
        kind: "task",
        baseline: Some("layer 0"),
        interval: Some("95 % over seeds"),
        write: percent,
    };
    bars.draw().named(
        "edge-scores",
        "Score of all layers together",
        "Bar: the probe that reads all layers. Diamond: the probe that reads layer 0, which has seen no context.",
    )
}

/// Expected layer with the centre of gravity beside it: figure 1 of Tenney et al. (2019).
fn mean_layers(tasks: &[EdgeTask]) -> Option<Figure> {
    let rows: Vec<Bar> = tasks
        .iter()
        .filter_map(|task| {
            Some(Bar {
                name: task.name.clone(),
                value: task.expected_layer.value?,
                low: task.expected_layer.low,
                high: task.expected_layer.high,
                baseline: task.centre_of_gravity.value,
                ..Bar::default()
            })
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let ends = |bar: &Bar| [Some(bar.value), bar.low, bar.high, bar.baseline];
    let all = rows.iter().flat_map(ends).flatten();
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("layer", all).with_zero().rounded(6),
        shape: Shape::Bar,
        kind: "task",
        baseline: Some("centre of gravity"),
        interval: Some("95 % over seeds"),
        write: short,
    };
    Some(bars.draw().named(
        "edge-layers",
        "Where a task is solved",
        "Bar: expected layer, the mean of the layers weighted by the gain that each brings. Diamond: centre of \
         gravity, the mean weighted by the mixing weights of the probe that reads all layers.",
    ))
}

fn number(value: Option<f64>) -> Cell {
    Cell::number(value, short)
}

fn share(value: Option<f64>) -> Cell {
    Cell::number(value, percent)
}

fn tasks_table(tasks: &[EdgeTask]) -> Table {
    let mut columns = vec![Column::text("task"), Column::text("judged by")];
    columns.extend(
        [
            "labels",
            "majority",
            "majority of the words",
            "bag of words",
            "layer 0",
            "all layers",
            "random encoder",
            "expected layer",
            "low",
            "high",
            "losses left out",
            "of the best so far",
            "centre of gravity",
            "by norm",
            "K(gains) (bits)",
            "K(weights) (bits)",
        ]
        .map(Column::number),
    );
    let row = |task: &EdgeTask| Row {
        cells: vec![
            Cell::text(&task.name).strong(true),
            Cell::text(&task.judged_by),
            Cell::number(Some(task.labels as f64), |value| count(value as u64)),
            share(task.majority),
            share(task.type_majority),
            share(task.word_bag.as_ref().and_then(|found| found.value)),
            share(task.bottom.value),
            share(task.top.value).with_share(task.top.value),
            share(task.random_encoder.as_ref().and_then(|found| found.value)),
            number(task.expected_layer.value),
            number(task.expected_layer.low),
            number(task.expected_layer.high),
            number(task.expected_layer_clipped.value),
            number(task.expected_layer_running.value),
            number(task.centre_of_gravity.value),
            number(task.centre_of_gravity_by_norm.value),
            number(task.gain_divergence.value),
            number(task.weight_divergence.value),
        ],
        head: None,
    };
    Table {
        id: "edge-tasks".into(),
        title: "Tasks".into(),
        caption: "Scores are F1 over all labels that the task is judged by. Layer 0 is what goes into the first block. \
                  Losses left out, of the best so far: the expected layer of gains without losses, and of the best score up \
                  to each layer. K is the divergence from uniform gains or weights: near 0, a mean layer says little."
            .into(),
        columns,
        rows: tasks.iter().map(row).collect(),
        ..Table::default()
    }
}

/// Groups of labels that are scored besides, such as core roles.
fn groups_table(tasks: &[EdgeTask]) -> Option<Table> {
    let mut columns = vec![Column::text("task"), Column::text("labels of")];
    columns.extend(["labels", "targets", "layer 0", "all layers", "low", "high"].map(Column::number));
    let whole = |value: u64| Cell::number(Some(value as f64), |value| count(value as u64));
    let rows = tasks.iter().flat_map(|task| {
        let groups = task.groups.iter().filter(|group| group.support > 0);
        groups.map(|group| Row {
            cells: vec![
                Cell::text(&task.name).strong(true),
                Cell::text(&group.name),
                whole(group.labels),
                whole(group.support),
                share(group.bottom.value),
                share(group.top.value).with_share(group.top.value),
                share(group.top.low),
                share(group.top.high),
            ],
            head: None,
        })
    });
    let rows: Vec<Row> = rows.collect();
    (!rows.is_empty()).then(|| Table {
        id: "edge-groups".into(),
        title: "Groups of labels".into(),
        caption: "F1 of the labels of each group: their counts are summed before. All layers' are in edge_labels.csv.".into(),
        columns,
        rows,
        ..Table::default()
    })
}

fn order_table(order: &[EdgeOrder]) -> Table {
    let mut columns = vec![Column::text("first"), Column::text("second")];
    columns.extend(["layers between", "low", "high"].map(Column::number));
    columns.push(Column::text("can be ordered"));
    columns.extend(["first earlier", "second earlier", "at once"].map(Column::number));
    let ends = |found: &EdgeQuantity| {
        [
            found.bootstrap_low.or(found.low),
            found.bootstrap_high.or(found.high),
        ]
    };
    let whole = |pairs: Option<u64>| Cell::number(pairs.map(|pairs| pairs as f64), |pairs| count(pairs as u64));
    let row = |pair: &EdgeOrder| {
        let [low, high] = ends(&pair.difference);
        let said = if pair.ordered { "yes" } else { "no: the interval holds 0" };
        Row {
            cells: vec![
                Cell::text(&pair.first).strong(true),
                Cell::text(&pair.second).strong(true),
                number(pair.difference.value),
                number(low),
                number(high),
                Cell::text(said),
                whole(pair.first_earlier),
                whole(pair.second_earlier),
                whole(pair.at_once),
            ],
            head: None,
        }
    };
    Table {
        id: "edge-order".into(),
        title: "Order of tasks".into(),
        caption: "Expected layer of the second minus that of the first. Earlier, at once: pairs of a target of each task in one \
                  sentence, by the layers from which on they are right."
            .into(),
        columns,
        rows: order.iter().map(row).collect(),
        ..Table::default()
    }
}

type Field = fn(&EdgeLayerRow) -> Option<f64>;

/// A line over the layers of a task.
fn series(name: &str, rows: &[&EdgeLayerRow], [value, low, high]: [Field; 3]) -> Option<Series> {
    let point = |row: &&EdgeLayerRow| {
        Some(Point {
            low: low(row),
            high: high(row),
            ..Point::new(row.layer as f64, value(row)?)
        })
    };
    let points: Vec<Point> = rows.iter().filter_map(point).collect();
    (!points.is_empty()).then(|| Series {
        name: name.to_owned(),
        points,
        reference: false,
    })
}

fn figure(y: &str, series: Vec<Series>, zero: bool) -> Option<Figure> {
    if series.is_empty() {
        return None;
    }
    let points = || series.iter().flat_map(|series| &series.points);
    let ys = points().flat_map(|point| [Some(point.y), point.low, point.high]);
    let y = Axis::of(y, ys.flatten());
    let y = if zero { y.with_zero() } else { y };
    let lines = Lines {
        x: Axis::of("layer", points().map(|point| point.x)).whole(),
        y: y.padded(),
        series,
        chosen: None,
        falling: false,
    };
    Some(lines.draw())
}

fn layers(parts: &mut Parts<'_>, found: &EdgeResults, rows: &[EdgeLayerRow]) {
    const NONE: Field = |_| None;
    let of = |task: &EdgeTask| -> Vec<&EdgeLayerRow> {
        let rows = rows.iter().filter(|row| row.task == task.name);
        rows.collect()
    };
    let score = found.tasks.iter().filter_map(|task| {
        let fields: [Field; 3] = [|row| row.score, |row| row.score_low, |row| row.score_high];
        series(&task.name, &of(task), fields)
    });
    let scores = figure("F1", score.collect(), false).map(|figure| {
        figure.named(
            "edge-curves",
            "Score by layer",
            "Each point is a probe of its own that reads the layers from 0 up to this one; whiskers: 95 % over seeds.",
        )
    });
    parts.add("Layers", scores.into_iter().map(|figure| Block::Figures(vec![figure])).collect());

    let mut figures = Vec::new();
    for (at, task) in found.tasks.iter().enumerate() {
        let rows = of(task);
        let lines = [
            ("weight", [|row: &EdgeLayerRow| row.weight, |row: &EdgeLayerRow| row.weight_low, |row: &EdgeLayerRow| row.weight_high] as [Field; 3]),
            ("gain", [|row| row.gain, |row| row.gain_low, |row| row.gain_high]),
        ];
        let lines = lines.into_iter().filter_map(|(name, fields)| series(name, &rows, fields));
        let title = format!("{}: mixing weights and gains", task.name);
        figures.extend(figure("share", lines.collect(), true).map(|figure| {
            figure.named(
                &format!("edge-weights-{at}"),
                title,
                "Weight: of the probe that reads all layers. Gain: F1 of a layer minus that of the layer below.",
            )
        }));
    }
    if !figures.is_empty() {
        parts.add("Mixing weights and gains", vec![Block::Figures(figures)]);
    }

    let mut figures = Vec::new();
    for (at, task) in found.tasks.iter().enumerate() {
        let rows = of(task);
        let lines = [
            ("given labels", (|row: &EdgeLayerRow| row.score) as Field),
            ("random encoder", |row| row.random_encoder),
            ("control task", |row| row.control),
            ("control task, first span", |row| row.control_first),
            ("shuffled labels", |row| row.shuffled),
        ];
        let mut lines: Vec<Series> = lines
            .into_iter()
            .filter_map(|(name, field)| series(name, &rows, [field, NONE, NONE]))
            .collect();
        if lines.len() < 2 {
            continue;
        }
        let last = rows.last().map_or(0.0, |row| row.layer as f64);
        let floors = [("majority", task.majority), ("words' majority", task.type_majority)];
        lines.extend(floors.into_iter().filter_map(|(name, floor)| {
            Some(Series {
                name: name.into(),
                points: vec![Point::new(0.0, floor?), Point::new(last, floor?)],
                reference: true,
            })
        }));
        let title = format!("{}: controls", task.name);
        figures.extend(figure("F1", lines, true).map(|figure| {
            figure.named(
                &format!("edge-controls-{at}"),
                title,
                "What a probe can learn without a trained encoder, or of labels that mean nothing.",
            )
        }));
    }
    if !figures.is_empty() {
        parts.add("Controls", vec![Block::Figures(figures)]);
    }

    let code = found.tasks.iter().filter_map(|task| {
        series(&task.name, &of(task), [|row| row.compression, NONE, NONE])
    });
    let code = figure("uniform code / online code", code.collect(), true);
    if let Some(figure) = code {
        let figure = figure.named(
            "edge-code",
            "How short the labels can be told",
            "Compression of the training labels by the online code of Voita and Titov (2020): larger is easier.",
        );
        parts.add("Description length", vec![Block::Figures(vec![figure])]);
    }
    parts.add("All layers", vec![Block::Table(layers_table(rows))]);
}

fn layers_table(rows: &[EdgeLayerRow]) -> Table {
    let mut columns = vec![Column::text("task")];
    columns.extend(
        [
            "layer", "F1", "low", "high", "gain", "weight", "weight by norm", "random encoder", "control task",
            "of texts seen", "by first span", "of those seen", "selectivity", "compression",
        ]
        .map(Column::number),
    );
    let row = |row: &EdgeLayerRow| Row {
        cells: vec![
            Cell::text(&row.task).strong(true),
            Cell::whole(row.layer),
            share(row.score).with_share(row.score),
            share(row.score_low),
            share(row.score_high),
            Cell::number(row.gain, |gain| minus(&format!("{:+.1} pt", 100.0 * gain))),
            number(row.weight).with_share(row.weight),
            number(row.weight_by_norm),
            share(row.random_encoder),
            share(row.control),
            share(row.control_seen),
            share(row.control_first),
            share(row.control_first_seen),
            Cell::number(row.selectivity, |value| minus(&format!("{:+.1} pt", 100.0 * value))),
            number(row.compression),
        ],
        head: None,
    };
    Table {
        id: "edge-layers-table".into(),
        title: "Layers of every task".into(),
        caption: "Layer 0 is what goes into the first block. Of texts seen: the control task on targets whose texts the training \
                  data have. By first span: its labels follow the text of the first span alone."
            .into(),
        columns,
        rows: rows.iter().map(row).collect(),
        ..Table::default()
    }
}

/// What a stratum is, for a heading.
fn divided(by: &str) -> &'static str {
    match by {
        "distance" => "words between both spans",
        _ => "height of the constituent",
    }
}

fn strata(parts: &mut Parts<'_>, found: &EdgeResults) -> Result<(), RunError> {
    let Some(rows) = parts.run.rows::<EdgeStratumRow>()? else {
        return Ok(());
    };
    let mut figures = Vec::new();
    for (at, task) in found.tasks.iter().enumerate() {
        for by in ["distance", "height"] {
            let own = rows.all.iter().filter(|row| row.task == task.name && row.by == by);
            let own: Vec<&EdgeStratumRow> = own.collect();
            let mut names: Vec<&str> = own.iter().map(|row| row.stratum.as_str()).collect();
            // Rows of one stratum stand together.
            names.dedup();
            if names.len() < 2 {
                continue;
            }
            let line = |name: &&str| Series {
                name: (*name).to_owned(),
                points: own
                    .iter()
                    .filter(|row| row.stratum == **name)
                    .filter_map(|row| Some(Point::new(row.layer as f64, row.f1?)))
                    .collect(),
                reference: false,
            };
            let lines = names.iter().map(line).collect();
            figures.extend(figure("F1", lines, false).map(|figure| {
                figure.named(
                    &format!("edge-strata-{by}-{at}"),
                    format!("{}: by {}", task.name, divided(by)),
                    "Score by layer of the targets of each kind, over all seeds.",
                )
            }));
        }
    }
    let mut blocks = Vec::new();
    if !figures.is_empty() {
        blocks.push(Block::Figures(figures));
    }
    if !rows.all.is_empty() {
        blocks.push(Block::Table(strata_table(&rows.all)));
    }
    parts.add("Near and far spans", blocks);
    Ok(())
}

/// The first and the last layer of each stratum.
fn strata_table(rows: &[EdgeStratumRow]) -> Table {
    let mut columns = vec![Column::text("task"), Column::text("by"), Column::text("which")];
    columns.extend(["targets", "layer 0", "all layers", "gain"].map(Column::number));
    let last = |first: &EdgeStratumRow| {
        let same = |row: &&EdgeStratumRow| row.task == first.task && row.by == first.by && row.stratum == first.stratum;
        rows.iter().rfind(same).and_then(|row| row.f1)
    };
    let row = |first: &EdgeStratumRow| {
        let top = last(first);
        Row {
            cells: vec![
                Cell::text(&first.task).strong(true),
                Cell::text(divided(&first.by)),
                Cell::text(&first.stratum),
                Cell::number(Some(first.targets as f64), |value| count(value as u64)),
                share(first.f1),
                share(top).with_share(top),
                Cell::number(first.f1.zip(top).map(|(a, b)| b - a), |gain| minus(&format!("{:+.1} pt", 100.0 * gain))),
            ],
            head: None,
        }
    };
    Table {
        id: "edge-strata-table".into(),
        title: "Targets by distance and height".into(),
        caption: "F1 over all seeds. 0 words lie between spans that touch or overlap.".into(),
        columns,
        rows: rows.iter().filter(|row| row.layer == 0).map(row).collect(),
        ..Table::default()
    }
}
