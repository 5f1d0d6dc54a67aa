//! Which measures differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::curve::{Curve, area};
use super::folds::Folded;
use crate::masking::{Direction, Metric};
use crate::student;

/// Chance of one wrong difference among all that are called real.
const LEVEL: f64 = 0.05;

/// Two measures, the better first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The one with the better area.
    pub better: String,
    /// The other.
    pub worse: String,
    /// By how much, in points of the metric; not negative.
    pub difference: f64,
    /// Its 95 % interval; `None` where nothing is known of its variance.
    pub interval: Option<[f64; 2]>,
    /// How likely a difference as large is where there is none; `None` where nothing is known of its variance.
    pub p_value: Option<f64>,
    /// Whether it is real, all pairs considered.
    pub real: bool,
}

/// All pairs of measures by the areas under their curves, the largest differences first. Measures are compared on the seeds that
/// both have.
#[must_use]
pub fn compare(curves: &[Curve], metric: &Metric) -> Vec<Difference> {
    let measures: Vec<(&str, BTreeMap<u64, &Curve>)> = by_measure(curves).into_iter().collect();
    let sign = match metric.direction {
        Direction::Higher => 1.0,
        Direction::Lower => -1.0,
    };
    let mut found = Vec::new();
    for (at, (first, firsts)) in measures.iter().enumerate() {
        for (second, seconds) in &measures[at + 1..] {
            let pairs = firsts
                .iter()
                .filter_map(|(seed, curve)| Some((*curve, *seconds.get(seed)?)));
            let mut mean = Mean::of(pairs.map(|(a, b)| {
                let of = |pick: &dyn Fn(&Folded) -> f64| sign * (area(a, pick) - area(b, pick));
                let folds = folds(a).min(folds(b));
                let without = (0..folds).map(|fold| of(&|s: &Folded| s.without[fold]));
                (of(&|s: &Folded| s.score), without.collect())
            }));
            if !mean.value.is_finite() {
                continue;
            }
            let turned = mean.value < 0.0;
            mean.value = mean.value.abs();
            let (better, worse) = if turned {
                (second, first)
            } else {
                (first, second)
            };
            found.push(Difference {
                better: (*better).to_owned(),
                worse: (*worse).to_owned(),
                difference: mean.value,
                interval: mean.interval(),
                p_value: mean.p_value(),
                real: false,
            });
        }
    }
    holm(&mut found);
    found.sort_by(|a, b| b.difference.total_cmp(&a.difference));
    found
}

/// The area under the curves of a measure, in the mean of its seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanArea {
    /// The measure.
    pub measure: String,
    /// Mean over seeds, in the metric's own unit.
    pub area: f64,
    /// Its 95 % interval; `None` where nothing is known of its variance.
    pub interval: Option<[f64; 2]>,
    /// Seeds that it is of.
    pub seeds: usize,
}

/// The areas of all measures, the best first.
#[must_use]
pub fn areas(curves: &[Curve], metric: &Metric) -> Vec<MeanArea> {
    let mut found: Vec<MeanArea> = by_measure(curves)
        .into_iter()
        .map(|(measure, seeds)| {
            let mean = Mean::of(seeds.values().map(|curve| {
                let of = |fold| area(curve, |s| s.without[fold]);
                (
                    area(curve, |s| s.score),
                    (0..folds(curve)).map(of).collect(),
                )
            }));
            MeanArea {
                measure: measure.to_owned(),
                area: mean.value,
                interval: mean.interval(),
                seeds: seeds.len(),
            }
        })
        .collect();
    found.sort_by(|a, b| match metric.direction {
        Direction::Higher => b.area.total_cmp(&a.area),
        Direction::Lower => a.area.total_cmp(&b.area),
    });
    found
}

/// Curves by measure and seed.
fn by_measure(curves: &[Curve]) -> BTreeMap<&str, BTreeMap<u64, &Curve>> {
    let mut found: BTreeMap<&str, BTreeMap<u64, &Curve>> = BTreeMap::new();
    for curve in curves {
        let seeds = found.entry(&curve.measure).or_default();
        seeds.insert(curve.seed, curve);
    }
    found
}

/// Folds that all points of a curve have.
fn folds(curve: &Curve) -> usize {
    let of = curve.points.iter().map(|point| point.scored.without.len());
    of.min().unwrap_or(0)
}

/// A mean over seeds, and its standard error with degrees of freedom, where anything is known of it.
struct Mean {
    value: f64,
    spread: Option<(f64, usize)>,
}

impl Mean {
    /// Of the number of each seed, and of that without each fold.
    fn of(seeds: impl Iterator<Item = (f64, Vec<f64>)>) -> Self {
        let (values, without): (Vec<f64>, Vec<Vec<f64>>) = seeds.unzip();
        let folds = without.iter().map(Vec::len).min().unwrap_or(0);
        let without: Vec<f64> = (0..folds)
            .map(|fold| mean_of(&without.iter().map(|of| of[fold]).collect::<Vec<f64>>()))
            .collect();
        let (count, number) = (values.len() as f64, folds as f64);
        let of_seeds = squares(&values) / (count * (count - 1.0)).max(1.0);
        let of_folds = squares(&without) * (number - 1.0).max(0.0) / number.max(1.0);
        let known = [(of_seeds, values.len()), (of_folds, folds)]
            .into_iter()
            .filter(|(_, values)| *values > 1);
        let variance: f64 = known.clone().map(|(variance, _)| variance).sum();
        // Welch and Satterthwaite.
        let rest: f64 = known
            .map(|(variance, values)| variance * variance / (values as f64 - 1.0))
            .sum();
        let degrees = match rest > 0.0 {
            true => ((variance * variance / rest) as usize).max(1),
            false => 1,
        };
        Self {
            value: mean_of(&values),
            // Of one draw nothing is known of how much draws matter.
            spread: (values.len() > 1).then(|| (variance.sqrt(), degrees)),
        }
    }

