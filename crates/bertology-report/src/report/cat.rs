//! `bertology cat`.

use bertology_run::studies::cat::{
    CatCurveRow, CatKindRow, CatLayerRow, CatLegacyRow, CatResults, EXAMPLE, PARTIAL, SCORES,
};
use bertology_run::table::Row as _;
use bertology_run::{HeadColumn, Run, RunError};
use serde::Deserialize;

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Heat, Lines, Point, Scale, Series, Shape};
use crate::number::{count, percent, short};
use crate::quantities::Quantity;

pub(super) const PAGES: &[Page] = &[Page {
    command: "cat",
    title: "How attention follows the structure of code",
    write,
    quantities,
}];

/// Kinds of leaves that are drawn.
const KINDS: usize = 16;

/// Numbers of heads: file, key, name.
const OF_HEADS: [(&str, &str, &str); 2] = [
    (SCORES, "cat", "CAT-score"),
    (PARTIAL, "cat_partial_rho", "correlation with closeness"),
];

fn quantities(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    for (file, key, name) in OF_HEADS {
        if let Some(values) = run.head_array(file)? {
            found.push(Quantity::new(key, name, "", values));
        }
    }
    Ok(())
}

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: CatResults = parts.run.results()?;
    parts.headline();
    match parts.run.rows::<CatLayerRow>()? {
        Some(rows) => layers(parts, &found, &rows.all),
        None => parts.missing(CatLayerRow::FILE, "the layers are not shown"),
    }
    heads(parts);
    if let Some(kinds) = parts.run.rows::<CatKindRow>()? {
        self::kinds(parts, &kinds.all);
    }
    if let Some(curve) = parts.run.rows::<CatCurveRow>()? {
        self::curve(parts, &curve.all);
    }
    if let Some(legacy) = parts.run.rows::<CatLegacyRow>()? {
        self::legacy(parts, &legacy.all);
    }
    example(parts)?;
    parts.add("Input", vec![Block::Table(input(&found))]);
    parts.heads_table(
        "cat_partial_rho",
        "Rank correlation of attention and closeness, distance in the text held fast; means of functions.",
    );
    Ok(())
}

fn series(rows: &[CatLayerRow], encoder: &str, measure: &str, name: &str, whiskers: bool) -> Series {
    let of = rows
        .iter()
        .filter(|row| row.encoder == encoder && row.measure == measure);
    let point = |row: &CatLayerRow| {
        let mut point = Point::new(row.layer as f64, row.mean?);
        if whiskers {
            (point.low, point.high) = (row.low, row.high);
        }
        Some(point)
    };
    Series {
        name: name.to_owned(),
        points: of.filter_map(point).collect(),
        reference: false,
    }
}

fn lines(y: &str, series: Vec<Series>) -> Option<Figure> {
    let series: Vec<Series> = series.into_iter().filter(|s| !s.points.is_empty()).collect();
    if series.is_empty() {
        return None;
    }
    let points = || series.iter().flat_map(|series| &series.points);
    let ys = points().flat_map(|point| [Some(point.y), point.low, point.high]);
    let lines = Lines {
        x: Axis::of("layer", points().map(|point| point.x)).whole(),
        y: Axis::of(y, ys.flatten()).with_zero().padded(),
        series,
        chosen: None,
        falling: false,
    };
    Some(lines.draw())
}

