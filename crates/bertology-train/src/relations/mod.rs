//! A logistic regression over the attention of all heads: which pairs of units are related (Rao et al. 2021 for contacts of
//! proteins)?
//!
//! For every label, with `y = ±1`, weights `c` of the pairs and `x` the attention of all heads between two units, the minimum of
//! `C Σ c log(1 + exp(−y (w·x + b))) + penalty(w)`, where the penalty is `½ Σ w²` or `Σ |w|` and the intercept `b` has none:
//! scikit-learn's `LogisticRegression` with the solvers `lbfgs` and `saga`.

mod lbfgs;

use std::sync::mpsc;

use bertology::attention::relations::{Gathered, HeadRegression, LabelWeights};
use serde::{Deserialize, Serialize};

/// What keeps weights small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Penalty {
    /// Half the sum of squares.
    L2,
    /// The sum of absolute values, which leaves most weights at zero.
    L1,
}

/// How a regression is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// What keeps weights small.
    pub penalty: Penalty,
    /// How much the pairs count beside the penalty: scikit-learn's `C`. Above 0.
    pub strength: f64,
    /// Steps at most.
    pub most_steps: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            penalty: Penalty::L2,
            strength: 1.0,
            most_steps: 2000,
        }
    }
}

/// How the fit of a label went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The label.
    pub label: String,
    /// Related pairs.
    pub related: usize,
    /// Steps.
    pub steps: usize,
    /// Whether the minimum was reached.
    pub converged: bool,
    /// What was minimised, there.
    pub objective: f64,
}

/// Fits a regression a label, on so many threads, which change no bit of it. Labels that relate all pairs or none are left
/// out: there is nothing to tell apart. `go_on` is told before each label how many are done, and may end the work early; then
/// nothing is given.
#[must_use]
pub fn fit(
    name: &str,
    gathered: &Gathered,
    options: &FitOptions,
    threads: usize,
    mut go_on: impl FnMut(usize) -> bool,
) -> Option<(HeadRegression, Vec<Fit>)> {
    let (layers, heads) = (gathered.heads().layers(), gathered.heads().heads());
    let settings = &gathered.gather().settings;
    let mut weights = vec![1.0 / gathered.gather().keep; gathered.pairs()];
    for (pair, ..) in gathered.related() {
        weights[*pair as usize] = 1.0;
    }
    let (mut labels, mut fits) = (Vec::new(), Vec::new());
    for (number, label) in gathered.labels().iter().enumerate() {
        if !go_on(number) {
            return None;
        }
        let mut weights = weights.clone();
        let mut related = vec![false; gathered.pairs()];
        for (pair, of, weight) in gathered.related() {
            if *of as usize == number {
                related[*pair as usize] = true;
                weights[*pair as usize] = *weight;
            }
        }
        let count = related.iter().filter(|related| **related).count();
        if count == 0 || count == related.len() {
            continue;
        }
        let problem = Problem {
            features: gathered.features(),
            width: HeadRegression::features(layers, heads, settings.symmetric),
            related: &related,
            weights: &weights,
            threads,
        };
        let found = problem.minimum(options);
        let (bias, of_heads) = found
            .point
            .split_last()
            .map_or((0.0, &[][..]), |(b, w)| (*b, w));
        labels.push(LabelWeights {
            label: label.clone(),
            bias,
            weights: of_heads.to_vec(),
        });
        fits.push(Fit {
            label: label.clone(),
            related: count,
            steps: found.steps,
            converged: found.converged,
            objective: found.value,
        });
    }
    let regression = HeadRegression {
        name: name.to_owned(),
        layers,
        heads,
        symmetric: settings.symmetric,
        apc: settings.apc,
        labels,
    };
    Some((regression, fits))
}

/// Pairs, of which some are related.
#[derive(Debug, Clone, Copy)]
struct Problem<'a> {
    /// `[pairs, width]`
    features: &'a [f32],
    width: usize,
    related: &'a [bool],
    weights: &'a [f64],
    threads: usize,
}

/// Pairs that are summed apart, by content and not by threads.
const CHUNK: usize = 4096;

