//! Two runs of edge probing, task by task: they have numbers of layers and none of heads.

use bertology_run::studies::edge::{DECISIONS, EdgeLayerRow, EdgeQuantity, EdgeResults, EdgeTask};
use bertology_run::{Run, RunError};

use crate::Error;
use crate::compare::{difference_table, differences, differences_shown, names, same_command};
use crate::document::{Block, Cell, Column, Document, Row, Section, Table};
use crate::figure::{Axis, Figure, Lines, Point, Series};
use crate::number::{change, percent, plural, short};
use crate::place::Places;
use crate::report::title;

/// What a causal model cannot see.
pub const CAUSAL: &str = "A token of a causal model has seen nothing behind it: of a span only the last token has seen the \
     whole, and the first of two spans never sees the second. Lower scores and later layers than those of a model that sees both \
     sides are no evidence of another pipeline.";

/// True positives, false positives, false negatives of every sentence, `[seed][layer][sentence]`.
pub type EdgeDecisions = Vec<Vec<Vec<[u32; 3]>>>;

/// A number of a task's score curve that can be computed again for other sentences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EdgeStatistic {
    /// The score of the probe that reads all layers.
    Top,
    /// E_Δ by the mean curve of all seeds, times a factor for each run.
    ExpectedLayer([f64; 2]),
}

/// The interval of a statistic's difference, second less first, over sentences that are the same in both runs; nothing where it has
/// none.
pub type Redraw<'a> = &'a dyn Fn(EdgeStatistic, [&EdgeDecisions; 2]) -> Option<[f64; 2]>;

/// A number of both runs and what lies between.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeShift {
    /// Its name.
    pub name: String,
    /// Of both runs.
    pub values: [EdgeQuantity; 2],
    /// Second less first; nothing where a run has no such number, or where layers of one are not layers of the other.
    pub difference: Option<f64>,
    /// 95 % over seeds, which are independent in both runs.
    pub over_seeds: Option<[f64; 2]>,
    /// 95 % over sentences.
    pub over_sentences: Option<[f64; 2]>,
    /// Whether the same sentences were drawn for both; otherwise the interval is made of those of both runs.
    pub paired: bool,
    /// A share, as F1 is, and not a layer.
    pub share: bool,
}

impl EdgeShift {
    fn new(name: &str, values: [&EdgeQuantity; 2], share: bool) -> Self {
        let values = values.map(EdgeQuantity::clone);
        let [first, second] = [&values[0], &values[1]];
        let difference = first.value.zip(second.value).map(|(a, b)| b - a);
        let seeds = |of: &EdgeQuantity| of.value.zip(of.low.zip(of.high));
        let sentences = |of: &EdgeQuantity| of.value.zip(of.bootstrap_low.zip(of.bootstrap_high));
        Self {
            name: name.into(),
            over_seeds: seeds(first).zip(seeds(second)).map(between),
            over_sentences: sentences(first).zip(sentences(second)).map(between),
            difference,
            paired: false,
            share,
            values,
        }
    }

    /// Whether something can be said of which is larger: every interval that there is leaves 0 out, on one side, and there
    /// is one.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        let Some(difference) = self.difference else {
            return false;
        };
        let mut intervals = self
            .over_seeds
            .iter()
            .chain(&self.over_sentences)
            .peekable();
        intervals.peek().is_some()
            && intervals.all(|[low, high]| match difference > 0.0 {
                true => *low > 0.0,
                false => *high < 0.0,
            })
    }
}

type Ends = (f64, (f64, f64));

/// The interval of a difference from those of its two independent parts (Zou and Donner 2008): second less first.
fn between(((a, (a_low, a_high)), (b, (b_low, b_high))): (Ends, Ends)) -> [f64; 2] {
    let difference = b - a;
    [
        difference - (b - b_low).hypot(a_high - a),
        difference + (b_high - b).hypot(a - a_low),
    ]
}

/// A task that both runs have.
#[derive(Debug, Clone)]
pub struct EdgePair {
    /// Its name.
    pub task: String,
    /// Score of each layer of both runs.
    pub curves: [Vec<EdgeLayerRow>; 2],
    /// Whether both are scored on the same targets.
    pub same_targets: bool,
    /// Scored targets of both.
    pub targets: [u64; 2],
    /// What lies between.
    pub shifts: Vec<EdgeShift>,
    /// Why a run has no mean layers.
    pub guards: [Option<String>; 2],
    /// What the score is of.
    pub judged_by: [String; 2],
}

