//! One probe in training: its parameters, its optimiser, when it is halved and when it stops.

use std::sync::{Mutex, PoisonError};

use bertology_kernels::elementwise::square_sum;
use serde::{Deserialize, Serialize};

use super::Fault;
use super::batch::Batch;
use super::design::{Array, Layout, Reading, Shape};
use super::masks::StepMasks;
use super::pass::{Input, Masks, Probe, Workspace};
use super::settings::{LossScale, SETTLED, Selection, Settings};
use super::tally::Tally;
use crate::{Error, Optimizer};

/// Why a probe stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// So many validations went by without a new best.
    Patience,
    /// The learning rate fell below its lowest.
    Rate,
    /// No more validations were allowed.
    Limit,
}

/// What a validation saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Steps before it.
    pub step: u64,
    /// Mean loss of a step since the one before.
    pub train_loss: f64,
    /// Mean loss of a target of the development split, in nats, those without a known label left out.
    pub loss: f64,
    /// Micro-averaged F1 over all labels, in [0, 1].
    pub f1: f64,
    /// The factor of the learning rates until now.
    pub factor: f64,
}

impl Validation {
    /// The higher, the better.
    fn score(&self, selection: Selection) -> f64 {
        match selection {
            Selection::F1 => self.f1,
            Selection::Loss => -self.loss,
        }
    }
}

/// How a probe's training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Which layers it reads.
    pub reading: Reading,
    /// Of its first values, its masks and the order of its batches.
    pub seed: u64,
    /// All of them, in order.
    pub validations: Vec<Validation>,
    /// Which of them was the best, the first of equals: the parameters are those of that moment.
    pub best: usize,
    /// Why it stopped; `None` while it trains.
    pub stop: Option<Stop>,
    /// Factor of the learning rates.
    factor: f64,
    /// The highest score that counted as a rise, and validations since.
    plateau: Option<f64>,
    since_rise: u32,
}

impl Course {
    pub(crate) fn new(reading: Reading, seed: u64) -> Self {
        Self {
            reading,
            seed,
            validations: Vec::new(),
            best: 0,
            stop: None,
            factor: 1.0,
            plateau: None,
            since_rise: 0,
        }
    }

    /// Whether more training would not have helped: it stopped by itself, or its score rose by less than [`SETTLED`]
    /// within the last third of its validations. For a probe selected by loss only the former counts.
    #[must_use]
    pub fn converged(&self, selection: Selection) -> bool {
        match self.stop {
            None => false,
            Some(Stop::Patience | Stop::Rate) => true,
            Some(Stop::Limit) => {
                let all = &self.validations;
                let best = |range: &[Validation]| {
                    let scores = range.iter().map(|v| v.score(selection));
                    scores.fold(f64::NEG_INFINITY, f64::max)
                };
                let before = all.len() - all.len().div_ceil(3);
                before > 0
                    && selection == Selection::F1
                    && best(all) - best(&all[..before]) < SETTLED
            }
        }
    }

    /// The validation that was the best.
    #[must_use]
    pub fn best(&self) -> Option<&Validation> {
        self.validations.get(self.best)
    }

    /// Whether it is the best so far.
    fn add(&mut self, validation: Validation, settings: &Settings) -> bool {
        let score = validation.score(settings.selection);
        let best = self.best().map(|best| best.score(settings.selection));
        let is_best = best.is_none_or(|best| score > best);
        if is_best {
            self.best = self.validations.len();
        }
        self.validations.push(validation);
        let since_lowest = match settings.loss_is_progress {
            true => self.validations.len() - 1 - self.lowest_loss(),
            false => usize::MAX,
        };
        // As PyTorch's ReduceLROnPlateau with an absolute threshold.
        if self
            .plateau
            .is_none_or(|plateau| score > plateau + settings.threshold)
        {
            self.plateau = Some(score);
            self.since_rise = 0;
        } else if since_lowest == 0 {
            self.since_rise = 0;
        } else {
            self.since_rise += 1;
        }
        if self.since_rise > settings.halving_patience {
            self.factor /= 2.0;
            self.since_rise = 0;
        }
        let since_best = (self.validations.len() - 1 - self.best).min(since_lowest);
        self.stop = if since_best >= settings.patience as usize {
            Some(Stop::Patience)
        } else if settings.adam.learning_rate * self.factor < settings.lowest_rate {
            Some(Stop::Rate)
        } else if self.validations.len() >= settings.most_validations as usize {
            Some(Stop::Limit)
        } else {
            None
        };
        is_best
    }

