//! The score against the number of heads that are masked, for several orders in which they go: figures 3 and 4 of *Are
//! Sixteen Heads Really Better than One?* (Michel, Levy and Neubig 2019), with heads that go at random beside them.

use bertology_model::{HeadId, HeadMask};
use serde::{Deserialize, Serialize};

use crate::random::Draws;
use crate::studies::evaluate::{Evaluation, Metrics};
use crate::studies::masking::{Direction, Metric};
use crate::studies::normalize::ranking;
use crate::{Error, HeadTable};

/// In which order heads go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What the order is by: `importance`, `random` ...
    pub name: String,
    /// Of an order that is drawn.
    pub seed: Option<u64>,
    /// All heads, the first to go first.
    #[serde(with = "crate::studies::masking::head_ids")]
    pub heads: Vec<HeadId>,
}

impl Order {
    /// The least first; equal ones by (layer, head).
    #[must_use]
    pub fn by_score(name: &str, scores: &HeadTable) -> Self {
        Self {
            name: name.to_owned(),
            seed: None,
            heads: ranking(&scores.map(|_, score| -score)),
        }
    }

    /// By what the score changes without each head ([`Ablation::change`](crate::ablation::Ablation::change)), the order that
    /// the paper calls oracle: whoever costs least goes first.
    #[must_use]
    pub fn by_ablation(changes: &HeadTable, metric: &Metric) -> Self {
        let cost = changes.map(|_, change| match metric.direction {
            Direction::Higher => -change,
            Direction::Lower => change,
        });
        Self::by_score("ablation", &cost)
    }

    /// Any order, each as likely.
    #[must_use]
    pub fn random(heads: impl IntoIterator<Item = HeadId>, seed: u64) -> Self {
        let mut heads: Vec<HeadId> = heads.into_iter().collect();
        heads.sort_unstable();
        Draws::of([seed, 0x6375_7276]).shuffle(&mut heads);
        Self {
            name: "random".into(),
            seed: Some(seed),
            heads,
        }
    }
}

/// How many heads are masked at each point: `⌊heads · k · share⌋` for k = 1, 2 ..., as the paper's released code cuts its
/// percentages, and all of them at last. Counts that are the same are one point.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of heads"
)]
pub fn counts(heads: usize, share: f64) -> Vec<usize> {
    let mut counts = Vec::new();
    for step in 1.. {
        // A share such as 0.1 is a little above its tenth: 3 · 0.1 of 10 heads is 3, not 2.
        let count = (heads as f64 * f64::from(step) * share + 1e-9) as usize;
        if count >= heads || share <= 0.0 {
            break;
        }
        if count > 0 && counts.last() != Some(&count) {
            counts.push(count);
        }
    }
    counts.push(heads);
    counts
}

/// The score with some heads masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Heads masked.
    pub masked: usize,
    /// The metric that decides; `None` if it is not a number.
    pub score: Option<f64>,
    /// Its 95 % interval, lower and upper end; see [`crate::evaluate`].
    pub interval: Option<[f64; 2]>,
    /// All metrics.
    pub metrics: Metrics,
    /// Mean loss.
    pub loss: f64,
    /// Examples scored.
    pub examples: u64,
}

/// Curves on their way: they can be saved and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    orders: Vec<Order>,
    counts: Vec<usize>,
    /// With no head masked.
    whole: Option<Point>,
    /// Of each order, as far as it has come.
    points: Vec<Vec<Point>>,
}

/// One pass that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// Which order; none for the model with all its heads.
    pub order: Option<usize>,
    /// Heads masked.
    pub masked: usize,
    /// The mask; none for the whole model.
    pub mask: Option<HeadMask>,
}

impl Curves {
    /// Nothing measured yet. `counts` rise; each order has all heads.
    #[must_use]
    pub fn new(orders: Vec<Order>, counts: Vec<usize>) -> Self {
        Self {
            points: vec![Vec::new(); orders.len()],
            orders,
            counts,
            whole: None,
        }
    }