fn layers(parts: &mut Parts<'_>, found: &CatResults, rows: &[CatLayerRow]) {
    let of = |measure: &str, name: &str| series(rows, "model", measure, name, false);
    let score = || series(rows, "model", "cat", "model", true);
    let untrained = || series(rows, "random 1", "cat", "untrained", false);
    let mut figures = Vec::new();
    figures.extend(
        lines(
            "CAT-score",
            vec![
                score(),
                of("offset", "1/(1+|i-j|)"),
                of("mean_by_offset", "own offsets"),
                of("linear", "linear"),
                untrained(),
            ],
        )
        .map(|figure| {
            figure.named(
                "cat-layers",
                "Score by layer, with controls",
                "Whiskers: 95 % over functions. 1/(1+|i-j|) is attention that knows positions alone; own offsets is the \
                 layer's mean attention at each distance; linear measures distance in the text; untrained is an encoder of the same architecture with first values.",
            )
        }),
    );
    figures.extend(
        lines(
            "rank correlation",
            vec![
                series(rows, "model", "rho", "all", true),
                series(rows, "model", "partial_rho", "partial", true),
                of("stratified_rho", "stratified"),
                series(rows, "random 1", "partial_rho", "untrained", false),
            ],
        )
        .map(|figure| {
            figure.named(
                "cat-correlations",
                "Attention and closeness, without a threshold",
                "Spearman's ρ off the diagonal. Partial: with distance in the text held fast. Stratified: among pairs at one \
                 distance. Untrained: the partial one of an encoder with first values.",
            )
        }),
    );
    figures.extend(
        lines(
            "CAT-score",
            vec![
                score(),
                of("frequent", "frequent kinds"),
                of("tree", "bare tree"),
                of("random_tree", "random tree"),
                of("other_tree", "other tree"),
            ],
        )
        .map(|figure| {
            figure.named(
                "cat-trees",
                "Against other distances",
                "The same attention against the bare tree, a random tree over as many leaves, and another function's.",
            )
        }),
    );
    let verdict = verdict(found);
    let table = Block::Table(layers_table(found, rows));
    parts.add(
        "Layers",
        vec![Block::Paragraph(verdict), Block::Figures(figures), table],
    );
    let mut ways = Vec::new();
    for (name, score) in &found.downstream.0 {
        ways.push(format!("{name} {}", short(*score)));
    }
    if !ways.is_empty() {
        let last = found.layers.last().and_then(|layer| layer.cat);
        parts.add(
            "Downstream",
            vec![Block::Paragraph(format!(
                "Given for this model: {}. The last layer's score is {}. With a handful of models any order of the two can be \
                 chance: of three, the smallest two-sided p is 1/3, of four 1/12.",
                ways.join(", "),
                last.map_or_else(|| "not defined".to_owned(), short)
            ))],
        );
    }
}

fn verdict(found: &CatResults) -> String {
    let attending = found.layers.iter().filter(|layer| layer.attends_to_structure);
    let names: Vec<String> = attending.map(|layer| layer.layer.to_string()).collect();
    match names.len() {
        0 => "No layer's score is above all controls that know positions alone.".to_owned(),
        1 => format!("Layer {} is above all controls that know positions alone.", names[0]),
        _ => format!(
            "Layers {} are above all controls that know positions alone.",
            names.join(", ")
        ),
    }
}

fn layers_table(found: &CatResults, rows: &[CatLayerRow]) -> Table {
    let of = |layer: u64, measure: &str| {
        let mut rows = rows.iter();
        rows.find(|row| row.encoder == "model" && row.layer as u64 == layer && row.measure == measure)
    };
    let number = |value: Option<f64>| Cell::number(value, |value| format!("{value:.3}"));
    let row = |layer: &bertology_run::studies::cat::CatLayer| {
        let mean = |measure: &str| number(of(layer.layer, measure).and_then(|row| row.mean));
        let less = |measure: &str, low: bool| {
            let row = of(layer.layer, measure);
            number(row.and_then(|row| if low { row.score_less_low } else { row.score_less }))
        };
        Row {
            cells: vec![
                Cell::whole(layer.layer as usize),
                number(layer.cat).with_share(layer.cat),
                number(layer.cat_low),
                number(layer.cat_high),
                number(layer.cat_micro),
                number(layer.adjusted),
                mean("noise"),
                less("offset", false),
                less("offset", true),
                less("mean_by_offset", false),
                less("mean_by_offset", true),
                less("linear", false),
                less("linear", true),
                mean("partial_rho"),
            ],
            head: None,
        }
    };
    let columns = [
        "layer",
        "CAT",
        "low",
        "high",
        "micro",
        "adjusted",
        "noise",
        "less 1/(1+|i-j|)",
        "low ",
        "less own offsets",
        "low  ",
        "less linear",
        "low   ",
        "partial ρ",
    ];
    Table {
        id: "cat-table".into(),
        title: "Every layer".into(),
        caption: "Layers are counted from 0. Adjusted: the share of the way from chance to what masks of these sizes can \
                  reach. Low: the lower end of 95 % over functions."
            .into(),
        columns: columns.map(Column::number).into(),
        rows: found.layers.iter().map(row).collect(),
        ..Table::default()
    }
}

