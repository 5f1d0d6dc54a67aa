//! The loop: jobs out, contributions in.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use bertology_model::reduction::{Reduction, Table};
use bertology_model::{
    Error as EngineError, Event, HeadId, Interests, Masking, Observer, PackedBatch, PassOptions,
    Sequence, SequenceOutput, Target, Workspace, parallel,
};

use super::lens::{Ablated, Lens, Wants};
use super::progress::Progress;
use super::study::{Contribution, ItemOf, PartOf, Study};
use crate::input::corpus::packed;
use crate::input::supply::{Fate, LeftOut, Passage, Supply};
use crate::model::loaded::all_threads;
use crate::{Error, LoadedModel, Watch};

/// Tokens put through the model at once where results or gradients are asked for, per thread: more make the
/// products a little faster (measured: 2 % at 1024, 6 % less at 512) and cost memory, for a backward pass about
/// 40 bytes a token for every number of the hidden size and every layer.
pub const DEFAULT_BATCH_TOKENS: usize = 704;

/// Tokens put through the model at once where a forward pass is only looked at: nothing is kept of a layer
/// (measured: from 512 to 2048 the times are the same within the noise).
pub const FORWARD_TOKENS: usize = 1024;

/// Tokens put through the model at once on another device than the processor, per worker: a card has more to do at a time than a core, and a
/// backward pass of BERT-base keeps about 370 kB a token there.
pub const DEVICE_BATCH_TOKENS: usize = 4096;

/// Workers of a device: one prepares texts and adds up while the batch of the other is computed. More would only need more memory.
const DEVICE_WORKERS: usize = 2;

/// Bytes that a job may contribute, if one sequence does not contribute more.
const JOB_BYTES: u64 = 8 << 20;

/// How the work is spread; no result depends on it beyond rounding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// 0: all that the machine offers.
    pub threads: usize,
    /// Tokens put through the model at once; `None`: [`FORWARD_TOKENS`] where sites alone are seen on the way
    /// up, else [`DEFAULT_BATCH_TOKENS`]; on a device [`DEVICE_BATCH_TOKENS`]. What a device has no room for is halved.
    pub batch_tokens: Option<usize>,
}

impl Work {
    /// On so many threads.
    #[must_use]
    pub fn threads(threads: usize) -> Self {
        Self {
            threads,
            ..Self::default()
        }
    }

    /// The number of threads meant.
    #[must_use]
    pub fn all(self) -> usize {
        match self.threads {
            0 => all_threads(),
            threads => threads,
        }
    }

    /// How many put a model on this device to work.
    fn workers(self, on_processor: bool) -> usize {
        if on_processor {
            self.all()
        } else {
            self.all().min(DEVICE_WORKERS)
        }
    }

    fn tokens(self, wants: &Wants<'_>, on_processor: bool) -> Result<usize, Error> {
        match self.batch_tokens {
            Some(0) => Err(Error::Option {
                option: "the number of tokens in a batch",
                value: "0".to_owned(),
                reason: "give at least 1",
            }),
            Some(tokens) => Ok(tokens),
            None if !on_processor => Ok(DEVICE_BATCH_TOKENS),
            None if wants.outputs || wants.any_gradient() => Ok(DEFAULT_BATCH_TOKENS),
            None => Ok(FORWARD_TOKENS),
        }
    }
}

/// Puts every unit of `supply` that `progress` does not account for yet through the model, and what it
/// contributes into the study, in order.
///
/// After an error, [`Error::Interrupted`] among them, `progress` holds exactly the units reported as done and
/// can go on from there.
///
/// # Errors
/// Units that cannot be read or taken, with file and line; a file that has changed; an interruption.
pub fn drive<P, S>(
    model: &LoadedModel,
    supply: &P,
    progress: &mut Progress<S>,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<(), Error>
where
    P: Supply,
    S: Study,
    S::Lens: Lens<Item = P::Item>,
{
    let lens = progress.fresh().lens();
    let wants = lens.wants();
    wants.check()?;
    let whole = supply.total();
    let (first, end) = progress.bounds(whole);
    let (begin, total) = (progress.next(whole), end - first);
    // The bounds of a part move with the size of the corpus.
    if !(first..=end).contains(&begin) {
        let saved = match begin < first {
            true => "less".to_owned(),
            false => format!("at least {begin}"),
        };
        return Error::state_mismatch("the number of examples", saved, end.to_string());
    }
    progress.check(whole)?;
    watch.begin(S::PURPOSE, begin - first, total);
    if begin == end {
        return Ok(());
    }
    let on_processor = model.other_device().is_none();
    let worker = Worker {
        model,
        supply,
        lens: &lens,
        wants,
        batch_tokens: work.tokens(&wants, on_processor)?,
    };
    let jobs = Jobs {
        raws: supply.open(begin)?,
        supply,
        lens: &lens,
        tokens: worker.batch_tokens,
        chunk: progress.chunk(),
        next: begin,
        end,
    };
    let stop = watch.stop_signal();
    let mut failure = None;
    parallel::in_order(
        work.workers(on_processor),
        jobs,
        stop.as_deref(),
        Workspace::new,
        |workspace, job: Result<Vec<P::Raw>, Error>, give_up| worker.job(workspace, job?, give_up),
        |done: Result<Done<S>, Error>| match done
            .and_then(|done| take(progress, done, whole, watch))
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        },
    );
    let next = progress.next(whole);
    let interrupted = || Error::Interrupted {
        done: next - first,
        total,
    };
    match failure {
        Some(Error::Model(bertology_model::Error::Stopped)) => Err(interrupted()),
        Some(error) => Err(error),
        None if next == end => Ok(()),
        None if stop.is_some_and(|stop| stop.load(Ordering::SeqCst)) => Err(interrupted()),
        None => Err(changed(supply, next)),
    }
}

