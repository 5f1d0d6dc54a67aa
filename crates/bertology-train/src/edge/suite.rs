//! All probes of a task at once: every reading of the layers with every seed.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bertology::random::Draws;
use serde::{Deserialize, Serialize};

use super::batch::{Batch, BatchSize, pack};
use super::design::{Array, Design, Output, Reading, Shape};
use super::march::{Lane, march};
use super::settings::{Interval, Settings};
use super::tally::Tally;
use super::training::{Course, Gathered, Pool, Room, Training};
use super::{Fault, LayerStates, Split};
use crate::Error;

/// Targets of a batch that is only looked at.
const LOOK: BatchSize = BatchSize::Targets(1024);

/// What probes are trained on.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// The states of both splits.
    pub states: &'a dyn LayerStates,
    /// What is learnt.
    pub train: &'a Split,
    /// What decides about rates, stopping and the best parameters.
    pub dev: &'a Split,
}

impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data")
            .field("train", &self.train.targets())
            .field("dev", &self.dev.targets())
            .finish_non_exhaustive()
    }
}

/// Which probes, and how they are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What all probes have in common.
    pub design: Design,
    /// Which layers they read.
    pub readings: Vec<Reading>,
    /// A probe for each reading and each seed.
    pub seeds: Vec<u64>,
    /// How they are trained.
    pub settings: Settings,
}

impl Plan {
    /// The cumulative probes of all layers: `mix(0)` to `mix(layers - 1)`.
    #[must_use]
    pub fn cumulative(design: Design, layers: usize, seeds: &[u64], settings: Settings) -> Self {
        Self {
            design,
            readings: (0..layers)
                .map(|layer| Reading::Mix(layer as u16))
                .collect(),
            seeds: seeds.to_vec(),
            settings,
        }
    }
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Validations that are finished.
    pub validations: usize,
    /// Validations at most; probes usually stop before.
    pub most_validations: usize,
    /// Steps since then, those of all probes together.
    pub steps: u64,
    /// Steps until the next validation, those of all probes together.
    pub of: u64,
    /// Probes that are trained still.
    pub active: usize,
    /// All probes.
    pub probes: usize,
}

/// Who looks on: called after every step of a probe, from any thread. `Break` gives the round up.
pub type Look<'l> = &'l (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// Where a seed is in its batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) epoch: u64,
    /// Batches of the epoch that are done.
    pub(crate) batch: u64,
}

/// All probes of a task in training.
///
/// Probes of a seed see the same batches in the same order and begin with the same values, wherever they have the same
/// arrays, so that what two layers differ by is a difference of pairs. The result is a function of data and plan:
/// neither the number of threads nor what is trained beside a probe changes a bit of it, on processors of one kind.
///
/// ```text
/// while suite.round(threads, look)? { save(suite.save()) }
/// ```
#[derive(Debug)]
pub struct Suite<'a> {
    pub(super) data: Data<'a>,
    pub(super) plan: Plan,
    /// `[seed][reading]`
    pub(super) probes: Vec<Training>,
    pub(super) cursors: Vec<Cursor>,
    pub(super) validations: usize,
}

impl<'a> Suite<'a> {
    /// Before the first step.
    ///
    /// # Errors
    /// Splits of different tasks, without targets, or beyond the states; a plan that cannot be followed.
    pub fn new(data: Data<'a>, plan: Plan) -> Result<Self, Error> {
        let Data { states, train, dev } = data;
        train.check(states)?;
        dev.check(states)?;
        for (what, train, other) in [
            ("spans a target", train.roles(), dev.roles()),
            ("labels", train.classes(), dev.classes()),
        ] {
            if train != other {
                return Err(Fault::Splits { what, train, other }.into());
            }
        }
        plan.settings.check()?;
        if plan.design.output == Output::Softmax {
            let many = (0..train.targets()).find(|target| train.get(*target).labels.len() != 1);
            if let Some(target) = many {
                let labels = train.get(target).labels.len();
                return Err(Fault::ManyLabels { target, labels }.into());
            }
        }
        let mut probes = Vec::new();
        for seed in &plan.seeds {
            for reading in &plan.readings {
                let shape = Shape::new(plan.design, *reading, states, train)?;
                probes.push(Training::new(shape, *seed, &plan.settings));
            }
        }
        if probes.is_empty() {
            return Err(Fault::Design {
                what: "number of probes",
                value: 0.0,
            }
            .into());
        }
        Ok(Self {
            data,
            cursors: vec![Cursor::default(); plan.seeds.len()],
            plan,
            probes,
            validations: 0,
        })
    }

