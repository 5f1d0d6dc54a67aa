//! One pass over a corpus: every example through the model, answers in file order.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use bertology_data as data;
use bertology_data::argmax;
use bertology_model::kernels::softmax::entropy;
use bertology_model::{
    Event, HeadId, Interests, LayerSite, Masking, Observer, PassOptions, SequenceOutput, Tap,
    Workspace, parallel,
};

use crate::input::corpus::{Job, Prepared, packed};
use crate::model::loaded::all_threads;
use crate::watch::Verdict;
use crate::{Corpus, Error, LoadedModel, Outcome, Watch};

/// What a pass computes besides predictions and losses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// Nothing.
    Answers,
    /// Mask gradients, and sums over queries of attention entropy.
    Scores {
        /// Sums over positions of absolute contributions to the mask gradient, too.
        positions: bool,
    },
    /// Predictions and losses without each of these heads, one at a time, in the order of
    /// (layer, head).
    WithoutEach(&'a [HeadId]),
}

pub(crate) struct Sweep<'a> {
    pub(crate) model: &'a LoadedModel,
    pub(crate) corpus: &'a Corpus,
    pub(crate) masking: Masking<'a>,
    pub(crate) wanted: Wanted<'a>,
    /// 0: all that the machine offers.
    pub(crate) threads: usize,
    /// Examples already accounted for.
    pub(crate) skip: u64,
}

/// Prediction and loss of one example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    /// For labelled examples.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) loss: f64,
}

/// What the model said to one example. Tables are row-major `[layers, heads]`, empty unless wanted.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) said: Said,
    /// What it said without each of the heads wanted.
    pub(crate) without: Vec<Said>,
    /// What the loss is a mean over: 1 label, or so many tokens.
    pub(crate) targets: usize,
    /// Bytes of text that the predicted tokens stand for, where that is known.
    pub(crate) bytes: usize,
    pub(crate) tokens: usize,
    pub(crate) truncated: usize,
    pub(crate) gradient: Vec<f64>,
    pub(crate) positions: Vec<f64>,
    pub(crate) entropy: Vec<f64>,
    index: u64,
    line: u64,
    window: usize,
    logits: Vec<f32>,
}

/// What a pass adds up to.
pub(crate) trait Accumulate {
    /// One more answer, in file order.
    fn add(&mut self, answer: &Answer);

    /// All answers of a batch are added and reported as done: a moment to show what there is.
    fn show(&self, watch: &mut dyn Watch) -> ControlFlow<()> {
        let _ = watch;
        ControlFlow::Continue(())
    }
}

impl Sweep<'_> {
    /// Adds every answer to `sums` in file order. An answer is added before the pass can be
    /// interrupted, so what `sums` holds is exactly what was reported as done.
    pub(crate) fn run(
        &self,
        watch: &mut dyn Watch,
        sums: &mut impl Accumulate,
    ) -> Result<(), Error> {
        let total = self.corpus.examples();
        let threads = match self.threads {
            0 => all_threads(),
            threads => threads,
        };
        let stop = watch.stop_signal();
        let mut done = self.skip;
        let mut failure = None;
        let mut take = |answers: Result<Vec<Answer>, Error>| -> Result<(), Error> {
            let answers = match answers {
                Err(Error::Model(bertology_model::Error::Stopped)) => {
                    return Err(Error::Interrupted { done, total });
                }
                answers => answers?,
            };
            for answer in answers {
                sums.add(&answer);
                watch.example(&answer.outcome());
                done += 1;
            }
            if watch.advance(done, total).is_break() || sums.show(watch).is_break() {
                return Err(Error::Interrupted { done, total });
            }
            Ok(())
        };
        parallel::in_order(
            threads,
            self.corpus.jobs(self.model, self.skip)?,
            |workspace, job| self.work(workspace, job, stop.as_deref()),
            |answers| match take(answers) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        match failure {
            Some(error) => Err(error),
            None if done != total => Err(Error::DataChanged {
                path: self.corpus.path().to_owned(),
                before: total,
                now: done,
            }),
            None => Ok(()),
        }
    }

    fn work(
        &self,
        workspace: &mut Workspace<f32>,
        job: Result<Job, Error>,
        stop: Option<&AtomicBool>,
    ) -> Result<Vec<Answer>, Error> {
        let prepared = match job? {
            Job::Windows(windows) => windows,
            Job::Rows(rows) => {
                let tokenizer = self.model.tokenizer()?;
                rows.iter()
                    .map(|(index, example)| self.corpus.prepare(tokenizer, *index, example))
                    .collect::<Result<Vec<_>, _>>()?
            }
        };
        let mut answers = Vec::with_capacity(prepared.len());
        let mut rest = prepared.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|item| {
                let first = tokens == 0;
                tokens += item.sequence.len();
                first || tokens <= self.corpus.batch_tokens()
            });
            let (batch, after) = rest.split_at(fitting.count());
            self.answer(workspace, batch, stop, &mut answers)?;
            rest = after;
        }
        Ok(answers)
    }

    fn answer(
        &self,
        workspace: &mut Workspace<f32>,
        items: &[Prepared],
        stop: Option<&AtomicBool>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Error> {
        let arch = self.model.architecture();
        let sequences: Vec<_> = items.iter().map(|item| item.sequence.clone()).collect();
        let batch = packed(arch, &sequences, |at, error| {
            self.corpus.blame(items[at].line, error)
        })?;
        let targets: Vec<_> = items.iter().map(|item| item.target.clone()).collect();
        let (scores, positions) = match self.wanted {
            Wanted::Scores { positions } => (true, positions),
            Wanted::Answers | Wanted::WithoutEach(_) => (false, false),
        };
        let options = PassOptions {
            masking: self.masking,
            targets: Some(&targets),
            mask_gradients: scores,
            stop,
            ..PassOptions::default()
        };
        let cells = arch.num_layers * arch.num_heads;
        let size = |wanted: bool| if wanted { cells * items.len() } else { 0 };
        let mut sums = Sums {
            layers: arch.num_layers,
            heads: arch.num_heads,
            positions: vec![0.0; size(positions)],
            entropy: vec![0.0; size(scores)],
        };
        let model = self.model.model();
        let mut without = Vec::new();
        let whole =
            if let Wanted::WithoutEach(heads) = self.wanted {
                let mut whole = Vec::new();
                model.run_without_each(&batch, &options, workspace, heads, |head, outputs| {
                    match head {
                        None => whole = outputs,
                        Some(head) => without.push((head, outputs)),
                    }
                })?;
                whole
            } else {
                let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut sums];
                model.run(&batch, &options, workspace, observers)?.sequences
            };
        let part = |all: &[f64], i: usize| all.get(i * cells..(i + 1) * cells).map(<[f64]>::to_vec);
        for (i, (item, output)) in items.iter().zip(whole).enumerate() {
            let blamed = |error| self.corpus.blame(item.line, error);
            let without = without.iter().filter_map(|(head, outputs)| {
                let output = outputs.get(i)?;
                Some(Said::of(output, item.label, Some(*head)))
            });
            let answer = Answer {
                said: Said::of(&output, item.label, None).map_err(blamed)?,
                without: without.collect::<Result<_, _>>().map_err(blamed)?,
                targets: item.targets,
                bytes: item.bytes,
                tokens: item.sequence.len(),
                truncated: item.truncated,
                gradient: output.mask_gradient.unwrap_or_default(),
                positions: part(&sums.positions, i).unwrap_or_default(),
                entropy: part(&sums.entropy, i).unwrap_or_default(),
                index: item.index,
                line: item.line,
                window: item.window,
                logits: output.logits,
            };
            answer.check_scores(arch.num_heads).map_err(blamed)?;
            answers.push(answer);
        }
        Ok(())
    }
}

