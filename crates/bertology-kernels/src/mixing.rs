//! Weighted sums of a few rows, and their gradients.

use crate::elementwise::sum_by;
use crate::{Real, vectorized};

/// Columns that are summed up in registers.
const BLOCK: usize = 64;

/// `y = Σ_l weights_l · x_l`.
///
/// # Shapes
/// `y [width]`, `x [at least as many rows as weights, width]`.
///
/// # Panics
/// If there are fewer rows.
#[track_caller]
pub fn mix<T: Real>(y: &mut [T], x: &[T], weights: &[T]) {
    let width = y.len();
    assert!(x.len() >= width * weights.len());
    vectorized!({
        let mut column = 0;
        for y in y.chunks_mut(BLOCK) {
            let mut sums = [T::ZERO; BLOCK];
            if y.len() == BLOCK {
                for (row, weight) in weights.iter().enumerate() {
                    let x = &x[row * width + column..][..BLOCK];
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = weight.mul_add(*x, *sum);
                    }
                }
                y.copy_from_slice(&sums);
            } else {
                for (row, weight) in weights.iter().enumerate() {
                    let x = &x[row * width + column..][..y.len()];
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = weight.mul_add(*x, *sum);
                    }
                }
                y.copy_from_slice(&sums[..y.len()]);
            }
            column += BLOCK;
        }
    });
}

/// The gradient of [`mix`] with respect to its weights: `sums_l += Σ_j dy_j x_lj`.
///
/// # Shapes
/// `sums [rows]`, `dy [width]`, `x [at least as many rows, width]`.
///
/// # Numerics
/// Each product of rows in the rows' own type, added up in f64.
///
/// # Panics
/// If there are fewer rows.
#[track_caller]
pub fn mix_backward_weights<T: Real>(sums: &mut [f64], dy: &[T], x: &[T]) {
    let width = dy.len();
    assert!(x.len() >= width * sums.len());
    vectorized!({
        for (row, sum) in sums.iter_mut().enumerate() {
            let x = &x[row * width..][..width];
            *sum += sum_by(width, |j| dy[j] * x[j]).to_f64();
        }
    });
}

/// `y += weight · x`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add_scaled<T: Real>(y: &mut [T], x: &[T], weight: T) {
    assert_eq!(y.len(), x.len());
    vectorized!({
        for (y, x) in y.iter_mut().zip(x) {
            *y = weight.mul_add(*x, *y);
        }
    });
}

/// The sums of the columns: `sums_j += Σ_i x_ij`.
///
/// # Shapes
/// `sums [width]`, `x [rows, width]`.
///
/// # Panics
/// If the length of `x` is no multiple of `width`.
#[track_caller]
pub fn add_rows<T: Real>(sums: &mut [T], x: &[T]) {
    if sums.is_empty() {
        return;
    }
    assert_eq!(x.len() % sums.len(), 0);
    vectorized!({
        for row in x.chunks_exact(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += *x;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(n: usize) -> Vec<f64> {
        (0..n)
            .map(|i| ((i * 7919) % 101) as f64 / 50.0 - 1.0)
            .collect()
    }

    /// Judge: the definition, and for the weights central differences.
    #[test]
    fn mixing_and_its_gradient() {
        for width in [1, 63, 64, 65, 200] {
            let (x, weights, direction) = (ramp(4 * width), [0.5, -2.0, 0.25], ramp(width + 7));
            let direction = &direction[7..];
            let mixed = |weights: &[f64]| {
                let mut y = vec![f64::NAN; width];
                mix(&mut y, &x, weights);
                y
            };
            for (j, y) in mixed(&weights).iter().enumerate() {
                let expected: f64 = (0..3).map(|l| weights[l] * x[l * width + j]).sum();
                assert!((y - expected).abs() < 1e-14);
            }
            let loss = |weights: &[f64]| -> f64 {
                let y = mixed(weights);
                y.iter().zip(direction).map(|(a, b)| a * b).sum()
            };
            let mut sums = [1.0, 0.0, 0.0];
            mix_backward_weights(&mut sums, direction, &x);
            for l in 0..3 {
                let (mut up, mut down) = (weights, weights);
                up[l] += 0.5;
                down[l] -= 0.5;
                let expected = loss(&up) - loss(&down) + f64::from(l == 0);
                assert!((sums[l] - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn rows_are_added() {
        let mut y = [1.0, 2.0];
        add_scaled(&mut y, &[10.0, 20.0], 0.5);
        assert_eq!(y, [6.0, 12.0]);
        add_rows(&mut y, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(y, [10.0, 18.0]);
        add_rows::<f32>(&mut [], &[]);
    }
}