    /// The validation of the lowest loss, the first of equals.
    fn lowest_loss(&self) -> usize {
        let losses = self
            .validations
            .iter()
            .map(|validation| validation.loss)
            .enumerate();
        let lowest = losses.min_by(|a, b| a.1.total_cmp(&b.1));
        lowest.map_or(0, |(at, _)| at)
    }

    /// Refuses a course that no training can have had.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.best >= self.validations.len().max(1) {
            return Err("its best validation is none of them");
        }
        if !(self.factor > 0.0 && self.factor <= 1.0) {
            return Err("the factor of its learning rates is none");
        }
        if self.stop.is_some() && self.validations.is_empty() {
            return Err("it stopped before its first validation");
        }
        Ok(())
    }
}

/// A probe in training.
#[derive(Debug)]
pub(crate) struct Training {
    pub(crate) shape: Shape,
    layout: Layout,
    /// The present parameters; those of the best validation once it has stopped.
    pub(crate) values: Vec<f32>,
    /// What only a probe in training needs; dropped when it stops.
    pub(crate) live: Option<Live>,
    pub(crate) course: Course,
}

#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) optimizer: Optimizer<f32>,
    /// The parameters at the best validation.
    pub(crate) best: Vec<f32>,
    /// Sum of the losses since the last validation, and steps.
    losses: f64,
    steps: u64,
}

/// What a thread needs for a step.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) work: Workspace<f32>,
    gradient: Vec<f32>,
}

impl Training {
    pub(crate) fn new(shape: Shape, seed: u64, settings: &Settings) -> Self {
        let values: Vec<f32> = shape.first_values(seed);
        let live = Live {
            optimizer: Optimizer::new(settings.adam, values.len()),
            best: values.clone(),
            losses: 0.0,
            steps: 0,
        };
        Self {
            course: Course::new(shape.reading, seed),
            layout: shape.layout(),
            live: Some(live),
            shape,
            values,
        }
    }

