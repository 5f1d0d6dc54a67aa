//! Scores of a classifier that answers yes or no for every label of a target.
//!
//! A label fires where its logit is at least 0; none may fire, or several. What is counted is a table of four numbers a
//! label, and every score is a sum over some labels, then a quotient: whose sums these are makes the score of a task
//! (Tenney et al. 2019; [`Slice`]).
//!
//! ```
//! use bertology_data::edge::Vocabulary;
//! use bertology_data::{Confusion, Slice};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut scores = Confusion::new(Vocabulary::new(["0", "1"]));
//! scores.observe(&[-1.0, 2.0], &[1], &[])?;
//! scores.observe(&[-0.5, 0.0], &[0], &[])?;
//! assert_eq!(scores.cells(&Slice::All).f1(), 0.5);
//! assert_eq!(scores.cells(&Slice::Coreference).precision(), 0.5);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::edge::Vocabulary;
use crate::error::MetricError;
use crate::metrics::argmax;

/// Answers for some targets and labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells {
    /// The label applies and fired.
    pub true_positives: u64,
    /// It fired and does not apply.
    pub false_positives: u64,
    /// It applies and did not fire.
    pub false_negatives: u64,
    /// Neither.
    pub true_negatives: u64,
}

impl Add for Cells {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            true_positives: self.true_positives + other.true_positives,
            false_positives: self.false_positives + other.false_positives,
            false_negatives: self.false_negatives + other.false_negatives,
            true_negatives: self.true_negatives + other.true_negatives,
        }
    }
}

impl AddAssign for Cells {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Cells {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// 0 of 0 is 0.
fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

impl Cells {
    /// Targets to which the label applies.
    #[must_use]
    pub fn support(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Which part of what fired applies; 0 where nothing fired.
    #[must_use]
    pub fn precision(&self) -> f64 {
        ratio(
            self.true_positives,
            self.true_positives + self.false_positives,
        )
    }

    /// Which part of what applies fired; 0 where nothing applies.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.true_positives, self.support())
    }

    /// The harmonic mean of precision and recall; 0 where both are.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let wrong = self.false_positives + self.false_negatives;
        ratio(2 * self.true_positives, 2 * self.true_positives + wrong)
    }

    /// Which part of all answers is right. High by itself where labels are many.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right = self.true_positives + self.true_negatives;
        ratio(right, right + self.false_positives + self.false_negatives)
    }

    /// Matthews' correlation coefficient of all answers; 0 where it is not defined.
    #[must_use]
    pub fn mcc(&self) -> f64 {
        let [tp, fp, miss, tn] = [
            self.true_positives,
            self.false_positives,
            self.false_negatives,
            self.true_negatives,
        ]
        .map(|count| count as f64);
        let below = ((tp + fp) * (tp + miss)).sqrt() * ((tn + fp) * (tn + miss)).sqrt();
        if below == 0.0 {
            return 0.0;
        }
        (tp * tn - fp * miss) / below
    }
}

/// Which labels a score is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slice {
    /// All.
    All,
    /// `1`: both spans speak of the same thing. With `0`, the score of coreference would be another.
    Coreference,
    /// Core and non-core roles, without what continues or refers to another (`C-ARG0`, `R-ARG0`).
    Roles,
    /// `ARG0` to `ARG5` and `ARGA`.
    CoreRoles,
    /// `ARGM` and all that begins with `ARGM-`.
    OtherRoles,
    /// All but `Other`: relations of SemEval-2010 task 8.
    Relations,
    /// One label.
    Label(String),
}

impl Slice {
    /// Whether it has a label.
    #[must_use]
    pub fn contains(&self, label: &str) -> bool {
        match self {
            Self::All => true,
            Self::Coreference => label == "1",
            Self::Roles => is_core(label) || is_other(label),
            Self::CoreRoles => is_core(label),
            Self::OtherRoles => is_other(label),
            Self::Relations => label != "Other",
            Self::Label(name) => label == name,
        }
    }
}

fn is_core(label: &str) -> bool {
    matches!(
        label.strip_prefix("ARG"),
        Some("0" | "1" | "2" | "3" | "4" | "5" | "A")
    )
}

fn is_other(label: &str) -> bool {
    label == "ARGM" || label.starts_with("ARGM-")
}