fn heads(parts: &mut Parts<'_>) {
    let mut figures = Vec::new();
    for (file, key, _) in OF_HEADS {
        match parts.quantity(key) {
            Some(quantity) => figures.push(heat(quantity)),
            None => parts.missing(file, "these numbers of heads are not shown"),
        }
    }
    if !figures.is_empty() {
        parts.add("Heads", vec![Block::Figures(figures)]);
    }
}

/// Kinds by how often attention from or to them is high.
fn kinds(parts: &mut Parts<'_>, rows: &[CatKindRow]) {
    let confidence = |row: &CatKindRow| row.layers.0.last().copied().flatten();
    let mut known: Vec<(&CatKindRow, f64)> = rows
        .iter()
        .take(2 * KINDS)
        .filter_map(|row| Some((row, confidence(row)?)))
        .collect();
    known.sort_by(|a, b| b.1.total_cmp(&a.1));
    let bars: Vec<Bar> = known
        .iter()
        .take(KINDS)
        .map(|(row, value)| Bar {
            name: row.kind.clone(),
            note: count(row.leaves),
            value: *value,
            baseline: row.layers.0.first().copied().flatten(),
            ..Bar::default()
        })
        .collect();
    if bars.is_empty() {
        return;
    }
    let drawn = Bars {
        rows: &bars,
        axis: Axis::of("share of cells with high attention", [0.0, 1.0]),
        shape: Shape::Bar,
        kind: "kind",
        baseline: Some("layer 0"),
        interval: None,
        write: percent,
    };
    let figure = drawn.draw().named(
        "cat-kinds",
        "Kinds of leaves",
        "Bar: the last layer. Of all cells in rows and columns of the kind, those with high attention; a quarter by chance. A \
         kind that stands first in every function draws attention for its place.",
    );
    parts.add("Kinds of leaves", vec![Block::Figures(vec![figure])]);
}

/// What hangs on the threshold.
fn curve(parts: &mut Parts<'_>, rows: &[CatCurveRow]) {
    let last = rows.iter().map(|row| row.layer).max().unwrap_or(0);
    let chosen: std::collections::BTreeSet<usize> = [0, last / 3, 2 * last / 3, last].into();
    let series = chosen.into_iter().map(|layer| {
        let of = rows.iter().filter(|row| row.layer == layer);
        Series {
            name: format!("layer {layer}"),
            points: of.filter_map(|row| Some(Point::new(row.quantile, row.cat?))).collect(),
            reference: false,
        }
    });
    let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
    if series.is_empty() {
        return;
    }
    let points = || series.iter().flat_map(|series| &series.points);
    let lines = Lines {
        x: Axis::of("quantile", points().map(|point| point.x)),
        y: Axis::of("CAT-score", points().map(|point| point.y)).with_zero().padded(),
        series,
        chosen: None,
        falling: false,
    };
    let figure = lines.draw().named(
        "cat-quantiles",
        "What hangs on the threshold",
        "Attention above a quantile, distance below one minus it. The paper's is 0.75.",
    );
    parts.add("Thresholds", vec![Block::Figures(vec![figure])]);
}

/// What the paper's released code gives.
fn legacy(parts: &mut Parts<'_>, rows: &[CatLegacyRow]) {
    let all = rows.iter().filter(|row| row.leaves == "all");
    let row = |row: &CatLegacyRow| {
        let of = |leaves: &str| {
            let same = |other: &&CatLegacyRow| {
                (other.layer, &*other.language, &*other.leaves) == (row.layer, &*row.language, leaves)
            };
            rows.iter().find(same)
        };
        let score = |leaves: &str| {
            let cat = of(leaves).and_then(|row| row.cat);
            Cell::number(cat, |value| format!("{value:.3}")).with_share(cat)
        };
        Row {
            cells: vec![
                Cell::text(&row.language),
                Cell::whole(row.layer),
                score("all"),
                score("static"),
                score("top"),
                Cell::text(of("top").map_or("", |row| &row.kinds)),
            ],
            head: None,
        }
    };
    let columns = vec![
        Column::text("language"),
        Column::number("layer"),
        Column::number("all leaves"),
        Column::number("its list of kinds"),
        Column::number("the layer's own kinds"),
        Column::text("these are"),
    ];
    let table = Table {
        id: "cat-legacy".into(),
        title: "As the released code scores".into(),
        caption: "For comparison with figures that were recorded with it, and for nothing else: tokens are looked for by their \
                  text and often found in a leaf that is not theirs, and every layer has kinds of its own."
            .into(),
        columns,
        rows: all.map(row).collect(),
        ..Table::default()
    };
    parts.add("The released code", vec![Block::Table(table)]);
}

