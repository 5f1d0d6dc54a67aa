//! How many heads can go before the score falls: masking, least important first.
//!
//! The algorithm of `run_bertology.py` with its defects repaired: mask the least important share of
//! heads, score again, go on while the score stays above the threshold; the result is the last mask
//! that did. A search may have a [`Goal`] beside the threshold or in its place, and it may be refined head by head where the
//! score fails. [`run`] knows no model: it asks an [`Evaluator`]. [`mask_heads`] brings the model.

use bertology_model::{HeadId, HeadMask};
use serde::{Deserialize, Serialize};

use crate::drive::Work;
use crate::error::SearchError;
use crate::studies::evaluate::Metrics;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

pub use crate::studies::metric::{Direction, Metric};
pub use goal::Goal;
pub use model::ModelEvaluator;
pub use options::{MaskingOptions, Recompute, Threshold};
pub use search::Search;

mod goal;
mod model;
mod options;
mod search;

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
    /// The goal is reached.
    Goal,
}

/// One pass of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// 0 is the pass before any head is masked.
    pub step: usize,
    /// Heads masked since the last step before that passed, least important first.
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
    /// What the goal counts, of the model without the heads that are masked ([`Evaluator::toward`]); `None` without a goal,
    /// where the score did not pass, and of the speed of the whole model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toward: Option<f64>,
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
    /// The value that the metric must not cross; `None` for [`Threshold::Unbounded`].
    pub bound: Option<f64>,
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

    /// What `goal` counts, of the model without the heads that `mask` masks: heads, bytes of the weights file, or at least
    /// how many times as fast it is as the whole model. Whoever knows of no files and no time counts heads.
    ///
    /// # Errors
    /// [`SearchError::UnknownGoal`]; files that cannot be read, an interruption.
    fn toward(&mut self, goal: Goal, mask: &HeadMask, watch: &mut dyn Watch) -> Result<f64, Error> {
        let _ = watch;
        match goal {
            Goal::HeadsLeft(_) => Ok(mask.live().count() as f64),
            _ => Err(Error::Search(SearchError::UnknownGoal {
                goal: goal.to_string(),
            })),
        }
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
        // A block that fails is followed by single heads, from the last mask that passed, until one fails.
        let mut from: Option<&Step> = None;
        let mut failed = 0_usize;
        for (number, step) in self.steps.iter().enumerate() {
            let shrinks = from.is_none_or(|from| {
                let both = from.keep.iter().zip(&step.keep);
                from.live > step.live && both.fold(true, |fits, (was, is)| fits && (*was || !*is))
            });
            let follows = match failed {
                0 => true,
                1 => options.refine && step.masked.len() == 1,
                _ => false,
            };
            Error::unless_possible(
                step.step == number
                    && shrinks
                    && follows
                    && step.keep.iter().filter(|kept| **kept).count() == step.live,
                "steps",
                "the heads that are left do not follow from step to step",
            )?;
            if step.passed || from.is_none() {
                from = Some(step);
            }
            failed += usize::from(!step.passed);
        }
        Ok(())
    }
}

/// The masking loop over a model and labelled examples.
///
/// Masked heads are not computed, unless `options.reference`. Who looks on is offered the state of the pass; to go
/// on within one takes a [`Search`] and a [`ModelEvaluator`].
///
/// # Errors
/// As [`run`] and [`drive`](crate::drive::drive); a metric that the data are not scored with.
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
