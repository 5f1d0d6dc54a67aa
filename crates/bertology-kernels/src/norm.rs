//! Norms over the last axis: by mean and deviation (layer norm) or by the root mean square alone, and their backward passes.

use crate::elementwise::{sum_of, sum_pairs};
use crate::{Real, vectorized};

/// Normalises each row of `x` and applies the affine map.
///
/// `x̂ = (x - mean) / √(var + ε)`, `y = x̂ · weight + bias`, with the biased variance, as
/// `torch.nn.LayerNorm`. Without `centred` the mean counts as 0, so that `x̂ = x / √(mean(x²) + ε)`, as `torch.nn.RMSNorm`
/// (Zhang and Sennrich 2019).
///
/// # Shapes
/// `x [rows, width]`: on return it holds `x̂`, which the backward pass needs; `rstd [rows]`
/// receives `1 / √(var + ε)`; `y [rows, width]`; `weight`, `bias` `[width]`.
///
/// # Numerics
/// Two passes (mean, then centred squares) with interleaved partial sums. A row whose variance is not a finite
/// number becomes NaN throughout, as in PyTorch.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn layer_norm<T: Real>(
    y: &mut [T],
    x: &mut [T],
    rstd: &mut [T],
    weight: &[T],
    bias: &[T],
    epsilon: f64,
    centred: bool,
) {
    let width = weight.len();
    assert_eq!(bias.len(), width);
    assert_eq!(x.len(), y.len());
    assert_eq!(x.len(), rstd.len() * width);
    let inverse_width = T::from_f64(1.0 / width as f64);
    let of_mean = share_of_mean(inverse_width, centred);
    let epsilon = T::from_f64(epsilon);
    for ((x, y), rstd) in x
        .chunks_exact_mut(width)
        .zip(y.chunks_exact_mut(width))
        .zip(rstd.iter_mut())
    {
        *rstd = vectorized!(normalize(
            x,
            y,
            weight,
            bias,
            [inverse_width, of_mean],
            epsilon
        ));
    }
}

/// What a sum over a row is multiplied by to be its mean: nothing of it where the norm leaves the mean alone, so that both
/// norms are one loop.
fn share_of_mean<T: Real>(inverse_width: T, centred: bool) -> T {
    if centred { inverse_width } else { T::ZERO }
}

/// Slices and numbers by value: what a closure holds by reference is read anew for every element.
#[inline(always)]
fn normalize<T: Real>(
    x: &mut [T],
    y: &mut [T],
    weight: &[T],
    bias: &[T],
    [inverse_width, of_mean]: [T; 2],
    epsilon: T,
) -> T {
    let mean = sum_of(x, |x| x) * of_mean;
    for v in x.iter_mut() {
        *v -= mean;
    }
    let variance = sum_of(x, |x| x * x) * inverse_width;
    // The inverse of an infinite deviation is zero, which would make a plausible row of the bias alone.
    let scale = if variance.is_finite() {
        T::ONE / (variance + epsilon).sqrt()
    } else {
        T::from_f64(f64::NAN)
    };
    let affine = weight.iter().zip(bias);
    for ((x, y), (weight, bias)) in x.iter_mut().zip(y).zip(affine) {
        *x *= scale;
        *y = x.mul_add(*weight, *bias);
    }
    scale
}

/// Gradient of [`layer_norm`] with respect to its input.
///
/// With `g = dy · weight`: `dx = rstd · (g - mean(g) - x̂ · mean(g · x̂))`, where `mean(g)` counts as 0 without `centred`.
///
/// # Shapes
/// `dy [rows, width]`: on return it holds `dx`; `normalized [rows, width]` is the `x̂` that the
/// forward pass left; `rstd [rows]`; `weight [width]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn layer_norm_backward<T: Real>(
    dy: &mut [T],
    normalized: &[T],
    rstd: &[T],
    weight: &[T],
    centred: bool,
) {
    let width = weight.len();
    assert_eq!(dy.len(), normalized.len());
    assert_eq!(dy.len(), rstd.len() * width);
    let inverse_width = T::from_f64(1.0 / width as f64);
    let shares = [inverse_width, share_of_mean(inverse_width, centred)];
    for ((dy, hat), rstd) in dy
        .chunks_exact_mut(width)
        .zip(normalized.chunks_exact(width))
        .zip(rstd)
    {
        vectorized!(normalize_backward(dy, hat, *rstd, weight, shares));
    }
}

