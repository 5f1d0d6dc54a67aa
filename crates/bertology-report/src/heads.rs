//! All that several runs say of each head of one model, side by side.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use bertology_run::{HeadColumn, Rows, Run, RunError};

use crate::Error;
use crate::csv;
use crate::document::{Block, Cell, Column, Document, Row, Section, Table};
use crate::figure::{Axis, Figure, Place, Room, Scatter};
use crate::number::{plural, short};
use crate::place::{self, Places};
use crate::quantities::{Quantity, SyntaxHeads, behaviours};
use crate::report::{capital, clusters, heat, quantities};

/// Relations with fewer words than this are no evidence of what a head does.
const FEWEST: f64 = 20.0;

/// The columns that come first, if they are there.
const ORDER: [&str; 9] = [
    "importance",
    "entropy",
    "behaviour",
    "best_relation",
    "best_relation_accuracy",
    "cluster",
    "ablation_change",
    "ablation_loss",
    "coreference",
];

/// Behaviours in an order of their own, so that each has the same colour and shape on every map; the eighth colour
/// is grey.
const BEHAVIOURS: [&str; 8] = [
    "next", "previous", "broad", "first", "cls", "sep", "punct", "none",
];

/// What a column holds, `[layers, heads]` row by row.
#[derive(Debug, Clone)]
enum Values {
    Number(Quantity),
    Text(Vec<Option<String>>),
}

#[derive(Debug, Clone)]
struct Joint {
    key: String,
    name: String,
    values: Values,
}

/// One table of heads from several runs.
#[derive(Debug, Clone)]
pub struct Joined {
    model: String,
    layers: usize,
    heads: usize,
    columns: Vec<Joint>,
    sources: Vec<(String, String)>,
    map: Option<(Vec<Place>, Vec<String>)>,
}

/// Joins runs of one model, in any order and of any commands that look at heads.
///
/// # Errors
/// No run, runs of different models (by the SHA-256 of their content), a run that says nothing of heads, and
/// damaged files.
pub fn join(runs: &[Run]) -> Result<Joined, Error> {
    let first = runs.first().ok_or(Error::NoRuns)?;
    let model = first.model();
    let mut joined = Joined {
        model: Places::of(first).model().to_owned(),
        layers: model.layers,
        heads: model.heads,
        columns: Vec::new(),
        sources: Vec::new(),
        map: None,
    };
    let folder = |run: &Run| run.folder().display().to_string();
    let brief = |hash: &str| hash.chars().take(12).collect::<String>();
    let names = place::names(&runs.iter().collect::<Vec<_>>());
    for (run, name) in runs.iter().zip(names) {
        if run.model().sha256 != model.sha256 {
            return Err(Error::DifferentModels {
                first: folder(first),
                other: folder(run),
                model: run.model().name.clone(),
                expected: brief(&model.sha256),
                found: brief(&run.model().sha256),
            });
        }
        let before = joined.columns.len();
        joined.take(run)?;
        if joined.columns.len() == before {
            return Err(Error::NothingOfHeads {
                folder: folder(run),
                command: run.command().to_owned(),
            });
        }
        joined.sources.push((name, run.command().to_owned()));
    }
    let place = |key: &str| {
        ORDER
            .iter()
            .position(|other| *other == key)
            .unwrap_or(ORDER.len())
    };
    // Stable: the rest stays in the order of the runs.
    joined.columns.sort_by_key(|column| place(&column.key));
    joined.color_map();
    Ok(joined)
}