    /// What is trained.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether all probes have stopped.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.probes.iter().all(|probe| probe.live.is_none())
    }

    /// How the training of each probe went: seed by seed, in each the readings in their order.
    pub fn courses(&self) -> impl ExactSizeIterator<Item = &Course> {
        self.probes.iter().map(|probe| &probe.course)
    }

    /// The parameters of a probe, in the order of [`Suite::courses`].
    ///
    /// # Panics
    /// Past the last one.
    #[must_use]
    pub fn arrays(&self, probe: usize) -> Vec<Array<'_>> {
        self.probes[probe].arrays()
    }

    /// The mixing weights softmax(a) `[layers read]` and γ of a probe; `None` where one layer is read.
    ///
    /// # Panics
    /// Past the last probe.
    #[must_use]
    pub fn mixing(&self, probe: usize) -> Option<(Vec<f32>, f32)> {
        self.probes[probe].mixing()
    }

    /// Trains all probes until their next validation, validates them, and stops those that are to stop.
    /// Gives whether some are trained still.
    ///
    /// # Errors
    /// States that cannot be read; a loss that is not finite; a `Break`. Then probes have come to different places and
    /// the suite is of no further use: go on from what was saved before.
    pub fn round(&mut self, threads: usize, look: Look<'_>) -> Result<bool, Error> {
        if self.is_done() {
            return Ok(false);
        }
        let readings = self.plan.readings.len();
        let mut batches = Vec::new();
        for (seed, cursor) in self.cursors.iter_mut().enumerate() {
            batches.push(next_batches(self.data.train, &self.plan, seed, cursor));
        }
        let settings = self.plan.settings;
        let all = self.probes.len();
        let active: Vec<Mutex<(usize, &mut Training)>> = self
            .probes
            .iter_mut()
            .enumerate()
            .filter(|(_, probe)| probe.live.is_some())
            .map(Mutex::new)
            .collect();
        let lanes: Vec<Lane> = active
            .iter()
            .map(|probe| {
                let group = probe.lock().unwrap_or_else(PoisonError::into_inner).0 / readings;
                Lane {
                    group,
                    steps: batches[group].len(),
                }
            })
            .collect();
        let done = AtomicU64::new(0);
        let of = lanes.iter().map(|lane| lane.steps as u64).sum();
        let validations = self.validations;
        let states = self.data.states;
        let pool = Pool::default();
        march(
            &lanes,
            threads,
            |group, step| gather(states, self.data.train, &batches[group][step], &pool),
            |room: &mut Room, lane, _, gathered: &Gathered<'_>| {
                let mut probe = active[lane].lock().unwrap_or_else(PoisonError::into_inner);
                probe.1.step(room, gathered.input(), &settings)?;
                let progress = Progress {
                    validations,
                    most_validations: settings.most_validations as usize,
                    steps: done.fetch_add(1, Ordering::Relaxed) + 1,
                    of,
                    active: lanes.len(),
                    probes: all,
                };
                match look(progress) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Fault::Interrupted { validations }.into()),
                }
            },
        )?;
        let dev = self.data.dev;
        let seen = settings
            .validation_sentences
            .unwrap_or(usize::MAX)
            .min(dev.sentences());
        let output = self.plan.design.output;
        let tallies = evaluate(
            states,
            dev,
            0..seen,
            &active
                .iter()
                .map(|probe| probe as &dyn Ask)
                .collect::<Vec<_>>(),
            threads,
            |_| Tally::new(dev, output, None),
            |tally, target, logits| {
                tally.add(target, logits);
            },
        )?;
        for (probe, tally) in active.iter().zip(&tallies) {
            let mut probe = probe.lock().unwrap_or_else(PoisonError::into_inner);
            probe.1.validated(tally, &settings);
        }
        self.validations += 1;
        Ok(!self.is_done())
    }

    /// Shows the logits of every target of a split to all probes' accumulators, made by `new(probe)`: a probe's targets
    /// come batch by batch, by their numbers in the split.
    ///
    /// # Errors
    /// A split of another task, or beyond the states; states that cannot be read.
    pub fn evaluate<A: Send>(
        &self,
        split: &Split,
        threads: usize,
        new: impl FnMut(usize) -> A,
        add: impl Fn(&mut A, usize, &[f32]) + Sync,
    ) -> Result<Vec<A>, Error> {
        self.evaluate_part(split, 0..split.sentences(), threads, new, add)
    }

    /// As [`Suite::evaluate`], of some sentences.
    ///
    /// # Errors
    /// As there.
    pub fn evaluate_part<A: Send>(
        &self,
        split: &Split,
        sentences: Range<usize>,
        threads: usize,
        new: impl FnMut(usize) -> A,
        add: impl Fn(&mut A, usize, &[f32]) + Sync,
    ) -> Result<Vec<A>, Error> {
        split.check(self.data.states)?;
        for (what, train, other) in [
            ("spans a target", self.data.train.roles(), split.roles()),
            ("labels", self.data.train.classes(), split.classes()),
        ] {
            if train != other {
                return Err(Fault::Splits { what, train, other }.into());
            }
        }
        let probes: Vec<&dyn Ask> = self.probes.iter().map(|probe| probe as &dyn Ask).collect();
        let states = self.data.states;
        evaluate(states, split, sentences, &probes, threads, new, add)
    }
}

