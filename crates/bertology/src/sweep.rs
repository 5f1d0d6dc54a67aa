//! One pass over a corpus: every example through the model, answers in file order.

use std::ops::ControlFlow;

use bertology_data as data;
use bertology_data::argmax;
use bertology_model::kernels::softmax::entropy;
use bertology_model::{
    Event, HeadId, Interests, LayerSite, Masking, Observer, PackedBatch, PassOptions, Tap,
    Workspace, parallel,
};

use crate::corpus::{Job, Prepared};
use crate::loaded::all_threads;
use crate::watch::Verdict;
use crate::{Corpus, Error, LoadedModel, Outcome, Watch};

/// What a pass computes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// Mask gradients.
    pub(crate) gradients: bool,
    /// Sums over positions of absolute contributions to the mask gradient.
    pub(crate) positions: bool,
    /// Sums over queries of attention entropy.
    pub(crate) entropy: bool,
}

pub(crate) struct Sweep<'a> {
    pub(crate) model: &'a LoadedModel,
    pub(crate) corpus: &'a Corpus,
    pub(crate) masking: Masking<'a>,
    pub(crate) wanted: Wanted,
    /// 0: all that the machine offers.
    pub(crate) threads: usize,
    /// Examples already accounted for.
    pub(crate) skip: u64,
}

/// What the model said to one example. Tables are row-major `[layers, heads]`, empty unless wanted.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For labelled examples.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) loss: f64,
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

impl Sweep<'_> {
    /// Hands every answer to `each` in file order. An answer reaches `each` before the pass can be
    /// interrupted, so what `each` accumulates is exactly what was reported as done.
    pub(crate) fn run(
        &self,
        watch: &mut dyn Watch,
        mut each: impl FnMut(&Answer) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let total = self.corpus.examples();
        let threads = match self.threads {
            0 => all_threads(),
            threads => threads,
        };
        let mut done = self.skip;
        let mut failure = None;
        let mut take = |answers: Result<Vec<Answer>, Error>| -> Result<(), Error> {
            for answer in answers? {
                each(&answer)?;
                watch.example(&answer.outcome());
                done += 1;
            }
            match watch.advance(done, total) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Error::Interrupted { done, total }),
            }
        };
        parallel::in_order(
            threads,
            self.corpus.jobs(self.model, self.skip)?,
            |workspace, job| self.work(workspace, job),
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
            self.answer(workspace, batch, &mut answers)?;
            rest = after;
        }
        Ok(answers)
    }

    fn answer(
        &self,
        workspace: &mut Workspace<f32>,
        items: &[Prepared],
        answers: &mut Vec<Answer>,
    ) -> Result<(), Error> {
        let arch = self.model.architecture();
        let sequences: Vec<_> = items.iter().map(|item| item.sequence.clone()).collect();
        let batch = PackedBatch::new(arch, &sequences).map_err(|error| {
            // One sequence is to blame; its line is what the user can look at.
            items
                .iter()
                .find_map(|item| {
                    let one = std::slice::from_ref(&item.sequence);
                    let error = PackedBatch::new(arch, one).err()?;
                    Some(self.corpus.blame(item.line, error))
                })
                .unwrap_or(Error::Model(error))
        })?;
        let targets: Vec<_> = items.iter().map(|item| item.target.clone()).collect();
        let options = PassOptions {
            masking: self.masking,
            targets: Some(&targets),
            mask_gradients: self.wanted.gradients,
            ..PassOptions::default()
        };
        let cells = arch.num_layers * arch.num_heads;
        let size = |wanted: bool| if wanted { cells * items.len() } else { 0 };
        let mut sums = Sums {
            layers: arch.num_layers,
            heads: arch.num_heads,
            wanted: self.wanted,
            positions: vec![0.0; size(self.wanted.positions)],
            entropy: vec![0.0; size(self.wanted.entropy)],
        };
        let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut sums];
        let output = self
            .model
            .model()
            .run(&batch, &options, workspace, observers)?;
        let part = |all: &[f64], i: usize| all.get(i * cells..(i + 1) * cells).map(<[f64]>::to_vec);
        for (i, (item, output)) in items.iter().zip(output.sequences).enumerate() {
            let answer = Answer {
                verdict: None,
                loss: output.loss.unwrap_or(f64::NAN),
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
            let answer = answer
                .checked(item.label, arch.num_heads)
                .map_err(|error| self.corpus.blame(item.line, error))?;
            answers.push(answer);
        }
        Ok(())
    }
}

impl Answer {
    /// With the prediction for a label, if every number is finite.
    fn checked(mut self, label: Option<data::Target>, heads: usize) -> Result<Self, Error> {
        let not_finite = |what: String, value: f64| Err(Error::NotFinite { what, value });
        if let Some(i) = self.logits.iter().position(|z| !z.is_finite()) {
            return not_finite(format!("logit {i}"), f64::from(self.logits[i]));
        }
        if !self.loss.is_finite() {
            return not_finite("loss".to_owned(), self.loss);
        }
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
                return not_finite(format!("{what} of {id}"), values[i]);
            }
        }
        let Some(label) = label else { return Ok(self) };
        let prediction = match label {
            data::Target::Class(_) => data::Target::Class(argmax(&self.logits)?),
            data::Target::Value(_) => {
                let value = self.logits.first();
                data::Target::Value(f64::from(*value.ok_or(data::MetricError::NoLogits)?))
            }
        };
        self.verdict = Some(Verdict { label, prediction });
        Ok(self)
    }

    fn outcome(&self) -> Outcome<'_> {
        Outcome {
            index: self.index,
            line: self.line,
            window: self.window,
            verdict: self.verdict,
            logits: &self.logits,
            loss: self.loss,
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
    wanted: Wanted,
    positions: Vec<f64>,
    entropy: Vec<f64>,
}

impl Observer<f32> for Sums {
    fn interests(&self) -> Interests {
        let mut interests = Interests::none();
        if self.wanted.entropy {
            interests = interests.value(LayerSite::AttentionProbs);
        }
        if self.wanted.positions {
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
