//! A map of things whose distances are known: metric multidimensional scaling by SMACOF.
//!
//! Each step is a Guttman transform (de Leeuw 1977), which never raises the stress
//! `Σ_{a<b} (‖x_a - x_b‖ - δ_ab)²`. It ends in a local minimum, so there are several starts, and the map of
//! the lowest stress is kept: classical scaling (Torgerson 1952), the same every time, and random maps by
//! seed. A map is defined up to rotation, reflection and shift; here its centre is 0, the first axis is that
//! of the greatest spread, and on each axis the point farthest out is on the positive side.

use serde::{Deserialize, Serialize};

use super::classical::classical;
use super::distances::Distances;
use crate::random::Draws;

/// Coordinates of a thing on the map.
pub type Point = [f64; 2];

/// How a map is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MdsOptions {
    /// Random starts besides classical scaling; 4 by default.
    pub restarts: usize,
    /// Of the random starts.
    pub seed: u64,
    /// Steps of a start at the most; 1000 by default.
    pub iterations: usize,
    /// A start ends when a step lowers the stress by no more than this share of `Σ_{a<b} δ²`; 1e-10 by
    /// default.
    pub epsilon: f64,
}

impl Default for MdsOptions {
    fn default() -> Self {
        Self {
            restarts: 4,
            seed: 0,
            iterations: 1000,
            epsilon: 1e-10,
        }
    }
}

impl MdsOptions {
    /// So many random starts.
    #[must_use]
    pub fn restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// Random starts of this seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Where a map began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Classical scaling.
    Classical,
    /// The random start of this number, from 0.
    Random(usize),
}

/// What came of a start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Descent {
    /// The start.
    pub start: Start,
    /// `Σ_{a<b} (‖x_a - x_b‖ - δ_ab)²` at the end.
    pub stress: f64,
    /// Steps made.
    pub iterations: usize,
}

/// Things on a plane, about as far from each other as their distances say.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// `[count, 2]`.
    pub points: Vec<Point>,
    /// `Σ_{a<b} (‖x_a - x_b‖ - δ_ab)²`.
    pub stress: f64,
    /// `√(stress / Σ_{a<b} δ_ab²)`: 0 is a perfect map, and the size of the distances does not matter.
    pub relative_stress: f64,
    /// Every start, classical scaling first.
    pub descents: Vec<Descent>,
}

/// The best map found from classical scaling and random starts. The same options give the same map.
///
/// # Cost
/// Every step of a start takes `count²/2` square roots.
#[must_use]
pub fn scale_to_plane(distances: &Distances, options: &MdsOptions) -> Layout {
    let count = distances.count();
    let triangle = distances.triangle();
    let squares: f64 = triangle.iter().map(|d| d * d).sum();
    if squares == 0.0 {
        return Layout {
            points: vec![[0.0; 2]; count],
            stress: 0.0,
            relative_stress: 0.0,
            descents: Vec::new(),
        };
    }
    let spread = (squares / triangle.len() as f64).sqrt();
    let starts = std::iter::once(Start::Classical).chain((0..options.restarts).map(Start::Random));
    let mut descents = Vec::new();
    let mut best: Option<(f64, Vec<Point>)> = None;
    for start in starts {
        let mut points = match start {
            Start::Classical => classical(distances),
            Start::Random(number) => random(count, spread, options.seed, number),
        };
        let descent = descend(&triangle, &mut points, squares, options);
        let stress = descent.last().copied().unwrap_or(f64::INFINITY);
        descents.push(Descent {
            start,
            stress,
            iterations: descent.len() - 1,
        });
        if best.as_ref().is_none_or(|(lowest, _)| stress < *lowest) {
            best = Some((stress, points));
        }
    }
    let (stress, mut points) = best.unwrap_or_default();
    turn_to_axes(&mut points);
    Layout {
        points,
        stress,
        relative_stress: (stress / squares).sqrt(),
        descents,
    }
}

fn random(count: usize, spread: f64, seed: u64, number: usize) -> Vec<Point> {
    let mut draws = Draws::of_window(seed, u64::MAX, number as u64);
    let mut draw = || spread * (2.0 * draws.unit() - 1.0);
    (0..count).map(|_| [draw(), draw()]).collect()
}