/// What a task's score is, as the papers report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeTask {
    /// Any task of which nothing else is said: micro-averaged F1 over all labels.
    Plain,
    /// Coreference.
    Coref,
    /// Semantic roles.
    Srl,
    /// Relations of SemEval-2010 task 8.
    SemEval,
}

impl EdgeTask {
    /// The labels of the score that is reported.
    #[must_use]
    pub fn reported(self) -> Slice {
        match self {
            Self::Plain => Slice::All,
            Self::Coref => Slice::Coreference,
            Self::Srl => Slice::Roles,
            Self::SemEval => Slice::Relations,
        }
    }

    /// Other slices that are reported with it.
    #[must_use]
    pub fn others(self) -> &'static [Slice] {
        match self {
            Self::Plain => &[],
            Self::Coref | Self::SemEval => &[Slice::All],
            Self::Srl => &[Slice::CoreRoles, Slice::OtherRoles, Slice::All],
        }
    }
}

/// Counts of one label; what neither fired nor applies follows from the number of targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OfLabel {
    both: u64,
    fired: u64,
    applies: u64,
}

/// Accumulates answers against labels, a table of four numbers a label.
///
/// Labels that a target has and the vocabulary has not cannot be said: they count as missed, so that every score is that
/// of a vocabulary with them of which they never fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    vocabulary: Vocabulary,
    labels: Vec<OfLabel>,
    unseen: BTreeMap<String, u64>,
    targets: u64,
    /// Targets of which every answer is right.
    exact: u64,
    /// Targets with one label.
    single: u64,
    /// Of these, targets whose label has the greatest logit.
    greatest: u64,
}