    pub(crate) fn probe(&self) -> Probe<'_, f32> {
        Probe {
            shape: &self.shape,
            layout: &self.layout,
            values: &self.values,
        }
    }

    pub(crate) fn arrays(&self) -> Vec<Array<'_>> {
        self.shape.arrays(&self.values)
    }

    /// softmax(a) and γ; nothing for a probe of a single layer.
    pub(crate) fn mixing(&self) -> Option<(Vec<f32>, f32)> {
        let logits = &self.values[self.layout.mixing.clone()];
        let gamma = self.values[self.layout.gamma.clone()].first()?;
        Some((super::pass::shares(logits), *gamma))
    }

    /// One step on a batch.
    pub(crate) fn step(
        &mut self,
        room: &mut Room,
        input: Input<'_, f32>,
        settings: &Settings,
    ) -> Result<(), Error> {
        let Some(live) = &self.live else {
            return Ok(());
        };
        let masks = StepMasks::new(&self.shape, self.course.seed, live.optimizer.steps());
        self.step_with(room, input, settings, &masks)
    }

    /// One step with these masks.
    pub(crate) fn step_with(
        &mut self,
        room: &mut Room,
        input: Input<'_, f32>,
        settings: &Settings,
        masks: &dyn Masks<f32>,
    ) -> Result<(), Error> {
        let probe = Probe {
            shape: &self.shape,
            layout: &self.layout,
            values: &self.values,
        };
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let targets = input.batch.targets.len();
        let units = match settings.loss {
            LossScale::Targets => targets,
            LossScale::Cells => targets * self.shape.classes,
        };
        probe.forward(&mut room.work, input, Some(masks));
        let weight = (units as f64).recip();
        let loss = probe.loss(&mut room.work, input.batch, weight);
        room.gradient.resize(self.values.len(), 0.0);
        probe.backward(&mut room.gradient, &mut room.work, input, Some(masks));
        let norm = square_sum(&room.gradient).sqrt();
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Fault::NotFinite {
                layer: self.shape.reading.top(),
                seed: self.course.seed,
                step: live.optimizer.steps(),
                loss,
            }
            .into());
        }
        live.losses += loss;
        live.steps += 1;
        // As PyTorch's clip_grad_norm_.
        let scale = (settings.clip / (norm + 1e-6)).min(1.0);
        let factor = self.course.factor;
        let rates = [
            (self.layout.mixing.end, settings.mixing_rate * factor),
            (self.values.len(), settings.adam.learning_rate * factor),
        ];
        live.optimizer
            .step_by_parts(&mut self.values, &room.gradient, scale, &rates);
        Ok(())
    }

    /// The logits of a batch, without dropout.
    pub(crate) fn logits<'r>(&self, room: &'r mut Room, input: Input<'_, f32>) -> &'r [f32] {
        self.probe().forward(&mut room.work, input, None)
    }

    /// What a validation saw: keeps the best, halves, stops.
    pub(crate) fn validated(&mut self, tally: &Tally, settings: &Settings) {
        let Some(live) = &mut self.live else {
            return;
        };
        let validation = Validation {
            step: live.optimizer.steps(),
            train_loss: live.losses / live.steps.max(1) as f64,
            loss: tally.mean_loss(),
            f1: tally.f1(),
            factor: self.course.factor,
        };
        (live.losses, live.steps) = (0.0, 0);
        if self.course.add(validation, settings) {
            live.best.copy_from_slice(&self.values);
        }
        if self.course.stop.is_some() {
            self.values.copy_from_slice(&live.best);
            self.live = None;
        }
    }

    /// Made of what was saved: of its course, its steps and its arrays.
    pub(crate) fn resumed(
        shape: Shape,
        course: Course,
        steps: u64,
        settings: &Settings,
        read: &mut dyn FnMut(&mut [f32]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut training = Self::new(shape, course.seed, settings);
        read(&mut training.values)?;
        if course.stop.is_some() {
            training.live = None;
        } else if let Some(live) = &mut training.live {
            read(&mut live.best)?;
            for array in live.optimizer.restore(steps) {
                read(array)?;
            }
        }
        training.course = course;
        Ok(training)
    }

    /// The arrays that [`Training::resumed`] reads, in its order.
    pub(crate) fn saved(&self) -> Vec<&[f32]> {
        let mut arrays = vec![&self.values[..]];
        if let Some(live) = &self.live {
            arrays.push(&live.best);
            arrays.extend(live.optimizer.state());
        }
        arrays
    }

    pub(crate) fn steps(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.optimizer.steps())
    }
}

/// A batch that was gathered. Its memory goes back to where the next one takes it from.
#[derive(Debug)]
pub(crate) struct Gathered<'p> {
    pub(crate) batch: Batch,
    pub(crate) states: Vec<f32>,
    pub(crate) layers: usize,
    pub(crate) pool: &'p Pool,
}

/// Memory of batches that are done with.
pub(crate) type Pool = Mutex<Vec<Vec<f32>>>;

impl Gathered<'_> {
    pub(crate) fn input(&self) -> Input<'_, f32> {
        Input {
            batch: &self.batch,
            states: &self.states,
            layers: self.layers,
        }
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(std::mem::take(&mut self.states));
    }
}

#[cfg(test)]
mod tests;