impl Problem<'_> {
    /// Weights and, last, the intercept.
    fn minimum(&self, options: &FitOptions) -> lbfgs::Minimum {
        let (width, c) = (self.width, options.strength);
        let (all, of_related) = self.weights.iter().zip(self.related).fold(
            (0.0, 0.0),
            |(all, of_related), (weight, related)| {
                (
                    all + weight,
                    of_related + if *related { *weight } else { 0.0 },
                )
            },
        );
        let share = of_related / all;
        let penalty = |kind| if options.penalty == kind { 1.0 } else { 0.0 };
        let (square, absolute) = (penalty(Penalty::L2), penalty(Penalty::L1));
        // Each weight in a unit in which the curvature is about 1: heads differ by a thousandfold in how much they attend.
        let curvature = self.curvature().into_iter().map(|squares| {
            let curvature = c * share * (1.0 - share) * squares + square;
            if curvature > 0.0 {
                curvature.sqrt()
            } else {
                1.0
            }
        });
        let units: Vec<f64> = curvature.collect();
        let mut penalties: Vec<f64> = units[..width].iter().map(|unit| absolute / unit).collect();
        penalties.push(0.0);
        let mut start = vec![0.0; width + 1];
        start[width] = (share / (1.0 - share)).ln() * units[width];
        let mut point = vec![0.0; width + 1];
        let smooth = |scaled: &[f64], gradient: &mut [f64]| {
            for ((point, scaled), unit) in point.iter_mut().zip(scaled).zip(&units) {
                *point = scaled / unit;
            }
            let mut value = c * self.loss(&point, gradient);
            for (at, (slope, unit)) in gradient.iter_mut().zip(&units).enumerate() {
                let (of_penalty, w) = if at < width {
                    (square, point[at])
                } else {
                    (0.0, 0.0)
                };
                value += of_penalty * w * w / 2.0;
                *slope = (c * *slope + of_penalty * w) / unit;
            }
            value
        };
        let mut found = lbfgs::minimise(start, smooth, &penalties, options.most_steps);
        for (point, unit) in found.point.iter_mut().zip(&units) {
            *point /= unit;
        }
        found
    }

    fn rows(&self, chunk: usize) -> impl Iterator<Item = (&[f32], bool, f64)> {
        let pairs = chunk * CHUNK..((chunk + 1) * CHUNK).min(self.related.len());
        pairs.map(|pair| {
            let row = &self.features[pair * self.width..][..self.width];
            (row, self.related[pair], self.weights[pair])
        })
    }

    /// What `of` adds to `width + 1` sums of every chunk, added up in order.
    fn sums(&self, of: impl Fn(usize) -> Vec<f64> + Sync) -> Vec<f64> {
        let chunks = self.related.len().div_ceil(CHUNK);
        let threads = self.threads.clamp(1, chunks.max(1));
        let mut parts: Vec<Vec<f64>> = vec![Vec::new(); chunks];
        std::thread::scope(|scope| {
            let (to, from) = mpsc::channel();
            for thread in 0..threads {
                let (to, of) = (to.clone(), &of);
                scope.spawn(move || {
                    for chunk in (thread..chunks).step_by(threads) {
                        // Nobody stops listening before all has come.
                        let _ = to.send((chunk, of(chunk)));
                    }
                });
            }
            drop(to);
            for (chunk, part) in from {
                parts[chunk] = part;
            }
        });
        let mut sums = vec![0.0; self.width + 2];
        for part in parts {
            for (sum, more) in sums.iter_mut().zip(part) {
                *sum += more;
            }
        }
        sums
    }

    /// Weighted squares of every feature about its mean; last the sum of weights.
    fn curvature(&self) -> Vec<f64> {
        let width = self.width;
        let moments = |power: i32| {
            self.sums(|chunk| {
                let mut sums = vec![0.0; width + 1];
                for (row, _, weight) in self.rows(chunk) {
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum += weight * f64::from(*value).powi(power);
                    }
                    sums[width] += weight;
                }
                sums
            })
        };
        let (first, second) = (moments(1), moments(2));
        let all = first[width];
        let about = first[..width]
            .iter()
            .zip(&second)
            .map(|(sum, squares)| (squares - sum * sum / all).max(0.0));
        about.chain([all]).collect()
    }

    /// The sum of the weighted losses; `gradient` is `[width + 1]`.
    fn loss(&self, point: &[f64], gradient: &mut [f64]) -> f64 {
        let width = self.width;
        let sums = self.sums(|chunk| {
            let mut sums = vec![0.0; width + 2];
            for (row, related, weight) in self.rows(chunk) {
                let margin =
                    (dot(row, &point[..width]) + point[width]) * if related { 1.0 } else { -1.0 };
                sums[width + 1] += weight * softplus(-margin);
                let slope = weight / (1.0 + margin.exp()) * if related { -1.0 } else { 1.0 };
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += slope * f64::from(*x);
                }
                sums[width] += slope;
            }
            sums
        });
        gradient.copy_from_slice(&sums[..=width]);
        sums[width + 1]
    }
}

/// In eight sums side by side, which a processor adds at once.
fn dot(row: &[f32], weights: &[f64]) -> f64 {
    const SIDE_BY_SIDE: usize = 8;
    let (rows, rest) = row.as_chunks::<SIDE_BY_SIDE>();
    let (of_rows, of_rest) = weights.as_chunks::<SIDE_BY_SIDE>();
    let mut sums = [0.0; SIDE_BY_SIDE];
    for (row, weights) in rows.iter().zip(of_rows) {
        for ((sum, x), w) in sums.iter_mut().zip(row).zip(weights) {
            *sum += f64::from(*x) * w;
        }
    }
    let rest = rest.iter().zip(of_rest).map(|(x, w)| f64::from(*x) * w);
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// `ln(1 + e^x)`
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests;