/// Steps downhill; the stress at the start and after each step. Moves `points` to where the last is.
fn descend(
    triangle: &[f64],
    points: &mut Vec<Point>,
    squares: f64,
    options: &MdsOptions,
) -> Vec<f64> {
    let mut next = vec![[0.0; 2]; points.len()];
    let mut stresses = vec![guttman(triangle, points, &mut next)];
    for _ in 0..options.iterations {
        std::mem::swap(points, &mut next);
        let before = stresses[stresses.len() - 1];
        let stress = guttman(triangle, points, &mut next);
        stresses.push(stress);
        if before - stress <= options.epsilon * squares {
            break;
        }
    }
    stresses
}

/// The stress of `points`, and in `next` their Guttman transform:
/// `x'_a = 1/K Σ_b δ_ab / ‖x_a - x_b‖ (x_a - x_b)`.
fn guttman(triangle: &[f64], points: &[Point], next: &mut [Point]) -> f64 {
    next.fill([0.0; 2]);
    let mut stress = 0.0;
    let mut rest = triangle;
    for (a, &[x, y]) in points.iter().enumerate() {
        let (row, behind) = rest.split_at(points.len() - 1 - a);
        rest = behind;
        let mut moved = [0.0; 2];
        let (_, after) = next.split_at_mut(a + 1);
        for ((delta, point), next) in row.iter().zip(&points[a + 1..]).zip(after) {
            let (dx, dy) = (x - point[0], y - point[1]);
            let distance = (dx * dx + dy * dy).sqrt();
            stress += (distance - delta) * (distance - delta);
            // Of points in one place the direction is 0, whatever it is multiplied by.
            let ratio = delta / if distance == 0.0 { 1e-5 } else { distance };
            moved[0] += ratio * dx;
            moved[1] += ratio * dy;
            next[0] -= ratio * dx;
            next[1] -= ratio * dy;
        }
        next[a][0] += moved[0];
        next[a][1] += moved[1];
    }
    let share = 1.0 / points.len() as f64;
    for point in next {
        *point = point.map(|value| value * share);
    }
    stress
}

