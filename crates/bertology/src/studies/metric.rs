//! The number that decides, and which way it improves.

use bertology_data::MetricError;
use serde::{Deserialize, Serialize};

use crate::objective::{LOSS, Objective};
use crate::{Corpus, Error};

/// Which way a metric improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Every metric of the GLUE tasks, of entities and of answers.
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
        let own = corpus.own_metrics();
        let towards = |key: &'static str| match corpus.objective() {
            Objective::Tags | Objective::Answers if key != LOSS => (key, Direction::Higher),
            _ => (key, Direction::Lower),
        };
        let (name, direction) = match (name, corpus.metrics()) {
            (Some(LOSS), _) => (LOSS, Direction::Lower),
            (Some(name), Some(metrics)) => (metrics.key(name)?, Direction::Higher),
            (None, Some(metrics)) => (metrics.default_key(), Direction::Higher),
            (None, None) => towards(own.first().copied().unwrap_or(LOSS)),
            (Some(name), None) => {
                let found = own.iter().copied().find(|key| *key == name);
                towards(found.ok_or_else(|| MetricError::UnknownMetric {
                    name: name.to_owned(),
                    available: own,
                })?)
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
