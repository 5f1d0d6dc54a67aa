//! A command in this process.
//!
//! It runs on a thread of its own, without the interpreter's lock, while the calling thread hears its notes and
//! progress, and asks Python for signals.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bertology_cli::{Failure, Listener, Stop};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::Value;

use crate::errors;
use crate::inbox::Inbox;

/// How long an interruption waits for work that does not hear it yet (opening a model, reading data).
const PATIENCE: Duration = Duration::from_millis(700);
/// As much as the first thread of a program has.
const STACK: usize = 16 << 20;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(run, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(embedded, module)?)?;
    module.add_function(wrap_pyfunction!(commands, module)?)
}

/// What is heard of a command.
enum Heard {
    Note(String),
    Begin(String, String, u64),
    End,
    Done(Box<Result<Value, Failure>>),
}

struct Ear {
    events: Sender<Heard>,
    /// Of the stretch that is under way. Told apart from the events, of which there would be one a unit.
    done: Arc<AtomicU64>,
}

impl Listener for Ear {
    fn note(&self, text: &str) {
        let _ = self.events.send(Heard::Note(text.to_owned()));
    }

    fn begin(&self, label: &str, unit: &str, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        let begin = Heard::Begin(label.to_owned(), unit.to_owned(), total);
        let _ = self.events.send(begin);
    }

    fn advance(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    fn end(&self) {
        let _ = self.events.send(Heard::End);
    }
}

/// Runs one command in this process and gives the JSON document that `--json` prints. `argv` is the command line
/// without the program's name. `listener` hears `note(text)`, `begin(label, unit, total)`, `advance(done)` and `end()`.
#[pyfunction]
#[pyo3(signature = (argv, listener=None))]
fn run(py: Python<'_>, argv: Vec<OsString>, listener: Option<Py<PyAny>>) -> PyResult<String> {
    let (sender, events) = channel();
    let done = Arc::new(AtomicU64::new(0));
    let ear = Arc::new(Ear {
        events: sender.clone(),
        done: Arc::clone(&done),
    });
    let stop = Stop::new();
    let asked = stop.clone();
    std::thread::Builder::new()
        .name("bertology".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let found = bertology_cli::call(argv, Some(ear), &asked);
            let _ = sender.send(Heard::Done(Box::new(found)));
        })?;
    let mut hearing = Hearing {
        events: Inbox::new(events),
        done,
        listener,
        stop,
        told: 0,
        raised: None,
    };
    match hearing.until_done(py)? {
        Ok(document) => Ok(document.to_string()),
        Err(failure) => Err(match hearing.raised {
            // What a listener raised is the caller's own.
            Some(Raised::ByListener(error)) => error,
            _ => errors::failure(py, &failure),
        }),
    }
}

enum Raised {
    BySignal,
    ByListener(PyErr),
}

struct Hearing {
    events: Inbox<Heard>,
    done: Arc<AtomicU64>,
    listener: Option<Py<PyAny>>,
    stop: Stop,
    /// Units that the listener knows of.
    told: u64,
    raised: Option<Raised>,
}

impl Hearing {
    fn until_done(&mut self, py: Python<'_>) -> PyResult<Result<Value, Failure>> {
        let mut since: Option<Instant> = None;
        loop {
            match self.events.wait(py) {
                Ok(Heard::Done(found)) => return Ok(*found),
                Ok(heard) => self.tell(py, &heard),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Err(Failure::Work(
                        "the command has ended without an answer; please report this".to_owned(),
                    )));
                }
            }
            self.advance(py);
            if let Err(signal) = py.check_signals() {
                if !signal.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) {
                    self.raised = Some(Raised::ByListener(signal));
                } else if self.raised.is_none() {
                    self.raised = Some(Raised::BySignal);
                }
                self.stop.ask();
                since.get_or_insert_with(Instant::now);
            }
            if self.raised.is_some() {
                let since = since.get_or_insert_with(Instant::now);
                if !self.stop.is_heard() && since.elapsed() > PATIENCE {
                    // The thread ends when it comes to where it looks; nothing of it is waited for.
                    return Ok(Err(Failure::Interrupted(
                        "interrupted before the work began; nothing was computed".to_owned(),
                    )));
                }
            }
        }
    }

    fn tell(&mut self, py: Python<'_>, heard: &Heard) {
        let Some(listener) = &self.listener else {
            return;
        };
        let answer = match heard {
            Heard::Note(text) => listener.call_method1(py, "note", (text,)),
            Heard::Begin(label, unit, total) => {
                self.told = 0;
                listener.call_method1(py, "begin", (label, unit, total))
            }
            Heard::End => listener.call_method0(py, "end"),
            Heard::Done(_) => return,
        };
        self.heed(answer.map(drop));
    }

    fn advance(&mut self, py: Python<'_>) {
        let done = self.done.load(Ordering::Relaxed);
        if let (Some(listener), true) = (&self.listener, done != self.told) {
            self.told = done;
            let answer = listener.call_method1(py, "advance", (done,));
            self.heed(answer.map(drop));
        }
    }

    /// What a listener raises ends the command.
    fn heed(&mut self, answer: PyResult<()>) {
        if let Err(error) = answer
            && self.raised.is_none()
        {
            self.raised = Some(Raised::ByListener(error));
            self.stop.ask();
        }
    }
}

/// The program: prints, and gives its exit code. `argv` begins with the program's name.
#[pyfunction]
fn main(py: Python<'_>, argv: Vec<OsString>) -> u8 {
    py.detach(|| bertology_cli::exit_code(argv))
}

/// Every built-in file by its path: models in folders of their names, data in `grammar` and `code`.
#[pyfunction]
fn embedded(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let files = PyDict::new(py);
    for file in bertology_cli::embedded() {
        files.set_item(file.path, PyBytes::new(py, &file.bytes()))?;
    }
    Ok(files)
}

/// Every command with its options, as JSON.
#[pyfunction]
fn commands() -> String {
    bertology_cli::options().to_string()
}
