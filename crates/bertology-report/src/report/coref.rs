//! `bertology coref`.

use bertology_run::RunError;
use bertology_run::rows::{CorefBaselineRow, CorefRow};
use bertology_run::table::Row as _;

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Shape};
use crate::number::percent;
use crate::quantities::{self, distinct};

/// Heads that are listed for each reading.
const LISTED: usize = 10;

/// A row of `coref.csv` or `coref_baselines.csv`.
#[derive(Debug, Clone)]
struct Scored {
    name: String,
    candidates: String,
    category: String,
    head: Option<(usize, usize)>,
    accuracy: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

pub(super) const PAGES: &[Page] = &[Page {
    command: "coref",
    title: "Heads and coreference",
    write,
    quantities: quantities::coref,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let Some(found) = parts.run.rows::<CorefRow>()? else {
        parts.missing(CorefRow::FILE, "scores are not shown");
        return Ok(());
    };
    let mut rows: Vec<Scored> = found.all.into_iter().map(Scored::from).collect();
    match parts.run.rows::<CorefBaselineRow>()? {
        Some(found) => rows.extend(found.all.into_iter().map(Scored::from)),
        None => parts.missing(CorefBaselineRow::FILE, "rules are not shown"),
    }
    let mut figures: Vec<Figure> = bars(&rows).into_iter().collect();
    if let Some(quantity) = parts.quantity("coreference") {
        let mut map = heat(quantity);
        map.title = "Antecedents found by each head".into();
        map.caption = "Share of mentions whose strongest attention goes to an antecedent, among all other words.".into();
        figures.push(map);
    }
    parts.add("Heads and rules", vec![Block::Figures(figures)]);
    parts.add("By kind of mention", vec![Block::Table(by_category(&rows))]);
    Ok(())
}

impl From<CorefRow> for Scored {
    fn from(row: CorefRow) -> Self {
        Self {
            name: format!("L{}H{}", row.layer, row.head),
            candidates: row.candidates,
            category: row.category,
            head: Some((row.layer, row.head)),
            accuracy: row.accuracy,
            low: row.low,
            high: row.high,
        }
    }
}

impl From<CorefBaselineRow> for Scored {
    fn from(row: CorefBaselineRow) -> Self {
        Self {
            name: row.baseline,
            candidates: String::new(),
            category: row.category,
            head: None,
            accuracy: row.accuracy,
            low: row.low,
            high: row.high,
        }
    }
}

/// Rules, and the best heads of one reading, best first.
fn chosen<'r>(rows: &'r [Scored], candidates: &str) -> Vec<&'r Scored> {
    let mut heads: Vec<&Scored> = rows
        .iter()
        .filter(|row| row.category == "all" && row.head.is_some() && row.candidates == candidates)
        .collect();
    heads.sort_by(|a, b| {
        b.accuracy
            .unwrap_or(-1.0)
            .total_cmp(&a.accuracy.unwrap_or(-1.0))
    });
    heads.truncate(LISTED);
    heads
}

fn rules(rows: &[Scored]) -> impl Iterator<Item = &Scored> {
    rows.iter()
        .filter(|row| row.head.is_none() && row.category == "all")
}

fn bars(rows: &[Scored]) -> Option<Figure> {
    let bar = |row: &Scored, note: &str| {
        Some(Bar {
            name: row.name.clone(),
            note: note.to_owned(),
            value: row.accuracy?,
            low: row.low,
            high: row.high,
            pale: row.head.is_none(),
            head: row.head,
            ..Bar::default()
        })
    };
    let mut shown: Vec<Bar> = rules(rows).filter_map(|row| bar(row, "rule")).collect();
    for candidates in ["all", "preceding", "mention-heads"] {
        let best = chosen(rows, candidates).into_iter().next();
        shown.extend(best.and_then(|row| bar(row, &candidates.replace('-', " "))));
    }
    let bars = Bars {
        rows: &shown,
        axis: Axis::of("share of mentions whose antecedent is found", [0.0, 1.0]),
        shape: Shape::Bar,
        kind: "predictor",
        baseline: None,
        interval: Some("95 % interval"),
        write: percent,
    };
    (!shown.is_empty()).then(|| {
        bars.draw().named(
            "coreference",
            "The best head against rules",
            "Grey words: for heads, among which words the strongest attention is looked for.",
        )
    })
}

fn by_category(rows: &[Scored]) -> Table {
    let categories = distinct(rows.iter().map(|row| row.category.as_str()));
    let mut columns = vec![Column::text("predictor"), Column::text("candidates")];
    columns.extend(categories.iter().map(|category| Column::number(category)));
    let mut shown: Vec<&Scored> = rules(rows).collect();
    for candidates in ["all", "preceding", "mention-heads"] {
        shown.extend(chosen(rows, candidates));
    }
    let rows = shown.into_iter().map(|row| {
        let mut cells = vec![
            Cell::text(&row.name).strong(true),
            Cell::text(row.candidates.replace('-', " ")),
        ];
        for category in &categories {
            let same = rows.iter().find(|other| {
                other.name == row.name
                    && other.candidates == row.candidates
                    && other.category == *category
            });
            let accuracy = same.and_then(|other| other.accuracy);
            cells.push(Cell::number(accuracy, percent).with_share(accuracy));
        }
        Row {
            cells,
            head: row.head,
        }
    });
    Table {
        id: "predictors".into(),
        title: "Rules and best heads".into(),
        caption: format!("The {LISTED} best heads of each set of candidates, by all mentions."),
        columns,
        rows: rows.collect(),
        ..Table::default()
    }
}
