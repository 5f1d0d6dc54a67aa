//! How many heads can go before the score falls: masking, least important first.
//!
//! The algorithm of `run_bertology.py` with its defects repaired: mask the least important share of
//! heads, score again, go on while the score stays above the threshold; the result is the last mask
//! that did. [`run`] knows no model: it asks an [`Evaluator`]. [`mask_heads`] brings the model.

use bertology_model::{HeadId, HeadMask};
use serde::{Deserialize, Serialize};

use crate::studies::evaluate::{self, Evaluation, Masked, Metrics};
use crate::studies::importance::{ImportanceOptions, ImportanceState};
use crate::studies::normalize::ranking;
use crate::watch::Pass;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

pub use options::{Direction, MaskingOptions, Metric, Recompute, Threshold};

mod options;

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The score of the last step fell below the threshold.
    Threshold,
    /// No head is left, and the score is still above the threshold.
    Exhausted,
    /// The metric of the last step is not a number.
    MetricUndefined,
    /// As many steps as were allowed.
    MaxSteps,
    /// Every layer is down to the fewest heads allowed.
    MinHeads,
}

/// One pass of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// 0 is the pass before any head is masked.
    pub step: usize,
    /// Heads masked since the step before, least important first.
    #[serde(with = "head_ids")]
    pub masked: Vec<HeadId>,
    /// Heads left.
    pub live: usize,
    /// The metric that decides; `None` if it is not a number.
    pub score: Option<f64>,
    /// All metrics of the pass.
    pub metrics: Metrics,
    /// Mean loss of the pass.
    pub loss: f64,
    /// Whether the score is on the right side of the threshold.
    pub passed: bool,
    /// Raw scores of the heads under this step's mask; `None` where they were not computed.
    pub raw: Option<HeadTable>,
    /// Row-major `[layers, heads]`: which heads are left.
    pub keep: Vec<bool>,
}

/// The loop between two steps: it can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskingState {
    layers: usize,
    heads: usize,
    options: MaskingOptions,
    /// The steps finished so far.
    pub steps: Vec<Step>,
}

/// How the loop ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MaskingOutcome {
    /// Name of the metric that decided.
    pub metric: String,
    /// Which way it improves.
    pub direction: Direction,
    /// The metric before any head was masked.
    pub base_score: f64,
    /// The value that the metric must not cross.
    pub bound: f64,
    /// Heads masked at a step.
    pub heads_per_step: usize,
    /// Every pass in order, the one that failed included.
    pub steps: Vec<Step>,
    /// Place in `steps` of the last that passed: its mask is the result.
    pub last_passing: usize,
    /// Why the loop ended.
    pub stop: StopReason,
    layers: usize,
    heads: usize,
}

impl MaskingOutcome {
    /// The last mask whose score was on the right side of the threshold.
    #[must_use]
    pub fn mask(&self) -> HeadMask {
        let keep = &self.steps[self.last_passing].keep;
        mask_of(self.layers, self.heads, keep)
    }

    /// The pass of that mask.
    #[must_use]
    pub fn kept(&self) -> &Step {
        &self.steps[self.last_passing]
    }
}

fn mask_of(layers: usize, heads: usize, keep: &[bool]) -> HeadMask {
    let values = keep.iter().map(|k| f64::from(u8::from(*k))).collect();
    // `keep` was made from a mask of this shape.
    HeadMask::from_values(layers, heads, values).unwrap_or_else(|e| unreachable!("{e}"))
}

/// What a pass under one mask found.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The metric that decides; NaN where it is undefined.
    pub score: f64,
    /// All metrics.
    pub metrics: Metrics,
    /// Mean loss.
    pub loss: f64,
    /// Raw scores, if they were asked for, of every head that the mask keeps (others may be there).
    pub raw: Option<HeadTable>,
}

/// What the loop asks about a mask.
pub trait Evaluator {
    /// The score under `mask`, and with `scores` the importance of its heads.
    ///
    /// # Errors
    /// Whatever keeps the pass from being finished.
    fn measure(
        &mut self,
        step: usize,
        mask: &HeadMask,
        scores: bool,
        watch: &mut dyn Watch,
    ) -> Result<Measured, Error>;
}

