//! Runs of the CAT-score of several models: curves, kinds of leaves, and scores from elsewhere.

use bertology_data::spearman;
use bertology_run::Run;
use bertology_run::studies::cat::{CatKindRow, CatLayerRow, CatResults};

use crate::Error;
use crate::compare::same_command;
use crate::document::{Block, Cell, Column, Document, Row, Section, Table};
use crate::figure::{Axis, Bar, Bars, Figure, Lines, Place, Point, Scatter, Series, Shape};
use crate::number::{percent, short, significant};
use crate::place::{self, Places};
use crate::report::title;

/// Kinds of leaves that are drawn.
const KINDS: usize = 12;
/// Permutations of more models are not tried one by one.
const MOST: usize = 9;

/// The score of the last layer beside one from elsewhere, model by model.
#[derive(Debug, Clone, PartialEq)]
pub struct Downstream {
    /// What the other score is called.
    pub name: String,
    /// Names of the runs that have both, with the CAT-score and the other.
    pub models: Vec<(String, f64, f64)>,
    /// Spearman's ρ of both; nothing for fewer than three models, or where all have one score.
    pub rho: Option<f64>,
    /// Share of all orders of the models under which ρ is as far from 0: exact and two-sided.
    pub p_value: Option<f64>,
}

/// A run.
#[derive(Debug, Clone)]
struct Model {
    name: String,
    brief: String,
    layers: Vec<CatLayerRow>,
    kinds: Vec<CatKindRow>,
    found: CatResults,
}

impl Model {
    fn last(&self) -> Option<f64> {
        self.found.layers.last()?.cat
    }
}

/// What several runs say.
#[derive(Debug, Clone)]
pub struct CatComparison {
    models: Vec<Model>,
    /// By name of the other score.
    pub downstream: Vec<Downstream>,
}

/// Puts runs of `cat` beside each other, whatever their models.
///
/// # Errors
/// Runs of another command, damaged files, no run at all.
pub fn compare_cat(runs: &[&Run]) -> Result<CatComparison, Error> {
    let first = runs.first().ok_or(Error::NoRuns)?;
    let models = runs.iter().zip(place::names(runs)).map(|(run, name)| {
        same_command(first, run)?;
        Ok(Model {
            name,
            brief: Places::of(run).model().to_owned(),
            layers: rows_of(run.rows::<CatLayerRow>()?.map(|rows| rows.all)),
            kinds: rows_of(run.rows::<CatKindRow>()?.map(|rows| rows.all)),
            found: run.results()?,
        })
    });
    let models: Vec<Model> = models.collect::<Result<_, Error>>()?;
    Ok(CatComparison {
        downstream: downstream(&models),
        models,
    })
}

fn rows_of<T>(rows: Option<Vec<T>>) -> Vec<T> {
    rows.unwrap_or_default()
}

fn downstream(models: &[Model]) -> Vec<Downstream> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in models.iter().flat_map(|model| &model.found.downstream.0) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |name: &String| {
        let pair = |model: &Model| {
            let mut scores = model.found.downstream.0.iter();
            let (_, score) = scores.find(|(other, _)| other == name)?;
            Some((model.name.clone(), model.last()?, *score))
        };
        let models: Vec<_> = models.iter().filter_map(pair).collect();
        let cat: Vec<f64> = models.iter().map(|(_, cat, _)| *cat).collect();
        let other: Vec<f64> = models.iter().map(|(.., other)| *other).collect();
        let (rho, p_value) = association(&cat, &other);
        Downstream {
            name: name.clone(),
            models,
            rho,
            p_value,
        }
    };
    names.into_iter().map(of).collect()
}

/// Spearman's ρ, and its exact p over all orders.
fn association(a: &[f64], b: &[f64]) -> (Option<f64>, Option<f64>) {
    let rho = |b: &[f64]| {
        let pairs: Vec<(f64, f64)> = a.iter().copied().zip(b.iter().copied()).collect();
        Some(spearman(&pairs)).filter(|rho| rho.is_finite())
    };
    let Some(found) = rho(b).filter(|_| a.len() >= 3) else {
        return (None, None);
    };
    if a.len() > MOST {
        return (Some(found), None);
    }
    let (mut orders, mut as_far) = (0_u64, 0_u64);
    each_order(&mut b.to_vec(), 0, &mut |order| {
        orders += 1;
        // Ranks of equal numbers give the same ρ but for its last bits.
        as_far += u64::from(rho(order).is_some_and(|rho| rho.abs() >= found.abs() - 1e-12));
    });
    (Some(found), Some(as_far as f64 / orders as f64))
}

fn each_order(values: &mut Vec<f64>, from: usize, see: &mut dyn FnMut(&[f64])) {
    if from == values.len() {
        see(values);
        return;
    }
    for at in from..values.len() {
        values.swap(from, at);
        each_order(values, from + 1, see);
        values.swap(from, at);
    }
}