/// What two runs of edge probing have in common and what not.
#[derive(Debug, Clone)]
pub struct EdgeComparison {
    /// Names of both runs.
    pub runs: [String; 2],
    /// Tasks of both.
    pub pairs: Vec<EdgePair>,
    /// Tasks that only one has.
    pub only: [Vec<String>; 2],
    /// Whether one model sees what is behind a token and the other does not.
    pub one_is_causal: bool,
    /// What differs that should be known: options, data.
    pub differences: Vec<(String, String, String)>,
    /// The same as a page says them.
    shown: Vec<(String, String, String)>,
    models: [String; 2],
}

/// Compares two runs of edge probing, of any two models, task by task. `redraw` finds intervals over the sentences that both
/// have.
///
/// # Errors
/// Runs of another command, damaged files.
pub fn compare_edge(
    first: &Run,
    second: &Run,
    redraw: Redraw<'_>,
) -> Result<EdgeComparison, Error> {
    let runs = [first, second];
    same_command(first, second)?;
    let found: [EdgeResults; 2] = [first.results()?, second.results()?];
    let rows = [layers(first)?, layers(second)?];
    let decisions = [
        Decided::of(first, &found[0])?,
        Decided::of(second, &found[1])?,
    ];
    let mut pairs = Vec::new();
    for (at, task) in found[0].tasks.iter().enumerate() {
        let others = &found[1].tasks;
        let Some(other) = others.iter().position(|other| other.name == task.name) else {
            continue;
        };
        let of = |run: usize| -> Vec<EdgeLayerRow> {
            let rows = rows[run].iter().filter(|row| row.task == task.name);
            rows.cloned().collect()
        };
        let drawn = [decisions[0].task(at), decisions[1].task(other)];
        pairs.push(pair([task, &others[other]], [of(0), of(1)], drawn, redraw));
    }
    let only = [0, 1].map(|run| {
        let has = |name: &String| found[1 - run].tasks.iter().any(|other| other.name == *name);
        let names = found[run].tasks.iter().map(|task| task.name.clone());
        names.filter(|name| !has(name)).collect()
    });
    let causal = |of: &EdgeResults| of.probe.get("causal").and_then(serde_json::Value::as_bool);
    Ok(EdgeComparison {
        runs: names(first, second),
        pairs,
        only,
        one_is_causal: causal(&found[0])
            .zip(causal(&found[1]))
            .is_some_and(|(one, other)| one != other),
        differences: differences(first, second),
        models: runs.map(|run| Places::of(run).model().to_owned()),
        shown: differences_shown(first, second),
    })
}

fn layers(run: &Run) -> Result<Vec<EdgeLayerRow>, RunError> {
    Ok(run
        .rows::<EdgeLayerRow>()?
        .map_or_else(Vec::new, |rows| rows.all))
}

/// The decisions of a run and where those of each task are.
struct Decided {
    all: Option<EdgeDecisions>,
    /// First and behind the last sentence of each task.
    ends: Vec<[usize; 2]>,
}

impl Decided {
    fn of(run: &Run, found: &EdgeResults) -> Result<Self, RunError> {
        let mut ends = Vec::new();
        let mut total = 0;
        for task in &found.tasks {
            let start = total;
            total += task.sentences as usize;
            ends.push([start, total]);
        }
        // Runs of older versions have none.
        let Some(array) = run.array(DECISIONS)? else {
            return Ok(Self { all: None, ends });
        };
        let [seeds, layers, sentences, 3] = array.shape[..] else {
            return Ok(Self { all: None, ends });
        };
        if sentences != total || seeds * layers * sentences == 0 {
            return Ok(Self { all: None, ends });
        }
        let counts = array.values.chunks_exact(3);
        let counts: Vec<[u32; 3]> = counts
            .map(|of| [of[0] as u32, of[1] as u32, of[2] as u32])
            .collect();
        let all = counts.chunks(layers * sentences).map(|seed| {
            let layers = seed.chunks(sentences);
            layers.map(<[_]>::to_vec).collect()
        });
        Ok(Self {
            all: Some(all.collect()),
            ends,
        })
    }

