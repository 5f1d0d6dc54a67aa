//! Results as arrays and tables of a run folder.

pub(crate) mod coref;
pub(crate) mod syntax;

use bertology::ablation::{Ablation, WithoutHead};
use bertology::attention::Proportion;
use bertology::evaluate::Metrics;
use bertology::importance::HeadIntervals;
use bertology::masking::{MaskingOutcome, Step};
use bertology::normalize;
use bertology::{HeadId, HeadMask, HeadTable};
use bertology_run::registry::{
    ABLATION, ABLATION_LOSS, ENTROPY, IMPORTANCE, IMPORTANCE_RAW, MASK, MASKS, RANKS,
};
use bertology_run::results::{Grid, finite};
use bertology_run::rows::{AblationRow, ImportanceRow, StepRow};
use bertology_run::table::More;

use crate::failure::Failure;
use crate::npy;
use crate::run_folder::RunFolder;

/// Values of the heads that have one, row-major `[layers, heads]`.
pub(crate) fn cells(table: &HeadTable) -> Vec<Option<f64>> {
    let values = table.values().iter().zip(table.live_flags());
    values.map(|(value, live)| live.then_some(*value)).collect()
}

/// The same as an array of float64, NaN for heads that have none: they must not look like heads with a number.
pub(crate) fn array(table: &HeadTable) -> Vec<u8> {
    let values = cells(table).into_iter();
    let values: Vec<f64> = values.map(|value| value.unwrap_or(f64::NAN)).collect();
    npy::encode(&[table.layers(), table.heads()], &values)
}

/// The same of float32.
pub(crate) fn f32_array(table: &HeadTable) -> Vec<u8> {
    let values = cells(table).into_iter();
    let values: Vec<f32> = values.map(|v| v.unwrap_or(f64::NAN) as f32).collect();
    npy::encode(&[table.layers(), table.heads()], &values)
}

/// The same, layer by layer.
pub(crate) fn grid(table: &HeadTable) -> Grid {
    let cells = cells(table);
    let layers = cells.chunks(table.heads().max(1));
    layers.map(<[_]>::to_vec).collect()
}

/// Lower and upper end of the interval, if there is one.
pub(crate) fn ends(score: Proportion) -> (Option<f64>, Option<f64>) {
    score.interval().unzip()
}

pub(crate) fn metric_names(metrics: &Metrics) -> Vec<String> {
    metrics.iter().map(|(name, _)| name.to_owned()).collect()
}

pub(crate) fn metric_values(metrics: &Metrics) -> More<Option<f64>> {
    More(metrics.iter().map(|(_, value)| finite(value)).collect())
}

/// The array beside the table holds the number in f32, and the two must not differ.
fn as_in_the_array(value: f64) -> f64 {
    f64::from(value as f32)
}

/// Raw and normalised scores of all heads, and what else is known of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scores<'a> {
    pub(crate) raw: &'a HeadTable,
    pub(crate) normalized: &'a HeadTable,
    pub(crate) entropy: Option<&'a HeadTable>,
    /// Of the raw scores.
    pub(crate) standard_error: Option<&'a HeadTable>,
    pub(crate) intervals: Option<&'a HeadIntervals>,
}