impl Downstream {
    /// What can be said of it, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let name = &self.name;
        let of = match (self.rho, self.p_value) {
            (None, _) if self.models.len() < 3 => {
                return format!("{name}: an order of fewer than three models says nothing.");
            }
            (None, _) => return format!("{name}: all models have one score."),
            (Some(rho), None) => format!("Spearman ρ {}", significant(rho, 3)),
            (Some(rho), Some(p)) => format!(
                "Spearman ρ {}, exact p {}",
                significant(rho, 3),
                significant(p, 3)
            ),
        };
        let models = self.models.len();
        let least = match (3..=MOST).contains(&models) {
            // The order itself and its reverse.
            true => 2.0 / (1..=models).map(|n| n as f64).product::<f64>(),
            false => 0.0,
        };
        let bound = match least > 0.05 {
            true => format!(
                "; of {models} models no order has a p below {}",
                significant(least, 2)
            ),
            false => String::new(),
        };
        format!("{name}: {of} over {models} models{bound}.")
    }
}

impl CatComparison {
    /// Names of the runs.
    pub fn runs(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| &*model.name)
    }

    /// By run: the score of each layer.
    pub fn scores(&self) -> impl Iterator<Item = Vec<Option<f64>>> + '_ {
        let of = |model: &Model| model.found.layers.iter().map(|layer| layer.cat).collect();
        self.models.iter().map(of)
    }

    /// Runs that did not read the same text in the same way, which moves every score.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let said = |model: &Model| {
            let found = &model.found;
            format!(
                "input {}, graph {}, {} functions",
                found.input, found.graph, found.counts.functions
            )
        };
        let all: Vec<String> = self.models.iter().map(said).collect();
        if all.windows(2).all(|pair| pair[0] == pair[1]) {
            return Vec::new();
        }
        let each = self.models.iter().zip(&all);
        let each: Vec<String> = each
            .map(|(model, said)| format!("{}: {said}", model.name))
            .collect();
        vec![format!(
            "The runs are not of the same functions read in the same way, and scores depend on both. {}.",
            each.join("; ")
        )]
    }

    /// A page of its own.
    #[must_use]
    pub fn document(&self) -> Document {
        let mut models: Vec<&str> = self.models.iter().map(|model| &*model.brief).collect();
        models.dedup();
        let names: Vec<&str> = self.runs().collect();
        Document {
            title: format!("{}: {}", title("cat"), names.join(", ")),
            facts: models.join(", "),
            file: "compare-cat".into(),
            sections: self.sections(),
            notes: self.notes(),
        }
    }

    /// The same in the page of two runs, before what is said of heads.
    #[must_use]
    pub fn within(&self, mut document: Document) -> Document {
        document.sections.splice(0..0, self.sections());
        document.notes.extend(self.notes());
        document
    }

    fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        if let Some(figure) = self.curves() {
            sections.push(Section::new("Layers", vec![Block::Figures(vec![figure])]));
        }
        let bars = self.kinds();
        if !bars.is_empty() {
            sections.push(Section::new("Kinds of leaves", vec![Block::Figures(bars)]));
        }
        let mut blocks = Vec::new();
        for (at, downstream) in self.downstream.iter().enumerate() {
            blocks.push(Block::Paragraph(downstream.sentence()));
            let table = Block::Table(downstream.table(at));
            blocks.push(match downstream.figure(at) {
                Some(figure) => Block::Beside(vec![Block::Figures(vec![figure]), table]),
                None => table,
            });
        }
        if !blocks.is_empty() {
            sections.push(Section::new("Downstream", blocks));
        }
        sections
    }

    fn curves(&self) -> Option<Figure> {
        let line = |model: &Model| {
            let rows = model.layers.iter();
            let own = rows.filter(|row| row.encoder == "model" && row.measure == "cat");
            let point = |row: &CatLayerRow| {
                Some(Point {
                    low: row.low,
                    high: row.high,
                    ..Point::new(row.layer as f64, row.mean?)
                })
            };
            Series {
                name: model.name.clone(),
                points: own.filter_map(point).collect(),
                reference: false,
            }
        };
        let series: Vec<Series> = self.models.iter().map(line).collect();
        let points = || series.iter().flat_map(|series| &series.points);
        points().next()?;
        let ys = points().flat_map(|point| [Some(point.y), point.low, point.high]);
        let lines = Lines {
            x: Axis::of("layer", points().map(|point| point.x)).whole(),
            y: Axis::of("CAT-score", ys.flatten()).with_zero().padded(),
            series: series.clone(),
            chosen: None,
            falling: false,
        };
        let caption = "Whiskers: 95 % over functions. Most of any score is position: each run's own page has its controls.";
        Some(lines.draw().named("cat-models", "Score by layer", caption))
    }

    /// The same kinds of every run, a figure each.
    fn kinds(&self) -> Vec<Figure> {
        let last = |row: &CatKindRow| row.layers.0.last().copied().flatten();
        let of = |model: &Model, kind: &str| {
            let row = model.kinds.iter().find(|row| row.kind == kind)?;
            last(row)
        };
        // The most frequent ones of all runs, those first that are attended to most.
        let mut chosen: Vec<(u64, &str)> = Vec::new();
        for row in self.models.iter().flat_map(|model| &model.kinds) {
            match chosen.iter_mut().find(|(_, kind)| *kind == row.kind) {
                Some((leaves, _)) => *leaves += row.leaves,
                None => chosen.push((row.leaves, &row.kind)),
            }
        }
        chosen.retain(|(_, kind)| self.models.iter().all(|model| of(model, kind).is_some()));
        chosen.sort_by_key(|(leaves, _)| std::cmp::Reverse(*leaves));
        chosen.truncate(KINDS);
        let mean = |kind: &str| {
            let all = self.models.iter().filter_map(|model| of(model, kind));
            all.sum::<f64>() / self.models.len() as f64
        };
        let mut chosen: Vec<(f64, &str)> = chosen
            .into_iter()
            .map(|(_, kind)| (mean(kind), kind))
            .collect();
        chosen.sort_by(|a, b| b.0.total_cmp(&a.0));
        if chosen.is_empty() {
            return Vec::new();
        }
        let figure = |(at, model): (usize, &Model)| {
            let bar = |(mean, kind): &(f64, &str)| {
                Some(Bar {
                    name: (*kind).to_owned(),
                    value: of(model, kind)?,
                    baseline: Some(*mean),
                    ..Bar::default()
                })
            };
            let rows: Vec<Bar> = chosen.iter().filter_map(bar).collect();
            let bars = Bars {
                rows: &rows,
                axis: Axis::of("share of cells with high attention", [0.0, 1.0]),
                shape: Shape::Bar,
                kind: "kind",
                baseline: Some("mean of the runs"),
                interval: None,
                write: percent,
            };
            let caption = "The last layer: of all cells in rows and columns of the kind, those with high attention; a quarter by chance.";
            bars.draw()
                .named(&format!("cat-kinds-{at}"), model.name.clone(), caption)
        };
        self.models.iter().enumerate().map(figure).collect()
    }
}

