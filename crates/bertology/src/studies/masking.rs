//! How many heads can go before the score falls: masking, least important first.
//!
//! The algorithm of `run_bertology.py` with its defects repaired: mask the least important share of
//! heads, score again, go on while the score stays above the threshold; the result is the last mask
//! that did. [`run`] knows no model: it asks an [`Evaluator`]. [`mask_heads`] brings the model.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bertology_model::{HeadId, HeadMask};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::drive::{Lens, Progress, Study, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::studies::evaluate::{Evaluation, EvaluationState, MaskedModel, Metrics};
use crate::studies::importance::ImportanceState;
use crate::studies::normalize::ranking;
use crate::watch::{Outcome, Purpose, Savable};
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

pub use crate::studies::metric::{Direction, Metric};
pub use options::{MaskingOptions, Recompute, Threshold};

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

/// The masking loop, a step at a time: between two steps its state can be shown, saved, and dropped.
///
/// Equal scores are masked in the order of (layer, head). The set of live heads shrinks at every
/// step, so the loop ends whatever the metric does.
#[derive(Debug)]
pub struct Search<'a> {
    start: HeadMask,
    metric: &'a Metric,
    options: &'a MaskingOptions,
    state: MaskingState,
    per_step: usize,
    stop: Option<StopReason>,
}

impl<'a> Search<'a> {
    /// `start` keeps the heads that there are; `state` is the loop so far, or `None` to begin.
    ///
    /// # Errors
    /// Options out of range, a state of another loop.
    pub fn new(
        start: HeadMask,
        metric: &'a Metric,
        options: &'a MaskingOptions,
        state: Option<MaskingState>,
    ) -> Result<Self, Error> {
        options.check(metric.direction)?;
        let state = state.unwrap_or_else(|| MaskingState {
            layers: start.layers(),
            heads: start.heads(),
            options: options.clone(),
            steps: Vec::new(),
        });
        state.check(&start, options)?;
        let total = start.live().count();
        Ok(Self {
            per_step: ((total as f64 * options.amount) as usize).max(1),
            start,
            metric,
            options,
            state,
            stop: None,
        })
    }

    /// The loop so far.
    #[must_use]
    pub fn state(&self) -> &MaskingState {
        &self.state
    }

    fn bound(&self) -> Result<f64, Error> {
        let base = self.state.steps.first().and_then(|base| base.score);
        self.metric
            .bound(self.options.threshold, base.unwrap_or(f64::NAN))
    }

    /// One more step; `None` when the loop has ended.
    ///
    /// # Errors
    /// A first score that the threshold cannot be compared with, and whatever `evaluator` says.
    pub fn step(
        &mut self,
        evaluator: &mut dyn Evaluator,
        watch: &mut dyn Watch,
    ) -> Result<Option<&Step>, Error> {
        let number = self.state.steps.len();
        let (mask, masked) = match self.state.steps.last() {
            None => (self.start.clone(), Vec::new()),
            Some(last) => match next_heads(&self.state, last, self.options, self.per_step)? {
                Ok(masked) => {
                    let mut mask = mask_of(self.state.layers, self.state.heads, &last.keep);
                    for id in &masked {
                        mask.set(*id, 0.0);
                    }
                    (mask, masked)
                }
                Err(reason) => {
                    self.stop = Some(reason);
                    return Ok(None);
                }
            },
        };
        let live = mask.live().count();
        let scores = live > 0 && (number == 0 || self.options.recompute == Recompute::Each);
        let found = evaluator.measure(number, &mask, scores, watch)?;
        let bound = match number {
            0 => self.metric.bound(self.options.threshold, found.score)?,
            _ => self.bound()?,
        };
        self.state.steps.push(Step {
            step: number,
            masked,
            live,
            score: (!found.score.is_nan()).then_some(found.score),
            passed: self.metric.passes(found.score, bound),
            metrics: found.metrics,
            loss: found.loss,
            raw: found.raw,
            keep: mask.values().iter().map(|v| *v != 0.0).collect(),
        });
        Ok(self.state.steps.last())
    }

