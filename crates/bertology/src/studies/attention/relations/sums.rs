//! What adds up over texts.

use serde::{Deserialize, Serialize};

use super::judge::{CUTS, Judged};
use crate::input::account::MOST;
use crate::studies::proportion::{NORMAL_975, Proportion};
use crate::studies::ratio::RatioSums;

/// A mean over texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    texts: u64,
    sum: f64,
    squares: f64,
}

impl Mean {
    pub(super) fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.texts += 1;
            self.sum += value;
            self.squares += value * value;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.texts += other.texts;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    pub(super) fn possible(&self, texts: u64) -> bool {
        let most = self.texts as f64 * (1.0 + 1e-9);
        self.texts <= texts
            && (0.0..=most).contains(&self.sum)
            && (0.0..=most).contains(&self.squares)
    }

    /// Texts that have a value.
    #[must_use]
    pub fn texts(&self) -> u64 {
        self.texts
    }

    /// The mean; none of nothing.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.texts > 0).then(|| self.sum / self.texts as f64)
    }

    /// 95 % by the normal distribution, within 0 and 1; none for fewer than two texts.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        let (n, mean) = (self.texts as f64, self.mean()?);
        let variance = (self.squares - n * mean * mean).max(0.0) / (n - 1.0);
        let half = NORMAL_975 * (variance / n).sqrt();
        (self.texts > 1).then(|| ((mean - half).max(0.0), (mean + half).min(1.0)))
    }
}

/// A share of attention, texts being independent of each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Of all attention of all texts.
    pub share: f64,
    /// 95 %, by the ratio estimator; none for a single text.
    pub interval: Option<(f64, f64)>,
}

impl Share {
    pub(super) fn of(sums: &RatioSums) -> Option<Self> {
        let (share, half) = (sums.mean(), NORMAL_975 * sums.standard_error());
        share.is_finite().then(|| Self {
            share,
            interval: half.is_finite().then_some((share - half, share + half)),
        })
    }
}

/// How well the values of a head, or of a regression, pick out the pairs of a label in a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// By [`Cut`](super::Cut), over texts.
    pub precision: [Mean; CUTS],
    /// Of units where a related pair begins, and of those where one ends; without direction the first of all.
    pub accuracy: [Proportion; 2],
    /// The same of unrelated pairs of the same texts and distances.
    pub matched_accuracy: [Mean; 2],
    /// How often a related pair has more than an unrelated one of the same text and distance.
    pub matched_auc: Mean,
    /// Of a regression: scikit-learn's `average_precision_score`, a text at a time.
    pub average_precision: Mean,
    /// Of a regression: the area under the receiver's curve.
    pub auc: Mean,
}

impl Scored {
    pub(super) fn add(&mut self, judged: &Judged) {
        for (mean, value) in self.precision.iter_mut().zip(judged.precision) {
            mean.add(value);
        }
        for (proportion, (right, asked)) in self.accuracy.iter_mut().zip(judged.accuracy) {
            proportion.part += right;
            proportion.whole += asked;
        }
        for (mean, value) in self
            .matched_accuracy
            .iter_mut()
            .zip(judged.matched_accuracy)
        {
            mean.add(value);
        }
        self.matched_auc.add(judged.matched_auc);
        self.average_precision
            .add(judged.ranked.map(|ranked| ranked.0));
        self.auc.add(judged.ranked.map(|ranked| ranked.1));
    }

    fn means(&self) -> impl Iterator<Item = &Mean> {
        let more = [&self.matched_auc, &self.average_precision, &self.auc];
        self.precision
            .iter()
            .chain(&self.matched_accuracy)
            .chain(more)
    }

    fn means_mut(&mut self) -> impl Iterator<Item = &mut Mean> {
        let more = [
            &mut self.matched_auc,
            &mut self.average_precision,
            &mut self.auc,
        ];
        self.precision
            .iter_mut()
            .chain(&mut self.matched_accuracy)
            .chain(more)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.means_mut().zip(other.means()) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.accuracy.iter_mut().zip(&other.accuracy) {
            mine.part += theirs.part;
            mine.whole += theirs.whole;
        }
    }

    pub(super) fn possible(&self, texts: u64) -> bool {
        self.means().all(|mean| mean.possible(texts))
            && self
                .accuracy
                .iter()
                .all(|of| of.part <= of.whole && of.whole <= MOST)
    }
}

/// What is known of a head in a view.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HeadSums {
    pub(super) share: RatioSums,
    /// Of the attention along related pairs, what is more than along unrelated ones of the same distance.
    pub(super) excess: RatioSums,
    pub(super) scored: Scored,
}

impl HeadSums {
    pub(super) fn merge(&mut self, other: &Self) {
        self.share.merge(&other.share);
        self.excess.merge(&other.excess);
        self.scored.merge(&other.scored);
    }
}
