//! Looks on while a study runs: progress, predictions, Ctrl-C.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bertology::data::Target;
use bertology::masking::{MaskingState, Step};
use bertology::watch::Pass;
use bertology::{AblationState, Corpus, Outcome, Watch};
use bertology_run::rows::{PredictionRow, WindowRow};
use bertology_run::table::{self, More};

use crate::failure::Failure;
use crate::interrupt;
use crate::show::Screen;

type OnAblation<'a> = dyn FnMut(&AblationState) -> Result<(), Failure> + 'a;
type OnStep<'a> = dyn FnMut(&Step, &MaskingState) -> Result<(), Failure> + 'a;
type OnShard<'a> = dyn FnMut(usize, u64) -> Result<(), Failure> + 'a;

/// Progress, predictions and interruptions of one study.
pub(crate) struct Watcher<'a> {
    screen: &'a Screen,
    /// What is counted.
    unit: &'static str,
    predictions: Option<&'a mut Predictions>,
    on_ablation: Option<&'a mut OnAblation<'a>>,
    on_step: Option<&'a mut OnStep<'a>>,
    on_shard: Option<&'a mut OnShard<'a>>,
    /// When to pause, so that the state can be saved.
    pause_at: Option<Instant>,
    /// Whether this goes on after a pause, on the display that is there.
    continued: bool,
    failure: Option<Failure>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(screen: &'a Screen) -> Self {
        Self {
            screen,
            unit: "examples",
            predictions: None,
            on_ablation: None,
            on_step: None,
            on_shard: None,
            pause_at: None,
            continued: false,
            failure: None,
        }
    }

    /// Counts what the data consist of.
    pub(crate) fn over(mut self, corpus: &Corpus) -> Self {
        if corpus.documents().is_some() {
            self.unit = "windows";
        }
        self
    }

    /// Counts these, named in the singular.
    pub(crate) fn of(mut self, unit: &'static str) -> Self {
        self.unit = match unit {
            "text" => "texts",
            "sentence" => "sentences",
            "document" => "documents",
            other => other,
        };
        self
    }

    pub(crate) fn predictions(mut self, predictions: Option<&'a mut Predictions>) -> Self {
        self.predictions = predictions;
        self
    }

    pub(crate) fn on_ablation(mut self, on_ablation: &'a mut OnAblation<'a>) -> Self {
        self.on_ablation = Some(on_ablation);
        self
    }

    pub(crate) fn on_step(mut self, on_step: &'a mut OnStep<'a>) -> Self {
        self.on_step = Some(on_step);
        self
    }

    pub(crate) fn on_shard(mut self, on_shard: &'a mut OnShard<'a>) -> Self {
        self.on_shard = Some(on_shard);
        self
    }

    pub(crate) fn pause_at(mut self, pause_at: Option<Instant>) -> Self {
        self.pause_at = pause_at;
        self
    }

    pub(crate) fn continued(mut self, continued: bool) -> Self {
        self.continued = continued;
        self
    }

    /// What went wrong while looking on, which is why the study stopped.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }

    fn keep_going(&mut self, result: Result<(), Failure>) -> ControlFlow<()> {
        if let Err(failure) = result {
            self.failure = Some(failure);
        }
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

    fn begin(&mut self, pass: Pass, done: u64, total: u64) {
        if self.continued {
            return;
        }
        let label = match pass {
            Pass::Importance => "importance".into(),
            Pass::Ablation => "ablation".into(),
            Pass::Evaluation => "evaluation".into(),
            Pass::MaskingStep(step) => format!("step {step}"),
            Pass::Timing => "timing".into(),
            Pass::Counting => "counting".into(),
            Pass::Extraction => "extraction".into(),
            Pass::Attention => "attention".into(),
            _ => "pass".into(),
        };
        let unit = match pass {
            Pass::Timing => "runs",
            Pass::Counting => "bytes",
            _ => self.unit,
        };
        self.screen.start(&label, unit, total);
        self.screen.advance_to(done);
    }

    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self.screen.advance_to(done);
        // At the end there is nothing left to pause for.
        if done < total && self.pause_at.is_some_and(|time| Instant::now() >= time) {
            return ControlFlow::Break(());
        }
        self.keep_going(Ok(()))
    }

    fn example(&mut self, outcome: &Outcome<'_>) {
        if let Some(predictions) = &mut self.predictions
            && self.failure.is_none()
            && let Err(failure) = predictions.put(outcome)
        {
            self.failure = Some(failure);
        }
    }

    fn shard(&mut self, finished: usize, overflows: u64) -> ControlFlow<()> {
        let result = match &mut self.on_shard {
            Some(on_shard) => on_shard(finished, overflows),
            None => Ok(()),
        };
        self.keep_going(result)
    }

    fn ablation(&mut self, state: &AblationState) -> ControlFlow<()> {
        let result = match &mut self.on_ablation {
            Some(on_ablation) => on_ablation(state),
            None => Ok(()),
        };
        self.keep_going(result)
    }

    fn step(&mut self, step: &Step, state: &MaskingState) -> ControlFlow<()> {
        let result = match &mut self.on_step {
            Some(on_step) => on_step(step, state),
            None => Ok(()),
        };
        self.keep_going(result)
    }
}

