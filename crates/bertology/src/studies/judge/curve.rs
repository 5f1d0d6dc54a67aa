//! The score as units go.

use serde::{Deserialize, Serialize};

use super::folds::{Folded, folded};
use super::units::Units;
use crate::compress::{Groups, compress};
use crate::drive::Work;
use crate::masking::Metric;
use crate::{Corpus, Error, LoadedModel, Watch};

/// A smaller model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Units that are left.
    pub left: usize,
    /// Share of all units, in `(0, 1]`.
    pub share: f64,
    /// Its score.
    pub scored: Folded,
}

/// The score as units go by one measure, from all units down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the measure.
    pub measure: String,
    /// Number of the draw of examples.
    pub seed: u64,
    /// By falling number of units, all of them first.
    pub points: Vec<Point>,
}

/// Takes units out by their scores and looks at what is left, at each of these shares, the lowest scores first; nothing is tuned.
/// `whole` is the score of the model as it is.
///
/// # Errors
/// A score that is no number; data that the model cannot take; an interruption.
///
/// # Panics
/// If there is not a score for each unit.
#[allow(
    clippy::too_many_arguments,
    reason = "one call site, all of one experiment"
)]
pub fn curve(
    model: &LoadedModel,
    corpus: &Corpus,
    metric: &Metric,
    units: Units,
    (measure, seed): (&str, u64),
    scores: &[f64],
    shares: &[f64],
    whole: &Folded,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Curve, Error> {
    if let Some(value) = scores.iter().find(|score| !score.is_finite()) {
        return Err(Error::NotFinite {
            what: format!("the score of a unit by {measure}"),
            value: *value,
        });
    }
    let groups = Groups::of(model.model());
    let all = units.count(&groups);
    let mut points = vec![Point {
        left: all,
        share: 1.0,
        scored: whole.clone(),
    }];
    for share in shares {
        let stay = (share * all as f64).round() as usize;
        let left = stay.clamp(units.least(&groups), all);
        let before = points.last().map_or(all, |point| point.left);
        // Shares between which no unit goes are one point.
        if left == before {
            continue;
        }
        let keep = units.keep(&groups, scores, left);
        let smaller = compress(model, &keep, None, work.all(), &mut ())?.model;
        let scored = folded(&smaller, corpus, metric, whole.without.len(), work, watch)?;
        points.push(Point {
            left,
            share: left as f64 / all as f64,
            scored,
        });
    }
    Ok(Curve {
        measure: measure.to_owned(),
        seed,
        points,
    })
}

/// The mean score between the first and the last share of a curve, between neighbours in a straight line: the area under it
/// divided by its width. `of` picks a score of a point.
#[must_use]
pub fn area(curve: &Curve, of: impl Fn(&Folded) -> f64) -> f64 {
    let pairs = curve.points.windows(2);
    let (area, width) = pairs.fold((0.0, 0.0), |(area, width), pair| {
        let step = pair[0].share - pair[1].share;
        let height = f64::midpoint(of(&pair[0].scored), of(&pair[1].scored));
        (area + step * height, width + step)
    });
    if width > 0.0 {
        return area / width;
    }
    curve
        .points
        .first()
        .map_or(f64::NAN, |point| of(&point.scored))
}