impl Joined {
    fn take(&mut self, run: &Run) -> Result<(), RunError> {
        for quantity in quantities(run)? {
            let (key, name) = (quantity.key.clone(), quantity.name.clone());
            self.push(run, &key, &name, Values::Number(quantity));
        }
        if let Some(found) = behaviours(run)? {
            let mut texts = vec![None; self.layers * self.heads];
            for ((layer, head), name) in found {
                if layer < self.layers && head < self.heads {
                    texts[layer * self.heads + head] = Some(name);
                }
            }
            self.push(run, "behaviour", "behaviour", Values::Text(texts));
        }
        if let Some((names, accuracies)) = best_relations(run)? {
            self.push(run, "best_relation", "best relation", Values::Text(names));
            let mut quantity = Quantity {
                key: "best_relation_accuracy".into(),
                name: "accuracy for it".into(),
                unit: "",
                signed: false,
                values: HeadColumn::empty(self.layers, self.heads),
            };
            quantity.values.values = accuracies;
            self.push(
                run,
                "best_relation_accuracy",
                "accuracy for it",
                Values::Number(quantity),
            );
        }
        if let Some(rows) = Rows::of_clusters(run)? {
            let places = clusters::places(&rows.all);
            let most = places.iter().map(|place| place.kind + 1).max().unwrap_or(0);
            let kinds = (0..most).map(|kind| format!("cluster {kind}")).collect();
            self.map = Some((places, kinds));
        }
        Ok(())
    }

    /// Columns of the same name bear the name of their run's folder.
    fn push(&mut self, run: &Run, key: &str, name: &str, values: Values) {
        let taken = self.columns.iter().any(|column| column.key == key);
        let (mut key, mut name) = (key.to_owned(), name.to_owned());
        if taken {
            let folder = run.name();
            name = format!("{name} ({folder})");
            key = format!("{key}_{folder}");
            let mut again = 2;
            while self.columns.iter().any(|column| column.key == key) {
                key = format!("{key}_{again}");
                again += 1;
            }
        }
        self.columns.push(Joint { key, name, values });
    }

    /// Behaviours say more of a point on the map than the number of its cluster.
    fn color_map(&mut self) {
        let texts = self.columns.iter().find_map(|column| match &column.values {
            Values::Text(texts) if column.key == "behaviour" => Some(texts),
            _ => None,
        });
        let (Some(texts), Some((places, kinds))) = (texts, &mut self.map) else {
            return;
        };
        *kinds = BEHAVIOURS.map(str::to_owned).to_vec();
        for place in places {
            let at = place
                .head
                .map_or(usize::MAX, |(layer, head)| layer * self.heads + head);
            let name = texts
                .get(at)
                .cloned()
                .flatten()
                .unwrap_or_else(|| "none".into());
            place.kind = kinds
                .iter()
                .position(|kind| *kind == name)
                .unwrap_or_else(|| {
                    kinds.push(name);
                    kinds.len() - 1
                });
        }
    }

