//! What a probe's score has to be held against: labels that mean nothing, and guesses without a model.

use std::collections::{BTreeMap, HashMap, HashSet};

use bertology::random::Draws;

use super::{Fault, Split};
use crate::Error;

/// The texts of a target's spans: of one span or of two.
///
/// Compared without regard to case.
pub type Texts<'t> = &'t dyn Fn(usize) -> Vec<String>;

/// The control task (Hewitt and Liang 2019): every text has one label, drawn from the empirical distribution, the same
/// wherever it stands. A probe that scores well on it remembers texts; what it scores more on the real task is its
/// selectivity.
///
/// For two spans this is an extension: the key is the texts of both. Most pairs of a development split were not seen in
/// training, so ask [`Control::seen`], or take the first text alone (`first_span`).
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    task: String,
    seed: u64,
    first_span: bool,
    /// Sets of labels, and up to which draw each is given.
    sets: Vec<(Vec<u16>, usize)>,
}

impl Control {
    /// With the distribution of the training split's sets of labels.
    ///
    /// # Errors
    /// A split without targets.
    pub fn new(task: &str, seed: u64, train: &Split, first_span: bool) -> Result<Self, Error> {
        if train.targets() == 0 {
            return Err(Fault::NoTargets.into());
        }
        let mut end = 0;
        let sets = counted(train).into_iter().map(|(labels, count)| {
            end += count;
            (labels.to_vec(), end)
        });
        Ok(Self {
            task: task.to_owned(),
            seed,
            first_span,
            sets: sets.collect(),
        })
    }

    /// The labels of a target with these texts: a function of seed, task and texts.
    #[must_use]
    pub fn draw(&self, texts: &[String]) -> &[u16] {
        let key = self.key(texts);
        // Each text behind its length, so that no two lists of texts are one.
        let parts = std::iter::once(&self.task).chain(&key);
        let numbers = parts.flat_map(|text| {
            let length = std::iter::once(text.len() as u64);
            length.chain(text.bytes().map(u64::from))
        });
        let mut draws = Draws::of(std::iter::once(self.seed).chain(numbers));
        let total = self.sets.last().map_or(1, |(_, end)| *end);
        let drawn = draws.below(total);
        let at = self.sets.partition_point(|(_, end)| *end <= drawn);
        self.sets.get(at).map_or(&[], |(labels, _)| labels)
    }

    fn key(&self, texts: &[String]) -> Vec<String> {
        let count = if self.first_span { 1 } else { texts.len() };
        texts
            .iter()
            .take(count)
            .map(|text| text.to_lowercase())
            .collect()
    }

    /// The split with the drawn labels.
    ///
    /// # Errors
    /// A split of other classes.
    pub fn relabel(&self, split: &Split, texts: Texts<'_>) -> Result<Split, Error> {
        split.relabelled(|target| (self.draw(&texts(target)).to_vec(), 0))
    }

    /// Which targets of a split have texts that the training split has: on the others nothing can be remembered.
    #[must_use]
    pub fn seen(&self, train: (&Split, Texts<'_>), split: (&Split, Texts<'_>)) -> Vec<bool> {
        let keys = (0..train.0.targets()).map(|target| self.key(&train.1(target)));
        let keys: HashSet<Vec<String>> = keys.collect();
        let targets = 0..split.0.targets();
        targets
            .map(|target| keys.contains(&self.key(&split.1(target))))
            .collect()
    }
}

/// The split with its sets of labels shuffled among its targets: what can be learnt of it is the distribution.
///
/// # Errors
/// None that a split can have.
pub fn shuffled(split: &Split, seed: u64) -> Result<Split, Error> {
    let mut order: Vec<usize> = (0..split.targets()).collect();
    Draws::of([seed, 0x7368_7566]).shuffle(&mut order);
    split.relabelled(|target| {
        let from = split.get(order[target]);
        (from.labels.to_vec(), from.unknown)
    })
}

/// How often each set of labels occurs, in the order of the sets.
fn counted(split: &Split) -> BTreeMap<&[u16], usize> {
    let mut counts = BTreeMap::new();
    for target in 0..split.targets() {
        *counts.entry(split.get(target).labels).or_insert(0) += 1;
    }
    counts
}

/// The most frequent set of labels, the lowest of equals.
fn most<'l>(counts: &BTreeMap<&'l [u16], usize>) -> &'l [u16] {
    let mut best: (&[u16], usize) = (&[], 0);
    for (labels, count) in counts {
        if *count > best.1 {
            best = (labels, *count);
        }
    }
    best.0
}

/// The most frequent set of labels of the training split: what whoever sees nothing guesses.
#[must_use]
pub fn majority(train: &Split) -> Vec<u16> {
    most(&counted(train)).to_vec()
}

