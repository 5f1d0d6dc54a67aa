//! One head a layer: which does best alone, and whether the change means something.

use bertology_model::HeadId;

use super::{Ablation, WithoutHead};
use crate::studies::metric::{Direction, Metric};
use crate::{Corpus, Error};

/// Standard errors on each side of 0 at the level of 0.01, two-sided, of a normal distribution.
const NORMAL_AT_ONE_PERCENT: f64 = 2.575_829_303_548_901;
/// The level of Michel, Levy and Neubig 2019.
const LEVEL: f64 = 0.01;

impl Ablation {
    /// Of each layer with a head that was studied, the head whose score is best: of equal scores that with the
    /// lower loss, of equal losses the first. Where the metric is not a number, the loss alone decides.
    ///
    /// Meant for heads alone in their layers ([`Ablated::Others`](super::Ablated::Others)).
    ///
    /// # Errors
    /// A metric that the data are not scored with.
    pub fn best_of_each_layer(
        &self,
        corpus: &Corpus,
        metric: &Metric,
    ) -> Result<Vec<HeadId>, Error> {
        let change = self.change(corpus, metric)?;
        let harm = |found: &WithoutHead| {
            let change = change.get(found.head).unwrap_or(f64::NAN);
            match metric.direction {
                _ if change.is_nan() => f64::INFINITY,
                // Not the negative of it, for which nothing would be -0.
                Direction::Higher => 0.0 - change,
                Direction::Lower => change,
            }
        };
        let layers = self.without.chunk_by(|a, b| a.head.layer == b.head.layer);
        let best = layers.filter_map(|layer| {
            layer.iter().min_by(|a, b| {
                let by_loss = || a.loss_change.total_cmp(&b.loss_change);
                harm(a).total_cmp(&harm(b)).then_with(by_loss)
            })
        });
        Ok(best.map(|found| found.head).collect())
    }
}

/// Whether a change is significant at the level of 0.01: of `classes` (predictions are right or wrong) by the exact
/// sign test, else by the change of the mean loss, more than 2.576 standard errors from 0. The change of one head;
/// nothing is corrected for the number of heads looked at. A single example tells nothing.
#[must_use]
pub fn significant(found: &WithoutHead, classes: bool) -> bool {
    if classes {
        return found.paired.p_value() < LEVEL;
    }
    found.loss_change.abs() > NORMAL_AT_ONE_PERCENT * found.paired.loss_standard_error
}