impl Downstream {
    fn table(&self, at: usize) -> Table {
        let row = |(model, cat, other): &(String, f64, f64)| Row {
            cells: vec![
                Cell::text(model).strong(true),
                Cell::number(Some(*cat), |value| format!("{value:.3}")),
                Cell::number(Some(*other), short),
            ],
            head: None,
        };
        Table {
            id: format!("cat-downstream-{at}"),
            title: format!("CAT-score and {}", self.name),
            caption: "The last layer's score, and the one that was given.".into(),
            columns: vec![
                Column::text("run"),
                Column::number("CAT"),
                Column::number(&self.name),
            ],
            rows: self.models.iter().map(row).collect(),
            ..Table::default()
        }
    }

    fn figure(&self, at: usize) -> Option<Figure> {
        if self.models.len() < 2 {
            return None;
        }
        let place = |(name, cat, other): &(String, f64, f64)| Place {
            name: name.clone(),
            x: *other,
            y: *cat,
            kind: 0,
            head: None,
        };
        let places: Vec<Place> = self.models.iter().map(place).collect();
        let scatter = Scatter {
            places: &places,
            kinds: &[String::new()],
            x: Axis::of(&self.name, places.iter().map(|place| place.x)).padded(),
            y: Axis::of(
                "CAT-score of the last layer",
                places.iter().map(|place| place.y),
            )
            .padded(),
            map: false,
            diagonal: false,
        };
        let title = format!("CAT-score against {}", self.name);
        let figure = scatter.draw();
        Some(figure.named(
            &format!("cat-downstream-{at}-models"),
            title,
            self.sentence(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the scores that were published with the paper, last layers and BLEU of four models: ρ -0.2 and 0.4. Of four
    /// models in one order 2 of 24 orders are as far from 0, of three 2 of 6.
    #[test]
    fn orders_of_a_few_models() {
        let go = (
            [0.3958, 0.4097, 0.4278, 0.3518],
            [17.66, 18.10, 18.52, 18.57],
        );
        let java = (
            [0.2386, 0.3080, 0.3081, 0.2309],
            [17.60, 18.75, 19.31, 19.21],
        );
        for ((cat, bleu), expected) in [(go, -0.2), (java, 0.4)] {
            let (rho, p) = association(&cat, &bleu);
            assert!((rho.unwrap() - expected).abs() < 1e-12);
            assert!(p.unwrap() > 0.3);
            let (rho, p) = association(&cat[..3], &bleu[..3]);
            assert!((rho.unwrap() - 1.0).abs() < 1e-12);
            assert!((p.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        }
        let (_, p) = association(&[1.0, 2.0, 3.0, 4.0], &[4.0, 3.0, 2.0, 1.0]);
        assert!((p.unwrap() - 2.0 / 24.0).abs() < 1e-12);
        assert_eq!(association(&[1.0, 2.0], &[1.0, 2.0]), (None, None));
        assert_eq!(association(&[1.0, 2.0, 3.0], &[1.0; 3]), (None, None));
    }
}
