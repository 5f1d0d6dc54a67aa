//! Classical scaling: the start from which the map of distances is the same every time.

use super::distances::Distances;
use super::mds::Point;
use crate::random::Draws;

/// Directions followed at once; the two wanted are among those of the largest eigenvalues.
const WIDTH: usize = 8;
const ITERATIONS: usize = 300;

/// The first two principal coordinates: `√λ v` for the two largest eigenvalues of `B = -½ J D² J`, where
/// `J` takes the mean out. An eigenvalue that is not above 0 gives coordinates 0: there the distances have no
/// more room than a line.
///
/// By subspace iteration with Rayleigh-Ritz steps. It is a start and no result: where eigenvalues lie so
/// close together that the iteration ends early, a rotation among their directions does as well.
pub(super) fn classical(distances: &Distances) -> Vec<Point> {
    let count = distances.count();
    let centred = centred(distances);
    let width = WIDTH.min(count);
    let mut draws = Draws::of_window(0, 0, 0);
    let mut basis: Vec<Vec<f64>> = (0..width)
        .map(|_| (0..count).map(|_| draws.unit() - 0.5).collect())
        .collect();
    orthonormalise(&mut basis);
    let mut before = [f64::NAN; 2];
    let mut found = Vec::new();
    for _ in 0..ITERATIONS {
        let images: Vec<Vec<f64>> = basis.iter().map(|v| product(&centred, v)).collect();
        let mut small: Vec<Vec<f64>> = basis
            .iter()
            .map(|v| images.iter().map(|image| dot(v, image)).collect())
            .collect();
        let turns = jacobi(&mut small);
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| small[*b][*b].total_cmp(&small[*a][*a]));
        found = order
            .iter()
            .take(2)
            .map(|&at| (small[at][at], combined(&basis, &turns[at])))
            .collect();
        let now = [0, 1].map(|at| found.get(at).map_or(0.0, |(value, _)| *value));
        let change = (now[0] - before[0]).abs() + (now[1] - before[1]).abs();
        if change <= 1e-14 * (now[0].abs() + now[1].abs()) {
            break;
        }
        before = now;
        basis = images;
        orthonormalise(&mut basis);
    }
    let coordinate = |axis: usize, at: usize| {
        found
            .get(axis)
            .map_or(0.0, |(value, vector): &(f64, Vec<f64>)| {
                value.max(0.0).sqrt() * vector[at]
            })
    };
    (0..count)
        .map(|at| [coordinate(0, at), coordinate(1, at)])
        .collect()
}

/// `-½ J D² J`, `[count, count]`.
fn centred(distances: &Distances) -> Vec<f64> {
    let count = distances.count();
    let means: Vec<f64> = (0..count)
        .map(|a| distances.row(a).iter().map(|d| d * d).sum::<f64>() / count as f64)
        .collect();
    let mean = means.iter().sum::<f64>() / count as f64;
    let value =
        |(at, d): (usize, &f64)| -0.5 * (d * d - means[at / count] - means[at % count] + mean);
    distances.values().iter().enumerate().map(value).collect()
}

fn product(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix
        .chunks_exact(vector.len())
        .map(|row| dot(row, vector))
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    bertology_model::kernels::elementwise::dot(a, b)
}

/// `Σ_k weights[k] vectors[k]`
fn combined(vectors: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors.first().map_or(0, Vec::len)];
    for (vector, weight) in vectors.iter().zip(weights) {
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += weight * value;
        }
    }
    sum
}

/// Gram and Schmidt, each vector twice; what depends on those before becomes 0.
fn orthonormalise(vectors: &mut [Vec<f64>]) {
    for at in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(at);
        let Some(vector) = rest.first_mut() else {
            return;
        };
        let length = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in &*before {
                let along = dot(vector, other);
                vector
                    .iter_mut()
                    .zip(other)
                    .for_each(|(v, o)| *v -= along * o);
            }
        }
        let left = dot(vector, vector).sqrt();
        let factor = if left > 1e-10 * length {
            1.0 / left
        } else {
            0.0
        };
        vector.iter_mut().for_each(|v| *v *= factor);
    }
}

/// Jacobi's rotations of a small symmetric matrix: leaves the eigenvalues on its diagonal; gives the
/// eigenvectors, one a row.
fn jacobi(matrix: &mut [Vec<f64>]) -> Vec<Vec<f64>> {
    let count = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..count)
        .map(|a| (0..count).map(|b| f64::from(u8::from(a == b))).collect())
        .collect();
    for _ in 0..30 {
        for p in 0..count {
            for q in p + 1..count {
                // The angle that makes the cell [p, q] zero.
                let (sin, cos) =
                    (0.5 * (2.0 * matrix[p][q]).atan2(matrix[p][p] - matrix[q][q])).sin_cos();
                let turn = |a: f64, b: f64| (cos * a + sin * b, cos * b - sin * a);
                for row in &mut *matrix {
                    (row[p], row[q]) = turn(row[p], row[q]);
                }
                for rows in [&mut *matrix, &mut *vectors] {
                    let (above, below) = rows.split_at_mut(q);
                    for (a, b) in above[p].iter_mut().zip(&mut below[0]) {
                        (*a, *b) = turn(*a, *b);
                    }
                }
            }
        }
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_a_small_matrix() {
        // 2 on the diagonal, 1 beside it: 2 + 2 cos(k π / 5).
        let mut matrix: Vec<Vec<f64>> = (0..4_usize)
            .map(|a| {
                (0..4)
                    .map(|b: usize| [2.0, 1.0, 0.0, 0.0][b.abs_diff(a)])
                    .collect()
            })
            .collect();
        let original = matrix.clone();
        let vectors = jacobi(&mut matrix);
        let mut values: Vec<f64> = (0..4).map(|at| matrix[at][at]).collect();
        for (value, vector) in values.iter().zip(&vectors) {
            for (row, entry) in original.iter().zip(vector) {
                assert!((dot(row, vector) - value * entry).abs() < 1e-12);
            }
        }
        values.sort_by(f64::total_cmp);
        for (k, value) in (1..=4).rev().zip(values) {
            let expected = 2.0 + 2.0 * (f64::from(k) * std::f64::consts::PI / 5.0).cos();
            assert!((value - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn points_of_a_plane_are_recovered_at_once() {
        let points: Vec<Point> = (0..40_u32)
            .map(|i| [f64::from(i * 7 % 40), f64::from(i * i % 23)])
            .collect();
        let between = |p: &Point, q: &Point| (p[0] - q[0]).hypot(p[1] - q[1]);
        let values = points
            .iter()
            .flat_map(|p| points.iter().map(move |q| between(p, q)));
        let distances = Distances::new(40, values.collect()).unwrap();
        let found = classical(&distances);
        for a in 0..40 {
            for b in 0..40 {
                assert!((between(&found[a], &found[b]) - distances.get(a, b)).abs() < 1e-9);
            }
        }
    }
}