/// The masking loop over any evaluator. `start` keeps the heads that there are; `state` is the loop
/// so far, or `None` to begin.
///
/// Equal scores are masked in the order of (layer, head). The set of live heads shrinks at every
/// step, so the loop ends whatever the metric does.
///
/// # Errors
/// Options out of range, a first score that the threshold cannot be compared with, a state of
/// another loop, and whatever `evaluator` or `watch` say.
pub fn run(
    start: &HeadMask,
    metric: &Metric,
    options: &MaskingOptions,
    evaluator: &mut dyn Evaluator,
    state: Option<MaskingState>,
    watch: &mut dyn Watch,
) -> Result<MaskingOutcome, Error> {
    options.check(metric.direction)?;
    let (layers, heads) = (start.layers(), start.heads());
    let mut state = state.unwrap_or_else(|| MaskingState {
        layers,
        heads,
        options: options.clone(),
        steps: Vec::new(),
    });
    state.check(start, options)?;
    let total = start.live().count();
    let per_step = ((total as f64 * options.amount) as usize).max(1);
    let mut bound = match state.steps.first() {
        Some(base) => metric.bound(options.threshold, base.score.unwrap_or(f64::NAN))?,
        None => f64::NAN,
    };
    let mut stop = None;
    while stop.is_none() {
        let number = state.steps.len();
        let (mask, masked) = match state.steps.last() {
            None => (start.clone(), Vec::new()),
            Some(last) => match next_heads(&state, last, options, per_step)? {
                Ok(masked) => {
                    let mut mask = mask_of(layers, heads, &last.keep);
                    for id in &masked {
                        mask.set(*id, 0.0);
                    }
                    (mask, masked)
                }
                Err(reason) => {
                    stop = Some(reason);
                    continue;
                }
            },
        };
        let live = mask.live().count();
        let scores = live > 0 && (number == 0 || options.recompute == Recompute::Each);
        let found = evaluator.measure(number, &mask, scores, watch)?;
        if number == 0 {
            bound = metric.bound(options.threshold, found.score)?;
        }
        let step = Step {
            step: number,
            masked,
            live,
            score: (!found.score.is_nan()).then_some(found.score),
            passed: metric.passes(found.score, bound),
            metrics: found.metrics,
            loss: found.loss,
            raw: found.raw,
            keep: mask.values().iter().map(|v| *v != 0.0).collect(),
        };
        state.steps.push(step.clone());
        if watch.step(&step, &state).is_break() {
            return Err(Error::InterruptedLoop { step: number });
        }
    }
    let steps = state.steps;
    Ok(MaskingOutcome {
        metric: metric.name.clone(),
        direction: metric.direction,
        base_score: steps.first().and_then(|s| s.score).unwrap_or(f64::NAN),
        bound,
        heads_per_step: per_step,
        last_passing: steps.iter().rposition(|s| s.passed).unwrap_or(0),
        steps,
        stop: stop.unwrap_or(StopReason::Exhausted),
        layers,
        heads,
    })
}

impl MaskingState {
    /// The last mask tried whose score was on the right side of the threshold, if any was.
    #[must_use]
    pub fn mask(&self) -> Option<HeadMask> {
        let last = self.steps.iter().rfind(|step| step.passed)?;
        let values = last.keep.iter().map(|k| f64::from(u8::from(*k)));
        HeadMask::from_values(self.layers, self.heads, values.collect()).ok()
    }

    fn check(&self, start: &HeadMask, options: &MaskingOptions) -> Result<(), Error> {
        let comparable = MaskingOptions {
            threads: self.options.threads,
            ..options.clone()
        };
        if self.options != comparable {
            let (saved, asked) = (&self.options, &comparable);
            return Error::state_mismatch(
                "the options",
                format!("{saved:?}"),
                format!("{asked:?}"),
            );
        }
        let shape = |layers, heads| format!("[{layers}, {heads}]");
        let fits = self.steps.iter().all(|step| {
            let tables = step.raw.iter();
            step.keep.len() == start.values().len()
                && tables
                    .clone()
                    .all(|t| t.layers() == start.layers() && t.heads() == start.heads())
        });
        let begins = self.steps.first().is_none_or(|base| {
            let live = start.values().iter().map(|v| *v != 0.0);
            base.keep.iter().copied().eq(live)
        });
        if (self.layers, self.heads) != (start.layers(), start.heads()) || !fits || !begins {
            return Error::state_mismatch(
                "the set of heads",
                shape(self.layers, self.heads),
                shape(start.layers(), start.heads()),
            );
        }
        Ok(())
    }
}

