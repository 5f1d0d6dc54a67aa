//! `bertology patterns`.

use super::{Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Figure, Lines, Point, Series};
use crate::run::{HeadValues, RunError, Table as Csv, behaviours};

/// Lines that belong on one figure: its name, its title, and the keys with their names.
type Group = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const GROUPS: [Group; 3] = [
    (
        "attention-by-class",
        "Attention to kinds of tokens, by layer",
        &[
            ("attention_cls", "[CLS]"),
            ("attention_sep", "[SEP]"),
            ("attention_first", "first token"),
            ("attention_punct", "punctuation"),
        ],
    ),
    (
        "attention-by-position",
        "Attention to positions, by layer",
        &[
            ("attention_self", "itself"),
            ("attention_previous", "previous token"),
            ("attention_next", "next token"),
        ],
    ),
    (
        "attention-to-sep",
        "Attention to [SEP], by layer",
        &[
            ("attention_sep_sep", "from [SEP]"),
            ("attention_rest_sep", "from other tokens"),
        ],
    ),
];

pub(super) fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let mut figures = Vec::new();
    for (id, title, keys) in GROUPS {
        figures.extend(
            by_layer(parts, keys)
                .map(|figure| figure.named(id, title, "Mean over the layer's heads.")),
        );
    }
    figures.extend(entropy(parts));
    if figures.is_empty() {
        parts.missing(
            "attention_patterns.csv",
            "averages of attention are not shown",
        );
    } else {
        parts.add("Layers", vec![Block::Figures(figures)]);
    }
    if let Some(table) = parts.run.table("attention_gradients.csv")? {
        let gradients = gradients(&table, parts)?;
        parts.add("Gradients", vec![Block::Figures(gradients)]);
    }
    match behaviours(parts.run)? {
        Some(found) => {
            let table = behaviour_table(found);
            parts.add("Behaviours", vec![Block::Table(table)]);
        }
        None => parts.missing("behaviours.csv", "behaviours are not shown"),
    }
    let maps: Vec<Figure> = parts.quantities.iter().map(heat).collect();
    parts.add("Every head", vec![Block::Figures(maps)]);
    parts.heads_table("", "Means over texts.");
    Ok(())
}

/// Means of layers as a line.
fn line(name: &str, values: &HeadValues) -> Series {
    let means = values.layer_means().into_iter().enumerate();
    let points = means.filter_map(|(layer, mean)| Some(Point::new(layer as f64, mean?)));
    Series {
        name: name.to_owned(),
        points: points.collect(),
        reference: false,
    }
}

fn layers(parts: &Parts<'_>) -> Axis {
    let last = parts.run.model().layers.saturating_sub(1);
    Axis::of("layer", [0.0, last as f64]).whole()
}

fn by_layer(parts: &Parts<'_>, keys: &[(&str, &str)]) -> Option<Figure> {
    let found = keys.iter().filter_map(|(key, name)| {
        let quantity = parts.quantity(key)?;
        Some(line(name, &quantity.values))
    });
    let series: Vec<Series> = found.filter(|series| !series.points.is_empty()).collect();
    draw(parts, "mean attention", series)
}

fn draw(parts: &Parts<'_>, name: &str, series: Vec<Series>) -> Option<Figure> {
    let values = series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.y);
    let y = Axis::of(name, values).with_zero().rounded(5);
    (!series.is_empty()).then(|| {
        let lines = Lines {
            x: layers(parts),
            y,
            series,
            chosen: None,
            falling: false,
        };
        lines.draw()
    })
}

fn entropy(parts: &Parts<'_>) -> Option<Figure> {
    let mut series = Vec::new();
    for (key, name) in [
        ("entropy", "all rows"),
        ("entropy_first", "first row"),
        ("entropy_last", "last row"),
    ] {
        if let Some(quantity) = parts.quantity(key) {
            series.push(line(name, &quantity.values));
        }
    }
    if series.is_empty() {
        return None;
    }
    if let Some(uniform) = parts.run.result_number("/uniform_entropy") {
        let last = parts.run.model().layers.saturating_sub(1) as f64;
        series.push(Series {
            name: "uniform".into(),
            points: vec![Point::new(0.0, uniform), Point::new(last, uniform)],
            reference: true,
        });
    }
    let figure = draw(parts, "entropy (nats)", series)?;
    Some(figure.named(
        "entropy-by-layer",
        "Entropy of attention, by layer",
        "Mean over the layer's heads; dashed: a head that looks at all tokens alike.",
    ))
}

fn gradients(table: &Csv, parts: &Parts<'_>) -> Result<Vec<Figure>, RunError> {
    let classes = table.texts("class")?;
    let mut names: Vec<&str> = Vec::new();
    for class in &classes {
        if !names.contains(class) {
            names.push(class);
        }
    }
    let mut figures = Vec::new();
    for (column, id, title, caption) in [
        (
            "mean",
            "gradient-by-class",
            "Gradient of the loss with respect to attention",
            "Mean size over the pairs of a query and a key of the class, mean over the layer's heads.",
        ),
        (
            "times_attention_mean",
            "gradient-times-attention",
            "Attention times its gradient",
            "Mean size over the pairs of a query and a key of the class, mean over the layer's heads.",
        ),
    ] {
        if !table.has(column) {
            continue;
        }
        let mut series = Vec::new();
        for name in &names {
            let values = table.head_values(parts.run, column, |row| classes[row] == *name)?;
            series.push(line(&format!("to {name}"), &values));
        }
        series.retain(|series| !series.points.is_empty());
        figures.extend(
            draw(parts, "mean size", series).map(|figure| figure.named(id, title, caption)),
        );
    }
    Ok(figures)
}

/// What a behaviour means.
fn meaning(name: &str) -> &'static str {
    match name {
        "next" => "more than half of its attention to the next token",
        "previous" => "more than half of its attention to the previous token",
        "broad" => "attention spread over nearly everything",
        "first" => "most of its attention to the first token",
        "cls" => "most of its attention to [CLS]",
        "sep" => "most of its attention to [SEP]",
        "punct" => "most of its attention to punctuation",
        "none" => "none of these",
        _ => "",
    }
}

fn behaviour_table(found: Vec<((usize, usize), String)>) -> Table {
    let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
    for ((layer, head), name) in found {
        let id = format!("L{layer}H{head}");
        match kinds.iter_mut().find(|(kind, _)| *kind == name) {
            Some((_, heads)) => heads.push(id),
            None => kinds.push((name, vec![id])),
        }
    }
    // What is none of all comes last.
    kinds.sort_by_key(|(name, heads)| (name == "none", std::cmp::Reverse(heads.len())));
    let rows = kinds.into_iter().map(|(name, heads)| Row {
        cells: vec![
            Cell::text(&name).strong(true),
            Cell::text(meaning(&name)),
            Cell::whole(heads.len()),
            Cell::text(heads.join(" ")),
        ],
        head: None,
    });
    let rows: Vec<Row> = rows.collect();
    Table {
        id: "behaviours".into(),
        title: "Behaviours and their heads".into(),
        caption: "By the rules of Clark, Khandelwal, Levy and Manning (2019).".into(),
        columns: vec![
            Column::text("behaviour"),
            Column::text("meaning"),
            Column::number("heads"),
            Column::text("which"),
        ],
        rows,
        ..Table::default()
    }
}
