//! `bertology relations` and `bertology contacts`.

use bertology_run::studies::relations::{
    EXAMPLE, RelationHeadRow, RelationMap, RelationRegressionRow,
};
use bertology_run::table::Row as _;
use bertology_run::{Run, RunError};

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Pairs, Room, Shape};
use crate::number::percent;
use crate::quantities::{Quantity, distinct};

pub(super) const PAGES: &[Page] = &[
    Page {
        command: "relations",
        title: "Whether attention follows relations",
        write,
        quantities,
    },
    Page {
        command: "contacts",
        title: "Whether attention follows contacts",
        write,
        quantities: |_, _| Ok(()),
    },
];

/// Labels and ranges whose heads are drawn as maps.
const MAPS: usize = 4;
/// That are drawn as bars.
const BARS: usize = 24;

/// A label in a range.
type View = (String, String);

/// The most frequent first; those that do not occur are left out.
fn views(rows: &[RelationHeadRow]) -> Vec<View> {
    let mut all: Vec<(u64, View)> = Vec::new();
    for row in rows {
        let view = (row.label.clone(), row.distances.clone());
        if row.from_total > 0 && all.last().is_none_or(|(_, last)| *last != view) {
            all.push((row.from_total, view));
        }
    }
    all.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    all.into_iter().map(|(_, view)| view).collect()
}

fn name(rows: &[RelationHeadRow], (label, distances): &View) -> String {
    match distinct(rows.iter().map(|row| row.distances.as_str())).len() {
        0 | 1 => label.clone(),
        _ => format!("{label}, {distances}"),
    }
}

fn of<'r>(rows: &'r [RelationHeadRow], view: &'r View) -> impl Iterator<Item = &'r RelationHeadRow> {
    rows.iter().filter(move |row| row.label == view.0 && row.distances == view.1)
}

fn quantities(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(rows) = run.rows::<RelationHeadRow>()? else {
        return Ok(());
    };
    for (at, view) in views(&rows.all).iter().take(MAPS).enumerate() {
        let held = |row: &RelationHeadRow| row.label == view.0 && row.distances == view.1;
        let excess = run.per_head(&rows, |row| row.excess.filter(|_| held(row)))?;
        let title = format!("attention along {} beyond distance", name(&rows.all, view));
        found.push(Quantity::new(&format!("relation_{at}"), &title, "", excess).signed());
    }
    Ok(())
}

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let Some(rows) = parts.run.rows::<RelationHeadRow>()? else {
        parts.missing(RelationHeadRow::FILE, "heads are not shown");
        return Ok(());
    };
    let views = views(&rows.all);
    let mut figures: Vec<Figure> = shares(&rows.all, &views).into_iter().collect();
    for at in 0..MAPS {
        if let Some(quantity) = parts.quantity(&format!("relation_{at}")) {
            let mut map = heat(quantity);
            map.caption = "Share of attention along related pairs, less that along unrelated pairs of the same texts and \
                           distances."
                .into();
            figures.push(map);
        }
    }
    parts.add("Heads", vec![Block::Figures(figures)]);
    if let Some(regressions) = parts.run.rows::<RelationRegressionRow>()? {
        parts.add("All heads together", vec![Block::Table(regression(&regressions.all))]);
    }
    if let Some(map) = parts.run.json::<Option<RelationMap>>(EXAMPLE)?.flatten() {
        let halves = parts.run.said("/results/symmetric").as_deref() == Some("true");
        parts.add("The first text", vec![Block::Figures(vec![example(&map, halves)])]);
    }
    parts.add("Best heads", vec![Block::Table(best(&rows.all, &views))]);
    parts.heads_table(
        "relation_0",
        &format!("Of the most frequent labels; {} has all labels and measures.", RelationHeadRow::FILE),
    );
    Ok(())
}

/// The head with the most of something, the first of equals.
fn most<'r>(
    rows: impl Iterator<Item = &'r RelationHeadRow>,
    value: impl Fn(&RelationHeadRow) -> Option<f64>,
) -> Option<(&'r RelationHeadRow, f64)> {
    let mut best: Option<(&RelationHeadRow, f64)> = None;
    for row in rows {
        if let Some(value) = value(row)
            && best.is_none_or(|(_, most)| value > most)
        {
            best = Some((row, value));
        }
    }
    best
}