    /// What the loop came to.
    ///
    /// # Errors
    /// [`Error::NoExamples`] before the first step.
    pub fn finish(self) -> Result<MaskingOutcome, Error> {
        let bound = match self.state.steps.is_empty() {
            true => return Err(Error::NoExamples),
            false => self.bound()?,
        };
        let MaskingState {
            layers,
            heads,
            steps,
            ..
        } = self.state;
        Ok(MaskingOutcome {
            metric: self.metric.name.clone(),
            direction: self.metric.direction,
            base_score: steps.first().and_then(|s| s.score).unwrap_or(f64::NAN),
            bound,
            heads_per_step: self.per_step,
            last_passing: steps.iter().rposition(|s| s.passed).unwrap_or(0),
            steps,
            stop: self.stop.unwrap_or(StopReason::Exhausted),
            layers,
            heads,
        })
    }
}

/// The masking loop over any evaluator, from its beginning to its end; see [`Search`].
///
/// # Errors
/// As [`Search::new`] and [`Search::step`].
pub fn run(
    start: HeadMask,
    metric: &Metric,
    options: &MaskingOptions,
    evaluator: &mut dyn Evaluator,
    state: Option<MaskingState>,
    watch: &mut dyn Watch,
) -> Result<MaskingOutcome, Error> {
    let mut search = Search::new(start, metric, options, state)?;
    while search.step(evaluator, watch)?.is_some() {}
    search.finish()
}