    /// Whether a saved state is of these orders and counts.
    ///
    /// # Errors
    /// [`Error::StateMismatch`].
    pub fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let same = self.orders == fresh.orders && self.counts == fresh.counts;
        let fits = self.points.len() == self.orders.len()
            && self.points.iter().all(|of| {
                let masked = of.iter().map(|point| point.masked);
                of.len() <= self.counts.len() && masked.eq(self.counts[..of.len()].iter().copied())
            });
        if same && fits {
            return Ok(());
        }
        Error::state_mismatch(
            "the orders of heads",
            format!("{} of them", self.orders.len()),
            format!("{} others", fresh.orders.len()),
        )
    }

    /// The orders.
    #[must_use]
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// With no head masked.
    #[must_use]
    pub fn whole(&self) -> Option<&Point> {
        self.whole.as_ref()
    }

    /// The points of an order, by ascending number of masked heads.
    #[must_use]
    pub fn points(&self, order: usize) -> &[Point] {
        &self.points[order]
    }

    /// Every point: that of the whole model, which is of no order, then those of each order.
    pub fn every(&self) -> impl Iterator<Item = (Option<&Order>, &Point)> {
        let whole = self.whole.iter().map(|point| (None, point));
        let orders = self.orders.iter().zip(&self.points);
        let masked =
            orders.flat_map(|(order, points)| points.iter().map(move |point| (Some(order), point)));
        whole.chain(masked)
    }

    /// Passes made, and passes in all.
    #[must_use]
    pub fn done(&self) -> (usize, usize) {
        let made: usize = self.points.iter().map(Vec::len).sum();
        let all = 1 + self.orders.len() * self.counts.len();
        (usize::from(self.whole.is_some()) + made, all)
    }

    /// The next pass, on a model of which `blank` keeps every head that there is.
    #[must_use]
    pub fn next(&self, blank: &HeadMask) -> Option<Next> {
        if self.whole.is_none() {
            return Some(Next {
                order: None,
                masked: 0,
                mask: None,
            });
        }
        let order = self
            .points
            .iter()
            .position(|points| points.len() < self.counts.len())?;
        let masked = self.counts[self.points[order].len()];
        let mut mask = blank.clone();
        for head in self.orders[order].heads.iter().take(masked) {
            mask.set(*head, 0.0);
        }
        Some(Next {
            order: Some(order),
            masked,
            mask: Some(mask),
        })
    }

    /// Takes what a pass found; `score` is that of the metric that decides, whose full name is `metric`.
    pub fn add(&mut self, next: &Next, found: Evaluation, metric: &str, score: f64) {
        let point = Point {
            masked: next.masked,
            score: (!score.is_nan()).then_some(score),
            interval: found.interval(metric),
            metrics: found.metrics,
            loss: found.loss,
            examples: found.examples,
        };
        match next.order {
            None => self.whole = Some(point),
            Some(order) => self.points[order].push(point),
        }
    }

    /// Of the random orders at one count: mean, lowest and highest score; nothing where one is not a number or there is none.
    #[must_use]
    pub fn at_random(&self, masked: usize) -> Option<[f64; 3]> {
        let at = self.counts.iter().position(|count| *count == masked)?;
        let mut scores = Vec::new();
        for (order, points) in self.orders.iter().zip(&self.points) {
            if order.seed.is_some() {
                scores.push(points.get(at)?.score?);
            }
        }
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let least = scores.iter().copied().reduce(f64::min)?;
        let most = scores.iter().copied().reduce(f64::max)?;
        Some([mean, least, most])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's counts of 5, 10 ... 100 % of 144 heads, which the logs of an independent run have, too.
    #[test]
    fn counts_are_those_of_the_released_code() {
        let expected = [
            7, 14, 21, 28, 36, 43, 50, 57, 64, 72, 79, 86, 93, 100, 108, 115, 122, 129, 136, 144,
        ];
        assert_eq!(counts(144, 0.05), expected);
        assert_eq!(counts(10, 0.1), (1..=10).collect::<Vec<_>>());
        assert_eq!(counts(3, 0.1), [1, 2, 3]);
        assert_eq!(counts(12, 1.0), [12]);
        assert_eq!(counts(12, 0.4), [4, 9, 12]);
    }

    fn head(layer: usize, head: usize) -> HeadId {
        HeadId { layer, head }
    }

    #[test]
    fn whoever_matters_least_goes_first() {
        let scores = HeadTable::from_values(2, 2, vec![0.5, 0.1, 0.1, 0.9]);
        let order = Order::by_score("importance", &scores);
        assert_eq!(
            order.heads,
            [head(0, 1), head(1, 0), head(0, 0), head(1, 1)]
        );
        // Without head 1.1 the accuracy falls most, without 0.0 it rises.
        let changes = HeadTable::from_values(2, 2, vec![0.02, -0.01, 0.0, -0.3]);
        let metric = |direction| Metric {
            name: "m".into(),
            direction,
        };
        let order = Order::by_ablation(&changes, &metric(Direction::Higher));
        assert_eq!(
            order.heads,
            [head(0, 0), head(1, 0), head(0, 1), head(1, 1)]
        );
        let order = Order::by_ablation(&changes, &metric(Direction::Lower));
        assert_eq!(
            order.heads,
            [head(1, 1), head(0, 1), head(1, 0), head(0, 0)]
        );
        let all = || (0..2).flat_map(|layer| (0..6).map(move |at| head(layer, at)));
        let (one, two) = (Order::random(all(), 1), Order::random(all(), 2));
        assert_ne!(one.heads, two.heads);
        assert_eq!(
            one,
            Order::random(all().collect::<Vec<_>>().into_iter().rev(), 1)
        );
    }
}