/// `predictions.csv` while it grows.
#[derive(Debug)]
pub(crate) struct Predictions {
    file: BufWriter<File>,
    path: PathBuf,
    bytes: u64,
    /// Names of the classes, empty for regression; none for language models, which have no labels.
    names: Option<Vec<String>>,
    line: String,
}

impl Predictions {
    /// Begins the file, or goes on after its first `bytes`.
    pub(crate) fn open(path: &Path, corpus: &Corpus, bytes: Option<u64>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("write", path, &error);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if bytes.is_some_and(|bytes| bytes > length) {
            return Err(Failure::input(format!(
                "{}: {length} bytes, but the saved state speaks of {}; start again with \
                 --overwrite",
                path.display(),
                bytes.unwrap_or_default()
            )));
        }
        file.set_len(bytes.unwrap_or(0)).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut predictions = Self {
            file: BufWriter::new(file),
            path: path.into(),
            bytes: bytes.unwrap_or(0),
            names: corpus.labels().map(|labels| {
                let names = labels.names().iter();
                names.cloned().collect()
            }),
            line: String::new(),
        };
        if bytes.is_none() {
            predictions.line = if predictions.names.is_some() {
                let logits: Vec<String> = (0..corpus.classes())
                    .map(|at| format!("logit_{at}"))
                    .collect();
                table::header::<PredictionRow>(&logits)
            } else {
                table::header::<WindowRow>(&[])
            };
            predictions.write_line()?;
        }
        Ok(predictions)
    }

    fn put(&mut self, outcome: &Outcome<'_>) -> Result<(), Failure> {
        let names = self.names.as_deref().unwrap_or_default();
        let name = |target: Target| match target {
            Target::Class(class) => match names.get(class) {
                Some(name) => name.clone(),
                None => class.to_string(),
            },
            Target::Value(value) => value.to_string(),
        };
        self.line.clear();
        match &outcome.verdict {
            Some(verdict) => {
                let row = PredictionRow {
                    index: outcome.index,
                    line: outcome.line,
                    label: name(verdict.label),
                    prediction: name(verdict.prediction),
                    loss: outcome.loss,
                    tokens: outcome.tokens as u64,
                    logits: More(outcome.logits.iter().copied().map(Some).collect()),
                };
                table::line(&mut self.line, &row);
            }
            None => {
                let row = WindowRow {
                    index: outcome.index,
                    line: outcome.line,
                    window: outcome.window as u64,
                    tokens: outcome.tokens as u64,
                    targets: outcome.targets as u64,
                    loss: outcome.loss,
                };
                table::line(&mut self.line, &row);
            }
        }
        self.write_line()
    }

    fn write_line(&mut self) -> Result<(), Failure> {
        self.bytes += self.line.len() as u64;
        self.file
            .write_all(self.line.as_bytes())
            .map_err(|error| Failure::io("write", &self.path, &error))
    }

    /// Everything is on disk; the number of bytes from which the file can be continued.
    pub(crate) fn save(&mut self) -> Result<u64, Failure> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(|error| Failure::io("write", &self.path, &error))?;
        Ok(self.bytes)
    }

    /// Gives the finished file its name.
    pub(crate) fn finish(mut self, path: &Path) -> Result<(), Failure> {
        self.save()?;
        fs::rename(&self.path, path).map_err(|error| Failure::io("write", path, &error))
    }
}

impl Predictions {
    /// Removes the file.
    pub(crate) fn discard(self) -> Result<(), Failure> {
        fs::remove_file(&self.path).map_err(|error| Failure::io("remove", &self.path, &error))
    }
}