    fn task(&self, at: usize) -> Option<EdgeDecisions> {
        let [start, end] = *self.ends.get(at)?;
        let seed = |layers: &Vec<Vec<[u32; 3]>>| -> Vec<Vec<[u32; 3]>> {
            layers
                .iter()
                .map(|layer| layer[start..end].to_vec())
                .collect()
        };
        Some(self.all.as_ref()?.iter().map(seed).collect())
    }
}

/// A number of a task.
type Of = fn(&EdgeTask) -> &EdgeQuantity;

fn pair(
    tasks: [&EdgeTask; 2],
    curves: [Vec<EdgeLayerRow>; 2],
    decisions: [Option<EdgeDecisions>; 2],
    redraw: Redraw<'_>,
) -> EdgePair {
    let [first, second] = tasks;
    // Older runs do not say what their targets are.
    let same = !first.targets_sha256.is_empty() && first.targets_sha256 == second.targets_sha256;
    let same = same && first.judged_by == second.judged_by;
    let drawn = match &decisions {
        [Some(first), Some(second)] if same => Some([first, second]),
        _ => None,
    };
    let again = |mut shift: EdgeShift, statistic| {
        let interval = drawn.and_then(|drawn| redraw(statistic, drawn));
        if shift.difference.is_some() && interval.is_some() {
            shift.over_sentences = interval;
            shift.paired = true;
        }
        shift
    };
    let both = |of: Of| tasks.map(of);
    let top = EdgeShift::new("score of all layers", both(|task| &task.top), true);
    let mut shifts = vec![again(top, EdgeStatistic::Top)];
    let depths = [0, 1].map(|run| curves[run].len().saturating_sub(1).max(1) as f64);
    let one_depth = depths[0] == depths[1];
    let means: [(&str, Of, bool); 3] = [
        ("expected layer", |task| &task.expected_layer, true),
        ("centre of gravity", |task| &task.centre_of_gravity, false),
        (
            "centre of gravity by norm",
            |task| &task.centre_of_gravity_by_norm,
            false,
        ),
    ];
    for (name, of, of_scores) in means {
        let values = both(of);
        if values.iter().all(|value| value.value.is_none()) {
            continue;
        }
        let statistic = |factors| EdgeStatistic::ExpectedLayer(factors);
        let mut shift = EdgeShift::new(name, values, false);
        if one_depth {
            if of_scores {
                shift = again(shift, statistic([1.0; 2]));
            }
            shifts.push(shift);
            continue;
        }
        // Layers of a deeper model are other layers: only their share of the way up can be compared.
        (shift.difference, shift.over_seeds, shift.over_sentences) = (None, None, None);
        shifts.push(shift);
        let factors = depths.map(f64::recip);
        let shares = [scaled(values[0], factors[0]), scaled(values[1], factors[1])];
        let name = format!("{name}, share of the way up");
        let shift = EdgeShift::new(&name, [&shares[0], &shares[1]], false);
        shifts.push(if of_scores {
            again(shift, statistic(factors))
        } else {
            shift
        });
    }
    EdgePair {
        task: first.name.clone(),
        curves,
        same_targets: same,
        targets: tasks.map(|task| task.targets),
        shifts,
        guards: tasks.map(|task| task.guard.clone()),
        judged_by: tasks.map(|task| task.judged_by.clone()),
    }
}

fn scaled(of: &EdgeQuantity, factor: f64) -> EdgeQuantity {
    let times = |value: Option<f64>| value.map(|value| value * factor);
    EdgeQuantity {
        value: times(of.value),
        low: times(of.low),
        high: times(of.high),
        bootstrap_low: times(of.bootstrap_low),
        bootstrap_high: times(of.bootstrap_high),
    }
}

