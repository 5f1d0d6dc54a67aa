//! Which labels there are.

use std::collections::BTreeMap;

use super::record::{Labels, Record};

/// How often each label occurs among targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelCounts(BTreeMap<String, u64>);

impl LabelCounts {
    /// Counts the labels of a record's targets, each once a target.
    pub fn add(&mut self, record: &Record) {
        for target in &record.targets {
            self.add_labels(&target.labels);
        }
    }

    /// Counts the labels of a target, each once.
    pub fn add_labels(&mut self, labels: &Labels) {
        for label in labels.set() {
            match self.0.get_mut(label) {
                Some(count) => *count += 1,
                None => drop(self.0.insert(label.to_owned(), 1)),
            }
        }
    }

    /// The labels, sorted.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The labels, sorted, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(label, count)| (label.as_str(), *count))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that a vocabulary does not have, with their numbers: what a probe that has learnt the vocabulary cannot
    /// say, so that every one of them is a miss.
    pub fn unseen<'a>(
        &'a self,
        vocabulary: &'a Vocabulary,
    ) -> impl Iterator<Item = (&'a str, u64)> {
        self.iter()
            .filter(|(label, _)| vocabulary.index(label).is_none())
    }
}

impl<'a> FromIterator<(&'a str, u64)> for LabelCounts {
    fn from_iter<I: IntoIterator<Item = (&'a str, u64)>>(counts: I) -> Self {
        let counts = counts.into_iter();
        Self(
            counts
                .map(|(label, count)| (label.to_owned(), count))
                .collect(),
        )
    }
}

/// The labels that a probe can say, sorted by code points; a label's index is its place.
///
/// The published tools take the union over all splits. A probe cannot learn what its training data do not have, and
/// labels of the training split alone give the same scores, as long as what is unseen counts as missed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary(Vec<String>);

impl Vocabulary {
    /// These labels, each once.
    #[must_use]
    pub fn new<'a>(labels: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<String> = labels.into_iter().map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// The labels in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The index of a label.
    #[must_use]
    pub fn index(&self, label: &str) -> Option<usize> {
        self.0
            .binary_search_by(|name| name.as_str().cmp(label))
            .ok()
    }
}