/// The guesses of whoever sees nothing but the texts of the spans: for each target of `split` the most frequent set of
/// labels of its texts in the training split; if they are not in it, that of the first text; else the most frequent of
/// all.
#[must_use]
pub fn by_type(train: (&Split, Texts<'_>), split: (&Split, Texts<'_>)) -> Vec<Vec<u16>> {
    type Counts<'s> = HashMap<Vec<String>, BTreeMap<&'s [u16], usize>>;
    let lower = |texts: Vec<String>| -> Vec<String> {
        texts.iter().map(|text| text.to_lowercase()).collect()
    };
    let mut counts: Counts<'_> = HashMap::new();
    for target in 0..train.0.targets() {
        let labels = train.0.get(target).labels;
        let mut texts = lower(train.1(target));
        while !texts.is_empty() {
            *counts
                .entry(texts.clone())
                .or_default()
                .entry(labels)
                .or_insert(0) += 1;
            texts.pop();
        }
    }
    let majority = majority(train.0);
    let guess = |target| {
        let mut texts = lower(split.1(target));
        while !texts.is_empty() {
            if let Some(counts) = counts.get(&texts) {
                return most(counts).to_vec();
            }
            texts.pop();
        }
        majority.clone()
    };
    (0..split.0.targets()).map(guess).collect()
}

/// Right and wrong decisions of guesses, all labels counted: true positives, false positives, false negatives.
#[must_use]
pub fn guessed(split: &Split, guesses: &[Vec<u16>]) -> [u64; 3] {
    let mut counts = [0; 3];
    for (target, guess) in (0..split.targets()).zip(guesses) {
        let of = split.get(target);
        let right = guess
            .iter()
            .filter(|label| of.labels.contains(label))
            .count();
        counts[0] += right as u64;
        counts[1] += (guess.len() - right) as u64;
        counts[2] += (of.labels.len() - right) as u64 + u64::from(of.unknown);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(labels: &[&[u16]]) -> Split {
        let mut split = Split::new(2, 4).unwrap();
        for labels in labels {
            split.target([0, 1], Some([1, 2]), labels, 0).unwrap();
        }
        split.end_sentence();
        split
    }

    fn texts(list: &[(&str, &str)]) -> impl Fn(usize) -> Vec<String> {
        let list: Vec<_> = list
            .iter()
            .map(|(a, b)| vec![(*a).to_owned(), (*b).to_owned()])
            .collect();
        move |target| list[target].clone()
    }

    #[test]
    fn a_text_has_one_label_and_labels_their_frequency() {
        let train = split(&[&[0], &[0], &[0], &[1], &[2, 3]]);
        let control = Control::new("pos", 4, &train, false).unwrap();
        let pair = |i: usize| [format!("word{i}"), "head".to_owned()];
        let mut counts = BTreeMap::new();
        for i in 0..10_000 {
            *counts.entry(control.draw(&pair(i)).to_vec()).or_insert(0) += 1;
        }
        // Within five standard deviations of the empirical shares.
        for (labels, share) in [(vec![0], 0.6), (vec![1], 0.2), (vec![2, 3], 0.2)] {
            let wide = 5.0 * (share * (1.0 - share) * 10_000.0_f64).sqrt();
            assert!(
                (f64::from(counts[&labels]) - share * 10_000.0).abs() < wide,
                "{counts:?}"
            );
        }
        let upper = ["WORD7".to_owned(), "Head".to_owned()];
        assert_eq!(control.draw(&upper), control.draw(&pair(7)));
        let differs =
            |other: &Control| (0..50).any(|i| other.draw(&pair(i)) != control.draw(&pair(i)));
        assert!(differs(&Control::new("pos", 5, &train, false).unwrap()));
        assert!(differs(&Control::new("dep", 4, &train, false).unwrap()));
        let first = Control::new("pos", 4, &train, true).unwrap();
        let other = ["word7".to_owned(), "else".to_owned()];
        assert_eq!(first.draw(&other), first.draw(&pair(7)));
        let (own, theirs) = (
            texts(&[("a", "b"), ("c", "d")]),
            texts(&[("A", "x"), ("c", "D")]),
        );
        let two = split(&[&[0], &[1]]);
        assert_eq!(control.seen((&two, &own), (&two, &theirs)), [false, true]);
        assert_eq!(first.seen((&two, &own), (&two, &theirs)), [true, true]);
        let relabelled = control.relabel(&two, &own).unwrap();
        assert_eq!(relabelled.get(1).labels, control.draw(&own(1)));
        assert!(Control::new("pos", 4, &split(&[]), false).is_err());
    }

    #[test]
    fn shuffling_keeps_the_labels() {
        let labels: Vec<Vec<u16>> = (0..40).map(|i| vec![i % 4]).collect();
        let views: Vec<&[u16]> = labels.iter().map(Vec::as_slice).collect();
        let split = split(&views);
        let other = shuffled(&split, 1).unwrap();
        assert_eq!(counted(&other), counted(&split));
        assert_ne!(other, split);
        assert_eq!(shuffled(&split, 1).unwrap(), other);
        assert_ne!(shuffled(&split, 2).unwrap(), other);
    }

    #[test]
    fn guesses_without_a_model() {
        let train = split(&[&[1], &[2], &[2], &[3], &[3], &[3]]);
        let own = texts(&[
            ("a", "x"),
            ("a", "y"),
            ("A", "y"),
            ("b", "x"),
            ("b", "x"),
            ("c", "x"),
        ]);
        let dev = split(&[&[1], &[2], &[0], &[1, 3]]);
        let theirs = texts(&[("a", "X"), ("a", "new"), ("b", "q"), ("new", "x")]);
        assert_eq!(majority(&train), [3]);
        let guesses = by_type((&train, &own), (&dev, &theirs));
        assert_eq!(guesses, [[1], [2], [3], [3]]);
        assert_eq!(guessed(&dev, &guesses), [3, 1, 2]);
    }
}
