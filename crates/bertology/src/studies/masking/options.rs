//! What the masking loop is told: how much to mask, by which order, and when to stop.

use serde::{Deserialize, Serialize};

use super::goal::Goal;
use crate::Error;
use crate::error::SearchError;
use crate::studies::importance::Granularity;
use crate::studies::metric::{Direction, Metric};
use crate::studies::normalize::Normalization;

/// When the score has fallen too far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "value")]
pub enum Threshold {
    /// Below (for a loss: above) this multiple of the first score. The first score must be above 0.
    /// Between 0 and 1; for a loss at least 1.
    Relative(f64),
    /// Below (for a loss: above) this value.
    Absolute(f64),
    /// Worse than the first score by more than this amount, at least 0.
    Drop(f64),
    /// Never: whatever the score, also where it is not a number. For searches that have a [`Goal`].
    Unbounded,
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relative(factor) => write!(f, "relative:{factor}"),
            Self::Absolute(value) => write!(f, "absolute:{value}"),
            Self::Drop(amount) => write!(f, "drop:{amount}"),
            Self::Unbounded => write!(f, "none"),
        }
    }
}

/// When heads are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// At every step, under the mask of that step, as `run_bertology.py`.
    #[default]
    Each,
    /// Once, with all heads, as the paper's released code.
    Once,
}

/// How heads are masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MaskingOptions {
    /// When to stop.
    pub threshold: Threshold,
    /// What is to be reached; the search ends there.
    #[serde(default)]
    pub goal: Option<Goal>,
    /// After a step that fails, go on from the last mask that passed with one head at a step, until one fails.
    #[serde(default)]
    pub refine: bool,
    /// Share of all heads to mask at a step, between 0 and 1, rounded down, at least one head.
    pub amount: f64,
    /// When to rank.
    pub recompute: Recompute,
    /// A layer never has fewer heads than this (or than it has at the start).
    pub min_heads_per_layer: usize,
    /// Stop after so many steps.
    pub max_steps: Option<usize>,
    /// Name of the metric, or `loss`; `None`: the default of the data.
    pub metric: Option<String>,
    /// How scores are made comparable before they are ranked.
    pub normalization: Normalization,
    /// What importance sums before the absolute value.
    pub granularity: Granularity,
    /// As the reference script: masked heads are computed, have scores, and take part in the
    /// normalisation of the others.
    pub reference: bool,
}

impl Default for MaskingOptions {
    fn default() -> Self {
        Self {
            threshold: Threshold::Relative(0.9),
            goal: None,
            refine: false,
            amount: 0.1,
            recompute: Recompute::Each,
            min_heads_per_layer: 0,
            max_steps: None,
            metric: None,
            normalization: Normalization::default(),
            granularity: Granularity::Example,
            reference: false,
        }
    }
}

impl MaskingOptions {
    /// The reference script's loop with its gradients cleared between examples: masked heads are
    /// computed and take part in the normalisation. For what the script does with gradients that are
    /// never cleared, set `granularity` to [`Granularity::Script`] as well.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            reference: true,
            ..Self::default()
        }
    }
}

impl Metric {
    /// The value that the score must not cross, if there is one; `base` is the first score.
    ///
    /// # Errors
    /// A first score that the threshold cannot be compared with.
    pub fn bound(&self, threshold: Threshold, base: f64) -> Result<Option<f64>, Error> {
        if threshold == Threshold::Unbounded {
            return Ok(None);
        }
        if base.is_nan() {
            return Err(Error::MetricUndefined {
                metric: self.name.clone(),
            });
        }
        let bound = match (threshold, self.direction) {
            (Threshold::Unbounded, _) => return Ok(None),
            (Threshold::Relative(_), _) if base <= 0.0 => {
                return Err(Error::RelativeThreshold {
                    metric: self.name.clone(),
                    score: base,
                });
            }
            (Threshold::Relative(factor), _) => base * factor,
            (Threshold::Absolute(value), _) => value,
            (Threshold::Drop(amount), Direction::Higher) => base - amount - rounding(base),
            (Threshold::Drop(amount), Direction::Lower) => base + amount + rounding(base),
        };
        self.can_be_missed(bound)?;
        if self.passes(base, bound) {
            Ok(Some(bound))
        } else {
            Err(Error::BaseFails {
                metric: self.name.clone(),
                score: base,
                bound,
            })
        }
    }

    /// Refuses a bound that every score passes.
    fn can_be_missed(&self, bound: f64) -> Result<(), SearchError> {
        match self.least() {
            Some(least) if bound <= least => Err(SearchError::NeverMissed {
                metric: self.name.clone(),
                bound,
                least,
            }),
            _ => Ok(()),
        }
    }
}

/// A fall of just the amount that is allowed passes, however the two numbers are rounded: a few units in the last place.
fn rounding(base: f64) -> f64 {
    4.0 * f64::EPSILON * base.abs()
}

impl MaskingOptions {
    /// What can be refused before the first score is known.
    pub(super) fn check(&self, metric: &Metric) -> Result<(), Error> {
        let refuse = |option, value: String, reason| {
            Err(Error::Option {
                option,
                value,
                reason,
            })
        };
        if !(0.0..=1.0).contains(&self.amount) {
            let reason = "give a share of all heads between 0 and 1";
            return refuse("the masking amount", self.amount.to_string(), reason);
        }
        if let Some(Goal::Speedup(times)) = self.goal
            && !(times > 1.0 && times.is_finite())
        {
            let reason = "give how many times as fast the model is to be, above 1";
            return refuse("the goal", times.to_string(), reason);
        }
        let option = "the threshold";
        match (self.threshold, metric.direction) {
            (Threshold::Relative(f), Direction::Higher) if !(f > 0.0 && f <= 1.0) => {
                let reason = "give a factor above 0 and at most 1";
                refuse(option, f.to_string(), reason)
            }
            (Threshold::Relative(f), Direction::Lower) if !(f >= 1.0 && f.is_finite()) => {
                let reason = "a loss (or perplexity) gets worse as it grows, so give a factor of \
                              at least 1, such as 1.1";
                refuse(option, f.to_string(), reason)
            }
            (Threshold::Drop(d), _) if !(d >= 0.0 && d.is_finite()) => {
                let reason = "give the amount that the score may lose, at least 0";
                refuse(option, d.to_string(), reason)
            }
            (Threshold::Absolute(v), _) if !v.is_finite() => {
                refuse(option, v.to_string(), "give a number")
            }
            (Threshold::Absolute(v), _) => Ok(metric.can_be_missed(v)?),
            (Threshold::Drop(d), Direction::Higher) => match metric.most() {
                Some(most) => Ok(metric.can_be_missed(most - d)?),
                None => Ok(()),
            },
            (Threshold::Unbounded, _) if self.goal.is_none() => {
                let reason =
                    "without one and without a goal every head would go; give one of the two";
                refuse(option, "none".to_owned(), reason)
            }
            (Threshold::Unbounded, _) if self.refine => {
                let reason =
                    "where no score fails there is nothing to refine; give one or do not refine";
                refuse(option, "none".to_owned(), reason)
            }
            _ => Ok(()),
        }
    }
}