    /// Names of the columns, behind `layer` and `head`.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.columns
            .iter()
            .map(|column| column.name.as_str())
            .collect()
    }

    /// The rows for people: layer, head, and the columns; an en dash where nothing is known.
    #[must_use]
    pub fn rows(&self) -> Vec<((usize, usize), Vec<String>)> {
        let ids = self.ids().map(|(layer, head)| {
            let cells = self
                .columns
                .iter()
                .map(|column| column.cell(layer, head, self.heads).text);
            ((layer, head), cells.collect())
        });
        ids.collect()
    }

    fn ids(&self) -> impl Iterator<Item = (usize, usize)> {
        let heads = self.heads;
        (0..self.layers).flat_map(move |layer| (0..heads).map(move |head| (layer, head)))
    }

    /// The table as CSV: layer, head and a column per quantity; empty where nothing is known.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("layer,head");
        for column in &self.columns {
            let _ = write!(text, ",{}", csv::field(&column.key));
        }
        text.push('\n');
        for (layer, head) in self.ids() {
            let _ = write!(text, "{layer},{head}");
            for column in &self.columns {
                let field = match &column.values {
                    Values::Number(quantity) => csv::number(quantity.values.get(layer, head)),
                    Values::Text(texts) => {
                        let text = texts.get(layer * self.heads + head).cloned().flatten();
                        csv::field(&text.unwrap_or_default())
                    }
                };
                let _ = write!(text, ",{field}");
            }
            text.push('\n');
        }
        text
    }

    /// The table for machines: an object per head, `null` where nothing is known.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.ids().map(|(layer, head)| {
            let mut row = Map::new();
            row.insert("layer".into(), json!(layer));
            row.insert("head".into(), json!(head));
            for column in &self.columns {
                let value = match &column.values {
                    Values::Number(quantity) => json!(quantity.values.get(layer, head)),
                    Values::Text(texts) => {
                        json!(texts.get(layer * self.heads + head).cloned().flatten())
                    }
                };
                row.insert(column.key.clone(), value);
            }
            Value::Object(row)
        });
        rows.collect()
    }

    /// The page: the table, to be put in order by any column, and the numbers as maps.
    #[must_use]
    pub fn document(&self) -> Document {
        let mut sections = vec![Section::new("All heads", vec![Block::Table(self.table())])];
        let mut figures: Vec<Figure> = Vec::new();
        if let Some((places, kinds)) = &self.map {
            figures.push(clusters::map(places, kinds, "map-of-heads", "Map of heads"));
        }
        figures.extend(self.scatter());
        if !figures.is_empty() {
            sections.push(Section::new("Together", vec![Block::Figures(figures)]));
        }
        let maps: Vec<Figure> = self.columns.iter().filter_map(Joint::heat).collect();
        sections.push(Section::new("Maps", vec![Block::Figures(maps)]).folded());
        let sources = Block::Facts(self.sources.clone());
        sections.push(Section::new("Runs", vec![sources]));
        Document {
            title: "Heads, joined".into(),
            facts: format!(
                "{} · {} · {}",
                self.model,
                plural(self.layers as u64, "layer"),
                plural(self.sources.len() as u64, "run")
            ),
            file: "heads".into(),
            sections,
            notes: Vec::new(),
        }
    }

    fn table(&self) -> Table {
        let mut columns = vec![Column::number("layer"), Column::number("head")];
        columns.extend(self.columns.iter().map(|column| match column.values {
            Values::Number(_) => Column::number(&column.name),
            Values::Text(_) => Column::text(&column.name),
        }));
        let rows = self.ids().map(|(layer, head)| {
            let mut cells = vec![Cell::whole(layer), Cell::whole(head)];
            cells.extend(
                self.columns
                    .iter()
                    .map(|column| column.cell(layer, head, self.heads)),
            );
            Row {
                cells,
                head: Some((layer, head)),
            }
        });
        let mut rows: Vec<Row> = rows.collect();
        // Most important first, where importance is known; else layer by layer.
        let sorted = self
            .columns
            .iter()
            .position(|column| column.key == "importance");
        if let Some(at) = sorted {
            let key = |row: &Row| row.cells[at + 2].value.unwrap_or(f64::NEG_INFINITY);
            rows.sort_by(|a, b| key(b).total_cmp(&key(a)));
        }
        Table {
            id: "heads".into(),
            title: plural((self.layers * self.heads) as u64, "head"),
            caption: "Click a column's name to put the heads in its order.".into(),
            columns,
            rows,
            sorted: sorted.map(|at| at + 2),
        }
    }

    /// Importance predicts the cost of removal, or does not.
    fn scatter(&self) -> Option<Figure> {
        let of = |key: &str| {
            self.columns.iter().find_map(|column| match &column.values {
                Values::Number(quantity) if column.key == key => Some(quantity),
                _ => None,
            })
        };
        let (x, y) = (of("importance")?, of("ablation_loss")?);
        let places: Vec<Place> = x
            .values
            .iter()
            .filter_map(|((layer, head), value)| {
                Some(Place {
                    name: format!("L{layer}H{head}"),
                    x: value,
                    y: y.values.get(layer, head)?,
                    kind: 0,
                    head: Some((layer, head)),
                })
            })
            .collect();
        let scatter = Scatter {
            places: &places,
            kinds: &[String::new()],
            x: Axis::of("importance", places.iter().map(|place| place.x)).with_zero(),
            y: Axis::of(
                "change of loss without the head",
                places.iter().map(|place| place.y),
            ),
            map: false,
            diagonal: false,
        };
        let figure = scatter.draw().named(
            "importance-and-removal",
            "Importance and the cost of removal",
            "Importance is a gradient; the change is what the loss does when the head is gone.",
        );
        (!places.is_empty()).then(|| figure.takes(Room::Wide))
    }
}

