//! Two runs of one command, head by head.

use bertology_data::{kendall, spearman};
use serde_json::Value;

use bertology_run::{HeadColumn, Run, RunError, text_of};

use crate::Error;
use crate::document::{Block, Cell, Column, Document, Row, Section, Table};
use crate::figure::{Axis, Figure, Heat, Place, Scale, Scatter};
use crate::number::{change, plural, short, significant};
use crate::place::{self, Places};
use crate::quantities::{Quantity, numbers, overall};
use crate::report::{capital, quantities, title};

/// Heads that are named as having changed most.
const NAMED: usize = 10;

/// How one number per head differs between two runs.
#[derive(Debug, Clone)]
pub struct Shift {
    /// Its name.
    pub name: String,
    /// Heads with a number in both.
    pub common: usize,
    /// Heads with a number in the first only.
    pub only_first: usize,
    /// Heads with a number in the second only.
    pub only_second: usize,
    /// Spearman's rank correlation over the common heads; NaN where a side is constant.
    pub spearman: f64,
    /// Kendall's τ-b over the common heads; NaN where a side is constant.
    pub kendall: f64,
    /// Mean of second less first.
    pub mean_change: f64,
    /// The heads that changed most: layer and head, first, second.
    pub largest: Vec<((usize, usize), f64, f64)>,
    quantity: Quantity,
    second: HeadColumn,
}

/// What two runs have in common and what not.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Names of both runs.
    pub runs: [String; 2],
    /// Metrics and loss that both have: name, first, second.
    pub overall: Vec<(String, f64, f64)>,
    /// One entry for each number that both say of heads.
    pub shifts: Vec<Shift>,
    /// What differs that should be known: options, data.
    pub differences: Vec<(String, String, String)>,
    command: String,
    models: [String; 2],
    /// The differences as a page says them.
    shown: Vec<(String, String, String)>,
}

/// Compares two runs of one command, of one model or of two of the same shape (fine-tuned and pre-trained, pruned
/// and whole): head 3 of one is head 3 of the other.
///
/// # Errors
/// Runs of different commands, models of different shape, damaged files.
pub fn compare(first: &Run, second: &Run) -> Result<Comparison, Error> {
    same_command(first, second)?;
    let folder = |run: &Run| run.folder().display().to_string();
    let shape = |run: &Run| (run.model().layers, run.model().heads);
    if shape(first) != shape(second) {
        return Err(Error::DifferentShapes {
            first: folder(first),
            other: folder(second),
            expected: shape(first),
            found: shape(second),
        });
    }
    let others = quantities(second)?;
    let mut shifts = Vec::new();
    for quantity in quantities(first)? {
        // The number of a cluster is a name: those of two runs have nothing to do with each other.
        if quantity.key == "cluster" {
            continue;
        }
        if let Some(other) = others.iter().find(|other| other.key == quantity.key) {
            shifts.push(shift(quantity, other.values.clone()));
        }
    }
    let after = all_overall(second)?;
    let both = all_overall(first)?
        .into_iter()
        .filter_map(|(name, before)| {
            let (_, after) = after.iter().find(|(other, _)| *other == name)?;
            Some((name, before, *after))
        });
    Ok(Comparison {
        runs: names(first, second),
        overall: both.collect(),
        shifts,
        differences: differences(first, second),
        command: first.command().to_owned(),
        models: [first, second].map(|run| Places::of(run).model().to_owned()),
        shown: differences_shown(first, second),
    })
}

/// Refuses runs of different commands.
pub(crate) fn same_command(first: &Run, second: &Run) -> Result<(), Error> {
    if first.command() == second.command() {
        return Ok(());
    }
    let folder = |run: &Run| run.folder().display().to_string();
    Err(Error::DifferentCommands {
        first: folder(first),
        other: folder(second),
        expected: first.command().to_owned(),
        found: second.command().to_owned(),
    })
}

/// The folders' last names, with those above where these are one.
pub(crate) fn names(first: &Run, second: &Run) -> [String; 2] {
    let mut names = place::names(&[first, second]).into_iter();
    [first, second].map(|run| names.next().unwrap_or_else(|| run.name()))
}