impl EdgeComparison {
    /// The page: score curves on one axis, what lies between, and what else is not the same.
    #[must_use]
    pub fn document(&self) -> Document {
        let mut blocks = Vec::new();
        if self.one_is_causal {
            blocks.push(Block::Paragraph(CAUSAL.into()));
        }
        blocks.push(Block::Table(self.shift_table()));
        let mut sections = vec![Section::new("Tasks", blocks)];
        let curves = self.pairs.iter().enumerate();
        let curves: Vec<Figure> = curves
            .filter_map(|(at, pair)| self.curve(at, pair))
            .collect();
        if !curves.is_empty() {
            let table = Block::Table(self.layer_table());
            sections.push(Section::new("Layers", vec![Block::Figures(curves), table]));
        }
        sections.push(Section::new(
            "What is not the same",
            vec![Block::Table(difference_table(&self.runs, &self.shown))],
        ));
        let [a, b] = &self.models;
        Document {
            title: format!(
                "{}: {} and {}",
                title("edge-probe"),
                self.runs[0],
                self.runs[1]
            ),
            facts: if a == b {
                a.clone()
            } else {
                format!("{a} and {b}")
            },
            file: "compare-edge-probe".into(),
            sections,
            notes: self.notes(),
        }
    }

    /// What to know besides, as sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (run, only) in self.runs.iter().zip(&self.only) {
            if !only.is_empty() {
                notes.push(format!("Only {run} has {}.", only.join(", ")));
            }
        }
        for pair in &self.pairs {
            let [a, b] = pair.targets;
            if !pair.same_targets {
                notes.push(format!(
                    "{}: the runs are not known to be scored on the same targets ({} and {}), so that their intervals are put \
                     together as independent ones.",
                    pair.task,
                    plural(a, "target"),
                    plural(b, "target")
                ));
            }
            for (run, guard) in self.runs.iter().zip(&pair.guards) {
                notes.extend(
                    guard
                        .as_ref()
                        .map(|guard| format!("{}, {run}: {guard}.", pair.task)),
                );
            }
        }
        notes
    }

    fn curve(&self, at: usize, pair: &EdgePair) -> Option<Figure> {
        let line = |run: usize| {
            let point = |row: &EdgeLayerRow| {
                Some(Point {
                    low: row.score_low,
                    high: row.score_high,
                    ..Point::new(row.layer as f64, row.score?)
                })
            };
            Series {
                name: self.runs[run].clone(),
                points: pair.curves[run].iter().filter_map(point).collect(),
                reference: false,
            }
        };
        let series: Vec<Series> = [line(0), line(1)]
            .into_iter()
            .filter(|of| !of.points.is_empty())
            .collect();
        if series.is_empty() {
            return None;
        }
        let points = || series.iter().flat_map(|series| &series.points);
        let ys = points().flat_map(|point| [Some(point.y), point.low, point.high]);
        let lines = Lines {
            x: Axis::of("layer", points().map(|point| point.x)).whole(),
            y: Axis::of("F1", ys.flatten()).padded(),
            series,
            chosen: None,
            falling: false,
        };
        Some(lines.draw().named(
            &format!("edge-curves-{at}"),
            format!("{}: score by layer", pair.task),
            "Each point is a probe of its own that reads the layers up to this one; whiskers: 95 % over seeds.",
        ))
    }

    fn shift_table(&self) -> Table {
        let mut columns = vec![Column::text("task"), Column::text("what")];
        columns.extend(self.runs.iter().map(|run| Column::number(run)));
        columns.extend(
            ["difference", "seeds: low", "high", "sentences: low", "high"].map(Column::number),
        );
        columns.extend(["sentences", "which is larger"].map(Column::text));
        let mut rows = Vec::new();
        for pair in &self.pairs {
            for shift in &pair.shifts {
                let write: fn(f64) -> String = if shift.share { percent } else { short };
                let end = |interval: &Option<[f64; 2]>, at: usize| {
                    Cell::number(interval.map(|interval| interval[at]), change)
                };
                rows.push(Row {
                    cells: vec![
                        Cell::text(&pair.task).strong(true),
                        Cell::text(&shift.name),
                        Cell::number(shift.values[0].value, write),
                        Cell::number(shift.values[1].value, write),
                        Cell::number(shift.difference, change),
                        end(&shift.over_seeds, 0),
                        end(&shift.over_seeds, 1),
                        end(&shift.over_sentences, 0),
                        end(&shift.over_sentences, 1),
                        Cell::text(match (shift.over_sentences, shift.paired) {
                            (None, _) => "–",
                            (Some(_), true) => "paired",
                            (Some(_), false) => "unpaired",
                        }),
                        Cell::text(self.said(shift)),
                    ],
                    head: None,
                });
            }
        }
        Table {
            id: "edge-shifts".into(),
            title: "What lies between".into(),
            caption: "Second less first. Intervals of 95 %: over seeds made of those of both runs; over sentences drawn again for \
                      both at once (paired) where both are scored on the same targets, made of those of both runs otherwise. Not \
                      ordered: an interval holds 0, or there is none."
                .into(),
            columns,
            rows,
            ..Table::default()
        }
    }

    /// Which is larger, if that can be said.
    #[must_use]
    pub fn said(&self, shift: &EdgeShift) -> String {
        match (shift.difference, shift.is_ordered()) {
            (None, _) => "–".into(),
            (_, false) => "not ordered".into(),
            (Some(difference), true) if difference > 0.0 => self.runs[1].clone(),
            (Some(_), true) => self.runs[0].clone(),
        }
    }

    fn layer_table(&self) -> Table {
        let mut columns = vec![Column::text("task"), Column::number("layer")];
        columns.extend(self.runs.iter().map(|run| Column::number(run)));
        columns.push(Column::number("difference"));
        let mut rows = Vec::new();
        for pair in &self.pairs {
            let most = pair.curves.iter().map(Vec::len).max().unwrap_or(0);
            for layer in 0..most {
                let score = |run: usize| pair.curves[run].get(layer).and_then(|row| row.score);
                let difference = score(0).zip(score(1)).map(|(a, b)| b - a);
                rows.push(Row {
                    cells: vec![
                        Cell::text(&pair.task).strong(true),
                        Cell::whole(layer),
                        Cell::number(score(0), percent).with_share(score(0)),
                        Cell::number(score(1), percent).with_share(score(1)),
                        Cell::number(difference, change),
                    ],
                    head: None,
                });
            }
        }
        Table {
            id: "edge-both-layers".into(),
            title: "Layers of both".into(),
            caption: "F1; layer 0 is what goes into the first block.".into(),
            columns,
            rows,
            ..Table::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(value: f64, seeds: [f64; 2], sentences: Option<[f64; 2]>) -> EdgeQuantity {
        EdgeQuantity {
            value: Some(value),
            low: Some(seeds[0]),
            high: Some(seeds[1]),
            bootstrap_low: sentences.map(|ends| ends[0]),
            bootstrap_high: sentences.map(|ends| ends[1]),
        }
    }

    /// Independent normal numbers: half widths add up in squares.
    #[test]
    fn intervals_of_independent_numbers() {
        let (a, b) = (
            quantity(1.0, [0.7, 1.3], None),
            quantity(3.0, [2.6, 3.4], None),
        );
        let shift = EdgeShift::new("x", [&a, &b], false);
        let [low, high] = shift.over_seeds.unwrap();
        assert!(
            (low - 1.5).abs() < 1e-12 && (high - 2.5).abs() < 1e-12,
            "{low} {high}"
        );
        assert_eq!((shift.difference, shift.over_sentences), (Some(2.0), None));
        assert!(shift.is_ordered());
        // An end that is far from the one and near to the other.
        let a = quantity(1.0, [0.0, 1.1], None);
        let [low, high] = EdgeShift::new("x", [&a, &b], false).over_seeds.unwrap();
        assert!((low - (2.0 - 0.17_f64.sqrt())).abs() < 1e-12, "{low}");
        assert!((high - (2.0 + 1.16_f64.sqrt())).abs() < 1e-12, "{high}");
    }

    #[test]
    fn nothing_is_ordered_unless_every_interval_leaves_zero_out() {
        let sure = Some([0.99, 1.01]);
        let (a, b) = (
            quantity(1.0, [0.9, 1.1], sure),
            quantity(1.5, [1.4, 1.6], Some([1.49, 1.51])),
        );
        assert!(EdgeShift::new("x", [&a, &b], false).is_ordered());
        assert!(EdgeShift::new("x", [&b, &a], false).is_ordered());
        let wide = quantity(1.5, [1.4, 1.6], Some([0.5, 2.5]));
        assert!(!EdgeShift::new("x", [&a, &wide], false).is_ordered());
        let wide = quantity(1.5, [0.5, 2.5], Some([1.49, 1.51]));
        assert!(!EdgeShift::new("x", [&wide, &a], false).is_ordered());
        let bare = EdgeQuantity {
            value: Some(9.0),
            ..EdgeQuantity::default()
        };
        assert!(!EdgeShift::new("x", [&a, &bare], false).is_ordered());
    }
}