/// Adds a job's contributions to the study, and lets those who look on know.
fn take<S: Study>(
    progress: &mut Progress<S>,
    done: Done<S>,
    whole: u64,
    watch: &mut dyn Watch,
) -> Result<(), Error> {
    for found in done.found {
        match found {
            Fate::LeftOut(why) => progress.open().add(Fate::LeftOut(why))?,
            Fate::Studied((item, part, tokens)) => {
                let item = &item;
                let found = Contribution { item, part, tokens };
                S::tell(&found, watch);
                progress.open().add(Fate::Studied(found))?;
            }
        }
    }
    let (first, end) = progress.bounds(whole);
    let next = progress.next(whole) + done.units;
    progress.advance(next, next == end)?;
    let (done, total) = (next - first, end - first);
    if watch.advance(done, total).is_break() || watch.safe_point(progress).is_break() {
        return Err(Error::Interrupted { done, total });
    }
    Ok(())
}

fn changed<P: Supply>(supply: &P, now: u64) -> Error {
    Error::DataChanged {
        path: supply.path().to_owned(),
        before: supply.total(),
        now,
    }
}

/// About a batch of units at a time, none of them across the end of a chunk.
struct Jobs<'a, P: Supply, L, I> {
    raws: I,
    supply: &'a P,
    lens: &'a L,
    tokens: usize,
    chunk: u64,
    next: u64,
    end: u64,
}

impl<P, L, I> Iterator for Jobs<'_, P, L, I>
where
    P: Supply,
    L: Lens,
    I: Iterator<Item = Result<P::Raw, Error>>,
{
    type Item = Result<Vec<P::Raw>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            // What has grown has changed.
            let more = self.end == self.supply.total() && self.raws.next().is_some();
            return more.then(|| Err(changed(self.supply, self.end + 1)));
        }
        let chunk_end = (self.next / self.chunk)
            .saturating_add(1)
            .saturating_mul(self.chunk);
        let end = self.end.min(chunk_end);
        let mut job = Vec::new();
        let (mut tokens, mut bytes) = (0, 0);
        while self.next < end && tokens < self.tokens && bytes < JOB_BYTES {
            match self.raws.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(raw)) => {
                    let size = self.supply.size(&raw).max(1);
                    tokens += size;
                    bytes += self.lens.bytes(size as u64);
                    job.push(raw);
                    self.next += 1;
                }
            }
        }
        (!job.is_empty()).then_some(Ok(job))
    }
}

/// What came of a unit: what was known of each sequence, what it contributes, and its length.
type Found<S> = Fate<(ItemOf<S>, PartOf<S>, usize)>;

/// What a worker made of its units.
struct Done<S: Study> {
    units: u64,
    found: Vec<Found<S>>,
}

/// A sequence that waits for its batch: its place among what the job finds, and its line.
struct Waiting<I> {
    place: usize,
    line: u64,
    passage: Passage<I>,
}

struct Worker<'a, P, L> {
    model: &'a LoadedModel,
    supply: &'a P,
    lens: &'a L,
    wants: Wants<'a>,
    batch_tokens: usize,
}

