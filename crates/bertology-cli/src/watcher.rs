//! Looks on while a study runs: progress, what is told of each unit, Ctrl-C.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bertology::predict::Prediction;
use bertology::watch::{Purpose, Savable, SnippetMeasures};
use bertology::{Outcome, Watch};
use serde_json::Value;

use crate::failure::Failure;
use crate::interrupt;
use crate::session::failure;
use crate::show::Screen;
use crate::told::Told;

/// Saving may take so small a share of the time: one part in this many.
const SHARE: u32 = 100;
/// And is not tried more often than this.
const SAVE_EVERY: Duration = Duration::from_millis(250);

/// Takes a state, how many bytes of what is told belong to it, and how many units it accounts for.
type Save<'a> = dyn FnMut(Value, Option<u64>, u64) -> Result<(), Failure> + 'a;

/// Progress, rows of units, saving and interruptions of one study.
pub(crate) struct Watcher<'a> {
    screen: &'a Screen,
    /// What is counted.
    unit: &'static str,
    told: Option<&'a mut Told>,
    save: Option<&'a mut Save<'a>>,
    /// Units done.
    done: u64,
    /// When the state was saved last, and how long that took.
    saved: Instant,
    cost: Duration,
    failure: Option<Failure>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            unit: "examples",
            told: None,
            save: None,
            done: 0,
            saved: Instant::now(),
            cost: Duration::ZERO,
            failure: None,
        }
    }

    /// Counts these, named in the singular.
    pub(crate) fn of(mut self, unit: &'static str) -> Self {
        self.unit = match unit {
            "text" => "texts",
            "sentence" => "sentences",
            "document" => "documents",
            "example" => "examples",
            "window" => "windows",
            "question" => "questions",
            "function" => "functions",
            other => other,
        };
        self
    }

    pub(crate) fn telling(mut self, told: Option<&'a mut Told>) -> Self {
        self.told = told;
        self
    }

    /// Saves the state now and then, as often as it costs next to nothing.
    pub(crate) fn saving(mut self, save: &'a mut Save<'a>) -> Self {
        self.save = Some(save);
        self
    }

    /// Saves the state.
    pub(crate) fn save(&mut self, state: &mut dyn Savable) {
        let (start, done) = (Instant::now(), self.done);
        let Some(save) = &mut self.save else {
            return;
        };
        let bytes = self.told.as_mut().map(|told| told.save());
        let saved = bytes.transpose().and_then(|bytes| {
            let state = state.save().map_err(|e| failure(&e))?;
            save(state, bytes, done)
        });
        if let Err(failure) = saved {
            self.failure.get_or_insert(failure);
        }
        self.saved = Instant::now();
        self.cost = self.saved - start;
    }

    /// Units that the pass accounts for.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// What went wrong while looking on, which is why the study stopped.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }

    fn tell(&mut self, put: impl FnOnce(&mut Told) -> Result<(), Failure>) {
        if let Some(told) = &mut self.told
            && self.failure.is_none()
            && let Err(failure) = put(told)
        {
            self.failure = Some(failure);
        }
    }

    fn keep_going(&self) -> ControlFlow<()> {
        if self.failure.is_some() || interrupt::requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Watch for Watcher<'_> {
    fn stop_signal(&self) -> Option<Arc<AtomicBool>> {
        Some(interrupt::signal())
    }

    fn begin(&mut self, purpose: Purpose, done: u64, total: u64) {
        let label = match purpose {
            Purpose::Importance => "importance".into(),
            Purpose::Ablation => "ablation".into(),
            Purpose::Evaluation => "evaluation".into(),
            Purpose::Prediction => "prediction".into(),
            Purpose::MaskingStep(step) => format!("step {step}"),
            Purpose::Timing => "timing".into(),
            Purpose::Counting => "counting".into(),
            Purpose::Extraction => "extraction".into(),
            Purpose::Attention => "attention".into(),
            Purpose::Training | Purpose::FineTuning => "training".into(),
            Purpose::Tuning => "tuning".into(),
            _ => "pass".into(),
        };
        let unit = match purpose {
            Purpose::Timing => "runs",
            Purpose::Counting => "bytes",
            Purpose::Training => "validations",
            Purpose::FineTuning => "steps",
            Purpose::Tuning => "halves of blocks",
            _ => self.unit,
        };
        self.done = done;
        self.screen.start(&label, unit, total);
        self.screen.advance_to(done);
    }

    fn advance(&mut self, done: u64, _: u64) -> ControlFlow<()> {
        self.done = done;
        self.screen.advance_to(done);
        self.keep_going()
    }

    fn example(&mut self, outcome: &Outcome<'_>) {
        self.tell(|told| told.example(outcome));
    }

    fn prediction(&mut self, said: &Prediction) {
        self.tell(|told| told.prediction(said));
    }

    fn snippet(&mut self, found: &SnippetMeasures<'_>) {
        self.tell(|told| told.snippet(found));
    }

    fn safe_point(&mut self, state: &mut dyn Savable) -> ControlFlow<()> {
        if self.save.is_some() && self.saved.elapsed() >= SAVE_EVERY.max(self.cost * SHARE) {
            self.save(state);
        }
        self.keep_going()
    }
}
