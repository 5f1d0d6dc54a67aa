//! `bertology finetune`.

use bertology_run::studies::finetune::{FinetuneResults, TrainingScoreRow, TrainingStepRow};
use bertology_run::table::Row as _;
use bertology_run::{Rows, RunError};

use super::{Page, Parts};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Chosen, Figure, Lines, Point, Series};
use crate::number::{count, plural, short, significant};
use crate::quantities::metric;

pub(super) const PAGES: &[Page] = &[Page {
    command: "finetune",
    title: "Training",
    write: finetune,
    quantities: |_, _| Ok(()),
}];

/// Points of a curve of steps: more do not fit side by side.
const POINTS: usize = 100;

fn finetune(parts: &mut Parts<'_>) -> Result<(), RunError> {
    let found: FinetuneResults = parts.run.results()?;
    let mut numbers = Vec::new();
    if let (Some(name), Some(score)) = (&found.metric, found.score) {
        let name = metric(Some(name.clone()));
        numbers.push((name, significant(score, 4), "on the dev data".into()));
    }
    let epochs = if found.steps_per_epoch > 0 {
        let epochs = found.steps as f64 / found.steps_per_epoch as f64;
        format!("{} epochs", significant(epochs, 3))
    } else {
        String::new()
    };
    numbers.push(("steps".into(), count(found.steps), epochs));
    let left_out = match found.left_out {
        0 => String::new(),
        number => format!("{} left out", count(number)),
    };
    numbers.push(("examples".into(), count(found.examples), left_out));
    let begun = plural(found.begun.len() as u64, "tensor");
    numbers.push((
        "parameters".into(),
        count(found.checkpoint.parameters),
        if found.begun.is_empty() {
            String::new()
        } else {
            format!("{begun} begun anew")
        },
    ));
    parts.add("Summary", vec![Block::Numbers(numbers)]);
    let steps = parts.run.rows::<TrainingStepRow>()?;
    let looks = parts.run.rows::<TrainingScoreRow>()?;
    let mut figures = Vec::new();
    match &steps {
        Some(steps) => {
            let looks = looks.as_ref().map_or(&[][..], |looks| &looks.all);
            figures.extend(losses(&steps.all, looks));
        }
        None => parts.missing(TrainingStepRow::FILE, "the course of the loss is not shown"),
    }
    if let Some(looks) = &looks {
        figures.extend(scores(looks, &found));
    }
    if let Some(steps) = &steps {
        figures.extend(rates(&steps.all));
    }
    if !figures.is_empty() {
        parts.add("Course", vec![Block::Figures(figures)]);
    }
    match &looks {
        Some(looks) if !looks.all.is_empty() => {
            parts.add("Dev data", vec![Block::Table(all_looks(looks))]);
        }
        Some(_) => {}
        None => parts.missing(TrainingScoreRow::FILE, "scores on the way are not shown"),
    }
    Ok(())
}

/// Means of stretches of steps, where there are more steps than points.
fn means(steps: &[TrainingStepRow], of: impl Fn(&TrainingStepRow) -> f64) -> Vec<Point> {
    let size = steps.len().div_ceil(POINTS).max(1);
    let stretch = |steps: &[TrainingStepRow]| {
        let mean = steps.iter().map(&of).sum::<f64>() / steps.len() as f64;
        let middle = &steps[steps.len() / 2];
        Point::new(middle.epoch, mean)
    };
    steps.chunks(size).map(stretch).collect()
}

fn epochs(points: &[Point]) -> Axis {
    Axis::of("epochs", points.iter().map(|point| point.x).chain([0.0])).rounded(5)
}

fn losses(steps: &[TrainingStepRow], looks: &[TrainingScoreRow]) -> Option<Figure> {
    let train = means(steps, |step| step.loss);
    let last = train.last()?.x;
    let dev: Vec<Point> = looks
        .iter()
        .map(|look| Point::new(look.epoch, look.loss))
        .collect();
    let ends = dev.last().map_or(last, |point| point.x.max(last));
    let values = train.iter().chain(&dev).map(|point| point.y);
    let mut series = vec![Series {
        name: "training".into(),
        points: train.clone(),
        reference: false,
    }];
    let y = Axis::of("loss", values.chain([0.0])).rounded(5);
    if !dev.is_empty() {
        series.push(Series {
            name: "dev".into(),
            points: dev,
            reference: false,
        });
    }
    let lines = Lines {
        x: epochs(&[Point::new(ends, 0.0)]),
        y,
        series,
        chosen: None,
        falling: false,
    };
    let caption = if steps.len() > POINTS {
        "Training: means of some steps, each before the optimiser moved."
    } else {
        "Training: each step's examples before the optimiser moved."
    };
    Some(lines.draw().named("loss", "Loss", caption))
}

fn scores(looks: &Rows<TrainingScoreRow>, found: &FinetuneResults) -> Option<Figure> {
    let name = found.metric.clone()?;
    let at = looks.more.iter().position(|column| *column == name);
    let value = |look: &TrainingScoreRow| match at {
        Some(at) => look.metrics.0.get(at).copied().flatten(),
        None => Some(look.loss),
    };
    let points: Vec<Point> = looks
        .all
        .iter()
        .filter_map(|look| Some(Point::new(look.epoch, value(look)?)))
        .collect();
    if points.len() < 2 {
        return None;
    }
    let chosen = looks.all.iter().find(|look| look.chosen);
    let chosen = chosen.and_then(|look| {
        let y = value(look)?;
        Some(Chosen {
            x: look.epoch,
            y,
            text: format!("written: {}", short(y)),
        })
    });
    let name = metric(Some(name));
    let lines = Lines {
        x: epochs(&points),
        y: Axis::of(&name, points.iter().map(|point| point.y))
            .padded()
            .rounded(5),
        series: vec![Series {
            name,
            points,
            reference: false,
        }],
        chosen,
        falling: false,
    };
    Some(lines.draw().named("score", "Score on the dev data", ""))
}

fn rates(steps: &[TrainingStepRow]) -> Option<Figure> {
    let points = means(steps, |step| step.rate);
    points.first()?;
    let lines = Lines {
        x: epochs(&points),
        y: Axis::of(
            "learning rate",
            points.iter().map(|point| point.y).chain([0.0]),
        )
        .rounded(5),
        series: vec![Series {
            name: "learning rate".into(),
            points,
            reference: false,
        }],
        chosen: None,
        falling: false,
    };
    Some(lines.draw().named("rate", "Learning rate", ""))
}

fn all_looks(looks: &Rows<TrainingScoreRow>) -> Table {
    let mut columns = vec![
        Column::number("step"),
        Column::number("epoch"),
        Column::number("loss"),
    ];
    columns.extend(looks.more.iter().map(|name| Column::number(name)));
    columns.push(Column::text("written"));
    let rows = looks.all.iter().map(|look| {
        let mut cells = vec![
            Cell::number(Some(look.step as f64), |value| count(value as u64)),
            Cell::number(Some(look.epoch), short),
            Cell::number(Some(look.loss), short),
        ];
        let metrics = look.metrics.0.iter();
        cells.extend(metrics.map(|value| Cell::number(*value, short)));
        cells.push(Cell::text(if look.chosen { "yes" } else { "" }));
        Row { cells, head: None }
    });
    Table {
        id: "looks".into(),
        title: plural(looks.all.len() as u64, "look"),
        caption: String::new(),
        columns,
        rows: rows.collect(),
        ..Table::default()
    }
}