impl<P: Supply, L: Lens<Item = P::Item>> Worker<'_, P, L> {
    fn job<S: Study<Lens = L>>(
        &self,
        workspace: &mut Workspace<f32>,
        raws: Vec<P::Raw>,
        give_up: &AtomicBool,
    ) -> Result<Done<S>, Error> {
        let units = raws.len() as u64;
        let mut found = Vec::with_capacity(raws.len());
        let mut batch: Vec<Waiting<P::Item>> = Vec::new();
        let mut tokens = 0;
        for raw in raws {
            let line = self.supply.line(&raw);
            let fate = self.supply.prepare(raw).map_err(|e| self.blame(line, e))?;
            let passages = match fate {
                Fate::LeftOut(why) => {
                    found.push(Some(Fate::LeftOut(why)));
                    continue;
                }
                Fate::Studied(passages) => passages,
            };
            for passage in passages {
                let more = passage.sequence.len();
                if more == 0 {
                    found.push(Some(Fate::LeftOut(LeftOut::Empty)));
                    continue;
                }
                let full = tokens + more > self.batch_tokens || self.wants.one_at_a_time;
                if full && !batch.is_empty() {
                    self.batch::<S>(workspace, std::mem::take(&mut batch), &mut found, give_up)?;
                    tokens = 0;
                }
                tokens += more;
                let place = found.len();
                batch.push(Waiting {
                    place,
                    line,
                    passage,
                });
                found.push(None);
            }
        }
        self.batch::<S>(workspace, batch, &mut found, give_up)?;
        Ok(Done {
            units,
            found: found.into_iter().flatten().collect(),
        })
    }

    /// Runs a batch and puts what it contributes in its places; half of it at a time where its device has no room for all.
    fn batch<S: Study<Lens = L>>(
        &self,
        workspace: &mut Workspace<f32>,
        batch: Vec<Waiting<P::Item>>,
        found: &mut [Option<Found<S>>],
        give_up: &AtomicBool,
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut sequences = Vec::with_capacity(batch.len());
        let mut targets = Vec::new();
        let mut viewed = Vec::with_capacity(batch.len());
        for Waiting {
            place,
            line,
            passage,
        } in batch
        {
            let Passage {
                sequence,
                target,
                item,
            } = passage;
            let part = self.lens.begin(&item, &sequence);
            viewed.push(Viewed {
                part: part.map_err(|e| self.blame(line, e))?,
                item,
                place,
                line,
            });
            targets.extend(target);
            sequences.push(sequence);
        }
        let packed = packed(self.model.architecture(), &sequences, |at, error| {
            self.blame(viewed[at].line, error)
        })?;
        let options = PassOptions {
            masking: self.wants.masking.map_or(Masking::None, Masking::Shared),
            targets: (!targets.is_empty()).then_some(&targets),
            mask_gradients: self.wants.mask_gradients,
            token_logits: self.wants.token_scores
                || self.wants.outputs && targets.iter().any(of_few_classes),
            observed_only: targets.is_empty() && !self.wants.outputs,
            allow_nonfinite: self.wants.allow_nonfinite,
            stop: Some(give_up),
            ..PassOptions::default()
        };
        let lines: Vec<u64> = viewed.iter().map(|view| view.line).collect();
        let blamed = |error| match error {
            EngineError::NotFinite { place, .. } => self.blame(lines[place.sequence], error.into()),
            _ => error.into(),
        };
        if self.wants.own_masks {
            return self.under_own_masks::<S>(
                workspace,
                (&sequences, &targets),
                viewed,
                found,
                give_up,
            );
        }
        let outputs = match self.outputs(&packed, &options, workspace, &mut viewed) {
            Err(error) if lacks_room(&error) && sequences.len() > 1 => {
                let mut targets = targets.into_iter();
                let mut first = Vec::with_capacity(sequences.len());
                for (view, sequence) in viewed.into_iter().zip(sequences) {
                    let passage = Passage {
                        sequence,
                        target: targets.next(),
                        item: view.item,
                    };
                    first.push(Waiting {
                        place: view.place,
                        line: view.line,
                        passage,
                    });
                }
                let second = first.split_off(first.len() / 2);
                self.batch::<S>(workspace, first, found, give_up)?;
                return self.batch::<S>(workspace, second, found, give_up);
            }
            outputs => outputs.map_err(blamed)?,
        };
        for (at, (mut view, sequence)) in viewed.into_iter().zip(&sequences).enumerate() {
            let blamed = |error| self.blame(view.line, error);
            let of_sequence = outputs
                .iter()
                .filter_map(|(without, all)| Some((*without, all.get(at)?)));
            for (without, output) in of_sequence {
                let seen = self
                    .lens
                    .output(&view.item, &mut view.part, without, output);
                seen.map_err(blamed)?;
            }
            self.lens
                .close(&view.item, &mut view.part)
                .map_err(blamed)?;
            found[view.place] = Some(Fate::Studied((view.item, view.part, sequence.len())));
        }
        Ok(())
    }

    /// What comes out of a batch: for the whole model, then for each of the heads that are left out.
    fn outputs(
        &self,
        packed: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<f32>,
        viewed: &mut [Viewed<L::Item, L::Part>],
    ) -> Result<Outputs, EngineError> {
        let model = self.model.model();
        let mut outputs = Outputs::new();
        if let Some(heads) = self.wants.without {
            let each = |head, output| outputs.push((head, output));
            match self.wants.ablated {
                Ablated::Head => model.run_without_each(packed, options, workspace, heads, each),
                Ablated::Others => {
                    model.run_with_each_alone(packed, options, workspace, heads, each)
                }
            }?;
            return Ok(outputs);
        }
        let mut viewer = Viewer {
            lens: self.lens,
            interests: self.wants.interests,
            viewed,
        };
        let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut viewer];
        let output = model.run(packed, options, workspace, observers)?;
        outputs.push((None, output.sequences));
        Ok(outputs)
    }

    /// Runs each sequence under its own masks, as many at once as a batch has tokens for.
    fn under_own_masks<S: Study<Lens = L>>(
        &self,
        workspace: &mut Workspace<f32>,
        (sequences, targets): (&[Sequence], &[Target]),
        viewed: Vec<Viewed<L::Item, L::Part>>,
        found: &mut [Option<Found<S>>],
        give_up: &AtomicBool,
    ) -> Result<(), Error> {
        for (at, (mut view, sequence)) in viewed.into_iter().zip(sequences).enumerate() {
            let blamed = |error| self.blame(view.line, error);
            let masks = self.lens.masks(&view.item);
            let together = (self.batch_tokens / sequence.len()).max(1);
            for masks in masks.chunks(together) {
                let copies = vec![sequence.clone(); masks.len()];
                let packed = packed(self.model.architecture(), &copies, |_, error| blamed(error))?;
                let targets = targets
                    .get(at)
                    .map(|target| vec![target.clone(); masks.len()]);
                let options = PassOptions {
                    masking: Masking::PerSequence(masks),
                    targets: targets.as_deref(),
                    mask_gradients: self.wants.mask_gradients,
                    allow_nonfinite: self.wants.allow_nonfinite,
                    stop: Some(give_up),
                    ..PassOptions::default()
                };
                let run = self
                    .model
                    .model()
                    .run(&packed, &options, workspace, &mut []);
                for output in run.map_err(|error| blamed(error.into()))?.sequences {
                    let heard = self.lens.output(&view.item, &mut view.part, None, &output);
                    heard.map_err(blamed)?;
                }
            }
            let closed = self.lens.close(&view.item, &mut view.part);
            closed.map_err(blamed)?;
            found[view.place] = Some(Fate::Studied((view.item, view.part, sequence.len())));
        }
        Ok(())
    }

    fn blame(&self, line: u64, error: Error) -> Error {
        Error::Example {
            path: self.supply.path().to_owned(),
            line,
            source: Box::new(error),
        }
    }
}