/// The best head of each label, and what it would have if it knew distances alone.
fn shares(rows: &[RelationHeadRow], views: &[View]) -> Option<Figure> {
    let bars = views.iter().take(BARS).flat_map(|view| {
        let found = most(of(rows, view), |row| row.share);
        found.into_iter().flat_map(|(row, share)| {
            let head = Bar {
                name: name(rows, view),
                note: format!("L{}H{}", row.layer, row.head),
                value: share,
                low: row.share_low.map(|low| low.max(0.0)),
                high: row.share_high,
                head: Some((row.layer, row.head)),
                ..Bar::default()
            };
            let matched = Bar {
                name: name(rows, view),
                note: "same distances".into(),
                value: (share - row.excess.unwrap_or(0.0)).max(0.0),
                pale: true,
                ..Bar::default()
            };
            [head, matched]
        })
    });
    let bars: Vec<Bar> = bars.collect();
    let ends = bars.iter().flat_map(|bar| [Some(bar.value), bar.high]).flatten();
    let drawn = Bars {
        rows: &bars,
        axis: Axis::of("share of attention between units", ends).with_zero().padded(),
        shape: Shape::Bar,
        kind: "label",
        baseline: None,
        interval: Some("95 % interval over texts"),
        write: percent,
    };
    (!bars.is_empty()).then(|| {
        drawn.draw().named(
            "relation-shares",
            "Attention along related pairs, of the head with most",
            "Pale: the same head along unrelated pairs of the same texts and distances.",
        )
    })
}

fn example(map: &RelationMap, halves: bool) -> Figure {
    let figure = Pairs {
        units: map.units,
        related: &map.related,
        strongest: &map.strongest,
        halves,
    };
    let what = map.name.clone().unwrap_or_else(|| format!("line {}", map.line));
    let caption = if halves {
        "Below the diagonal the related pairs, above it the most probable ones, as many as there are units."
    } else {
        "Rows are where pairs begin, columns where they end. The most probable pairs, as many as there are units."
    };
    figure
        .draw()
        .named("relation-example", format!("{}: {} by the {}", what, map.label, map.regression), caption)
        .takes(Room::Tall)
}

fn best(rows: &[RelationHeadRow], views: &[View]) -> Table {
    let columns = [
        "pairs begin at", "background", "share", "head", "precision", "head", "from first to second", "head",
        "same distances", "from second to first", "head", "same distances",
    ];
    let mut all = vec![Column::text("label"), Column::text("distances")];
    all.extend(columns.into_iter().map(|name| match name {
        "head" => Column::text(name),
        name => Column::number(name),
    }));
    let rows = views.iter().map(|view| {
        let first = of(rows, view).next();
        let share = |value: Option<f64>| Cell::number(value, percent).with_share(value);
        let mut cells = vec![
            Cell::text(&view.0).strong(true),
            Cell::text(&view.1),
            Cell::whole(first.map_or(0, |row| row.from_total as usize)),
            Cell::number(first.and_then(|row| row.background), percent),
        ];
        let put = |cells: &mut Vec<Cell>, found: Option<(&RelationHeadRow, f64)>| {
            cells.push(share(found.map(|(_, value)| value)));
            cells.push(Cell::text(found.map_or(String::new(), |(row, _)| format!("L{}H{}", row.layer, row.head))));
        };
        put(&mut cells, most(of(rows, view), |row| row.share));
        put(&mut cells, most(of(rows, view), |row| row.precision));
        let from = most(of(rows, view), |row| row.from_accuracy);
        put(&mut cells, from);
        cells.push(share(from.and_then(|(row, _)| row.from_matched)));
        let to = most(of(rows, view), |row| row.to_accuracy);
        put(&mut cells, to);
        cells.push(share(to.and_then(|(row, _)| row.to_matched)));
        Row { cells, head: None }
    });
    Table {
        id: "relations".into(),
        title: "The best head of each label".into(),
        caption: "Chosen on these very texts; layers and heads counted from 0. Accuracies are of units whose strongest partner \
                  is related."
            .into(),
        rows: rows.collect(),
        columns: all,
        ..Table::default()
    }
}

fn regression(rows: &[RelationRegressionRow]) -> Table {
    let columns = ["texts", "precision", "at L", "at L/2", "at L/5", "average precision", "AUC", "matched AUC"];
    let mut all = vec![Column::text("regression"), Column::text("label"), Column::text("distances")];
    all.extend(columns.into_iter().map(Column::number));
    let shown = rows.iter().filter(|row| row.texts > 0);
    let rows = shown.map(|row| {
        let share = |value: Option<f64>| Cell::number(value, percent).with_share(value);
        Row {
            cells: vec![
                Cell::text(&row.regression),
                Cell::text(&row.label).strong(true),
                Cell::text(&row.distances),
                Cell::whole(row.texts as usize),
                share(row.precision),
                share(row.precision_length),
                share(row.precision_half),
                share(row.precision_fifth),
                share(row.average_precision),
                share(row.auc),
                share(row.matched_auc),
            ],
            head: None,
        }
    });
    Table {
        id: "regressions".into(),
        title: "Regressions over all heads".into(),
        caption: format!(
            "Means over texts; L is the number of units of a text. Matched: against unrelated pairs of the same text and distance \
             alone. {} has intervals.",
            RelationRegressionRow::FILE
        ),
        rows: rows.collect(),
        columns: all,
        ..Table::default()
    }
}