impl Said {
    /// With the prediction for a label, if every number is finite.
    fn of(
        output: &SequenceOutput<f32>,
        label: Option<data::Target>,
        without: Option<HeadId>,
    ) -> Result<Self, Error> {
        let not_finite = |what: String, value: f64| {
            let what = match without {
                Some(head) => format!("{what} without {head}"),
                None => what,
            };
            Err(Error::NotFinite { what, value })
        };
        let (logits, loss) = (&output.logits, output.loss.unwrap_or(f64::NAN));
        if let Some(i) = logits.iter().position(|z| !z.is_finite()) {
            return not_finite(format!("logit {i}"), f64::from(logits[i]));
        }
        if !loss.is_finite() {
            return not_finite("loss".to_owned(), loss);
        }
        let prediction = match label {
            None => {
                let verdict = None;
                return Ok(Self { verdict, loss });
            }
            Some(data::Target::Class(_)) => data::Target::Class(argmax(logits)?),
            Some(data::Target::Value(_)) => {
                let value = logits.first();
                data::Target::Value(f64::from(*value.ok_or(data::MetricError::NoLogits)?))
            }
        };
        let verdict = label.map(|label| Verdict { label, prediction });
        Ok(Self { verdict, loss })
    }
}

impl Answer {
    fn check_scores(&self, heads: usize) -> Result<(), Error> {
        for (what, values) in [
            ("gradient", &self.gradient),
            ("gradient", &self.positions),
            ("entropy", &self.entropy),
        ] {
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                let id = HeadId {
                    layer: i / heads,
                    head: i % heads,
                };
                return Err(Error::NotFinite {
                    what: format!("{what} of {id}"),
                    value: values[i],
                });
            }
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome<'_> {
        Outcome {
            index: self.index,
            line: self.line,
            window: self.window,
            verdict: self.said.verdict,
            logits: &self.logits,
            loss: self.said.loss,
            targets: self.targets,
            tokens: self.tokens,
            truncated: self.truncated,
        }
    }
}

/// Reduces what passes by to one number per sequence and head.
struct Sums {
    layers: usize,
    heads: usize,
    /// Empty unless wanted, as the next.
    positions: Vec<f64>,
    entropy: Vec<f64>,
}

impl Observer<f32> for Sums {
    fn interests(&self) -> Interests {
        let mut interests = Interests::none();
        if !self.entropy.is_empty() {
            interests = interests.value(LayerSite::AttentionProbs);
        }
        if !self.positions.is_empty() {
            interests = interests.gradient(LayerSite::HeadMask);
        }
        interests
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        let (Tap::Layer(layer, site), Some(head)) = (event.tap, event.head) else {
            return ControlFlow::Continue(());
        };
        let cell = (event.sequence * self.layers + layer) * self.heads + head;
        let rows = event.value.iter_rows();
        if site == LayerSite::HeadMask {
            self.positions[cell] = rows.flatten().map(|v| f64::from(v.abs())).sum();
        } else {
            self.entropy[cell] = rows.map(|row| f64::from(entropy(row))).sum();
        }
        ControlFlow::Continue(())
    }
}
