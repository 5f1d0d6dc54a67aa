//! The metrics of the GLUE tasks, under the reference's names, as a mergeable accumulator.
//!
//! Every metric here is the better the higher it is. Source: `glue_compute_metrics` of
//! transformers 4.57, and the scikit-learn and scipy functions it calls.

use crate::correlation::{pearson, spearman};
use crate::error::MetricError;
use crate::task::Task;

/// A prediction or a label: a class id of the model, or a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A class id.
    Class(usize),
    /// A number, for regression.
    Value(f64),
}

impl Target {
    fn kind(self) -> &'static str {
        match self {
            Self::Class(_) => "class",
            Self::Value(_) => "number",
        }
    }
}

/// Index of the largest logit, the first one if several are equally large.
///
/// # Errors
///
/// [`MetricError::NoLogits`] for an empty slice, [`MetricError::NotANumber`] if a logit is NaN.
pub fn argmax(logits: &[f32]) -> Result<usize, MetricError> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return Err(MetricError::NotANumber { index });
        }
        if best.is_none_or(|(_, largest)| logit > largest) {
            best = Some((index, logit));
        }
    }
    best.map(|(index, _)| index).ok_or(MetricError::NoLogits)
}

/// Which metrics are computed together, and how they are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MetricSet {
    /// `acc`: the share of right predictions.
    Accuracy,
    /// `mnli/acc`.
    MnliAccuracy,
    /// `mnli-mm/acc`.
    MnliMismatchedAccuracy,
    /// `acc`, `f1` of the positive class (0 without a true positive), `acc_and_f1` (their mean).
    AccuracyAndF1,
    /// `mcc`: Matthews' correlation (0 when all predictions or all labels are the same class).
    Matthews,
    /// `pearson`, `spearmanr`, `corr` (their mean); NaN when predictions or labels are constant.
    Correlations,
    /// `acc`, `f1`, `mcc`: for own data with two classes.
    Binary,
}

impl MetricSet {
    /// The metrics that the reference computes for a task.
    #[must_use]
    pub const fn for_task(task: Task) -> Self {
        match task {
            Task::Cola => Self::Matthews,
            Task::Mnli => Self::MnliAccuracy,
            Task::MnliMismatched => Self::MnliMismatchedAccuracy,
            Task::Mrpc | Task::Qqp => Self::AccuracyAndF1,
            Task::StsB => Self::Correlations,
            Task::Sst2 | Task::Qnli | Task::Rte | Task::Wnli => Self::Accuracy,
        }
    }

    /// The metrics for own data and a model with so many outputs: correlations for 1 (regression),
    /// `acc`, `f1` and `mcc` for 2, else `acc`.
    #[must_use]
    pub const fn for_outputs(num_outputs: usize) -> Self {
        match num_outputs {
            1 => Self::Correlations,
            2 => Self::Binary,
            _ => Self::Accuracy,
        }
    }

    /// The names, in the order of [`MetricState::finish`].
    #[must_use]
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Accuracy => &["acc"],
            Self::MnliAccuracy => &["mnli/acc"],
            Self::MnliMismatchedAccuracy => &["mnli-mm/acc"],
            Self::AccuracyAndF1 => &["acc", "f1", "acc_and_f1"],
            Self::Matthews => &["mcc"],
            Self::Correlations => &["pearson", "spearmanr", "corr"],
            Self::Binary => &["acc", "f1", "mcc"],
        }
    }

    /// The one that decides when masking stops unless the user names another: an accuracy where
    /// there is one, else `mcc` or `corr`.
    #[must_use]
    pub const fn default_key(self) -> &'static str {
        match self {
            Self::Accuracy | Self::AccuracyAndF1 | Self::Binary => "acc",
            Self::MnliAccuracy => "mnli/acc",
            Self::MnliMismatchedAccuracy => "mnli-mm/acc",
            Self::Matthews => "mcc",
            Self::Correlations => "corr",
        }
    }

    /// Checks the name of one of these metrics; `acc` also means MNLI's `mnli/acc` and
    /// `mnli-mm/acc`.
    ///
    /// # Errors
    ///
    /// [`MetricError::UnknownMetric`] with the names there are.
    pub fn key(self, name: &str) -> Result<&'static str, MetricError> {
        let short = |key: &str| key.rsplit_once('/').is_some_and(|(_, short)| short == name);
        let keys = self.keys();
        let found = keys.iter().find(|key| **key == name || short(key));
        found.copied().ok_or(MetricError::UnknownMetric {
            name: name.to_owned(),
            available: keys,
        })
    }

    /// Whether predictions and labels are numbers.
    #[must_use]
    pub const fn is_regression(self) -> bool {
        matches!(self, Self::Correlations)
    }

    const fn needs_positive(self) -> bool {
        matches!(self, Self::AccuracyAndF1 | Self::Binary)
    }
}