/// Metrics and loss, and after pruning those of the smaller model.
fn all_overall(run: &Run) -> Result<Vec<(String, f64)>, RunError> {
    let summary = run.summary()?;
    let mut found = overall(&summary);
    let after = summary.evaluation_after.iter();
    let after = after.flat_map(|evaluation| numbers(&evaluation.metrics));
    found.extend(after.map(|(name, value)| (format!("{name} after"), value)));
    let left = summary.heads_left.map(|heads| heads as f64);
    for (name, value) in [("heads left", left), ("score after", summary.score_after)] {
        found.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(found)
}

fn shift(quantity: Quantity, second: HeadColumn) -> Shift {
    let mut pairs = Vec::new();
    let mut named = Vec::new();
    let (mut only_first, mut only_second) = (0, 0);
    for layer in 0..quantity.values.layers {
        for head in 0..quantity.values.heads {
            match (quantity.values.get(layer, head), second.get(layer, head)) {
                (Some(a), Some(b)) => {
                    pairs.push((a, b));
                    named.push(((layer, head), a, b));
                }
                (Some(_), None) => only_first += 1,
                (None, Some(_)) => only_second += 1,
                (None, None) => {}
            }
        }
    }
    let sum: f64 = pairs.iter().map(|(a, b)| b - a).sum();
    // Stable: heads that changed alike stay in order.
    named.sort_by(|x, y| (y.2 - y.1).abs().total_cmp(&(x.2 - x.1).abs()));
    named.truncate(NAMED);
    Shift {
        name: quantity.name.clone(),
        common: pairs.len(),
        only_first,
        only_second,
        spearman: spearman(&pairs),
        kendall: kendall(&pairs),
        mean_change: sum / pairs.len() as f64,
        largest: named,
        quantity,
        second,
    }
}

/// Options and inputs that are not the same.
pub(crate) fn differences(first: &Run, second: &Run) -> Vec<(String, String, String)> {
    differences_said(first, second, |_, value| text_of(value))
}

/// The same without the folders of paths, for pages.
pub(crate) fn differences_shown(first: &Run, second: &Run) -> Vec<(String, String, String)> {
    let places = [first, second].map(Places::of);
    let mut found = differences_said(first, second, |run, value| places[run].said(value));
    for (_, a, b) in &mut found {
        if a == b {
            b.push_str(" in another folder");
        }
    }
    found
}

/// What is not the same, as `say` says the value of run 0 or 1.
fn differences_said(
    first: &Run,
    second: &Run,
    say: impl Fn(usize, &Value) -> String,
) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut push = |name: &str, a: Option<&Value>, b: Option<&Value>| {
        if a.map(text_of) != b.map(text_of) {
            let show =
                |run, value: Option<&Value>| value.map_or_else(|| "–".into(), |v| say(run, v));
            found.push((name.to_owned(), show(0, a), show(1, b)));
        }
    };
    for (name, pointer) in [
        ("model", "/model/name"),
        ("model SHA-256", "/identity/model_sha256"),
        ("heads", "/model/heads_present"),
        ("parameters", "/model/parameters"),
        ("data", "/data/file/path"),
        ("data SHA-256", "/identity/data_sha256"),
        ("examples", "/data/file/examples"),
        ("sentences", "/data/file/sentences"),
        ("bertology", "/bertology"),
        ("seed", "/seed"),
    ] {
        let [a, b] = [first, second].map(|run| run.record().pointer(pointer));
        let known = |value: &&Value| !value.is_null();
        push(name, a.filter(known), b.filter(known));
    }
    let options = |run: &Run| {
        let options = run
            .record()
            .pointer("/identity/options")
            .and_then(|v| v.as_object());
        options.cloned().unwrap_or_default()
    };
    let (mine, others) = (options(first), options(second));
    let names = mine.keys().chain(others.keys());
    let mut seen: Vec<&String> = Vec::new();
    for name in names {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        push(
            &format!("--{}", name.replace('_', "-")),
            mine.get(name),
            others.get(name),
        );
    }
    found
}

fn coefficient(value: f64) -> String {
    if value.is_nan() {
        "–".into()
    } else {
        significant(value, 3)
    }
}

