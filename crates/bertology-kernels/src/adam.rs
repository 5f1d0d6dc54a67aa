//! One step of Adam over a slice of parameters.

use crate::{Real, vectorized};

/// What a step is made of, besides the gradient: constants of Adam (Kingma and Ba 2015) with the corrections of this
/// step in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// What the gradient is multiplied by first.
    pub gradient_scale: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean square.
    pub beta2: f64,
    /// Learning rate, divided by the share of true gradients in the mean.
    pub size: f64,
    /// What the root of the mean square is multiplied by.
    pub root_scale: f64,
    /// Added to that root.
    pub epsilon: f64,
    /// What parameters are multiplied by before the step.
    pub kept: f64,
}

/// `m ← β₁ m + (1-β₁) g`, `v ← β₂ v + (1-β₂) g²`, `x ← kept x - size m / (root_scale √v + ε)`; where there are maxima,
/// `u ← max(u, v)` takes the place of `v` in the last (AMSGrad, Reddi, Kale and Kumar 2018, as PyTorch has it: of the
/// mean square before correction).
///
/// # Shapes
/// All of one length; `maximum` may be empty.
///
/// # Panics
/// If lengths differ.
#[track_caller]
pub fn adam_step<T: Real>(
    step: AdamStep,
    values: &mut [T],
    gradient: &[T],
    mean: &mut [T],
    square: &mut [T],
    maximum: &mut [T],
) {
    let n = values.len();
    assert!(gradient.len() == n && mean.len() == n && square.len() == n);
    assert!(maximum.is_empty() || maximum.len() == n);
    let (step, has_maximum) = (Constants::new(step), !maximum.is_empty());
    if has_maximum {
        vectorized!(with_maximum(step, values, gradient, mean, square, maximum));
    } else {
        vectorized!(without_maximum(step, values, gradient, mean, square));
    }
}

/// An [`AdamStep`] in the type of the parameters.
#[derive(Clone, Copy)]
struct Constants<T> {
    scale: T,
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    size: T,
    root_scale: T,
    epsilon: T,
    kept: T,
}

impl<T: Real> Constants<T> {
    fn new(step: AdamStep) -> Self {
        Self {
            scale: T::from_f64(step.gradient_scale),
            beta1: T::from_f64(step.beta1),
            rest1: T::from_f64(1.0 - step.beta1),
            beta2: T::from_f64(step.beta2),
            rest2: T::from_f64(1.0 - step.beta2),
            size: T::from_f64(step.size),
            root_scale: T::from_f64(step.root_scale),
            epsilon: T::from_f64(step.epsilon),
            kept: T::from_f64(step.kept),
        }
    }

    #[inline(always)]
    fn moments(self, gradient: T, mean: &mut T, square: &mut T) {
        let g = self.scale * gradient;
        *mean = self.beta1 * *mean + self.rest1 * g;
        *square = self.beta2 * *square + self.rest2 * g * g;
    }

    #[inline(always)]
    fn moved(self, value: T, mean: T, square: T) -> T {
        self.kept * value - self.size * mean / (square.sqrt() * self.root_scale + self.epsilon)
    }
}

#[inline(always)]
fn without_maximum<T: Real>(
    step: Constants<T>,
    values: &mut [T],
    gradient: &[T],
    mean: &mut [T],
    square: &mut [T],
) {
    let moments = mean.iter_mut().zip(square);
    for ((x, g), (mean, square)) in values.iter_mut().zip(gradient).zip(moments) {
        step.moments(*g, mean, square);
        *x = step.moved(*x, *mean, *square);
    }
}

#[inline(always)]
fn with_maximum<T: Real>(
    step: Constants<T>,
    values: &mut [T],
    gradient: &[T],
    mean: &mut [T],
    square: &mut [T],
    maximum: &mut [T],
) {
    let moments = mean.iter_mut().zip(square).zip(maximum);
    for ((x, g), ((mean, square), maximum)) in values.iter_mut().zip(gradient).zip(moments) {
        step.moments(*g, mean, square);
        *maximum = square.max(*maximum);
        *x = step.moved(*x, *mean, *maximum);
    }
}
