//! `bertology dynamics`: heads along a training.

use bertology_run::studies::dynamics::{
    CheckpointDynamics, DynamicsResults, HeadStepRow, IMPORTANCE_STEPS,
};
use bertology_run::table::Row as _;
use bertology_run::{HeadColumn, Run, RunError};

use super::{Page, Parts};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Figure, Heat, Lines, Point, Room, Scale, Series};
use crate::number::{count, percent, plural, significant};
use crate::quantities::{Quantity, metric};

pub(super) const PAGES: &[Page] = &[Page {
    command: "dynamics",
    title: "Heads along a training",
    write: dynamics,
    quantities,
}];

/// Curves side by side that can still be told apart, and maps that fit in two rows.
const SHOWN: usize = 8;
const MAPS: usize = 6;
/// The paper asks how many heads can go at a tenth of the score.
const WITHIN: f64 = 0.9;

fn quantities(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    // Rows stand in the order of the steps, and the last of a head is what counts.
    let Some(rows) = run.rows::<HeadStepRow>()? else {
        return Ok(());
    };
    let values = run.per_head(&rows, |row| row.importance)?;
    let raw = run.per_head(&rows, |row| row.importance_raw)?;
    for (key, name, values) in [
        ("importance", "importance at the last checkpoint", values),
        ("importance_raw", "raw importance at the last checkpoint", raw),
    ] {
        found.push(Quantity::new(key, name, "", values));
    }
    Ok(())
}

fn dynamics(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: DynamicsResults = parts.run.results()?;
    let name = metric(found.metric.clone());
    summary(parts, &found, &name);
    let curves = vec![
        curve(&found, &name, false),
        curve(&found, &name, true),
    ];
    parts.add("Pruning along the training", vec![Block::Figures(curves)]);
    let mut course = vec![scores(&found, &name), dispensable(&found)];
    course.extend(agreement(&found));
    parts.add("Course", vec![Block::Figures(course)]);
    let model = parts.run.model();
    let (layers, heads) = (model.layers, model.heads);
    let shape = [found.checkpoints.len(), layers, heads];
    match parts.run.shaped(IMPORTANCE_STEPS, &shape)? {
        Some(values) => {
            let maps = values.chunks(layers * heads).map(|values| HeadColumn {
                layers,
                heads,
                values: values.iter().map(|v| v.is_finite().then_some(*v)).collect(),
            });
            let maps: Vec<HeadColumn> = maps.collect();
            let blocks = vec![
                Block::Figures(small_multiples(&found, &maps)),
                Block::Figures(vec![of_layers(&found, &maps)]),
            ];
            parts.add("Importance of heads", blocks);
        }
        None => parts.missing(IMPORTANCE_STEPS, "importance is not shown"),
    }
    if parts.quantity("importance").is_none() {
        parts.missing(HeadStepRow::FILE, "the last checkpoint's heads are not listed");
    }
    parts.add("Checkpoints", vec![Block::Table(table(&found, &name))]);
    parts.heads_table("importance", "At the last checkpoint.");
    Ok(())
}

fn summary(parts: &mut Parts<'_>, found: &DynamicsResults, name: &str) {
    let all = &found.checkpoints;
    let mut numbers = vec![(
        "checkpoints".into(),
        count(all.len() as u64),
        plural(found.heads, "head"),
    )];
    if let (Some(first), Some(last)) = (all.first(), all.last()) {
        let step = format!("at step {}", count(last.step));
        if let Some(score) = last.score {
            numbers.push((name.to_owned(), significant(score, 4), step.clone()));
        }
        for (of, step) in [(first, format!("at step {}", count(first.step))), (last, step)] {
            if let Some(heads) = of.dispensable {
                numbers.push(("heads that can go".into(), count(heads), step));
            }
        }
    }
    parts.add("Summary", vec![Block::Numbers(numbers)]);
    if found.ranked_on_scored {
        let told = "Heads are ranked on the data that are scored, which flatters the curves by importance.";
        parts.notes.push(told.into());
    }
}

/// Up to `most` of them: the first, the last, and others as evenly as can be.
fn some(all: usize, most: usize) -> Vec<usize> {
    if all <= most {
        return (0..all).collect();
    }
    (0..most).map(|at| at * (all - 1) / (most - 1)).collect()
}

/// Of how many, where not all are shown.
fn of_all(shown: usize, found: &DynamicsResults) -> String {
    match found.checkpoints.len() {
        all if all > shown => format!(" {shown} of {all} checkpoints."),
        _ => String::new(),
    }
}

fn step(checkpoint: &CheckpointDynamics) -> String {
    format!("step {}", count(checkpoint.step))
}