/// Moves the centre to 0, turns the widest direction to the first axis, mirrors the farthest to the
/// positive side.
fn turn_to_axes(points: &mut [Point]) {
    let count = points.len() as f64;
    for axis in 0..2 {
        let centre = points.iter().map(|point| point[axis]).sum::<f64>() / count;
        points.iter_mut().for_each(|point| point[axis] -= centre);
    }
    let moment = |f: fn(&Point) -> f64| points.iter().map(f).sum::<f64>();
    let [xx, yy, xy] = [
        moment(|p| p[0] * p[0]),
        moment(|p| p[1] * p[1]),
        moment(|p| p[0] * p[1]),
    ];
    let (sin, cos) = (0.5 * (2.0 * xy).atan2(xx - yy)).sin_cos();
    for point in &mut *points {
        let [x, y] = *point;
        *point = [cos * x + sin * y, cos * y - sin * x];
    }
    for axis in 0..2 {
        let far = points.iter().map(|point| point[axis]);
        let farthest = far.fold(
            0.0_f64,
            |far, at| if at.abs() > far.abs() { at } else { far },
        );
        if farthest < 0.0 {
            points
                .iter_mut()
                .for_each(|point| point[axis] = -point[axis]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distances of points with any number of coordinates.
    fn of_points(points: &[Vec<f64>]) -> Distances {
        let values = points.iter().flat_map(|p| {
            points.iter().map(move |q| {
                let squares = p.iter().zip(q).map(|(p, q)| (p - q) * (p - q));
                squares.sum::<f64>().sqrt()
            })
        });
        Distances::new(points.len(), values.collect()).unwrap()
    }

    fn plane(points: &[Point]) -> Distances {
        of_points(&points.iter().map(|p| p.to_vec()).collect::<Vec<_>>())
    }

    /// Points that no plane holds.
    fn scattered(count: usize) -> Distances {
        let mut draws = Draws::of_window(7, 0, 0);
        let points: Vec<Vec<f64>> = (0..count)
            .map(|_| (0..5).map(|_| draws.unit()).collect())
            .collect();
        of_points(&points)
    }

    #[test]
    fn what_lies_on_a_plane_is_recovered() {
        for points in [
            vec![[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]],
            vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
            vec![[0.0, 0.0], [2.0, 0.0]],
            vec![[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [7.0, 0.0]],
        ] {
            let distances = plane(&points);
            let layout = scale_to_plane(&distances, &MdsOptions::default());
            assert!(layout.stress < 1e-6, "{layout:?}");
            for (found, expected) in plane(&layout.points)
                .values()
                .iter()
                .zip(distances.values())
            {
                assert!((found - expected).abs() < 1e-3, "{layout:?}");
            }
        }
        // Random starts alone find the triangle, too, to what the smallest step allows.
        let distances = plane(&[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]);
        let mut points = random(3, 4.0, 1, 0);
        let triangle = distances.triangle();
        let stresses = descend(&triangle, &mut points, 50.0, &MdsOptions::default());
        assert!(stresses[stresses.len() - 1] < 1e-6, "{stresses:?}");
    }

    #[test]
    fn the_stress_never_rises() {
        let distances = scattered(30);
        let triangle = distances.triangle();
        let squares: f64 = triangle.iter().map(|d| d * d).sum();
        for number in 0..5 {
            let mut points = random(30, 1.0, 3, number);
            let stresses = descend(&triangle, &mut points, squares, &MdsOptions::default());
            assert!(stresses.len() > 10);
            for pair in stresses.windows(2) {
                // Rounding of a sum of 435 squares.
                assert!(pair[1] <= pair[0] + 1e-12 * squares, "{pair:?}");
            }
        }
    }

    #[test]
    fn the_best_start_is_kept_and_told() {
        let distances = scattered(24);
        let options = MdsOptions::default().restarts(6).seed(11);
        let layout = scale_to_plane(&distances, &options);
        let starts: Vec<Start> = layout
            .descents
            .iter()
            .map(|descent| descent.start)
            .collect();
        assert_eq!(
            (starts.len(), starts[0], starts[6]),
            (7, Start::Classical, Start::Random(5))
        );
        let lowest = layout
            .descents
            .iter()
            .map(|d| d.stress)
            .fold(f64::INFINITY, f64::min);
        assert_eq!(layout.stress, lowest);
        // By the definition, on the map that was turned.
        let found = plane(&layout.points).triangle();
        let triangle = distances.triangle();
        let errors: f64 = found
            .iter()
            .zip(&triangle)
            .map(|(f, d)| (f - d) * (f - d))
            .sum();
        assert!((errors / layout.stress - 1.0).abs() < 1e-9);
        let squares: f64 = triangle.iter().map(|d| d * d).sum();
        assert!((layout.relative_stress - (errors / squares).sqrt()).abs() < 1e-12);
        assert_eq!(layout, scale_to_plane(&distances, &options));
        assert_ne!(
            layout.descents,
            scale_to_plane(&distances, &options.seed(12)).descents
        );
    }

    #[test]
    fn other_numbers_for_the_things_turn_the_map_at_most() {
        let count = 20;
        let distances = scattered(count);
        let other = |at: usize| (at * 7 + 3) % count;
        let values = (0..count * count).map(|i| distances.get(other(i / count), other(i % count)));
        let renamed = Distances::new(count, values.collect()).unwrap();
        let options = MdsOptions::default().restarts(0);
        let (here, there) = (
            plane(&scale_to_plane(&distances, &options).points),
            plane(&scale_to_plane(&renamed, &options).points),
        );
        for a in 0..count {
            for b in 0..count {
                // Both end where a step is shorter than epsilon allows.
                let difference = there.get(a, b) - here.get(other(a), other(b));
                assert!(difference.abs() < 1e-4, "{a} {b}: {difference}");
            }
        }
    }

    #[test]
    fn things_in_one_place_and_single_things() {
        let alone = Distances::new(1, vec![0.0]).unwrap();
        assert_eq!(
            scale_to_plane(&alone, &MdsOptions::default()).points,
            [[0.0; 2]]
        );
        let same = Distances::new(3, vec![0.0; 9]).unwrap();
        let layout = scale_to_plane(&same, &MdsOptions::default());
        assert_eq!((layout.points, layout.stress), (vec![[0.0; 2]; 3], 0.0));
        // Two of three in one place.
        let pair = plane(&[[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]);
        let layout = scale_to_plane(&pair, &MdsOptions::default());
        assert!(layout.stress < 1e-12, "{layout:?}");
        assert!(
            layout
                .points
                .iter()
                .flatten()
                .all(|value| value.is_finite())
        );
    }
}
