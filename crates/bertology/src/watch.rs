//! Looking on while a study runs, and stopping it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bertology_data as data;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// Someone who looks on: a progress bar, a log, a file of predictions, Ctrl-C.
///
/// Every method has a default that does nothing; `()` looks at nothing. All are called on the thread
/// that called the study, in file order.
pub trait Watch {
    /// A pass over `total` examples begins, of which `done` are already accounted for.
    fn begin(&mut self, purpose: Purpose, done: u64, total: u64) {
        let _ = (purpose, done, total);
    }

    /// A signal that someone else may raise at any time: what is being computed is then given up, and the
    /// study ends with [`Error::Interrupted`] as after a `Break`. Asked once a
    /// pass.
    fn stop_signal(&self) -> Option<Arc<AtomicBool>> {
        None
    }

    /// `done` of `total` examples of the pass are accumulated. `Break` ends the study with
    /// [`Error::Interrupted`]; its state holds exactly the `done` first.
    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        let _ = (done, total);
        ControlFlow::Continue(())
    }

    /// The model has answered one example.
    fn example(&mut self, outcome: &Outcome<'_>) {
        let _ = outcome;
    }

    /// The model has said what it takes a text or a word for.
    fn prediction(&mut self, said: &Prediction) {
        let _ = said;
    }

    /// A model in training has taken a step: its loss, and the learning rate of the step.
    fn learnt(&mut self, loss: f64, rate: f64) {
        let _ = (loss, rate);
    }

    /// A program has been measured.
    fn snippet(&mut self, found: &SnippetMeasures<'_>) {
        let _ = found;
    }

    /// `state` is what can be saved to go on from here; nothing waits for it and nothing is thrown away.
    /// `Break` ends the study with [`Error::Interrupted`].
    fn safe_point(&mut self, state: &mut dyn Savable) -> ControlFlow<()> {
        let _ = state;
        ControlFlow::Continue(())
    }
}

/// What can be saved at any time, to go on from there.
pub trait Savable {
    /// The state, once whatever it speaks of is on disk.
    ///
    /// # Errors
    /// [`Error::State`]; a disk that is full.
    fn save(&mut self) -> Result<Value, Error>;
}

impl Watch for () {}

/// What a pass over the data is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Importance of the heads, metrics of the same pass.
    Importance,
    /// Metrics without each head in turn.
    Ablation,
    /// Metrics alone.
    Evaluation,
    /// Answers without labels.
    Prediction,
    /// Step of the masking loop; 0 is the pass before any head is masked.
    MaskingStep(usize),
    /// Timing.
    Timing,
    /// Texts are counted before an extraction; the unit is bytes of the file.
    Counting,
    /// Values are extracted.
    Extraction,
    /// Attention maps are studied.
    Attention,
    /// Probes are trained; the unit is validations, of which there are usually fewer than the total.
    Training,
    /// A model is trained; the unit is steps of the optimiser.
    FineTuning,
    /// Factors of what stays are fitted; the unit is halves of blocks.
    Tuning,
}

/// A label and what the model took the example for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What the file says.
    pub label: data::Target,
    /// What the model says.
    pub prediction: data::Target,
}

/// The model's answer to one example.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// Place of the row or document in the file, zero-based.
    pub index: u64,
    /// Its (first) line, from 1.
    pub line: u64,
    /// Number of the window in its document, zero-based; 0 for labelled examples.
    pub window: usize,
    /// For labelled examples: what the file says, and what the model.
    pub verdict: Option<Verdict>,
    /// `[labels]`; empty for language models.
    pub logits: &'a [f32],
    /// Loss of this example; for language models the mean over its targets, in nats.
    pub loss: f64,
    /// What is predicted: 1 label, or so many tokens.
    pub targets: usize,
    /// Tokens that the model saw, special ones included.
    pub tokens: usize,
    /// Tokens cut off to fit the maximum length (of a document: told with its first window).
    pub truncated: usize,
}

/// A word in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordPlace {
    /// 1 for the second text of a pair, else 0.
    pub text: u8,
    /// Its number in the text as the tokenizer splits words, zero-based.
    pub number: u32,
    /// Its first character in the text.
    pub start: usize,
    /// Behind its last one.
    pub end: usize,
}

/// What the model says of a text, or of a word of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Place of the text in the input, zero-based.
    pub index: u64,
    /// Its (first) line in the file, or its number among those in memory, from 1.
    pub line: u64,
    /// The word, where words have answers.
    pub word: Option<WordPlace>,
    /// The classes that are given: one, unless the classifier gives any number of them or a number.
    pub classes: Vec<usize>,
    /// Of each class; none for a number.
    pub probabilities: Vec<f64>,
    /// In the model's units; the numbers themselves, where it gives these.
    pub logits: Vec<f32>,
    /// Tokens of the text that the model saw, special ones included.
    pub tokens: usize,
    /// Tokens of the text that were cut off.
    pub cut: usize,
}

/// What was measured of one program.
#[derive(Debug, Clone, Copy)]
pub struct SnippetMeasures<'a> {
    /// Its number in the input, zero-based.
    pub index: u64,
    /// Its line, from 1.
    pub line: u64,
    /// What it is called, where that is known.
    pub name: &'a str,
    /// The name of its language.
    pub language: &'a str,
    /// Tokens that the model saw, special ones included.
    pub tokens: usize,
    /// Leaves that take part.
    pub leaves: usize,
    /// `[layers, measures]`, in the order of [`Measure::ALL`](crate::attention::cat::Measure::ALL); not a number where one
    /// is not defined.
    pub measures: &'a [f64],
    /// Numbers a layer.
    pub width: usize,
}