impl Joint {
    fn cell(&self, layer: usize, head: usize, heads: usize) -> Cell {
        match &self.values {
            Values::Text(texts) => {
                let text = texts.get(layer * heads + head).cloned().flatten();
                Cell::text(text.unwrap_or_else(|| "–".into()))
            }
            Values::Number(quantity) => {
                let value = quantity.values.get(layer, head);
                let whole = matches!(quantity.key.as_str(), "cluster" | "kept");
                let low = quantity.values.known().fold(0.0, f64::min);
                let high = quantity.values.known().fold(0.0, f64::max);
                let share = value
                    .filter(|_| low >= 0.0 && high > 0.0 && !whole)
                    .map(|v| v / high);
                Cell::number(value, |v| if whole { v.to_string() } else { short(v) })
                    .with_share(share)
            }
        }
    }

    fn heat(&self) -> Option<Figure> {
        match &self.values {
            Values::Number(quantity) if quantity.key != "cluster" => {
                let mut figure = heat(quantity);
                // Two runs may have a column of the same kind.
                figure.id = format!("heat-{}", file_name(&self.key));
                figure.title = capital(&self.name);
                Some(figure)
            }
            _ => None,
        }
    }
}

/// Letters, digits and dashes.
fn file_name(text: &str) -> String {
    let kept = text.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    kept.collect()
}

type BestRelations = (Vec<Option<String>>, Vec<Option<f64>>);

/// The relation for which each head beats the best fixed offset by most, of those for which it beats it beyond
/// chance: the lower end of its accuracy's interval is above the offset's accuracy. The interval is wide enough
/// for the whole table: so many heads, directions and relations are looked at that of pure noise many would pass
/// at 95 %.
fn best_relations(run: &Run) -> Result<Option<BestRelations>, RunError> {
    let Some(counts) = SyntaxHeads::read(run)? else {
        return Ok(None);
    };
    let heads = run.model().layers * run.model().heads;
    let mut names = vec![None; heads];
    let mut accuracies = vec![None; heads];
    let mut gains = vec![0.0; heads];
    let looks = heads * counts.directions() * counts.axes.relations.len();
    let z = corrected_z(looks as f64);
    for (row, relation) in counts.axes.relations.iter().enumerate() {
        let (name, total) = (relation.relation.as_str(), relation.total as f64);
        if total < FEWEST || matches!(name, "punct" | "root" | "") || name.starts_with("all") {
            continue;
        }
        let baselines = relation.baseline_correct.iter().flatten();
        let baseline = baselines.copied().max().unwrap_or(0) as f64;
        for direction in 0..counts.directions() {
            for at in 0..heads {
                let correct = counts.correct(direction, at, row);
                let gain = (correct - baseline) / total;
                if gain > gains[at] && lower_bound(correct, total, z) > baseline / total {
                    gains[at] = gain;
                    names[at] = Some(name.to_owned());
                    accuracies[at] = Some(correct / total);
                }
            }
        }
    }
    Ok(Some((names, accuracies)))
}

/// Standard errors to each side of an interval that holds for all of so many looks at 95 %, by the bound
/// `P(Z > z) <= exp(-z²/2) / 2` on the normal tail: a little wider than need be.
fn corrected_z(looks: f64) -> f64 {
    let tail = 0.05 / looks.max(1.0);
    (2.0 * (1.0 / tail).ln()).sqrt()
}

/// The lower end of Wilson's interval (1927) of a share.
fn lower_bound(correct: f64, total: f64, z: f64) -> f64 {
    let (share, z2) = (correct / total, z * z);
    let middle = share + z2 / (2.0 * total);
    let spread = z * (share * (1.0 - share) / total + z2 / (4.0 * total * total)).sqrt();
    (middle - spread) / (1.0 + z2 / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // The ends of Wilson's interval solve |share - p| = z sqrt(p (1 - p) / n).
        for (correct, total, z) in [(13.0, 39.0, 1.96), (1.0, 2.0, 4.0), (500.0, 501.0, 3.0)] {
            let low = lower_bound(correct, total, z);
            let distance = z * (low * (1.0 - low) / total).sqrt();
            assert!((correct / total - low - distance).abs() < 1e-12, "{low}");
        }
        // The bound lies above the exact quantile of the normal distribution at 0.025 / 1000, 4.0556.
        let z = corrected_z(1000.0);
        assert!(z > 4.055_6 && z < 4.6, "{z}");
    }
}