/// The heads to mask after `last`, or the reason to stop.
fn next_heads(
    state: &MaskingState,
    last: &Step,
    options: &MaskingOptions,
    per_step: usize,
) -> Result<Result<Vec<HeadId>, StopReason>, Error> {
    if last.score.is_none() {
        return Ok(Err(StopReason::MetricUndefined));
    }
    if !last.passed {
        return Ok(Err(StopReason::Threshold));
    }
    if last.live == 0 {
        return Ok(Err(StopReason::Exhausted));
    }
    let ranked_by = match options.recompute {
        Recompute::Each => last.raw.as_ref(),
        Recompute::Once => state.steps.first().and_then(|base| base.raw.as_ref()),
    };
    let mask = mask_of(state.layers, state.heads, &last.keep);
    let live = || mask.live();
    let table = match ranked_by {
        Some(table) => options.normalization.apply(table),
        None => match live().next() {
            Some(head) => return Err(Error::Unscored { head }),
            None => return Ok(Err(StopReason::Exhausted)),
        },
    };
    if let Some(head) = live().find(|id| table.get(*id).is_none()) {
        return Err(Error::Unscored { head });
    }
    let order = least_important_first(&table.restricted(|id| mask.get(id) != 0.0));
    let mut left: Vec<usize> = (0..state.layers)
        .map(|layer| live().filter(|id| id.layer == layer).count())
        .collect();
    // The most important of a layer come last in the order, so they are the ones that stay.
    let mut candidates = order.into_iter().filter(|id| {
        let may_go = left[id.layer] > options.min_heads_per_layer;
        left[id.layer] -= 1;
        may_go
    });
    let chosen: Vec<HeadId> = candidates.by_ref().take(per_step).collect();
    if chosen.is_empty() {
        return Ok(Err(StopReason::MinHeads));
    }
    if options.max_steps.is_some_and(|most| last.step >= most) {
        return Ok(Err(StopReason::MaxSteps));
    }
    Ok(Ok(chosen))
}

/// Live heads by ascending score, equal ones by (layer, head) ascending.
fn least_important_first(table: &HeadTable) -> Vec<HeadId> {
    ranking(&table.map(|_, score| -score))
}

/// The masking loop over a model and labelled examples.
///
/// Masked heads are not computed, unless `options.reference`.
///
/// # Errors
/// As [`run`] and [`crate::studies::importance::importance`]; a metric that the data are not scored with.
pub fn mask_heads(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &MaskingOptions,
    state: Option<MaskingState>,
    watch: &mut dyn Watch,
) -> Result<MaskingOutcome, Error> {
    let metric = Metric::of(corpus, options.metric.as_deref())?;
    let start = HeadMask::ones(model.model());
    if start.live().next().is_none() {
        return Err(Error::NoHeads {
            path: model.checkpoint().folder().to_owned(),
            action: "mask",
        });
    }
    let mut evaluator = ModelEvaluator {
        model,
        corpus,
        options,
        metric: &metric,
    };
    run(&start, &metric, options, &mut evaluator, state, watch)
}

struct ModelEvaluator<'a> {
    model: &'a LoadedModel,
    corpus: &'a Corpus,
    options: &'a MaskingOptions,
    metric: &'a Metric,
}

impl Evaluator for ModelEvaluator<'_> {
    fn measure(
        &mut self,
        step: usize,
        mask: &HeadMask,
        scores: bool,
        watch: &mut dyn Watch,
    ) -> Result<Measured, Error> {
        let Self {
            model,
            corpus,
            options,
            metric,
        } = *self;
        watch.begin(Pass::MaskingStep(step), 0, corpus.examples());
        let (evaluation, raw): (Evaluation, _) = if scores {
            let request = ImportanceOptions::new(options.granularity)
                .mask(mask)
                .compute_masked(options.reference)
                .threads(options.threads);
            let mut state = ImportanceState::new(model, &request)?;
            state.run_quietly(model, corpus, &request, watch)?;
            let found = state.finish(corpus)?;
            (found.evaluation, Some(found.raw))
        } else {
            let masked = Masked::new(model, Some(mask), false)?;
            let threads = options.threads;
            let found = evaluate::evaluate_quietly(&masked, corpus, threads, watch)?;
            (found, None)
        };
        Ok(Measured {
            score: evaluation.score(corpus, &metric.name)?,
            metrics: evaluation.metrics,
            loss: evaluation.loss,
            raw,
        })
    }
}

/// Heads as `[layer, head]` pairs.
mod head_ids {
    use bertology_model::HeadId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(ids: &[HeadId], s: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<[usize; 2]> = ids.iter().map(|id| [id.layer, id.head]).collect();
        pairs.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<HeadId>, D::Error> {
        let pairs = Vec::<[usize; 2]>::deserialize(d)?;
        Ok(pairs
            .into_iter()
            .map(|[layer, head]| HeadId { layer, head })
            .collect())
    }
}