#[inline(always)]
fn normalize_backward<T: Real>(
    dy: &mut [T],
    hat: &[T],
    rstd: T,
    weight: &[T],
    [inverse_width, of_mean]: [T; 2],
) {
    for (dy, weight) in dy.iter_mut().zip(weight) {
        *dy *= *weight;
    }
    let mean = sum_of(dy, |dy| dy) * of_mean;
    let projection = sum_pairs(dy, hat, |dy, hat| dy * hat) * inverse_width;
    for (dy, hat) in dy.iter_mut().zip(hat) {
        *dy = rstd * (*dy - mean - *hat * projection);
    }
}

/// Gradients of [`layer_norm`] with respect to its affine map: `weight += Σ dy · x̂`, `bias += Σ dy` over rows.
///
/// # Shapes
/// `weight`, `bias` `[width]`; `dy`, `normalized` `[rows, width]`, `dy` as it arrives.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn layer_norm_backward_affine<T: Real>(
    weight: &mut [T],
    bias: &mut [T],
    dy: &[T],
    normalized: &[T],
) {
    let width = weight.len();
    assert_eq!(bias.len(), width);
    assert_eq!(dy.len(), normalized.len());
    assert!(width == 0 || dy.len().is_multiple_of(width));
    if width > 0 {
        vectorized!(affine_backward(weight, bias, dy, normalized));
    }
}

#[inline(always)]
fn affine_backward<T: Real>(weight: &mut [T], bias: &mut [T], dy: &[T], normalized: &[T]) {
    let width = weight.len();
    for (dy, hat) in dy.chunks_exact(width).zip(normalized.chunks_exact(width)) {
        let sums = weight.iter_mut().zip(&mut *bias);
        for ((weight, bias), (dy, hat)) in sums.zip(dy.iter().zip(hat)) {
            *weight = dy.mul_add(*hat, *weight);
            *bias += *dy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(
        x: &[f64],
        weight: &[f64],
        bias: &[f64],
        centred: bool,
    ) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let rows = x.len() / weight.len();
        let (mut y, mut hat, mut rstd) = (vec![0.0; x.len()], x.to_vec(), vec![0.0; rows]);
        layer_norm(&mut y, &mut hat, &mut rstd, weight, bias, 1e-12, centred);
        (y, hat, rstd)
    }

    #[test]
    fn closed_form() {
        // Mean 2, variance 2/3.
        let (y, _, rstd) = forward(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], &[0.0, 0.5, -1.0], true);
        let unit = 1.5_f64.sqrt();
        assert!((rstd[0] - unit).abs() < 1e-9);
        for (got, expected) in y.iter().zip([-unit, 0.5, 3.0 * unit - 1.0]) {
            assert!((got - expected).abs() < 1e-9);
        }
        // Mean of squares 14/3.
        let (y, _, rstd) = forward(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], &[0.0; 3], false);
        let unit = (3.0_f64 / 14.0).sqrt();
        assert!((rstd[0] - unit).abs() < 1e-9);
        for (got, expected) in y.iter().zip([unit, 4.0 * unit, 9.0 * unit]) {
            assert!((got - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn gradient_is_a_central_difference() {
        for centred in [true, false] {
            differences(centred);
        }
    }

    fn differences(centred: bool) {
        let width = 37;
        let x: Vec<f64> = (0..2 * width)
            .map(|i| ((i * 31) % 17) as f64 * 0.3 - 2.0)
            .collect();
        let weight: Vec<f64> = (0..width).map(|i| 0.5 + (i % 5) as f64 * 0.2).collect();
        let bias = vec![0.1; width];
        let direction: Vec<f64> = (0..2 * width)
            .map(|i| ((i * 13) % 7) as f64 - 3.0)
            .collect();
        let loss = |x: &[f64]| -> f64 {
            forward(x, &weight, &bias, centred)
                .0
                .iter()
                .zip(&direction)
                .map(|(a, b)| a * b)
                .sum()
        };
        let (_, hat, rstd) = forward(&x, &weight, &bias, centred);
        let mut gradient = direction.clone();
        layer_norm_backward(&mut gradient, &hat, &rstd, &weight, centred);
        for i in [0, 5, 36, 37, 73] {
            let h = 1e-5;
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += h;
            down[i] -= h;
            let expected = (loss(&up) - loss(&down)) / (2.0 * h);
            assert!(
                (gradient[i] - expected).abs() < 1e-7,
                "{centred} {i}: {} {expected}",
                gradient[i]
            );
        }
    }
}