impl Scores<'_> {
    /// Importance, raw importance, ranks and entropy as arrays, and all of them as a table.
    pub(crate) fn write(self, folder: &RunFolder) -> Result<(), Failure> {
        let shape = [self.raw.layers(), self.raw.heads()];
        let array = |table: &HeadTable| npy::encode(&shape, &table.to_f32());
        folder.write(IMPORTANCE, &array(self.normalized))?;
        let raw = npy::encode(&shape, self.raw.values());
        folder.write(IMPORTANCE_RAW, &raw)?;
        let ranks = normalize::ranks(self.normalized);
        let numbers: Vec<i64> = ranks
            .iter()
            .map(|rank| rank.and_then(|rank| i64::try_from(rank).ok()).unwrap_or(-1))
            .collect();
        folder.write(RANKS, &npy::encode(&shape, &numbers))?;
        if let Some(entropy) = self.entropy {
            folder.write(ENTROPY, &array(entropy))?;
        }
        let rows = ranks.into_iter().enumerate().map(|(at, rank)| {
            let id = HeadId {
                layer: at / self.raw.heads(),
                head: at % self.raw.heads(),
            };
            let importance = self.intervals.and_then(|of| of.importance[at]);
            let ranks = self.intervals.and_then(|of| of.ranks[at]);
            ImportanceRow {
                layer: id.layer,
                head: id.head,
                importance: self.normalized.get(id).map(as_in_the_array),
                importance_raw: self.raw.get(id),
                entropy: self
                    .entropy
                    .and_then(|table| table.get(id))
                    .map(as_in_the_array),
                rank,
                live: rank.is_some(),
                standard_error: self.standard_error.and_then(|table| table.get(id)),
                importance_low: importance.map(|[low, _]| low),
                importance_high: importance.map(|[_, high]| high),
                rank_low: ranks.map(|[low, _]| low),
                rank_high: ranks.map(|[_, high]| high),
            }
        });
        Ok(folder.write_table(&[], rows)?)
    }
}

/// What each head's removal does: the result, and the change of the metric that decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removals<'a> {
    pub(crate) found: &'a Ablation,
    pub(crate) change: &'a HeadTable,
    /// Whether predictions are right or wrong.
    pub(crate) classes: bool,
}

impl Removals<'_> {
    /// The changes as arrays, and all that is known of each head as a table.
    pub(crate) fn write(self, folder: &RunFolder) -> Result<(), Failure> {
        folder.write(ABLATION, &f32_array(self.change))?;
        folder.write(ABLATION_LOSS, &f32_array(&self.found.loss_change()))?;
        let names = metric_names(&self.found.whole.metrics);
        let rows = self.found.without.iter().map(|without| self.row(without));
        Ok(folder.write_table(&names, rows)?)
    }

    fn row(self, without: &WithoutHead) -> AblationRow {
        let paired = without.paired;
        let of_classes = |count: u64| self.classes.then_some(count);
        AblationRow {
            layer: without.head.layer,
            head: without.head.head,
            change: self.change.get(without.head).and_then(finite),
            loss_change: without.loss_change,
            loss_standard_error: finite(paired.loss_standard_error),
            changed: of_classes(paired.changed),
            right_to_wrong: of_classes(paired.right_to_wrong),
            wrong_to_right: of_classes(paired.wrong_to_right),
            p_value: self.classes.then(|| paired.p_value()),
            loss: Some(without.evaluation.loss),
            metrics: metric_values(&without.evaluation.metrics),
        }
    }
}

/// 1 keeps a head, 0 masks it.
pub(crate) fn write_mask(folder: &RunFolder, mask: &HeadMask) -> Result<(), Failure> {
    let values: Vec<f32> = mask.values().iter().map(|value| *value as f32).collect();
    let shape = [mask.layers(), mask.heads()];
    Ok(folder.write(MASK, &npy::encode(&shape, &values))?)
}

/// Every pass of the masking loop: its scores as a table, its masks as an array.
pub(crate) fn write_curve(folder: &RunFolder, outcome: &MaskingOutcome) -> Result<(), Failure> {
    let mask = outcome.mask();
    let mut keep: Vec<f32> = Vec::with_capacity(outcome.steps.len() * mask.values().len());
    for step in &outcome.steps {
        keep.extend(step.keep.iter().map(|keep| f32::from(u8::from(*keep))));
    }
    let shape = [outcome.steps.len(), mask.layers(), mask.heads()];
    folder.write(MASKS, &npy::encode(&shape, &keep))?;
    let names = outcome
        .steps
        .first()
        .map(|base| metric_names(&base.metrics));
    let rows = outcome.steps.iter().map(step_row);
    Ok(folder.write_table(&names.unwrap_or_default(), rows)?)
}

fn step_row(step: &Step) -> StepRow {
    let heads: Vec<String> = step.masked.iter().map(ToString::to_string).collect();
    StepRow {
        step: step.step,
        heads_left: step.live,
        score: step.score,
        passed: step.passed,
        loss: step.loss,
        metrics: metric_values(&step.metrics),
        masked_heads: heads.join(" "),
    }
}