impl Savable for Search<'_> {
    fn save(&mut self) -> Result<Value, Error> {
        serde_json::to_value(&self.state).map_err(|source| Error::State { source })
    }
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
        if self.options != *options {
            let (saved, asked) = (&self.options, options);
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
        let mut live = start.live().count();
        for (number, step) in self.steps.iter().enumerate() {
            let before = number.checked_sub(1).and_then(|at| self.steps.get(at));
            let shrinks = before.is_none_or(|before| {
                let both = before.keep.iter().zip(&step.keep);
                live > step.live && both.fold(true, |fits, (was, is)| fits && (*was || !*is))
            });
            live = step.live;
            Error::unless_possible(
                step.step == number
                    && shrinks
                    && step.keep.iter().filter(|kept| **kept).count() == step.live,
                "steps",
                "the heads that are left do not follow from step to step",
            )?;
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
/// Masked heads are not computed, unless `options.reference`. Who looks on is offered the state of the pass; to go
/// on within one takes a [`Search`] and a [`ModelEvaluator`].
///
/// # Errors
/// As [`run`] and [`drive`]; a metric that the data are not scored with.
pub fn mask_heads(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &MaskingOptions,
    work: &Work,
    state: Option<MaskingState>,
    watch: &mut dyn Watch,
) -> Result<MaskingOutcome, Error> {
    let metric = Metric::of(corpus, options.metric.as_deref())?;
    let mut evaluator = ModelEvaluator::new(model, corpus, options, *work)?;
    let start = evaluator.start();
    run(start, &metric, options, &mut evaluator, state, watch)
}

/// Asks a model.
#[derive(Debug)]
pub struct ModelEvaluator<'a> {
    model: &'a LoadedModel,
    corpus: &'a Corpus,
    options: &'a MaskingOptions,
    metric: Metric,
    work: Work,
    /// How far an interrupted pass has come.
    pass: Option<Value>,
}

impl<'a> ModelEvaluator<'a> {
    /// The model on these data.
    ///
    /// # Errors
    /// A model without heads; a metric that the data are not scored with.
    pub fn new(
        model: &'a LoadedModel,
        corpus: &'a Corpus,
        options: &'a MaskingOptions,
        work: Work,
    ) -> Result<Self, Error> {
        if model.model().heads().next().is_none() {
            return Err(Error::NoHeads {
                path: model.checkpoint().folder().to_owned(),
                action: "mask",
            });
        }
        Ok(Self {
            model,
            corpus,
            options,
            metric: Metric::of(corpus, options.metric.as_deref())?,
            work,
            pass: None,
        })
    }

    /// Begins the next pass where an interrupted one, whose state this is, has stopped.
    #[must_use]
    pub fn after(mut self, pass: Option<Value>) -> Self {
        self.pass = pass;
        self
    }

    /// How far the pass has come that was interrupted last, for [`ModelEvaluator::after`].
    #[must_use]
    pub fn interrupted(&self) -> Option<&Value> {
        self.pass.as_ref()
    }

    /// One pass under a mask, from where an interrupted one has stopped.
    fn pass<S>(&mut self, model: &LoadedModel, study: S, watch: &mut InStep<'_>) -> Result<S, Error>
    where
        S: Study<Lens: Lens<Item = ExampleItem>>,
    {
        let mut progress = Progress::new(study);
        if let Some(pass) = self.pass.take() {
            progress = progress.resume(pass)?;
        }
        match drive(model, self.corpus, &mut progress, &self.work, watch) {
            Ok(()) => Ok(progress.into_study()),
            Err(error) => {
                if let Error::Interrupted { .. } = error {
                    self.pass = Some(progress.save()?);
                }
                Err(error)
            }
        }
    }

    /// Keeps every head of the model.
    #[must_use]
    pub fn start(&self) -> HeadMask {
        HeadMask::ones(self.model.model())
    }
}

impl Evaluator for ModelEvaluator<'_> {
    fn measure(
        &mut self,
        step: usize,
        mask: &HeadMask,
        scores: bool,
        watch: &mut dyn Watch,
    ) -> Result<Measured, Error> {
        let (corpus, options) = (self.corpus, self.options);
        let mut watch = InStep { step, watch };
        let compute_masked = scores && options.reference;
        let masked = MaskedModel::new(self.model, Some(mask), compute_masked)?;
        let (evaluation, raw): (Evaluation, _) = if scores {
            let study = ImportanceState::new(&masked, corpus, options.granularity)?;
            let found = self.pass(masked.model(), study, &mut watch)?.finish()?;
            (found.evaluation, Some(found.raw))
        } else {
            let study = EvaluationState::new(&masked, corpus);
            let found = self.pass(masked.model(), study, &mut watch)?.finish()?;
            (found, None)
        };
        Ok(Measured {
            score: evaluation.score(corpus, &self.metric.name)?,
            metrics: evaluation.metrics,
            loss: evaluation.loss,
            raw,
        })
    }
}

/// Looks on during a step of the loop, whose passes bear its number.
struct InStep<'a> {
    step: usize,
    watch: &'a mut dyn Watch,
}

impl Watch for InStep<'_> {
    fn begin(&mut self, _: Purpose, done: u64, total: u64) {
        self.watch
            .begin(Purpose::MaskingStep(self.step), done, total);
    }

    fn stop_signal(&self) -> Option<Arc<AtomicBool>> {
        self.watch.stop_signal()
    }

    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self.watch.advance(done, total)
    }

    fn example(&mut self, outcome: &Outcome<'_>) {
        self.watch.example(outcome);
    }

    fn safe_point(&mut self, state: &mut dyn Savable) -> ControlFlow<()> {
        self.watch.safe_point(state)
    }
}

/// Heads as `[layer, head]` pairs.
pub(crate) mod head_ids {
    use bertology_model::HeadId;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(ids: &[HeadId], s: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<[usize; 2]> = ids.iter().map(|id| [id.layer, id.head]).collect();
        pairs.serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<HeadId>, D::Error> {
        let pairs = Vec::<[usize; 2]>::deserialize(d)?;
        Ok(pairs
            .into_iter()
            .map(|[layer, head]| HeadId { layer, head })
            .collect())
    }
}