impl Confusion {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self {
            labels: vec![OfLabel::default(); vocabulary.len()],
            vocabulary,
            unseen: BTreeMap::new(),
            targets: 0,
            exact: 0,
            single: 0,
            greatest: 0,
        }
    }

    /// Counts a target. `logits` are those of all labels, `labels` the indices of those that apply, each once,
    /// `unseen` those that apply and are not in the vocabulary.
    ///
    /// # Errors
    /// [`MetricError::NumClasses`]: not a logit for every label; [`MetricError::ClassOutOfRange`]: an index beyond them;
    /// [`MetricError::NotANumber`]. Then nothing is counted.
    pub fn observe(
        &mut self,
        logits: &[f32],
        labels: &[usize],
        unseen: &[&str],
    ) -> Result<(), MetricError> {
        if logits.len() != self.labels.len() {
            return Err(wrong_number(logits.len()));
        }
        let given: Vec<bool> = logits.iter().map(|logit| *logit >= 0.0).collect();
        self.observe_given(&given, argmax(logits)?, labels, unseen)
    }

    /// Counts a target whose labels were decided otherwise: `given` says of every label whether it fired, `greatest` is
    /// that with the greatest output. A softmax fires the greatest and no other.
    ///
    /// # Errors
    /// As [`Confusion::observe`].
    pub fn observe_given(
        &mut self,
        given: &[bool],
        greatest: usize,
        labels: &[usize],
        unseen: &[&str],
    ) -> Result<(), MetricError> {
        let num_classes = self.labels.len();
        if given.len() != num_classes {
            return Err(wrong_number(given.len()));
        }
        if let Some(class) = labels.iter().copied().find(|class| *class >= num_classes) {
            return Err(MetricError::ClassOutOfRange {
                what: "label",
                class,
                num_classes,
            });
        }
        self.targets += 1;
        let mut wrong = !unseen.is_empty();
        for class in labels {
            self.labels[*class].applies += 1;
            wrong |= !given[*class];
        }
        for (class, fired) in given.iter().enumerate() {
            if *fired {
                let applies = labels.contains(&class);
                self.labels[class].fired += 1;
                self.labels[class].both += u64::from(applies);
                wrong |= !applies;
            }
        }
        self.exact += u64::from(!wrong);
        if labels.len() + unseen.len() == 1 {
            self.single += 1;
            self.greatest += u64::from(labels.first() == Some(&greatest));
        }
        for label in unseen {
            match self.unseen.get_mut(*label) {
                Some(count) => *count += 1,
                None => drop(self.unseen.insert((*label).to_owned(), 1)),
            }
        }
        Ok(())
    }

    /// Adds what was counted apart with the same vocabulary.
    ///
    /// # Errors
    /// [`MetricError::Merge`]: another vocabulary.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricError> {
        if self.vocabulary != other.vocabulary {
            return Err(MetricError::Merge {
                left: (&["f1"], self.labels.len()),
                right: (&["f1"], other.labels.len()),
            });
        }
        for (label, more) in self.labels.iter_mut().zip(&other.labels) {
            label.both += more.both;
            label.fired += more.fired;
            label.applies += more.applies;
        }
        for (label, more) in &other.unseen {
            *self.unseen.entry(label.clone()).or_default() += more;
        }
        self.targets += other.targets;
        self.exact += other.exact;
        self.single += other.single;
        self.greatest += other.greatest;
        Ok(())
    }

    /// Targets counted.
    #[must_use]
    pub fn targets(&self) -> u64 {
        self.targets
    }

    /// How often there was a label that the vocabulary has not.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        self.unseen.values().sum()
    }

    /// Every label with its answers: those of the vocabulary in order, then those that it has not.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Cells)> {
        let known = self.vocabulary.names().iter().zip(&self.labels);
        let known = known.map(|(name, label)| (name.as_str(), self.of(*label)));
        let unseen = self.unseen.iter().map(|(name, applies)| {
            let label = OfLabel {
                applies: *applies,
                ..OfLabel::default()
            };
            (name.as_str(), self.of(label))
        });
        known.chain(unseen)
    }

    fn of(&self, label: OfLabel) -> Cells {
        let OfLabel {
            both,
            fired,
            applies,
        } = label;
        Cells {
            true_positives: both,
            false_positives: fired - both,
            false_negatives: applies - both,
            // Each target was counted once by each of the two.
            true_negatives: (self.targets + both).saturating_sub(fired + applies),
        }
    }

    /// The answers for some labels together: scores of it are micro-averages.
    #[must_use]
    pub fn cells(&self, slice: &Slice) -> Cells {
        let rows = self.rows().filter(|(label, _)| slice.contains(label));
        rows.map(|(_, cells)| cells).sum()
    }

    /// The mean over some labels of their F1; labels that neither apply nor fire count as 0. Nothing without labels.
    #[must_use]
    pub fn macro_f1(&self, slice: &Slice) -> Option<f64> {
        let rows = self.rows().filter(|(label, _)| slice.contains(label));
        let (sum, count) = rows.fold((0.0, 0_u64), |(sum, count), (_, cells)| {
            (sum + cells.f1(), count + 1)
        });
        (count > 0).then(|| sum / count as f64)
    }

    /// Which part of the targets has every answer right; 0 without targets. What the paper's code logs as accuracy in
    /// training, while its analysis means [`Cells::accuracy`].
    #[must_use]
    pub fn exact_match(&self) -> f64 {
        ratio(self.exact, self.targets)
    }

    /// Which part of the targets has its label's logit as the greatest, as other probing papers have it; nothing where a
    /// target has no label or several.
    #[must_use]
    pub fn argmax_accuracy(&self) -> Option<f64> {
        (self.single == self.targets && self.targets > 0)
            .then(|| ratio(self.greatest, self.targets))
    }
}

fn wrong_number(num_classes: usize) -> MetricError {
    MetricError::NumClasses {
        keys: &["f1"],
        num_classes,
        reason: "there must be an output for every label",
    }
}

/// Scores by something that is known of targets, such as the distance of their spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strata {
    empty: Confusion,
    strata: BTreeMap<u64, Confusion>,
}

impl Strata {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self {
            empty: Confusion::new(vocabulary),
            strata: BTreeMap::new(),
        }
    }

    /// Counts a target of a stratum, as [`Confusion::observe`].
    ///
    /// # Errors
    /// As [`Confusion::observe`].
    pub fn observe(
        &mut self,
        stratum: u64,
        logits: &[f32],
        labels: &[usize],
        unseen: &[&str],
    ) -> Result<(), MetricError> {
        let scores = self
            .strata
            .entry(stratum)
            .or_insert_with(|| self.empty.clone());
        scores.observe(logits, labels, unseen)
    }

    /// The strata in order, each with its scores.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Confusion)> {
        self.strata
            .iter()
            .map(|(stratum, scores)| (*stratum, scores))
    }
}

#[cfg(test)]
mod tests;
