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
    let scale = T::from_f64(step.gradient_scale);
    let (beta1, rest1) = (T::from_f64(step.beta1), T::from_f64(1.0 - step.beta1));
    let (beta2, rest2) = (T::from_f64(step.beta2), T::from_f64(1.0 - step.beta2));
    let (size, root_scale) = (T::from_f64(step.size), T::from_f64(step.root_scale));
    let (epsilon, kept) = (T::from_f64(step.epsilon), T::from_f64(step.kept));
    if maximum.is_empty() {
        vectorized!({
            for i in 0..n {
                let g = scale * gradient[i];
                mean[i] = beta1 * mean[i] + rest1 * g;
                square[i] = beta2 * square[i] + rest2 * g * g;
                values[i] =
                    kept * values[i] - size * mean[i] / (square[i].sqrt() * root_scale + epsilon);
            }
        });
        return;
    }
    vectorized!({
        for i in 0..n {
            let g = scale * gradient[i];
            mean[i] = beta1 * mean[i] + rest1 * g;
            square[i] = beta2 * square[i] + rest2 * g * g;
            let largest = if square[i] > maximum[i] {
                square[i]
            } else {
                maximum[i]
            };
            maximum[i] = largest;
            values[i] = kept * values[i] - size * mean[i] / (largest.sqrt() * root_scale + epsilon);
        }
    });
}