    fn interval(&self) -> Option<[f64; 2]> {
        let half = self
            .spread
            .map(|(error, degrees)| error * student::quantile(degrees))?;
        Some([self.value - half, self.value + half])
    }

    /// How likely a mean as far from 0 is where there is nothing.
    fn p_value(&self) -> Option<f64> {
        self.spread.map(|(error, degrees)| match error > 0.0 {
            true => 1.0 - student::within(self.value.abs() / error, degrees),
            false if self.value == 0.0 => 1.0,
            false => 0.0,
        })
    }
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sum of squared deviations from the mean.
fn squares(values: &[f64]) -> f64 {
    let mean = mean_of(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The smallest p-value against the level by the number of pairs, the next by one less, until one fails.
fn holm(found: &mut [Difference]) {
    let mut order: Vec<usize> = (0..found.len()).collect();
    let p = |found: &[Difference], at: usize| found[at].p_value.unwrap_or(1.0);
    order.sort_by(|a, b| p(found, *a).total_cmp(&p(found, *b)));
    for (rank, at) in order.iter().enumerate() {
        if p(found, *at) > LEVEL / (order.len() - rank) as f64 {
            break;
        }
        found[*at].real = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::Point;
    use super::*;

    fn curve(measure: &str, seed: u64, scores: &[(f64, f64, [f64; 4])]) -> Curve {
        let points = scores.iter().map(|(share, score, without)| Point {
            left: (share * 100.0) as usize,
            share: *share,
            scored: Folded {
                score: *score,
                loss: 0.0,
                without: without.to_vec(),
            },
        });
        Curve {
            measure: measure.to_owned(),
            seed,
            points: points.collect(),
        }
    }

    fn metric(direction: Direction) -> Metric {
        Metric {
            name: "acc".to_owned(),
            direction,
        }
    }

    #[test]
    fn an_area_is_the_mean_height() {
        let flat = [0.5; 4];
        let steps = curve(
            "a",
            0,
            &[(1.0, 1.0, flat), (0.5, 0.5, flat), (0.25, 0.0, flat)],
        );
        // (0.5 · 0.75 + 0.25 · 0.25) / 0.75
        assert!((area(&steps, |s| s.score) - 0.583_333_333).abs() < 1e-8);
        let single = curve("a", 0, &[(1.0, 0.8, flat)]);
        assert_eq!(area(&single, |s| s.score), 0.8);
    }

    /// By hand: seeds differ by .1, .2, .3, folds by .1, .2, .2, .3.
    #[test]
    fn differences_are_paired_and_their_errors_add_up() {
        let good: Vec<Curve> = [0.1, 0.2, 0.3]
            .iter()
            .enumerate()
            .map(|(seed, d)| {
                let without = [0.1, 0.2, 0.2, 0.3];
                curve(
                    "good",
                    seed as u64,
                    &[
                        (1.0, 0.5 + d, without.map(|w| 0.5 + w)),
                        (0.5, 0.5 + d, without.map(|w| 0.5 + w)),
                    ],
                )
            })
            .collect();
        let flat = [0.5; 4];
        let bad: Vec<Curve> = (0..3)
            .map(|seed| curve("bad", seed, &[(1.0, 0.5, flat), (0.5, 0.5, flat)]))
            .collect();
        let all: Vec<Curve> = good.into_iter().chain(bad).collect();
        let found = &compare(&all, &metric(Direction::Higher))[0];
        assert_eq!(
            (found.better.as_str(), found.worse.as_str()),
            ("good", "bad")
        );
        assert!((found.difference - 0.2).abs() < 1e-12);
        // Seeds: .02 / 6; folds: .02 · 3/4.
        let (seeds, folds): (f64, f64) = (0.02 / 6.0, 0.015);
        let error = (seeds + folds).sqrt();
        let degrees = (seeds + folds).powi(2) / (seeds.powi(2) / 2.0 + folds.powi(2) / 3.0);
        let half = error * student::quantile(degrees as usize);
        let [low, high] = found.interval.unwrap();
        assert!((low - (0.2 - half)).abs() < 1e-9 && (high - (0.2 + half)).abs() < 1e-9);
        assert!(!found.real && found.p_value.unwrap() > 0.05);
        // Of a loss the lower is the better.
        let lower = &compare(&all, &metric(Direction::Lower))[0];
        assert_eq!(
            (lower.better.as_str(), lower.difference),
            ("bad", found.difference)
        );
    }

    #[test]
    fn what_is_real_is_decided_over_all_pairs() {
        let of = |p: &[f64]| -> Vec<bool> {
            let mut all: Vec<Difference> = p
                .iter()
                .map(|p| Difference {
                    better: String::new(),
                    worse: String::new(),
                    difference: 0.0,
                    interval: None,
                    p_value: Some(*p),
                    real: false,
                })
                .collect();
            holm(&mut all);
            all.iter().map(|d| d.real).collect()
        };
        assert_eq!(of(&[0.06, 0.001, 0.02]), [false, true, true]);
        assert_eq!(of(&[0.04, 0.02, 0.03]), [false; 3]);
        assert_eq!(of(&[0.05]), [true]);
    }
}
