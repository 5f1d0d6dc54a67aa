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

    /// The least value that the metric can have; `None` where it is not known, or where less is better.
    #[must_use]
    pub fn least(&self) -> Option<f64> {
        match (self.direction, self.kind()) {
            (Direction::Higher, Kind::Share) => Some(0.0),
            (Direction::Higher, Kind::Correlation) => Some(-1.0),
            _ => None,
        }
    }

    /// The greatest value that the metric can have on any data (answers to questions are scored in percent); `None` as for
    /// [`Metric::least`].
    pub(crate) fn most(&self) -> Option<f64> {
        match (self.direction, self.name.as_str()) {
            (Direction::Lower, _) => None,
            (_, "f1" | "exact_match") => Some(100.0),
            (_, name) if name.contains("Ans_") => Some(100.0),
            _ => self.least().map(|_| 1.0),
        }
    }

    /// One point: a hundredth of the metric's greatest value on these data. `None` as for [`Metric::least`].
    #[must_use]
    pub fn point(&self, corpus: &Corpus) -> Option<f64> {
        self.least()?;
        match corpus.objective() {
            Objective::Answers => Some(1.0),
            _ => Some(0.01),
        }
    }

    fn kind(&self) -> Kind {
        match self.name.rsplit('/').next().unwrap_or_default() {
            "acc" | "f1" | "acc_and_f1" | "precision" | "recall" | "accuracy" | "exact_match"
            | "HasAns_exact" | "HasAns_f1" | "NoAns_exact" | "NoAns_f1" => Kind::Share,
            "mcc" | "pearson" | "spearmanr" | "corr" => Kind::Correlation,
            _ => Kind::Other,
        }
    }

    /// Whether a score is no worse than a bound.
    #[must_use]
    pub fn passes(&self, score: f64, bound: f64) -> bool {
        match self.direction {
            Direction::Higher => score >= bound,
            Direction::Lower => score <= bound,
        }
    }
}

/// Where the values of a metric lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// From 0 to 1, or to 100 in percent.
    Share,
    /// From -1 to 1.
    Correlation,
    Other,
}