/// Accumulates predictions against labels.
///
/// Classes are counted in a `[labels, predictions]` table, so counts are exact and merging them in
/// any order gives the same bits. Regression keeps every pair (16 bytes each), which ranks need.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricState {
    set: MetricSet,
    num_classes: usize,
    positive: usize,
    /// `[num_classes, num_classes]`, label-major; empty for regression.
    confusion: Vec<u64>,
    /// `(prediction, label)`; empty for classification.
    pairs: Vec<(f64, f64)>,
    count: u64,
}

impl MetricState {
    /// Most classes for which a table is kept.
    const MAX_CLASSES: usize = 4096;

    /// An empty state. `num_classes` and `positive` (the class that F1 counts, see
    /// [`LabelMap::positive`](crate::LabelMap::positive); class 1 if `None`) do not matter for
    /// regression.
    ///
    /// # Errors
    ///
    /// [`MetricError::NumClasses`] if there is no class, or not two where F1 is computed, or more
    /// than 4096; [`MetricError::ClassOutOfRange`] if the positive class does not exist.
    pub fn new(
        set: MetricSet,
        num_classes: usize,
        positive: Option<usize>,
    ) -> Result<Self, MetricError> {
        let (count, pairs) = (0, Vec::new());
        if set.is_regression() {
            let confusion = Vec::new();
            return Ok(Self {
                set,
                num_classes: 0,
                positive: 0,
                confusion,
                pairs,
                count,
            });
        }
        let reason = match num_classes {
            0 => Some("at least one is needed"),
            2 => None,
            _ if set.needs_positive() => Some("f1 needs exactly two"),
            1..=Self::MAX_CLASSES => None,
            _ => Some("at most 4096 are supported"),
        };
        if let Some(reason) = reason {
            return Err(MetricError::NumClasses {
                keys: set.keys(),
                num_classes,
                reason,
            });
        }
        let positive = match positive {
            Some(class) if class >= num_classes => {
                return Err(MetricError::ClassOutOfRange {
                    what: "positive class",
                    class,
                    num_classes,
                });
            }
            Some(class) => class,
            None => 1,
        };
        let confusion = vec![0; num_classes * num_classes];
        Ok(Self {
            set,
            num_classes,
            positive,
            confusion,
            pairs,
            count,
        })
    }

    /// The metrics that this state computes.
    #[must_use]
    pub fn set(&self) -> MetricSet {
        self.set
    }

    /// How many examples were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds one example.
    ///
    /// # Errors
    ///
    /// [`MetricError::Kind`] for a class where a number is needed or the reverse,
    /// [`MetricError::ClassOutOfRange`], [`MetricError::NotANumber`] for a NaN prediction. The
    /// state is then unchanged.
    pub fn observe(&mut self, prediction: Target, label: Target) -> Result<(), MetricError> {
        self.observe_times(prediction, label, 1)
    }

    /// Adds so many examples that are alike.
    ///
    /// # Errors
    ///
    /// As [`MetricState::observe`].
    pub fn observe_times(
        &mut self,
        prediction: Target,
        label: Target,
        times: u64,
    ) -> Result<(), MetricError> {
        if self.set.is_regression() {
            let pair = (
                self.value("prediction", prediction)?,
                self.value("label", label)?,
            );
            if pair.0.is_nan() {
                return Err(MetricError::NotANumber { index: 0 });
            }
            self.pairs.extend((0..times).map(|_| pair));
        } else {
            let predicted = self.class("prediction", prediction)?;
            let label = self.class("label", label)?;
            if let Some(cell) = self.confusion.get_mut(label * self.num_classes + predicted) {
                *cell += times;
            }
        }
        self.count += times;
        Ok(())
    }

    /// Adds one example of which the model gave these outputs: the largest logit's class (the first
    /// of equals), or the single output itself for regression.
    ///
    /// # Errors
    ///
    /// As [`argmax`] and [`MetricState::observe`].
    pub fn observe_logits(&mut self, logits: &[f32], label: Target) -> Result<(), MetricError> {
        let prediction = if self.set.is_regression() {
            Target::Value(f64::from(*logits.first().ok_or(MetricError::NoLogits)?))
        } else {
            Target::Class(argmax(logits)?)
        };
        self.observe(prediction, label)
    }