impl Comparison {
    /// The page: differences per head, correlations, and what else is not the same.
    #[must_use]
    pub fn document(&self) -> Document {
        let mut sections = Vec::new();
        if !self.overall.is_empty() {
            let table = self.overall_table();
            sections.push(Section::new("As a whole", vec![Block::Table(table)]));
        }
        if !self.shifts.is_empty() {
            let table = self.correlations();
            sections.push(Section::new(
                "Correlation over heads",
                vec![Block::Table(table)],
            ));
        }
        for (at, shift) in self.shifts.iter().enumerate() {
            let section = self.section(shift);
            sections.push(if at == 0 { section } else { section.folded() });
        }
        sections.push(Section::new(
            "What is not the same",
            vec![Block::Table(difference_table(&self.runs, &self.shown))],
        ));
        let mut notes = Vec::new();
        if self.shifts.is_empty() {
            notes.push(format!(
                "{} says nothing of single heads that both runs have.",
                self.command
            ));
        }
        let [a, b] = &self.models;
        let models = if a == b {
            a.clone()
        } else {
            format!("{a} and {b}")
        };
        Document {
            title: format!(
                "{}: {} and {}",
                title(&self.command),
                self.runs[0],
                self.runs[1]
            ),
            facts: models,
            file: format!("compare-{}", self.command),
            sections,
            notes,
        }
    }

    fn overall_table(&self) -> Table {
        let rows = self.overall.iter().map(|(name, before, after)| {
            let write = |value: f64| significant(value, 4);
            Row {
                cells: vec![
                    Cell::text(name).strong(true),
                    Cell::number(Some(*before), write),
                    Cell::number(Some(*after), write),
                    Cell::number(Some(after - before), change),
                ],
                head: None,
            }
        });
        Table {
            id: "overall".into(),
            title: "Metrics".into(),
            caption: String::new(),
            columns: vec![
                Column::text("metric"),
                Column::number(&self.runs[0]),
                Column::number(&self.runs[1]),
                Column::number("difference"),
            ],
            rows: rows.collect(),
            ..Table::default()
        }
    }

    fn correlations(&self) -> Table {
        let rows = self.shifts.iter().map(|shift| Row {
            cells: vec![
                Cell::text(&shift.name).strong(true),
                Cell::whole(shift.common),
                Cell::whole(shift.only_first),
                Cell::whole(shift.only_second),
                Cell::number(Some(shift.spearman).filter(|v| v.is_finite()), coefficient),
                Cell::number(Some(shift.kendall).filter(|v| v.is_finite()), coefficient),
                Cell::number(Some(shift.mean_change).filter(|v| v.is_finite()), change),
            ],
            head: None,
        });
        Table {
            id: "correlations".into(),
            title: "Do both put the heads in the same order?".into(),
            caption: "Over heads that have a number in both runs. 1: the same order; 0: unrelated; −1: reversed; a dash \
                      where all heads of a run have the same number."
                .into(),
            columns: vec![
                Column::text("what"),
                Column::number("heads in both"),
                Column::number(&format!("only in {}", self.runs[0])),
                Column::number(&format!("only in {}", self.runs[1])),
                Column::number("Spearman ρ"),
                Column::number("Kendall τ-b"),
                Column::number("mean difference"),
            ],
            rows: rows.collect(),
            ..Table::default()
        }
    }

    fn section(&self, shift: &Shift) -> Section {
        let quantity = &shift.quantity;
        let [first, second] = &self.runs;
        let id = quantity.key.replace('_', "-");
        let scale = self.common_scale(shift);
        let one = |values: &HeadColumn, run: &str, which: &str| {
            let mut heat = Heat::new(values, &quantity.name, quantity.unit, scale);
            heat.absent = "not in this run";
            heat.draw().named(
                &format!("{id}-{which}"),
                format!("{}: {run}", capital(&quantity.name)),
                "",
            )
        };
        let differences = difference(&quantity.values, &shift.second);
        let mut heat = Heat::new(&differences, "difference", quantity.unit, Scale::Signed);
        heat.absent = "not in both runs";
        let caption = format!("{second} less {first}; heads that are not in both are crossed.");
        let map = heat.draw().named(
            &format!("{id}-difference"),
            format!("{}: difference", capital(&quantity.name)),
            caption,
        );
        let maps = vec![
            one(&quantity.values, first, "first"),
            one(&shift.second, second, "second"),
            map,
        ];
        let table = Block::Table(self.head_column(shift, &id));
        let beside = match self.scatter(shift, &id) {
            Some(figure) => Block::Beside(vec![Block::Figures(vec![figure]), table]),
            None => table,
        };
        Section::new(&capital(&quantity.name), vec![Block::Figures(maps), beside])
    }

