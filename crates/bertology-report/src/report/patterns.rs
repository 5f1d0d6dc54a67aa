//! `bertology patterns`.

use bertology_run::results::PatternsResults;
use bertology_run::rows::{BehaviourRow, GradientRow, PatternRow, TIMES_ATTENTION};
use bertology_run::table::Row as _;
use bertology_run::{HeadColumn, Rows, RunError};

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Figure, Lines, Point, Series};
use crate::quantities::{self, behaviours, distinct};

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

pub(super) const PAGES: &[Page] = &[Page {
    command: "patterns",
    title: "What heads look at",
    write,
    quantities: quantities::patterns,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let mut figures = Vec::new();
    for (id, title, keys) in GROUPS {
        figures.extend(
            by_layer(parts, keys)
                .map(|figure| figure.named(id, title, "Mean over the layer's heads, with at most 1.96 standard errors to each side.")),
        );
    }
    let uniform = parts.run.results::<PatternsResults>()?.uniform_entropy;
    figures.extend(entropy(parts, uniform));
    if figures.is_empty() {
        parts.missing(PatternRow::FILE, "averages of attention are not shown");
    } else {
        parts.add("Layers", vec![Block::Figures(figures)]);
    }
    if let Some(rows) = parts.run.rows::<GradientRow>()? {
        let gradients = gradients(&rows, parts)?;
        parts.add("Gradients", vec![Block::Figures(gradients)]);
    }
    match behaviours(parts.run)? {
        Some(found) => {
            let table = behaviour_table(found);
            parts.add("Behaviours", vec![Block::Table(table)]);
        }
        None => parts.missing(BehaviourRow::FILE, "behaviours are not shown"),
    }
    let maps: Vec<Figure> = parts.quantities.iter().map(heat).collect();
    parts.add("Every head", vec![Block::Figures(maps)]);
    parts.heads_table("", "Means over texts.");
    Ok(())
}

/// Of a mean whose errors are known.
const NORMAL: f64 = 1.96;

/// Means of layers as a line. `errors` are the standard errors of the heads: all heads read the same texts, so the
/// mean of a layer may be as far off as its heads are together, and no farther than their errors' mean says.
fn line(name: &str, values: &HeadColumn, errors: Option<&HeadColumn>) -> Series {
    let spread = errors.map(HeadColumn::layer_means).unwrap_or_default();
    let means = values.layer_means().into_iter().enumerate();
    let points = means.filter_map(|(layer, mean)| {
        let mut point = Point::new(layer as f64, mean?);
        if let Some(error) = spread.get(layer).copied().flatten() {
            point.low = Some(point.y - NORMAL * error);
            point.high = Some(point.y + NORMAL * error);
        }
        Some(point)
    });
    Series {
        name: name.to_owned(),
        points: points.collect(),
        reference: false,
    }
}

/// The standard errors of a number of every head, where the run wrote them.
fn errors(parts: &Parts<'_>, key: &str) -> Option<HeadColumn> {
    let rows = parts.run.rows::<PatternRow>().ok().flatten()?;
    let key = key.strip_prefix("attention_").unwrap_or(key);
    let errors = parts.run.per_head(&rows, |row| row.standard_error.filter(|_| row.key == key));
    errors.ok()
}

fn layers(parts: &Parts<'_>) -> Axis {
    let last = parts.run.model().layers.saturating_sub(1);
    Axis::of("layer", [0.0, last as f64]).whole()
}

fn by_layer(parts: &Parts<'_>, keys: &[(&str, &str)]) -> Option<Figure> {
    let found = keys.iter().filter_map(|(key, name)| {
        let quantity = parts.quantity(key)?;
        Some(line(name, &quantity.values, errors(parts, key).as_ref()))
    });
    let series: Vec<Series> = found.filter(|series| !series.points.is_empty()).collect();
    draw(parts, "mean attention", series)
}

fn draw(parts: &Parts<'_>, name: &str, series: Vec<Series>) -> Option<Figure> {
    let values = series
        .iter()
        .flat_map(|series| &series.points)
        .flat_map(|point| [Some(point.y), point.low, point.high])
        .flatten();
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

fn entropy(parts: &Parts<'_>, uniform: Option<f64>) -> Option<Figure> {
    let mut series = Vec::new();
    for (key, name) in [
        ("entropy", "all rows"),
        ("entropy_first", "first row"),
        ("entropy_last", "last row"),
    ] {
        if let Some(quantity) = parts.quantity(key) {
            series.push(line(name, &quantity.values, errors(parts, key).as_ref()));
        }
    }
    if series.is_empty() {
        return None;
    }
    if let Some(uniform) = uniform {
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
        "Mean over the layer's heads, with at most 1.96 standard errors to each side; dashed: a head that looks at all \
         tokens alike.",
    ))
}

fn gradients(rows: &Rows<GradientRow>, parts: &Parts<'_>) -> Result<Vec<Figure>, RunError> {
    let weighted = rows.more.iter().position(|name| name == TIMES_ATTENTION[0]);
    let times = |row: &GradientRow| row.times_attention.0.get(weighted?).copied().flatten();
    let mut figures = vec![by_class(
        rows,
        parts,
        &|row| row.mean,
        "gradient-by-class",
        "Gradient of the loss with respect to attention",
    )?];
    if weighted.is_some() {
        figures.push(by_class(
            rows,
            parts,
            &times,
            "gradient-times-attention",
            "Attention times its gradient",
        )?);
    }
    Ok(figures.into_iter().flatten().collect())
}

fn by_class(
    rows: &Rows<GradientRow>,
    parts: &Parts<'_>,
    value: &dyn Fn(&GradientRow) -> Option<f64>,
    id: &str,
    title: &str,
) -> Result<Option<Figure>, RunError> {
    let mut series = Vec::new();
    for name in distinct(rows.all.iter().map(|row| row.class.as_str())) {
        let of_class = |row: &GradientRow| value(row).filter(|_| row.class == name);
        let values = parts.run.per_head(rows, of_class)?;
        series.push(line(&format!("to {name}"), &values, None));
    }
    series.retain(|series| !series.points.is_empty());
    let caption =
        "Mean size over the pairs of a query and a key of the class, mean over the layer's heads.";
    let figure = draw(parts, "mean size", series);
    Ok(figure.map(|figure| figure.named(id, title, caption)))
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