/// The function that is shown.
#[derive(Debug, Deserialize)]
struct Example {
    index: u64,
    line: u64,
    name: String,
    leaves: Vec<String>,
    distances: Vec<f64>,
    attention: Vec<Vec<f64>>,
}

fn example(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let Some(example) = parts.run.json::<Option<Example>>(EXAMPLE)?.flatten() else {
        return Ok(());
    };
    let n = example.leaves.len();
    let matrix = |values: &[f64]| HeadColumn {
        layers: n,
        heads: n,
        values: values.iter().copied().map(Some).collect(),
    };
    let draw = |values: &HeadColumn, name: &str, id: &str, title: String, caption: &str| {
        let mut heat = Heat::new(values, name, "", Scale::Range);
        heat.axes = ["from", "to"];
        heat.labels = Some(&example.leaves);
        heat.draw().named(id, title, caption)
    };
    if n == 0 || example.distances.len() != n * n {
        return Ok(());
    }
    let mut figures = vec![draw(
        &matrix(&example.distances),
        "distance",
        "cat-example-distances",
        "Distances".to_owned(),
        "Edges on the shortest way in the tree with its leaves joined; leaves as they follow in the text.",
    )];
    let last = example.attention.len().saturating_sub(1);
    let layers: std::collections::BTreeSet<usize> = [0, last / 2, last].into();
    for layer in layers {
        let values = example.attention.get(layer).map_or(&[][..], Vec::as_slice);
        if values.len() == n * n {
            figures.push(draw(
                &matrix(values),
                "attention",
                &format!("cat-example-{layer}"),
                format!("Attention of layer {layer}"),
                "Mean over heads and over the tokens of both leaves.",
            ));
        }
    }
    let named = match example.name.as_str() {
        "" => format!("Function {} (line {})", example.index, example.line),
        name => format!("{name} (function {}, line {})", example.index, example.line),
    };
    parts.add("A function", vec![Block::Paragraph(named), Block::Figures(figures)]);
    Ok(())
}

/// What was read.
fn input(found: &CatResults) -> Table {
    let (counts, alignment) = (&found.counts, &found.alignment);
    let rows = [
        ("functions", counts.functions),
        ("their tokens", counts.tokens),
        ("their leaves", counts.leaves),
        ("functions cut at the end", counts.cut),
        ("left out: not of their language", counts.with_errors),
        ("left out: too few leaves", counts.too_few_leaves),
        ("left out: too long", counts.too_long),
        ("left out: not parsed", counts.not_parsed),
        ("left out: empty", counts.empty),
        ("held out to choose kinds on", found.held_out.unwrap_or_default()),
        ("tokens in no leaf", alignment.in_no_leaf),
        ("tokens in several leaves", alignment.in_several),
        ("leaves that share a token", alignment.sharing),
        ("leaves without a token", alignment.without_tokens),
        ("leaves behind the end", alignment.beyond),
    ];
    let row = |(name, number): (&str, u64)| Row {
        cells: vec![
            Cell::text(name),
            Cell::number(Some(number as f64), |value| count(value as u64)),
        ],
        head: None,
    };
    Table {
        id: "cat-input".into(),
        title: "What was read".into(),
        caption: format!("Input {}, graph {}.", found.input, found.graph),
        columns: vec![Column::text("what"), Column::number("number")],
        rows: rows.into_iter().map(row).collect(),
        ..Table::default()
    }
}
