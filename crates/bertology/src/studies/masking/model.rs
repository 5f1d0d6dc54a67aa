//! The model's side of the masking loop: passes under a mask, the size of its file, its speed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bertology_checkpoint::Export;
use bertology_model::{HeadMask, Sequence};
use serde_json::Value;

use super::{Evaluator, Goal, MaskingOptions, Measured, Metric};
use crate::drive::{Lens, Progress, Study, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::studies::evaluate::{Evaluation, EvaluationState, MaskedModel};
use crate::studies::importance::ImportanceState;
use crate::studies::pruning::{compare_speed, file_bytes, first_sequences, masked_heads};
use crate::studies::timing::TimingOptions;
use crate::watch::{Outcome, Purpose, Savable};
use crate::{Corpus, Error, LoadedModel, Watch};

/// Seconds for which each of the two models is timed after a step.
const SECONDS: f64 = 0.5;

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
    /// What is timed, once it is asked for.
    timed: Option<Vec<Sequence>>,
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
            timed: None,
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

    fn toward(&mut self, goal: Goal, mask: &HeadMask, watch: &mut dyn Watch) -> Result<f64, Error> {
        match goal {
            Goal::HeadsLeft(_) => Ok(mask.live().count() as f64),
            Goal::FileBytes(_) => {
                Ok(file_bytes(self.model, &masked_heads(mask), Export::Pruned)? as f64)
            }
            Goal::Speedup(_) => {
                let timed = match &mut self.timed {
                    Some(timed) => timed,
                    none => none.insert(first_sequences(self.corpus)?),
                };
                let smaller = self.model.without_heads(mask.masked())?;
                let options = TimingOptions {
                    threads: self.work.threads,
                    seconds: SECONDS,
                    ..TimingOptions::default()
                };
                let tokens = self.work.batch_tokens;
                let found = compare_speed(self.model, &smaller, timed, tokens, &options, watch)?;
                Ok(found.speed.low)
            }
        }
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
