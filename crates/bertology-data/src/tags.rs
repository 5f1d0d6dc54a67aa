//! Labels of words as entities, and how many of them were found.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The classes of a token classifier as labels of entities: `B-PER` begins a `PER`, `I-PER` goes on with it, `O`
/// belongs to none; `E-` and `S-` are known, too.
///
/// What an entity is follows `get_entities` of seqeval 1.2.2 in its default mode, which is that of CoNLL's script:
/// an `I-PER` that follows none, or another type, begins an entity of its own; of a label of another form the
/// first letter counts as the prefix and the rest as the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSet {
    /// Prefix and number of the type of each class.
    classes: Vec<(char, usize)>,
}

/// How the labels of words were found; counts can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagCounts {
    /// Words with a label.
    pub words: u64,
    /// Words of which the label was found.
    pub right: u64,
    /// Entities in the labels.
    pub entities: u64,
    /// Entities in what was predicted.
    pub predicted: u64,
    /// Entities in both, of the same type and with the same words.
    pub correct: u64,
}

impl TagSet {
    /// The classes under these names, in the order of their ids.
    #[must_use]
    pub fn new<S: AsRef<str>>(names: &[S]) -> Self {
        let mut types = HashMap::new();
        let classes = names.iter().map(|name| {
            let mut letters = name.as_ref().chars();
            let prefix = letters.next().unwrap_or('O');
            let rest = letters.as_str();
            let kind = match rest.split_once('-').map_or(rest, |(_, kind)| kind) {
                "" => "_",
                kind => kind,
            };
            let next = types.len();
            (prefix, *types.entry(kind.to_owned()).or_insert(next))
        });
        Self {
            classes: classes.collect(),
        }
    }

    /// How many classes there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Compares what was predicted for the words of a sentence with their labels; both are class ids.
    #[must_use]
    pub fn compare(&self, labels: &[u32], predicted: &[u32]) -> TagCounts {
        let same = labels
            .iter()
            .zip(predicted)
            .filter(|(label, found)| label == found);
        let (wanted, found) = (self.entities(labels), self.entities(predicted));
        TagCounts {
            words: labels.len() as u64,
            right: same.count() as u64,
            entities: wanted.len() as u64,
            predicted: found.len() as u64,
            correct: found
                .iter()
                .filter(|entity| wanted.binary_search(entity).is_ok())
                .count() as u64,
        }
    }

    /// Last word, first word and type of each entity, in order.
    fn entities(&self, sentence: &[u32]) -> Vec<(usize, usize, usize)> {
        let outside = ('O', usize::MAX);
        let mut found = Vec::new();
        let (mut before, mut first) = (outside, 0);
        let tags = sentence
            .iter()
            .map(|class| self.classes.get(*class as usize).copied());
        for (at, tag) in tags
            .map(|tag| tag.unwrap_or(outside))
            .chain([outside])
            .enumerate()
        {
            if ends(before, tag) {
                found.push((at.saturating_sub(1), first, before.1));
            }
            if starts(before, tag) {
                first = at;
            }
            before = tag;
        }
        found
    }
}

/// Whether an entity ends between two words.
fn ends((prefix, kind): (char, usize), next: (char, usize)) -> bool {
    matches!(
        (prefix, next.0),
        ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O')
    ) || (prefix != 'O' && prefix != '.' && kind != next.1)
}

/// Whether an entity starts between two words.
fn starts((prefix, kind): (char, usize), next: (char, usize)) -> bool {
    matches!(
        (prefix, next.0),
        (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I')
    ) || (next.0 != 'O' && next.0 != '.' && kind != next.1)
}

impl TagCounts {
    /// What [`TagCounts::metrics`] gives, in order, as `run_ner.py` names it.
    pub const METRICS: &'static [&'static str] = &["precision", "recall", "f1", "accuracy"];

    /// Adds those of more sentences.
    pub fn add(&mut self, more: Self) {
        self.words += more.words;
        self.right += more.right;
        self.entities += more.entities;
        self.predicted += more.predicted;
        self.correct += more.correct;
    }

    /// Whether sentences can give these counts.
    #[must_use]
    pub fn possible(&self) -> bool {
        self.right <= self.words && self.correct <= self.entities.min(self.predicted)
    }

    /// Precision, recall and F1 of the entities of all types together (0 where there are none to divide by), and
    /// the share of words whose label was found.
    #[must_use]
    pub fn metrics(&self) -> [f64; 4] {
        let share = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            }
        };
        [
            share(self.correct, self.predicted),
            share(self.correct, self.entities),
            share(2 * self.correct, self.predicted + self.entities),
            self.right as f64 / self.words as f64,
        ]
    }
}