    /// Adds what another state has seen.
    ///
    /// # Errors
    ///
    /// [`MetricError::Merge`] if the two do not compute the same.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricError> {
        let kind = |state: &Self| (state.set, state.num_classes, state.positive);
        if kind(self) != kind(other) {
            return Err(MetricError::Merge {
                left: (self.set.keys(), self.num_classes),
                right: (other.set.keys(), other.num_classes),
            });
        }
        for (mine, theirs) in self.confusion.iter_mut().zip(&other.confusion) {
            *mine += theirs;
        }
        self.pairs.extend_from_slice(&other.pairs);
        self.count += other.count;
        Ok(())
    }

    /// The metrics by name, in the order of [`MetricSet::keys`]. All NaN if nothing was observed.
    #[must_use]
    pub fn finish(&self) -> Vec<(&'static str, f64)> {
        let keys = self.set.keys();
        if self.count == 0 {
            return keys.iter().map(|key| (*key, f64::NAN)).collect();
        }
        let values = match self.set {
            MetricSet::Accuracy | MetricSet::MnliAccuracy | MetricSet::MnliMismatchedAccuracy => {
                vec![self.accuracy()]
            }
            MetricSet::AccuracyAndF1 => {
                let (acc, f1) = (self.accuracy(), self.f1());
                vec![acc, f1, (acc + f1) / 2.0]
            }
            MetricSet::Matthews => vec![self.matthews()],
            MetricSet::Correlations => {
                let (pearson, spearman) = (pearson(&self.pairs), spearman(&self.pairs));
                vec![pearson, spearman, (pearson + spearman) / 2.0]
            }
            MetricSet::Binary => vec![self.accuracy(), self.f1(), self.matthews()],
        };
        keys.iter().copied().zip(values).collect()
    }

    /// One metric by name (see [`MetricSet::key`]).
    ///
    /// # Errors
    ///
    /// [`MetricError::UnknownMetric`].
    pub fn value_of(&self, name: &str) -> Result<f64, MetricError> {
        let key = self.set.key(name)?;
        let found = self.finish().into_iter().find(|(name, _)| *name == key);
        Ok(found.map_or(f64::NAN, |(_, value)| value))
    }

    fn class(&self, what: &'static str, target: Target) -> Result<usize, MetricError> {
        match target {
            Target::Class(class) if class < self.num_classes => Ok(class),
            Target::Class(class) => Err(MetricError::ClassOutOfRange {
                what,
                class,
                num_classes: self.num_classes,
            }),
            Target::Value(_) => Err(self.kind_error(what, target, "class")),
        }
    }

    fn value(&self, what: &'static str, target: Target) -> Result<f64, MetricError> {
        match target {
            Target::Value(value) => Ok(value),
            Target::Class(_) => Err(self.kind_error(what, target, "number")),
        }
    }

    fn kind_error(&self, what: &'static str, found: Target, expected: &'static str) -> MetricError {
        MetricError::Kind {
            keys: self.set.keys(),
            what,
            expected,
            found: found.kind(),
        }
    }

    fn cell(&self, label: usize, prediction: usize) -> u64 {
        self.confusion
            .get(label * self.num_classes + prediction)
            .copied()
            .unwrap_or(0)
    }

    fn right(&self) -> u64 {
        (0..self.num_classes)
            .map(|class| self.cell(class, class))
            .sum()
    }

    fn accuracy(&self) -> f64 {
        self.right() as f64 / self.count as f64
    }

    /// 2 TP / (2 TP + FP + FN), and 0 without a true positive.
    fn f1(&self) -> f64 {
        let hits = self.cell(self.positive, self.positive);
        if hits == 0 {
            return 0.0;
        }
        let classes = 0..self.num_classes;
        let labelled: u64 = classes
            .clone()
            .map(|class| self.cell(self.positive, class))
            .sum();
        let predicted: u64 = classes.map(|class| self.cell(class, self.positive)).sum();
        2.0 * hits as f64 / (labelled + predicted) as f64
    }

    /// Matthews' correlation for any number of classes (Gorodkin's R_K):
    /// (n·right − Σ t·p) / √((n² − Σ p²)(n² − Σ t²)) over the classes' label counts t and
    /// prediction counts p, and 0 where that is 0/0. Whole numbers up to the division.
    fn matthews(&self) -> f64 {
        let n = i128::from(self.count);
        let (mut tp, mut tt, mut pp) = (0, 0, 0);
        for class in 0..self.num_classes {
            let all = 0..self.num_classes;
            let t: i128 = all
                .clone()
                .map(|other| i128::from(self.cell(class, other)))
                .sum();
            let p: i128 = all.map(|other| i128::from(self.cell(other, class))).sum();
            tp += t * p;
            tt += t * t;
            pp += p * p;
        }
        let (spread_t, spread_p) = ((n * n - tt) as f64, (n * n - pp) as f64);
        if spread_t == 0.0 || spread_p == 0.0 {
            return 0.0;
        }
        (n * i128::from(self.right()) - tp) as f64 / (spread_t.sqrt() * spread_p.sqrt())
    }
}
