//! What `bertology dynamics` writes and shows.

use bertology::dynamics::{Agreement, Dynamics, dispensable, relative};
use bertology::masking::{Direction, Metric};
use bertology::normalize::ranks;
use bertology_run::results::finite;
use bertology_run::studies::dynamics::{
    CheckpointDynamics, DynamicsResults, DynamicsRow, DynamicsStepRow, HeadStepRow,
    IMPORTANCE_STEPS, RandomDynamics,
};

use super::training::Training;
use crate::failure::Failure;
use crate::npy;
use crate::record;
use crate::run_folder::RunFolder;
use crate::tables::{cells, metric_names, metric_values};

/// A study that is over.
pub(super) struct Found<'a> {
    pub(super) dynamics: &'a Dynamics,
    pub(super) training: &'a Training,
    pub(super) metric: &'a Metric,
}

impl Found<'_> {
    /// Tables and the array.
    pub(super) fn write(&self, folder: &RunFolder) -> Result<(), Failure> {
        let steps = (0..self.dynamics.found().len()).filter_map(|at| self.step_row(at));
        folder.write_table::<DynamicsStepRow, _>(&[], steps)?;
        let first = self.dynamics.found().first();
        let names = first
            .and_then(|found| found.curves.whole())
            .map(|point| metric_names(&point.metrics));
        folder.write_table::<DynamicsRow, _>(&names.unwrap_or_default(), self.curve_rows())?;
        folder.write_table::<HeadStepRow, _>(&[], self.head_rows())?;
        let mut values: Vec<f64> = Vec::new();
        let mut shape = [0; 3];
        for at in 0..self.dynamics.found().len() {
            if let Some(table) = self.dynamics.importance(at) {
                shape = [at + 1, table.layers(), table.heads()];
                let cells = cells(&table).into_iter();
                values.extend(cells.map(|value| value.unwrap_or(f64::NAN)));
            }
        }
        Ok(folder.write(IMPORTANCE_STEPS, &npy::encode(&shape, &values))?)
    }

    /// With the checkpoint before, and with the last.
    fn agreements(&self, at: usize) -> [Option<Agreement>; 2] {
        let before = at.checked_sub(1);
        let last = self.dynamics.found().len().checked_sub(1);
        [before, last].map(|other| self.dynamics.agreement(at, other?))
    }

    fn dispensable(&self, at: usize) -> Option<usize> {
        let curves = &self.dynamics.found().get(at)?.curves;
        let whole = curves.whole()?.score;
        dispensable(whole, curves.points(0), self.metric.direction)
    }

    fn step_row(&self, at: usize) -> Option<DynamicsStepRow> {
        let found = self.dynamics.found().get(at)?;
        let moment = self.dynamics.moments().get(at)?;
        let whole = found.curves.whole()?;
        let [previous, last] = self.agreements(at);
        Some(DynamicsStepRow {
            step: moment.step,
            name: moment.name.clone(),
            score: whole.score,
            loss: whole.loss,
            spearman_previous: previous.and_then(|found| finite(found.spearman)),
            kendall_previous: previous.and_then(|found| finite(found.kendall)),
            spearman_last: last.and_then(|found| finite(found.spearman)),
            kendall_last: last.and_then(|found| finite(found.kendall)),
            dispensable: self.dispensable(at),
        })
    }

    fn curve_rows(&self) -> Vec<DynamicsRow> {
        let mut rows = Vec::new();
        for (moment, found) in self.dynamics.moments().iter().zip(self.dynamics.found()) {
            let curves = &found.curves;
            let whole = curves.whole().and_then(|point| point.score);
            rows.extend(curves.every().map(|(order, point)| DynamicsRow {
                step: moment.step,
                order: order.map_or_else(String::new, |order| order.name.clone()),
                seed: order.and_then(|order| order.seed),
                masked: point.masked,
                score: point.score,
                score_low: point.interval.map(|[low, _]| low),
                score_high: point.interval.map(|[_, high]| high),
                relative: relative(point.score, whole),
                loss: point.loss,
                metrics: metric_values(&point.metrics),
            }));
        }
        rows
    }

    fn head_rows(&self) -> Vec<HeadStepRow> {
        let mut rows = Vec::new();
        let all = self.dynamics.moments().iter().zip(self.dynamics.found());
        for (at, (moment, found)) in all.enumerate() {
            let Some(table) = self.dynamics.importance(at) else {
                continue;
            };
            let ranks = ranks(&table);
            rows.extend(self.dynamics.heads().iter().map(|id| HeadStepRow {
                step: moment.step,
                layer: id.layer,
                head: id.head,
                importance_raw: found.raw.get(*id),
                importance: table.get(*id),
                rank: ranks[id.layer * table.heads() + id.head],
            }));
        }
        rows
    }

    /// For the record.
    pub(super) fn results(&self, granularity: String, ranked_on_scored: bool) -> DynamicsResults {
        let of = |at: usize| {
            let row = self.step_row(at)?;
            let found = self.dynamics.found().get(at)?;
            let curves = &found.curves;
            let scores = |order| {
                curves
                    .points(order)
                    .iter()
                    .map(|point| point.score)
                    .collect()
            };
            let drawn = curves.orders().iter().enumerate();
            let drawn = drawn.filter_map(|(order, of)| {
                Some(RandomDynamics {
                    seed: of.seed?,
                    scores: scores(order),
                })
            });
            Some(CheckpointDynamics {
                step: row.step,
                name: row.name,
                sha256: self.training.sha256.get(at).cloned().unwrap_or_default(),
                score: row.score,
                loss: finite(row.loss),
                metrics: record::metrics(&curves.whole()?.metrics),
                spearman_previous: row.spearman_previous,
                kendall_previous: row.kendall_previous,
                spearman_last: row.spearman_last,
                kendall_last: row.kendall_last,
                dispensable: row.dispensable.map(|heads| heads as u64),
                order: record::names(&curves.orders().first()?.heads),
                scores: scores(0),
                random: drawn.collect(),
            })
        };
        let counts = self.dynamics.counts();
        DynamicsResults {
            metric: Some(self.metric.name.clone()),
            higher_is_better: self.metric.direction == Direction::Higher,
            granularity,
            heads: self.dynamics.heads().len() as u64,
            masked: counts.iter().map(|count| *count as u64).collect(),
            ranked_on_scored,
            checkpoints: (0..self.dynamics.found().len()).filter_map(of).collect(),
        }
    }
}

/// A line a checkpoint.
pub(super) fn text(found: &DynamicsResults) -> String {
    let metric = found.metric.as_deref().unwrap_or("score");
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.4}"));
    let rank = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.3}"));
    let mut lines = vec![format!(
        "{:>10}  {metric:>10}  {:>8}  {:>6}  {:>8}  {:>8}",
        "step", "loss", "can go", "ρ before", "ρ last"
    )];
    for of in &found.checkpoints {
        let can_go = of.dispensable.map_or_else(|| "-".into(), |n| n.to_string());
        lines.push(format!(
            "{:>10}  {:>10}  {:>8}  {can_go:>6}  {:>8}  {:>8}",
            of.step,
            number(of.score),
            number(of.loss),
            rank(of.spearman_previous),
            rank(of.spearman_last)
        ));
    }
    let bound = if found.higher_is_better {
        "the score stays within a tenth of that with all heads"
    } else {
        "the score grows by a tenth at most"
    };
    lines.push(format!(
        "can go: of {} heads, the least important first, while {bound}\n\
         ρ: Spearman's, of importance with that of the checkpoint before and of the last",
        found.heads
    ));
    lines.join("\n")
}
