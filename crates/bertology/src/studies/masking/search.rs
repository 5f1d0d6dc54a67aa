//! The loop itself: which heads go next, when it goes back, when it ends.

use bertology_model::{HeadId, HeadMask};
use serde_json::Value;

use super::{
    Evaluator, Goal, MaskingOptions, MaskingOutcome, MaskingState, Metric, Recompute, Step,
    StopReason, mask_of,
};
use crate::error::SearchError;
use crate::studies::normalize::ranking;
use crate::watch::Savable;
use crate::{Error, HeadTable, Watch};

/// The masking loop, a step at a time: between two steps its state can be shown, saved, and dropped.
///
/// Equal scores are masked in the order of (layer, head). The set of live heads shrinks from every step that passes to the
/// next, so the loop ends whatever the metric does.
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
    /// Options out of range, a bound that no score can miss, a state of another loop.
    pub fn new(
        start: HeadMask,
        metric: &'a Metric,
        options: &'a MaskingOptions,
        state: Option<MaskingState>,
    ) -> Result<Self, Error> {
        options.check(metric)?;
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

    fn bound(&self) -> Result<Option<f64>, Error> {
        let base = self.state.steps.first().and_then(|base| base.score);
        self.metric
            .bound(self.options.threshold, base.unwrap_or(f64::NAN))
    }

    /// One more step; `None` when the loop has ended.
    ///
    /// After an interruption the state holds every pass that was finished, so the search goes on from there.
    ///
    /// # Errors
    /// A goal that no mask reaches or that the whole model has reached, before any pass; a first score that the threshold
    /// cannot be compared with, and whatever `evaluator` says.
    pub fn step(
        &mut self,
        evaluator: &mut dyn Evaluator,
        watch: &mut dyn Watch,
    ) -> Result<Option<&Step>, Error> {
        let number = self.state.steps.len();
        if number == 0 {
            self.possible(evaluator, watch)?;
        }
        // Of a step whose pass was finished and whose time was not taken.
        self.look_at_goal(evaluator, watch)?;
        let (mask, masked) = match self.next_heads(evaluator, watch)? {
            Ok(next) => next,
            Err(reason) => {
                self.stop = Some(reason);
                return Ok(None);
            }
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
            passed: bound.is_none_or(|bound| self.metric.passes(found.score, bound)),
            metrics: found.metrics,
            loss: found.loss,
            raw: found.raw,
            keep: mask.values().iter().map(|v| *v != 0.0).collect(),
            toward: None,
        });
        self.look_at_goal(evaluator, watch)?;
        Ok(self.state.steps.last())
    }

    /// Refuses a goal that no mask can reach, or that needs none.
    fn possible(&self, evaluator: &mut dyn Evaluator, watch: &mut dyn Watch) -> Result<(), Error> {
        let fewest = fewest(&self.start, self.options.min_heads_per_layer);
        let (heads, least) = (self.start.live().count(), fewest.live().count());
        match self.options.goal {
            Some(Goal::HeadsLeft(goal)) if goal > heads => {
                Err(SearchError::TooManyHeads { goal, heads, least }.into())
            }
            Some(Goal::HeadsLeft(goal)) if goal < least => {
                Err(SearchError::TooFewHeads { goal, least }.into())
            }
            Some(wanted @ Goal::FileBytes(goal)) => {
                let whole = evaluator.toward(wanted, &self.start, watch)?;
                if wanted.reached(whole) {
                    let bytes = whole as u64;
                    return Err(SearchError::FileSmallAlready { goal, bytes }.into());
                }
                let smallest = evaluator.toward(wanted, &fewest, watch)?;
                if wanted.reached(smallest) {
                    return Ok(());
                }
                Err(SearchError::FileTooLarge {
                    goal,
                    bytes: smallest as u64,
                    all: least == 0,
                }
                .into())
            }
            _ => Ok(()),
        }
    }

    /// Asks how far the last step that passed has come towards the goal, unless that is known.
    fn look_at_goal(
        &mut self,
        evaluator: &mut dyn Evaluator,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let (layers, heads) = (self.state.layers, self.state.heads);
        let (Some(goal), Some(last)) = (self.options.goal, self.state.steps.last_mut()) else {
            return Ok(());
        };
        let itself = last.step == 0 && matches!(goal, Goal::Speedup(_));
        if last.passed && last.toward.is_none() && !itself {
            let mask = mask_of(layers, heads, &last.keep);
            last.toward = Some(evaluator.toward(goal, &mask, watch)?);
        }
        Ok(())
    }

    /// The next mask and the heads that it masks besides those of the last that passed, or the reason to stop.
    fn next_heads(
        &self,
        evaluator: &mut dyn Evaluator,
        watch: &mut dyn Watch,
    ) -> Result<Result<(HeadMask, Vec<HeadId>), StopReason>, Error> {
        let (options, steps) = (self.options, &self.state.steps);
        let Some(last) = steps.last() else {
            return Ok(Ok((self.start.clone(), Vec::new())));
        };
        let failed: Vec<&Step> = steps.iter().filter(|step| !step.passed).collect();
        let failure = failed.last().map(|step| match step.score {
            None => StopReason::MetricUndefined,
            Some(_) => StopReason::Threshold,
        });
        if let Some(failure) = failure
            && !last.passed
            && !(options.refine && failed.len() == 1 && last.masked.len() > 1)
        {
            return Ok(Err(failure));
        }
        // The first step has passed, or nothing was begun.
        let from = steps.iter().rfind(|step| step.passed).unwrap_or(last);
        if let (Some(goal), Some(found)) = (options.goal, from.toward)
            && goal.reached(found)
        {
            return Ok(Err(StopReason::Goal));
        }
        if from.live == 0 {
            return Ok(Err(StopReason::Exhausted));
        }
        let most = match options.goal {
            _ if failure.is_some() => 1,
            Some(Goal::HeadsLeft(heads)) => self.per_step.min(from.live - heads.min(from.live)),
            _ => self.per_step,
        };
        let mut chosen = self.least_important(from)?;
        chosen.truncate(most);
        if chosen.is_empty() {
            return Ok(Err(StopReason::MinHeads));
        }
        if options.max_steps.is_some_and(|most| last.step >= most) {
            return Ok(Err(StopReason::MaxSteps));
        }
        let (layers, heads) = (self.state.layers, self.state.heads);
        let mut mask = mask_of(layers, heads, &from.keep);
        // No head more than the goal needs.
        let stops = options.goal.filter(|goal| !goal.in_blocks());
        let mut needed = chosen.len();
        for (at, head) in chosen.iter().enumerate() {
            mask.set(*head, 0.0);
            if let Some(goal) = stops
                && goal.reached(evaluator.toward(goal, &mask, watch)?)
            {
                needed = at + 1;
                break;
            }
        }
        chosen.truncate(needed);
        let same = |step: &&Step| {
            step.keep
                .iter()
                .zip(mask.values())
                .all(|(k, v)| *k == (*v != 0.0))
        };
        if let (Some(failure), true) = (failure, failed.iter().any(same)) {
            // What this mask scores is known.
            return Ok(Err(failure));
        }
        Ok(Ok((mask, chosen)))
    }

    /// The heads that may go after a step, the least important first.
    fn least_important(&self, from: &Step) -> Result<Vec<HeadId>, Error> {
        let (options, state) = (self.options, &self.state);
        let ranked_by = match options.recompute {
            Recompute::Each => from.raw.as_ref(),
            Recompute::Once => state.steps.first().and_then(|base| base.raw.as_ref()),
        };
        let mask = mask_of(state.layers, state.heads, &from.keep);
        let live = || mask.live();
        let table = match ranked_by {
            Some(table) => options.normalization.apply(table),
            None => match live().next() {
                Some(head) => return Err(Error::Unscored { head }),
                None => return Ok(Vec::new()),
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
        let candidates = order.into_iter().filter(|id| {
            let may_go = left[id.layer] > options.min_heads_per_layer;
            left[id.layer] -= 1;
            may_go
        });
        Ok(candidates.collect())
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

impl Savable for Search<'_> {
    fn save(&mut self) -> Result<Value, Error> {
        serde_json::to_value(&self.state).map_err(|source| Error::State { source })
    }
}

/// As few heads as layers may have: which of them matters to the size of a file by a few bytes, for the header names those
/// that are gone.
fn fewest(start: &HeadMask, per_layer: usize) -> HeadMask {
    let mut mask = start.clone();
    let mut kept = vec![0_usize; start.layers()];
    for head in start.live() {
        kept[head.layer] += 1;
        if kept[head.layer] > per_layer {
            mask.set(head, 0.0);
        }
    }
    mask
}

/// Live heads by ascending score, equal ones by (layer, head) ascending.
fn least_important_first(table: &HeadTable) -> Vec<HeadId> {
    ranking(&table.map(|_, score| -score))
}
