//! Looks on while a study runs: progress, predictions, Ctrl-C.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bertology::data::Target;
use bertology::watch::{Purpose, Savable};
use bertology::{Corpus, Outcome, Watch};
use bertology_run::rows::{PredictionRow, WindowRow};
use bertology_run::table::{self, More};
use serde_json::Value;

use crate::failure::Failure;
use crate::interrupt;
use crate::session::failure;
use crate::show::Screen;

/// Saving may take so small a share of the time: one part in this many.
const SHARE: u32 = 100;
/// And is not tried more often than this.
const SAVE_EVERY: Duration = Duration::from_millis(250);

/// Takes a state, how many bytes of predictions belong to it, and how many units it accounts for.
type Save<'a> = dyn FnMut(Value, Option<u64>, u64) -> Result<(), Failure> + 'a;

/// Progress, predictions, saving and interruptions of one study.
pub(crate) struct Watcher<'a> {
    screen: &'a Screen,
    /// What is counted.
    unit: &'static str,
    predictions: Option<&'a mut Predictions>,
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
            predictions: None,
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
            other => other,
        };
        self
    }

    pub(crate) fn predictions(mut self, predictions: Option<&'a mut Predictions>) -> Self {
        self.predictions = predictions;
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
        let bytes = self
            .predictions
            .as_mut()
            .map(|predictions| predictions.save());
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
            Purpose::MaskingStep(step) => format!("step {step}"),
            Purpose::Timing => "timing".into(),
            Purpose::Counting => "counting".into(),
            Purpose::Extraction => "extraction".into(),
            Purpose::Attention => "attention".into(),
            Purpose::Training => "training".into(),
            _ => "pass".into(),
        };
        let unit = match purpose {
            Purpose::Timing => "runs",
            Purpose::Counting => "bytes",
            Purpose::Training => "validations",
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
        if let Some(predictions) = &mut self.predictions
            && self.failure.is_none()
            && let Err(failure) = predictions.put(outcome)
        {
            self.failure = Some(failure);
        }
    }

    fn safe_point(&mut self, state: &mut dyn Savable) -> ControlFlow<()> {
        if self.save.is_some() && self.saved.elapsed() >= SAVE_EVERY.max(self.cost * SHARE) {
            self.save(state);
        }
        self.keep_going()
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

    /// Appends the rows of a finished file of the same columns.
    pub(crate) fn append(&mut self, text: &str) -> Result<(), Failure> {
        // The line of names stands there already.
        let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
        self.line = rows.to_owned();
        self.write_line()
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
