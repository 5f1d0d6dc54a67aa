//! Steps down a gradient: AdamW, and schedules of its learning rate.

use bertology_kernels::Real;
use bertology_kernels::adam::{AdamStep, adam_step};
use serde::{Deserialize, Serialize};

/// Constants of AdamW (Loshchilov and Hutter 2019); without decay it is Adam (Kingma and Ba 2015).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the mean gradient, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean squared gradient, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// How much of a parameter a step takes away, in units of the learning rate; apart from the gradient.
    pub weight_decay: f64,
    /// Whether the largest mean square so far takes the place of the present one (AMSGrad: Reddi, Kale and Kumar
    /// 2018). As torch has it the largest is taken of the uncorrected ones, and corrected like the present one.
    #[serde(default)]
    pub amsgrad: bool,
}

impl Default for Adam {
    /// Those of Kingma and Ba, no decay, no AMSGrad.
    fn default() -> Self {
        Self {
            learning_rate: 0.001,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
        }
    }
}

/// AdamW for one row of parameters: its constants, its state and how many steps were taken.
///
/// With `g` the gradient, `r` the learning rate times the schedule's factor and `λ` the weight decay, step `t`
/// (from 1) is
///
/// ```text
/// m ← β₁ m + (1 - β₁) g        v ← β₂ v + (1 - β₂) g²
/// x ← (1 - r λ) x - r m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε)
/// ```
///
/// as torch.optim.AdamW's; with AMSGrad `u ← max(u, v)` takes the place of `v` in the second line. Parameters that are
/// not to decay, such as biases and norms, are a row of their own.
#[derive(Debug, Clone)]
pub struct Optimizer<T> {
    adam: Adam,
    steps: u64,
    mean: Vec<T>,
    square: Vec<T>,
    /// Empty without AMSGrad.
    maximum: Vec<T>,
}

/// Learning rates of a row of parameters, part by part: where each part ends, and its rate.
pub(crate) type Rates<'a> = &'a [(usize, f64)];

impl<T: Real> Optimizer<T> {
    /// For `size` parameters, before the first step.
    #[must_use]
    pub fn new(adam: Adam, size: usize) -> Self {
        Self {
            adam,
            steps: 0,
            mean: vec![T::ZERO; size],
            square: vec![T::ZERO; size],
            maximum: vec![T::ZERO; if adam.amsgrad { size } else { 0 }],
        }
    }

    /// One step: moves `values` against `gradient`, the learning rate multiplied by `factor` ([`Schedule`]).
    ///
    /// # Panics
    /// If there are not as many values, or not as many gradients, as the optimiser is for.
    #[track_caller]
    pub fn step(&mut self, values: &mut [T], gradient: &[T], factor: f64) {
        let rate = self.adam.learning_rate * factor;
        self.step_by_parts(values, gradient, 1.0, &[(values.len(), rate)]);
    }

    /// One step against `scale` times the gradient, with a learning rate for each part of the row; what is behind the
    /// last part stays.
    #[track_caller]
    pub(crate) fn step_by_parts(
        &mut self,
        values: &mut [T],
        gradient: &[T],
        scale: f64,
        rates: Rates<'_>,
    ) {
        assert_eq!(values.len(), self.mean.len());
        assert_eq!(gradient.len(), self.mean.len());
        self.steps += 1;
        let Adam {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            amsgrad,
            learning_rate: _,
        } = self.adam;
        // The means begin at zero; this is the share of true gradients in them.
        let share = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let mut start = 0;
        for (end, rate) in rates.iter().copied() {
            let part = start..end;
            let maximum = if amsgrad { part.clone() } else { 0..0 };
            let step = AdamStep {
                gradient_scale: scale,
                beta1,
                beta2,
                size: rate / share(beta1),
                root_scale: share(beta2).sqrt().recip(),
                epsilon,
                kept: 1.0 - rate * weight_decay,
            };
            adam_step(
                step,
                &mut values[part.clone()],
                &gradient[part.clone()],
                &mut self.mean[part.clone()],
                &mut self.square[part],
                &mut self.maximum[maximum],
            );
            start = end;
        }
    }

    /// Steps taken.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Mean, mean square and, with AMSGrad, its maximum.
    pub(crate) fn state(&self) -> [&[T]; 3] {
        [&self.mean, &self.square, &self.maximum]
    }

    /// The same, to be filled by whoever goes on with an optimiser of so many steps.
    pub(crate) fn restore(&mut self, steps: u64) -> [&mut [T]; 3] {
        self.steps = steps;
        [&mut self.mean, &mut self.square, &mut self.maximum]
    }
}

/// What the learning rate is multiplied by as training goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// 1 throughout.
    #[default]
    Constant,
    /// From 0 in a straight line to 1 within `warmup` steps, then in a straight line to 0 at `total`: that of
    /// transformers' `get_linear_schedule_with_warmup`.
    Linear {
        /// Steps on the way up.
        warmup: u64,
        /// All steps.
        total: u64,
    },
    /// The same way up, then half a cosine down to 0 at `total`: transformers' `get_cosine_schedule_with_warmup`.
    Cosine {
        /// Steps on the way up.
        warmup: u64,
        /// All steps.
        total: u64,
    },
}

impl Schedule {
    /// The factor of a step; the first step is 0.
    #[must_use]
    pub fn factor(self, step: u64) -> f64 {
        let left = |warmup: u64, total: u64| {
            let left = total.saturating_sub(step) as f64;
            left / total.saturating_sub(warmup).max(1) as f64
        };
        match self {
            Self::Constant => 1.0,
            Self::Linear { warmup, .. } | Self::Cosine { warmup, .. } if step < warmup => {
                step as f64 / warmup as f64
            }
            Self::Linear { warmup, total } => left(warmup, total),
            Self::Cosine { warmup, total } => {
                0.5 * (1.0 + (std::f64::consts::PI * (1.0 - left(warmup, total))).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests;