    /// The same colours for the same numbers in both maps.
    fn common_scale(&self, shift: &Shift) -> Scale {
        let known = || shift.quantity.values.known().chain(shift.second.known());
        let (low, high) = (
            known().fold(f64::INFINITY, f64::min),
            known().fold(f64::NEG_INFINITY, f64::max),
        );
        if shift.quantity.signed {
            let most = low.abs().max(high.abs());
            if most > 0.0 {
                Scale::SignedTo(most)
            } else {
                Scale::Signed
            }
        } else if low < high {
            Scale::Between(
                if low >= 0.0 && shift.quantity.unit.is_empty() {
                    0.0
                } else {
                    low
                },
                high,
            )
        } else {
            Scale::Range
        }
    }

    fn scatter(&self, shift: &Shift, id: &str) -> Option<Figure> {
        let first = &shift.quantity.values;
        let places: Vec<Place> = first
            .iter()
            .filter_map(|((layer, head), x)| {
                Some(Place {
                    name: format!("L{layer}H{head}"),
                    x,
                    y: shift.second.get(layer, head)?,
                    kind: 0,
                    head: Some((layer, head)),
                })
            })
            .collect();
        if places.len() < 2 {
            return None;
        }
        let scatter = Scatter {
            places: &places,
            kinds: &[String::new()],
            x: Axis::of(&self.runs[0], places.iter().map(|place| place.x)),
            y: Axis::of(&self.runs[1], places.iter().map(|place| place.y)),
            map: false,
            diagonal: true,
        };
        let caption = format!(
            "Spearman ρ {}, Kendall τ-b {}; on the dashed line both are the same.",
            coefficient(shift.spearman),
            coefficient(shift.kendall)
        );
        let title = format!("{}: both runs", capital(&shift.name));
        Some(scatter.draw().named(&format!("{id}-both"), title, caption))
    }

    fn head_column(&self, shift: &Shift, id: &str) -> Table {
        let first = &shift.quantity.values;
        let mut rows = Vec::new();
        for layer in 0..first.layers {
            for head in 0..first.heads {
                let (a, b) = (first.get(layer, head), shift.second.get(layer, head));
                if a.is_none() && b.is_none() {
                    continue;
                }
                let both = a.zip(b).map(|(a, b)| b - a);
                let shown = |value: Option<f64>| match value {
                    Some(value) => Cell::number(Some(value), short),
                    None => Cell::text("missing"),
                };
                rows.push(Row {
                    cells: vec![
                        Cell::whole(layer),
                        Cell::whole(head),
                        shown(a),
                        shown(b),
                        Cell::number(both, change),
                    ],
                    head: Some((layer, head)),
                });
            }
        }
        let size = |row: &Row| {
            row.cells
                .last()
                .and_then(|cell| cell.value)
                .map_or(-1.0, f64::abs)
        };
        rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
        Table {
            id: format!("{id}-heads"),
            title: format!(
                "{} of {}",
                capital(&shift.name),
                plural(rows.len() as u64, "head")
            ),
            caption: "Those that changed most come first.".into(),
            columns: vec![
                Column::number("layer"),
                Column::number("head"),
                Column::number(&self.runs[0]),
                Column::number(&self.runs[1]),
                Column::number("difference"),
            ],
            rows,
            ..Table::default()
        }
    }
}

/// Options and inputs that are not the same, as a table.
pub(crate) fn difference_table(
    runs: &[String; 2],
    differences: &[(String, String, String)],
) -> Table {
    let rows = differences.iter().map(|(name, a, b)| Row {
        cells: vec![Cell::text(name).strong(true), Cell::text(a), Cell::text(b)],
        head: None,
    });
    Table {
        id: "differences".into(),
        title: "Model, data and options".into(),
        caption: "Everything else is the same in both runs.".into(),
        columns: vec![
            Column::text("what"),
            Column::text(&runs[0]),
            Column::text(&runs[1]),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}

fn difference(first: &HeadColumn, second: &HeadColumn) -> HeadColumn {
    let pairs = first.values.iter().zip(&second.values);
    HeadColumn {
        layers: first.layers,
        heads: first.heads,
        values: pairs.map(|(a, b)| Some((*b)? - (*a)?)).collect(),
    }
}