/// The paper's figure: a line a checkpoint, heads going by its own importance.
fn curve(found: &DynamicsResults, name: &str, relative: bool) -> Figure {
    let shown = some(found.checkpoints.len(), SHOWN);
    let share = |masked: u64| masked as f64 / found.heads.max(1) as f64 * 100.0;
    let series: Vec<Series> = shown
        .iter()
        .map(|at| &found.checkpoints[*at])
        .map(|of| {
            let whole = of.score.filter(|score| !relative || *score > 0.0);
            let unit = whole.filter(|_| relative).unwrap_or(1.0);
            let points = found.masked.iter().zip(&of.scores);
            let points = points.filter_map(|(masked, score)| Some((share(*masked), (*score)?)));
            let points = [(0.0, whole)]
                .into_iter()
                .filter_map(|(x, y)| Some((x, y?)))
                .chain(points);
            let points = points.map(|(x, y)| Point::new(x, y / unit));
            Series {
                name: step(of),
                // Shares of nothing are not drawn.
                points: match whole {
                    None if relative => Vec::new(),
                    _ => points.collect(),
                },
                reference: false,
            }
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    let values = series.iter().flat_map(|series| &series.points);
    let values: Vec<f64> = values.map(|point| point.y).collect();
    let (id, title, axis) = if relative {
        let axis = format!("{name} over that with all heads");
        ("relative", "Relative to all heads".to_owned(), axis)
    } else {
        let title = format!("{name} against heads masked");
        ("curves", title, name.to_owned())
    };
    let lines = Lines {
        x: Axis::of("heads masked (%)", [0.0, 100.0]),
        y: Axis::of(&axis, values).padded().rounded(5),
        series,
        chosen: None,
        falling: false,
    };
    let caption = format!(
        "Each checkpoint masks its own least important heads first; the darker, the later (on a dark page the brighter).{}",
        of_all(shown.len(), found)
    );
    lines.draw_by_order().named(id, title, caption)
}

fn steps(found: &DynamicsResults) -> Axis {
    let steps = found.checkpoints.iter().map(|of| of.step as f64);
    Axis::of("steps", steps.chain([0.0])).rounded(5)
}

/// A line of the checkpoints that have the number.
fn line(
    name: &str,
    found: &DynamicsResults,
    of: impl Fn(&CheckpointDynamics) -> Option<f64>,
) -> Series {
    let points = found.checkpoints.iter();
    let points = points.filter_map(|at| Some(Point::new(at.step as f64, of(at)?)));
    Series {
        name: name.to_owned(),
        points: points.collect(),
        reference: false,
    }
}

/// The score with all heads, with half of them by importance, and with half at random.
fn scores(found: &DynamicsResults, name: &str) -> Figure {
    let half = found.masked.iter().position(|masked| masked * 2 >= found.heads);
    let at_half = |scores: &[Option<f64>]| scores.get(half?).copied().flatten();
    let mut series = vec![line("all heads", found, |of| of.score)];
    // Without any head nothing is by importance or at random.
    if half.is_some_and(|at| at + 1 < found.masked.len()) {
        series.push(line("by importance", found, |of| at_half(&of.scores)));
        series.push(line("random", found, |of| {
            let drawn: Option<Vec<f64>> = of.random.iter().map(|of| at_half(&of.scores)).collect();
            let drawn = drawn.filter(|drawn| !drawn.is_empty())?;
            Some(drawn.iter().sum::<f64>() / drawn.len() as f64)
        }));
    }
    let values = series.iter().flat_map(|series| &series.points);
    let values: Vec<f64> = values.map(|point| point.y).collect();
    let caption = match half.and_then(|at| found.masked.get(at)) {
        Some(masked) if series.len() > 1 => format!(
            "By importance and random (the mean of {}): with {} of {} heads masked.",
            plural(
                found.checkpoints.first().map_or(0, |of| of.random.len()) as u64,
                "order"
            ),
            count(*masked),
            count(found.heads)
        ),
        _ => String::new(),
    };
    let lines = Lines {
        x: steps(found),
        y: Axis::of(name, values).padded().rounded(5),
        series,
        chosen: None,
        falling: false,
    };
    let title = format!("{name} along the training");
    lines.draw().named("scores", title, caption)
}

fn dispensable(found: &DynamicsResults) -> Figure {
    let share = |of: &CheckpointDynamics| {
        Some(of.dispensable? as f64 / found.heads.max(1) as f64 * 100.0)
    };
    let lines = Lines {
        x: steps(found),
        y: Axis::of("heads that can go (%)", [0.0, 100.0]),
        series: vec![line("heads that can go", found, share)],
        chosen: None,
        falling: false,
    };
    let within = if found.higher_is_better {
        format!("while the score stays above {} of that with all heads", percent(WITHIN))
    } else {
        "while the score is at most a tenth above that with all heads".into()
    };
    let caption = format!(
        "Masked by importance, least first, {within}; checkpoints whose score is not above 0 are not shown."
    );
    lines.draw().named("dispensable", "Heads that can go", caption)
}

/// How alike heads are ranked; nothing where no two checkpoints can be compared.
fn agreement(found: &DynamicsResults) -> Option<Figure> {
    let mut series = vec![
        line("with the one before", found, |of| of.spearman_previous),
        line("with the last", found, |of| of.spearman_last),
    ];
    series.retain(|series| !series.points.is_empty());
    if series.is_empty() {
        return None;
    }
    let values = series.iter().flat_map(|series| &series.points);
    let values: Vec<f64> = values.map(|point| point.y).collect();
    let lines = Lines {
        x: steps(found),
        y: Axis::of("Spearman ρ", values.into_iter().chain([1.0])).with_zero().rounded(5),
        series,
        chosen: None,
        falling: false,
    };
    let caption = "Rank correlation of the importance of heads with that at other checkpoints; the last agrees with itself.";
    Some(lines.draw().named("agreement", "How settled the ranking is", caption))
}

/// Importance at some of the checkpoints, all on one scale.
fn small_multiples(found: &DynamicsResults, maps: &[HeadColumn]) -> Vec<Figure> {
    let shown = some(maps.len().min(found.checkpoints.len()), MAPS);
    let most = maps.iter().flat_map(HeadColumn::known).fold(0.0, f64::max);
    let least = maps.iter().flat_map(HeadColumn::known).fold(0.0, f64::min);
    let scale = Scale::Between(least, if most > least { most } else { least + 1.0 });
    let map = |at: &usize| {
        let of = &found.checkpoints[*at];
        let caption = of_all(shown.len(), found);
        let heat = Heat::new(&maps[*at], "importance", "", scale);
        let title = format!("Importance at {}", step(of));
        heat.draw().named(&format!("importance-{at}"), title, caption.trim())
    };
    shown.iter().map(map).collect()
}

/// Mean importance of each layer at each checkpoint.
fn of_layers(found: &DynamicsResults, maps: &[HeadColumn]) -> Figure {
    let layers = maps.first().map_or(0, |map| map.layers);
    let means: Vec<Vec<Option<f64>>> = maps.iter().map(HeadColumn::layer_means).collect();
    let values = (0..layers).flat_map(|layer| means.iter().map(move |means| means[layer]));
    let column = HeadColumn {
        layers,
        heads: maps.len(),
        values: values.collect(),
    };
    let most = column.known().fold(0.0, f64::max).max(1e-12);
    let mut heat = Heat::new(&column, "mean importance", "", Scale::Between(0.0, most));
    heat.axes = ["layer", "checkpoint"];
    heat.absent = "no head with a score";
    let caption = match (found.checkpoints.first(), found.checkpoints.last()) {
        (Some(first), Some(last)) => format!(
            "Checkpoints from left to right, from {} to {}; they are numbered as in the table below.",
            step(first),
            step(last)
        ),
        _ => String::new(),
    };
    let figure = heat.draw().named("layers", "Importance of layers along the training", caption);
    if maps.len() > 24 {
        figure.takes(Room::Wide)
    } else {
        figure
    }
}

fn table(found: &DynamicsResults, name: &str) -> Table {
    let columns = [
        Column::number("number"),
        Column::number("step"),
        Column::text("checkpoint"),
        Column::number(name),
        Column::number("loss"),
        Column::number("heads that can go"),
        Column::number("ρ before"),
        Column::number("τ before"),
        Column::number("ρ last"),
        Column::number("τ last"),
    ];
    let rows = found.checkpoints.iter().enumerate().map(|(at, of)| {
        let number = |value: Option<f64>| Cell::number(value, |v| significant(v, 4));
        let rank = |value: Option<f64>| Cell::number(value, |v| crate::number::minus(&format!("{v:.3}")));
        Row {
            cells: vec![
                Cell::whole(at),
                Cell::number(Some(of.step as f64), |_| count(of.step)),
                Cell::text(&of.name),
                number(of.score),
                number(of.loss),
                Cell::number(of.dispensable.map(|heads| heads as f64), |v| count(v as u64)),
                rank(of.spearman_previous),
                rank(of.kendall_previous),
                rank(of.spearman_last),
                rank(of.kendall_last),
            ],
            head: None,
        }
    });
    Table {
        id: "checkpoints".into(),
        title: plural(found.checkpoints.len() as u64, "checkpoint"),
        caption: "Spearman's ρ and Kendall's τ-b of the importance of heads with that of the checkpoint before and of the \
                  last one."
            .into(),
        columns: columns.to_vec(),
        rows: rows.collect(),
        ..Table::default()
    }
}

#[cfg(test)]
mod tests {
    use super::some;

    #[test]
    fn the_first_and_the_last_are_shown_always() {
        assert_eq!(some(3, 8), [0, 1, 2]);
        assert_eq!(some(8, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let few = some(29, 8);
        assert_eq!(few, [0, 4, 8, 12, 16, 20, 24, 28]);
        assert_eq!(some(0, 8), [0; 0]);
    }
}
