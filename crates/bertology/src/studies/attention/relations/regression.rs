//! A logistic regression over the attention of all heads, applied to a map at a time.

use serde::{Deserialize, Serialize};

use crate::{Error, HeadTable};

/// How probable it is that two units are related, by the attention of all heads between them: `σ(bias + Σ weight · attention)`,
/// a regression a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadRegression {
    /// What tables call it.
    pub name: String,
    /// Of the unpruned model.
    pub layers: usize,
    /// Of a layer of it.
    pub heads: usize,
    /// Attention both ways is added; else there are weights for both directions.
    pub symmetric: bool,
    /// Attention is corrected.
    pub apc: bool,
    /// By label.
    pub labels: Vec<LabelWeights>,
}

/// The regression of a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelWeights {
    /// The label.
    pub label: String,
    /// The intercept.
    pub bias: f64,
    /// `[layers · heads]` of attention from the first unit to the second; then, with a direction, as many of that from the
    /// second to the first.
    pub weights: Vec<f64>,
}

impl HeadRegression {
    /// Number of features of a pair.
    #[must_use]
    pub fn features(layers: usize, heads: usize, symmetric: bool) -> usize {
        layers * heads * if symmetric { 1 } else { 2 }
    }

    /// # Errors
    /// Not for this model, or for maps that something else is made of.
    pub(super) fn check(&self, heads: &HeadTable, symmetric: bool, apc: bool) -> Result<(), Error> {
        let shape = |layers, heads| format!("{layers} layers of {heads} heads");
        let (mine, theirs) = (
            shape(self.layers, self.heads),
            shape(heads.layers(), heads.heads()),
        );
        if mine != theirs {
            return Error::state_mismatch("the model of the regression", mine, theirs);
        }
        let made = |symmetric, apc| {
            let way = if symmetric {
                "added both ways"
            } else {
                "with its direction"
            };
            format!("attention {way}{}", if apc { ", corrected" } else { "" })
        };
        let (mine, theirs) = (made(self.symmetric, self.apc), made(symmetric, apc));
        if mine != theirs {
            return Error::state_mismatch("what the regression reads", mine, theirs);
        }
        let features = Self::features(self.layers, self.heads, self.symmetric);
        Error::unless_possible(
            self.labels.iter().all(|of| {
                of.weights.len() == features
                    && of.bias.is_finite()
                    && of.weights.iter().all(|weight| weight.is_finite())
            }),
            "weights",
            "there are not as many finite numbers as the model has heads",
        )
    }

    /// Of a label, if there is one.
    #[must_use]
    pub fn of_label(&self, label: &str) -> Option<&LabelWeights> {
        self.labels.iter().find(|of| of.label == label)
    }
}

impl LabelWeights {
    /// Adds what a head says to the logits of all pairs, `[units, units]`.
    pub(super) fn add(
        &self,
        head: usize,
        heads: usize,
        map: &[f64],
        units: usize,
        logits: &mut [f64],
    ) {
        let there = self.weights[head];
        if there != 0.0 {
            for (logit, value) in logits.iter_mut().zip(map) {
                *logit += there * value;
            }
        }
        let back = self.weights.get(heads + head).copied().unwrap_or(0.0);
        if back != 0.0 {
            for (to, column) in map.chunks_exact(units.max(1)).enumerate() {
                for (from, value) in column.iter().enumerate() {
                    logits[from * units + to] += back * value;
                }
            }
        }
    }
}
