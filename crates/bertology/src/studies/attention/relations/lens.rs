//! What a text's maps say of its related pairs.

use std::sync::Arc;

use bertology_model::{Event, Interests, LayerSite, Sequence};

use super::RelationSettings;
use super::frame::{Frame, UnitMap};
use super::judge::{Judge, Judged, ranked};
use super::regression::HeadRegression;
use crate::Error;
use crate::drive::{Lens, Wants};
use crate::input::relations::RelationItem;
use crate::table::check_finite;

/// Holds the maps of a text against its related pairs.
#[derive(Debug, Clone)]
pub struct RelationLens {
    pub(super) settings: RelationSettings,
    pub(super) labels: Vec<String>,
    pub(super) regressions: Arc<Vec<HeadRegression>>,
    pub(super) layers: usize,
    pub(super) heads: usize,
}

/// What a text contributes.
#[derive(Debug)]
pub struct RelationPart {
    pub(super) frame: Frame,
    /// Attention in each range, `[ranges, layers · heads]`.
    pub(super) all: Vec<f64>,
    /// `[views, layers · heads]`
    pub(super) found: Vec<Found>,
    /// Of the labels that occur, `[regressions, labels, units, units]`; none where the regression does not know the label.
    logits: Vec<Option<Vec<f64>>>,
    /// `[regressions, views]`
    pub(super) scored: Vec<Option<Judged>>,
    /// The strongest pairs of the first regression, as long as the text.
    pub(super) strongest: Vec<(u32, u32, f64)>,
    map: UnitMap,
    judge: Judge,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) related: f64,
    /// Of those related pairs that have unrelated ones of the same distance, and what these have.
    pub(super) matched: f64,
    pub(super) expected: f64,
    pub(super) judged: Judged,
}

impl RelationLens {
    fn cells(&self) -> usize {
        self.layers * self.heads
    }
}

impl Lens for RelationLens {
    type Item = RelationItem;
    type Part = RelationPart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &RelationItem, _: &Sequence) -> Result<RelationPart, Error> {
        let frame = Frame::new(item, &self.settings);
        let places = frame.units * frame.units;
        let logits = self.regressions.iter().flat_map(|regression| {
            frame.labels.iter().map(|(label, _)| {
                let of_label = regression.of_label(&self.labels[*label])?;
                Some(vec![of_label.bias; places])
            })
        });
        Ok(RelationPart {
            all: vec![0.0; frame.pairs.len() * self.cells()],
            found: vec![Found::default(); frame.views.len() * self.cells()],
            logits: logits.collect(),
            scored: Vec::new(),
            strongest: Vec::new(),
            map: UnitMap::default(),
            judge: Judge::default(),
            frame,
        })
    }

    fn see(&self, item: &RelationItem, part: &mut RelationPart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        let cell = head.layer * self.heads + head.head;
        let RelationPart {
            frame,
            all,
            found,
            logits,
            map,
            judge,
            ..
        } = part;
        map.set(event.value, item, &self.settings);
        let symmetric = self.settings.symmetric;
        for (range, pairs) in frame.pairs.iter().enumerate() {
            let shares = pairs.iter().map(|place| map.shared[*place as usize]);
            all[range * self.cells() + cell] = shares.sum();
            let Some(most) = frame.most[range] else {
                continue;
            };
            judge.look(
                frame,
                range,
                &map.judged,
                most,
                symmetric,
                !self.settings.apc,
            );
            let views = frame.views.iter().enumerate();
            for (number, view) in views.filter(|(_, view)| view.range == range) {
                let of = |place: u32| map.shared[place as usize];
                let found = &mut found[number * self.cells() + cell];
                found.judged = judge.judge(frame, view, &map.judged, symmetric);
                found.related = view
                    .related
                    .iter()
                    .map(|(place, weight)| weight * of(*place))
                    .sum();
                for group in view
                    .groups
                    .iter()
                    .filter(|group| !group.unrelated.is_empty())
                {
                    let others: f64 = group.unrelated.iter().map(|place| of(*place)).sum();
                    let other = others / group.unrelated.len() as f64;
                    for (place, weight) in &group.related {
                        found.matched += weight * of(*place);
                        found.expected += weight * other;
                    }
                }
            }
        }
        let places = self.regressions.iter().flat_map(|regression| {
            frame
                .labels
                .iter()
                .map(move |(label, _)| (regression, *label))
        });
        for ((regression, label), logits) in places.zip(logits) {
            let of_label = regression.of_label(&self.labels[label]);
            if let (Some(of_label), Some(logits)) = (of_label, logits) {
                of_label.add(cell, self.cells(), &map.judged, frame.units, logits);
            }
        }
    }

    fn close(&self, _: &RelationItem, part: &mut RelationPart) -> Result<(), Error> {
        let RelationPart {
            frame,
            all,
            logits,
            scored,
            judge,
            ..
        } = part;
        for of_range in all.chunks(self.cells()) {
            check_finite("the attention between units", of_range, self.heads)?;
        }
        let labels = frame.labels.len();
        let symmetric = self.settings.symmetric;
        for of_labels in logits.chunks(labels.max(1)) {
            for view in &frame.views {
                let most = frame.most[view.range].unwrap_or(0);
                let judged = of_labels[view.of_label].as_ref().map(|logits| {
                    judge.look(frame, view.range, logits, most, symmetric, false);
                    let ranked = ranked(frame, view, logits);
                    Judged {
                        ranked,
                        ..judge.judge(frame, view, logits, symmetric)
                    }
                });
                scored.push(judged);
            }
        }
        if let Some(Some(logits)) = logits.first() {
            part.strongest = strongest(frame, logits);
        }
        (part.logits, part.map, part.judge) = (Vec::new(), UnitMap::default(), Judge::default());
        Ok(())
    }
}

/// As many pairs as there are units, of all ranges together, with their probabilities.
fn strongest(frame: &Frame, logits: &[f64]) -> Vec<(u32, u32, f64)> {
    let mut all: Vec<u32> = frame.pairs.iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    let of = |place: u32| logits[place as usize];
    let descending = |a: &u32, b: &u32| of(*b).total_cmp(&of(*a)).then(a.cmp(b));
    if frame.units < all.len() {
        all.select_nth_unstable_by(frame.units, descending);
        all.truncate(frame.units);
    }
    all.sort_unstable_by(descending);
    let units = frame.units as u32;
    all.into_iter()
        .map(|place| {
            (
                place / units,
                place % units,
                1.0 / (1.0 + (-of(place)).exp()),
            )
        })
        .collect()
}