/// Of every sequence what came out, for the whole model and without heads.
type Outputs = Vec<(Option<HeadId>, Vec<SequenceOutput<f32>>)>;

/// Whether a device could have computed less at a time.
fn lacks_room(error: &EngineError) -> bool {
    #[cfg(feature = "gpu")]
    if let EngineError::Device(error) = error {
        use bertology_model::bertology_device::Error;
        return matches!(error, Error::TooLarge { .. } | Error::OutOfMemory { .. });
    }
    let _ = error;
    false
}

/// Whether what is said to each token is little, and what a score is made of.
fn of_few_classes(target: &Target) -> bool {
    matches!(target, Target::TokenLabels(_) | Target::Span { .. })
}

/// A sequence of a batch while it is looked at.
struct Viewed<I, P> {
    item: I,
    part: P,
    place: usize,
    line: u64,
}

/// Hands what passes by to the lens.
struct Viewer<'a, L: Lens> {
    lens: &'a L,
    interests: Interests,
    viewed: &'a mut [Viewed<L::Item, L::Part>],
}

impl<L: Lens> Observer<f32> for Viewer<'_, L> {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        let Viewed { item, part, .. } = &mut self.viewed[event.sequence];
        self.lens.see(item, part, event);
        ControlFlow::Continue(())
    }

    fn reductions(&self) -> Vec<Vec<Reduction>> {
        let mut all = vec![Vec::with_capacity(self.viewed.len()); self.lens.tables()];
        for Viewed { item, part, .. } in self.viewed.iter() {
            for (of, one) in all.iter_mut().zip(self.lens.reductions(item, part)) {
                of.push(one);
            }
        }
        all
    }

    fn reduced(&mut self, table: &Table<'_, f32>) -> ControlFlow<()> {
        let Viewed { item, part, .. } = &mut self.viewed[table.sequence];
        self.lens.see_table(item, part, table);
        ControlFlow::Continue(())
    }
}
