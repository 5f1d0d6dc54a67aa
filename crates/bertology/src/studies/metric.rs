//! The number that decides, and which way it improves.

use bertology_data::MetricError;
use serde::{Deserialize, Serialize};

use crate::input::objective::LOSS;
use crate::{Corpus, Error};

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Every metric of the GLUE tasks.
    Higher,
    /// The loss, and what language models are scored with.
    Lower,
}

/// The metric that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Which way it improves.
    pub direction: Direction,
}

impl Metric {
    /// The metric of this name that `corpus` is scored with; the mean loss for `loss`. `None`: the
    /// default of the data, which is the loss for language models.
    ///
    /// # Errors
    /// A name that the data are not scored with, and the names that they are.
    pub fn of(corpus: &Corpus, name: Option<&str>) -> Result<Self, Error> {
        let (name, direction) = match (name, corpus.metrics()) {
            (Some(LOSS), _) | (None, None) => (LOSS, Direction::Lower),
            (Some(name), Some(metrics)) => (metrics.key(name)?, Direction::Higher),
            (None, Some(metrics)) => (metrics.default_key(), Direction::Higher),
            (Some(name), None) => {
                let all = corpus.token_metrics();
                let found = all.iter().find(|key| **key == name);
                let found = found.ok_or_else(|| MetricError::UnknownMetric {
                    name: name.to_owned(),
                    available: all,
                })?;
                (*found, Direction::Lower)
            }
        };
        Ok(Self {
            name: name.to_owned(),
            direction,
        })
    }

    pub(crate) fn passes(&self, score: f64, bound: f64) -> bool {
        match self.direction {
            Direction::Higher => score >= bound,
            Direction::Lower => score <= bound,
        }
    }
}