/// A probe that can be asked.
trait Ask: Sync {
    fn ask(&self, room: &mut Room, gathered: &Gathered<'_>, see: &mut dyn FnMut(&[f32]));
}

impl Ask for Training {
    fn ask(&self, room: &mut Room, gathered: &Gathered<'_>, see: &mut dyn FnMut(&[f32])) {
        see(self.logits(room, gathered.input()));
    }
}

impl Ask for Mutex<(usize, &mut Training)> {
    fn ask(&self, room: &mut Room, gathered: &Gathered<'_>, see: &mut dyn FnMut(&[f32])) {
        let probe = self.lock().unwrap_or_else(PoisonError::into_inner);
        probe.1.ask(room, gathered, see);
    }
}

/// All targets of some sentences before all probes.
fn evaluate<A: Send>(
    states: &dyn LayerStates,
    split: &Split,
    sentences: Range<usize>,
    probes: &[&dyn Ask],
    threads: usize,
    new: impl FnMut(usize) -> A,
    add: impl Fn(&mut A, usize, &[f32]) + Sync,
) -> Result<Vec<A>, Error> {
    let sentences: Vec<u32> = (sentences.start as u32..sentences.end as u32).collect();
    let batches = pack(split, &sentences, LOOK);
    let lane = Lane {
        group: 0,
        steps: batches.len(),
    };
    let pool = Pool::default();
    let found: Vec<Mutex<A>> = (0..probes.len()).map(new).map(Mutex::new).collect();
    march(
        &vec![lane; probes.len()],
        threads,
        |_, step| gather(states, split, &batches[step], &pool),
        |room: &mut Room, lane, _, gathered: &Gathered<'_>| {
            let mut found = found[lane].lock().unwrap_or_else(PoisonError::into_inner);
            probes[lane].ask(room, gathered, &mut |logits| {
                let rows = logits.chunks_exact(split.classes());
                for (target, row) in gathered.batch.targets.iter().zip(rows) {
                    add(&mut found, *target as usize, row);
                }
            });
            Ok(())
        },
    )?;
    let found = found.into_iter();
    Ok(found
        .map(|found| found.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect())
}

fn gather<'p>(
    states: &dyn LayerStates,
    split: &Split,
    sentences: &[u32],
    pool: &'p Pool,
) -> Result<Gathered<'p>, Error> {
    let batch = Batch::new(split, sentences);
    let layers = states.layers();
    let free = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut gathered = Gathered {
        states: free.unwrap_or_default(),
        batch,
        layers,
        pool,
    };
    let size = gathered.batch.pieces.len() * layers * states.hidden();
    gathered.states.resize(size, 0.0);
    states.gather(&gathered.batch.pieces, &mut gathered.states)?;
    Ok(gathered)
}

/// The sentences of a seed's epoch, in their order.
fn order(split: &Split, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..split.sentences() as u32).collect();
    Draws::of([seed, epoch, 0x6f72_6465]).shuffle(&mut order);
    order
}

/// The batches of a seed until the next validation; moves its cursor behind them.
fn next_batches(train: &Split, plan: &Plan, seed: usize, cursor: &mut Cursor) -> Vec<Vec<u32>> {
    let settings = plan.settings;
    let epoch = |epoch| {
        pack(
            train,
            &order(train, plan.seeds[seed], epoch),
            settings.batch,
        )
    };
    let mut all = epoch(cursor.epoch);
    let mut batches = Vec::new();
    match settings.interval {
        Interval::Epoch => {
            let parts = settings.parts(train);
            let end = |part: usize| all.len() * part / parts;
            // The end that is next from here; the last one is the epoch's.
            let next = (1..=parts).map(end).find(|end| *end as u64 > cursor.batch);
            let next = next.unwrap_or(all.len());
            batches.extend(all.drain(..next).skip(cursor.batch as usize));
            cursor.batch = next as u64;
            if all.is_empty() {
                *cursor = Cursor {
                    epoch: cursor.epoch + 1,
                    batch: 0,
                };
            }
        }
        Interval::Steps(steps) => {
            while batches.len() < steps {
                let wanted = steps - batches.len();
                let size = all.len();
                let first = cursor.batch as usize;
                batches.extend(all.into_iter().skip(first).take(wanted));
                cursor.batch = (first + wanted).min(size) as u64;
                if cursor.batch as usize == size {
                    *cursor = Cursor {
                        epoch: cursor.epoch + 1,
                        batch: 0,
                    };
                }
                all = epoch(cursor.epoch);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests;
