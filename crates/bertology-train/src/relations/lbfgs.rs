//! The minimum of a convex function, with absolute values on top or without: L-BFGS (Nocedal 1980) and its orthant-wise form
//! (Andrew and Gao 2007, *Scalable Training of L1-Regularized Log-Linear Models*).

use std::collections::VecDeque;

/// Steps that are remembered.
const MEMORY: usize = 20;

/// Slopes that are as good as none, in units in which the curvature is about 1.
const FLAT: f64 = 1e-7;

/// Slopes below which rounding may be all that keeps a step from being found.
const NEARLY_FLAT: f64 = 1e-5;

#[derive(Debug)]
pub(super) struct Minimum {
    pub(super) point: Vec<f64>,
    pub(super) value: f64,
    pub(super) steps: usize,
    pub(super) converged: bool,
}

/// The step and the change of slope that it made.
struct Step {
    moved: Vec<f64>,
    turned: Vec<f64>,
    product: f64,
}

/// Goes down from `point`. `smooth` gives the value and writes the gradient; `absolute` are the factors of the absolute values.
pub(super) fn minimise(
    mut point: Vec<f64>,
    mut smooth: impl FnMut(&[f64], &mut [f64]) -> f64,
    absolute: &[f64],
    most: usize,
) -> Minimum {
    let corners =
        |point: &[f64]| -> f64 { point.iter().zip(absolute).map(|(x, of)| of * x.abs()).sum() };
    let mut gradient = vec![0.0; point.len()];
    let mut value = smooth(&point, &mut gradient) + corners(&point);
    let mut memory: VecDeque<Step> = VecDeque::with_capacity(MEMORY);
    for steps in 0..most {
        let slope = slopes(&point, &gradient, absolute);
        let steepest = slope
            .iter()
            .fold(0.0_f64, |most, slope| most.max(slope.abs()));
        let size = point.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        if steepest <= FLAT * size {
            return Minimum {
                point,
                value,
                steps,
                converged: true,
            };
        }
        let mut direction = downhill(&slope, &memory);
        let with_corners = |at: usize| absolute[at] > 0.0;
        for (at, (go, slope)) in direction.iter_mut().zip(&slope).enumerate() {
            // Never up the slope of a corner.
            if with_corners(at) && *go * slope >= 0.0 {
                *go = 0.0;
            }
        }
        // The orthant in which the step has to stay.
        let side = |at: usize| {
            if point[at] == 0.0 {
                -slope[at]
            } else {
                point[at]
            }
        };
        let mut length = if memory.is_empty() {
            1.0 / dot(&slope, &slope).sqrt().max(1.0)
        } else {
            1.0
        };
        let mut next = vec![0.0; point.len()];
        let mut turned = vec![0.0; point.len()];
        let mut found = None;
        for _ in 0..60 {
            for (at, next) in next.iter_mut().enumerate() {
                *next = point[at] + length * direction[at];
                if with_corners(at) && *next * side(at) < 0.0 {
                    *next = 0.0;
                }
            }
            let there = smooth(&next, &mut turned) + corners(&next);
            let moved = next.iter().zip(&point).zip(&slope);
            let promised: f64 = moved.map(|((next, at), slope)| (next - at) * slope).sum();
            if there <= value + 1e-4 * promised {
                found = Some(there);
                break;
            }
            length /= 2.0;
        }
        let Some(there) = found.filter(|there| *there < value || steepest > NEARLY_FLAT * size)
        else {
            if memory.is_empty() || steepest <= NEARLY_FLAT * size {
                let converged = steepest <= NEARLY_FLAT * size;
                return Minimum {
                    point,
                    value,
                    steps,
                    converged,
                };
            }
            // What is remembered has led astray: begin anew with the slope itself.
            memory.clear();
            continue;
        };
        let moved: Vec<f64> = next
            .iter()
            .zip(&point)
            .map(|(next, at)| next - at)
            .collect();
        let change: Vec<f64> = turned
            .iter()
            .zip(&gradient)
            .map(|(new, old)| new - old)
            .collect();
        let product = dot(&moved, &change);
        if product > 0.0 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(Step {
                moved,
                turned: change,
                product,
            });
        }
        (point, gradient, value) = (next, turned, there);
    }
    Minimum {
        point,
        value,
        steps: most,
        converged: false,
    }
}

/// The slope of the whole; at a corner that of the side on which it goes down, or none.
fn slopes(point: &[f64], gradient: &[f64], absolute: &[f64]) -> Vec<f64> {
    let places = point.iter().zip(gradient).zip(absolute);
    places
        .map(|((x, slope), of)| match (*x, *of) {
            (_, 0.0) => *slope,
            (x, of) if x != 0.0 => slope + of * x.signum(),
            (_, of) if slope + of < 0.0 => slope + of,
            (_, of) if slope - of > 0.0 => slope - of,
            _ => 0.0,
        })
        .collect()
}

/// Minus the inverse of the remembered curvature times the slope, in two loops.
fn downhill(slope: &[f64], memory: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = slope.iter().map(|slope| -slope).collect();
    let mut factors = Vec::with_capacity(memory.len());
    for step in memory.iter().rev() {
        let factor = dot(&step.moved, &direction) / step.product;
        add(&mut direction, -factor, &step.turned);
        factors.push(factor);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(&last.turned, &last.turned);
        direction.iter_mut().for_each(|go| *go *= scale);
    }
    for (step, factor) in memory.iter().zip(factors.into_iter().rev()) {
        let back = dot(&step.turned, &direction) / step.product;
        add(&mut direction, factor - back, &step.moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, of: &[f64]) {
    for (to, of) in to.iter_mut().zip(of) {
        *to += factor * of;
    }
}
