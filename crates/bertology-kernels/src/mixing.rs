//! Weighted sums of a few rows, and their gradients.

use crate::{Real, vectorized};

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
    y.fill(T::ZERO);
    if width == 0 {
        return;
    }
    // Four rows at a time, so that the sums are read and written a quarter as often.
    let (fours, rest) = weights.as_chunks::<4>();
    let (wide, single) = x.split_at(4 * width * fours.len());
    for (weights, rows) in fours.iter().zip(wide.chunks_exact(4 * width)) {
        add_four(y, rows, weights);
    }
    for (weight, row) in rest.iter().zip(single.chunks_exact(width)) {
        add_scaled(y, row, *weight);
    }
}

/// `y += Σ_l weights_l · x_l` of four rows.
fn add_four<T: Real>(y: &mut [T], x: &[T], weights: &[T; 4]) {
    let (first, second) = x.split_at(2 * y.len());
    let ((a, b), (c, d)) = (first.split_at(y.len()), second.split_at(y.len()));
    let weights = *weights;
    vectorized!(add_products(y, [a, b, c, d], weights));
}

/// Slices and numbers by value: what a closure holds by reference is read anew for every element.
#[inline(always)]
fn add_products<T: Real>(y: &mut [T], x: [&[T]; 4], weights: [T; 4]) {
    let rows = x[0].iter().zip(x[1]).zip(x[2]).zip(x[3]);
    for (y, (((a, b), c), d)) in y.iter_mut().zip(rows) {
        let first = weights[1].mul_add(*b, weights[0].mul_add(*a, *y));
        *y = weights[3].mul_add(*d, weights[2].mul_add(*c, first));
    }
}

/// Products of a row with a few rows, element by element: `sums_lj += dy_j x_lj`. Summed over j they are the gradient of
/// [`mix`] with respect to its weights; summed over many rows first, they cost no sum along a row each.
///
/// # Shapes
/// `sums [rows, width]`, `dy [width]`, `x [at least as many rows, width]`.
///
/// # Panics
/// If there are fewer rows, or no whole ones.
#[track_caller]
pub fn add_row_products<T: Real>(sums: &mut [T], dy: &[T], x: &[T]) {
    if dy.is_empty() {
        return;
    }
    assert!(x.len() >= sums.len() && sums.len().is_multiple_of(dy.len()));
    vectorized!(row_products(sums, dy, x));
}

#[inline(always)]
fn row_products<T: Real>(sums: &mut [T], dy: &[T], x: &[T]) {
    let rows = sums
        .chunks_exact_mut(dy.len())
        .zip(x.chunks_exact(dy.len()));
    for (sums, x) in rows {
        for ((sum, dy), x) in sums.iter_mut().zip(dy).zip(x) {
            *sum = dy.mul_add(*x, *sum);
        }
    }
}

/// `y += weight · x`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add_scaled<T: Real>(y: &mut [T], x: &[T], weight: T) {
    assert_eq!(y.len(), x.len());
    vectorized!(add_product(y, x, weight));
}

#[inline(always)]
fn add_product<T: Real>(y: &mut [T], x: &[T], weight: T) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = weight.mul_add(*x, *y);
    }
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
    vectorized!(sum_rows(sums, x));
}

#[inline(always)]
fn sum_rows<T: Real>(sums: &mut [T], x: &[T]) {
    for row in x.chunks_exact(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += *x;
        }
    }
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
        for width in [1, 31, 64, 65, 200] {
            let weights = [0.5, -2.0, 0.25, 1.5, -0.75, 3.0];
            let (x, direction) = (ramp(7 * width), ramp(width + 7));
            let direction = &direction[7..];
            let mixed = |weights: &[f64]| {
                let mut y = vec![f64::NAN; width];
                mix(&mut y, &x, weights);
                y
            };
            for (j, y) in mixed(&weights).iter().enumerate() {
                let expected: f64 = (0..6).map(|l| weights[l] * x[l * width + j]).sum();
                assert!((y - expected).abs() < 1e-13);
            }
            let loss = |weights: &[f64]| -> f64 {
                let y = mixed(weights);
                y.iter().zip(direction).map(|(a, b)| a * b).sum()
            };
            let mut products = vec![0.5; 6 * width];
            add_row_products(&mut products, direction, &x);
            let sums = products
                .chunks_exact(width)
                .map(|row| row.iter().sum::<f64>());
            let sums: Vec<f64> = sums.collect();
            for l in 0..6 {
                let (mut up, mut down) = (weights, weights);
                up[l] += 0.5;
                down[l] -= 0.5;
                let expected = loss(&up) - loss(&down) + 0.5 * width as f64;
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
