//! Does a model answer better than someone who does not look at the texts? If it does not, the order of its
//! classes may be another one.

use crate::Corpus;
use crate::evaluate::Metrics;

/// Orders of so many classes are tried; there are 120.
const MOST_CLASSES: usize = 5;

/// A better order must beat the most frequent label by so many standard errors of its share.
const STANDARD_ERRORS: f64 = 4.0;

/// A score that needs no model.
#[derive(Debug, Clone, PartialEq)]
pub struct Blind {
    /// The metric.
    pub metric: &'static str,
    /// The model's score, not above `chance`; NaN where correlations have nothing to work on.
    pub score: f64,
    /// The share of the most frequent label for an accuracy, 0 for a correlation.
    pub chance: f64,
}

/// What the classes of a model may mean.
#[derive(Debug, Clone, PartialEq)]
pub struct BetterOrder {
    /// For each class id as the labels of the file are now understood, the id that the model gives them.
    pub ids: Vec<usize>,
    /// The accuracy under that order.
    pub accuracy: f64,
}

/// Says so if the deciding metric of labelled examples is at chance or below.
#[must_use]
pub fn blind(corpus: &Corpus, metrics: &Metrics) -> Option<Blind> {
    let set = corpus.metrics()?;
    let metric = set.default_key();
    let score = metrics.get(metric)?;
    let chance = chance_of(corpus, metric)?;
    // Not the same as `score <= chance`: nothing is above chance that is not a number.
    let above = score > chance;
    // Of one label only there is nothing to tell apart.
    (!above && chance < 1.0).then_some(Blind {
        metric,
        score,
        chance,
    })
}

/// What a metric is without a look at the texts: the share of the most frequent label for an accuracy, 0 for a
/// correlation; `None` for other metrics.
#[must_use]
pub fn chance_of(corpus: &Corpus, metric: &str) -> Option<f64> {
    corpus.metrics()?;
    match metric.rsplit('/').next() {
        Some("acc") => Some(majority(corpus.label_counts())),
        Some("mcc" | "pearson" | "spearmanr" | "corr") => Some(0.0),
        _ => None,
    }
}

/// Share of the most frequent label.
fn majority(counts: &[u64]) -> f64 {
    let most = counts.iter().max().copied().unwrap_or(0);
    most as f64 / counts.iter().sum::<u64>() as f64
}

/// The order of the classes under which a model with this table of answers would be right most often, where
/// that is another one than the present and beyond chance. `confusion` is `[labels, answers]`.
#[must_use]
pub fn better_order(confusion: &[u64], classes: usize) -> Option<BetterOrder> {
    if !(2..=MOST_CLASSES).contains(&classes) || confusion.len() != classes * classes {
        return None;
    }
    let labels: Vec<u64> = confusion
        .chunks(classes)
        .map(|row| row.iter().sum())
        .collect();
    let right = |ids: &[usize]| -> u64 {
        let rows = confusion.chunks(classes).zip(ids);
        rows.filter_map(|(row, id)| row.get(*id)).sum()
    };
    let mut best: Vec<usize> = (0..classes).collect();
    let mut most = right(&best);
    let present = most;
    for ids in orders(classes) {
        let now = right(&ids);
        if now > most {
            (best, most) = (ids, now);
        }
    }
    let all = labels.iter().sum::<u64>() as f64;
    let share = majority(&labels);
    let margin = STANDARD_ERRORS * (share * (1.0 - share) / all).sqrt();
    let accuracy = most as f64 / all;
    (most > present && accuracy > share + margin).then_some(BetterOrder {
        ids: best,
        accuracy,
    })
}

/// Every order of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..n {
        let longer = all.iter().flat_map(|order: &Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, next);
                order
            })
        });
        all = longer.collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanged_classes_are_found() {
        // Planted: entailment and neutral are exchanged.
        let confusion = [40, 3, 2, 1, 4, 35, 2, 38, 0];
        let found = better_order(&confusion, 3).unwrap();
        assert_eq!(found.ids, [0, 2, 1]);
        assert!((found.accuracy - 113.0 / 125.0).abs() < 1e-12);
        // All three in a circle.
        let found = better_order(&[0, 30, 0, 0, 0, 30, 30, 0, 0], 3).unwrap();
        assert_eq!(found.ids, [1, 2, 0]);
        assert_eq!(found.accuracy, 1.0);
    }

    #[test]
    fn neither_the_right_order_nor_noise_has_a_better_one() {
        assert_eq!(better_order(&[9, 1, 1, 9], 2), None);
        // One of six right, five of six the other way round: that happens.
        assert_eq!(better_order(&[1, 2, 3, 0], 2), None);
        // A model that always says the same.
        assert_eq!(better_order(&[0, 900, 0, 300], 2), None);
        assert_eq!(better_order(&[], 0), None);
        assert_eq!(orders(4).len(), 24);
    }
}
