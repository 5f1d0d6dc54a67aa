//! How well the values of a map pick out related pairs.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, View};

/// How many of the strongest pairs of a text are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// As many as are related.
    Related,
    /// As many as there are units.
    Length,
    /// Half as many as there are units.
    Half,
    /// A fifth as many.
    Fifth,
}

/// Number of cuts.
pub const CUTS: usize = Cut::ALL.len();

impl Cut {
    /// All, in the order of every table.
    pub const ALL: [Self; 4] = [Self::Related, Self::Length, Self::Half, Self::Fifth];

    fn of(self, related: usize, units: usize) -> usize {
        match self {
            Self::Related => related,
            Self::Length => units,
            Self::Half => units / 2,
            Self::Fifth => units / 5,
        }
    }
}

/// What a map says of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Judged {
    /// By [`Cut`].
    pub(super) precision: [Option<f64>; CUTS],
    /// Right, of so many units: from the unit where a pair begins, and from that where it ends.
    pub(super) accuracy: [(u64, u64); 2],
    /// The mean over related pairs of how often unrelated ones of the same distance would have been named.
    pub(super) matched_accuracy: [Option<f64>; 2],
    pub(super) matched_auc: Option<f64>,
    /// Area under the curve of precision over recall, and under that of true over false positives; where all pairs are ranked.
    pub(super) ranked: Option<(f64, f64)>,
}

/// What is computed once for all views of a range: the strongest pairs, and whom each unit names.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Value and place of the strongest pairs, descending; all that have the last one's value are among them.
    strongest: Vec<(f64, u32)>,
    /// The unit that each unit names, by rows and by columns.
    named: [Vec<Option<u32>>; 2],
}

impl Judge {
    /// Looks at the values of a range. `most` pairs will be asked for; with `above_zero` a unit without any attention names
    /// nobody.
    pub(super) fn look(
        &mut self,
        frame: &Frame,
        range: usize,
        values: &[f64],
        most: usize,
        symmetric: bool,
        above_zero: bool,
    ) {
        let (pairs, units) = (&frame.pairs[range], frame.units);
        self.strongest.clear();
        self.strongest
            .extend(pairs.iter().map(|place| (values[*place as usize], *place)));
        let descending = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let most = most.min(self.strongest.len());
        if let Some(last) = most.checked_sub(1) {
            let (_, least, _) = self.strongest.select_nth_unstable_by(last, descending);
            let least = least.0;
            self.strongest.retain(|(value, _)| *value >= least);
            self.strongest.sort_unstable_by(descending);
        } else {
            self.strongest.clear();
        }
        let floor = if above_zero { 0.0 } else { f64::NEG_INFINITY };
        for side in &mut self.named {
            side.clear();
            side.resize(units, None);
        }
        let mut best = [vec![floor; units], vec![floor; units]];
        let mut name = |side: usize, unit: usize, other: usize, value: f64| {
            if value > best[side][unit] {
                best[side][unit] = value;
                self.named[side][unit] = Some(other as u32);
            }
        };
        for place in pairs {
            let (from, to) = (*place as usize / units, *place as usize % units);
            let value = values[*place as usize];
            name(0, from, to, value);
            // Without direction a unit names whomever it has most with, before or behind it.
            name(usize::from(!symmetric), to, from, value);
        }
    }

    /// What [`Self::look`] found, held against a label. The range is that of the view.
    pub(super) fn judge(
        &self,
        frame: &Frame,
        view: &View,
        values: &[f64],
        symmetric: bool,
    ) -> Judged {
        let units = frame.units;
        let relates = &frame.labels[view.of_label].1;
        let mut judged = Judged::default();
        for (cut, precision) in Cut::ALL.into_iter().zip(&mut judged.precision) {
            let count = cut
                .of(view.related.len(), units)
                .min(frame.pairs[view.range].len());
            *precision = self.precision(count, relates);
        }
        let sides = if symmetric { 1 } else { 2 };
        for side in 0..sides {
            let asked = if side == 0 { &view.from } else { &view.to };
            let named = &self.named[side];
            let right = asked.iter().filter(|unit| {
                named[**unit as usize].is_some_and(|other| {
                    let (unit, other) = (**unit as usize, other as usize);
                    match (symmetric, side) {
                        (true, _) => relates[unit.min(other) * units + unit.max(other)],
                        (false, 0) => relates[unit * units + other],
                        (false, _) => relates[other * units + unit],
                    }
                })
            });
            judged.accuracy[side] = (right.count() as u64, asked.len() as u64);
            judged.matched_accuracy[side] = mean(view.groups.iter().map(|group| {
                let others = group.unrelated.iter().map(|place| {
                    let (from, to) = (*place as usize / units, *place as usize % units);
                    let names = |unit: usize, other: usize| named[unit] == Some(other as u32);
                    match (symmetric, side) {
                        (true, _) => {
                            f64::from(u8::from(names(from, to))) / 2.0
                                + f64::from(u8::from(names(to, from))) / 2.0
                        }
                        (false, 0) => f64::from(u8::from(names(from, to))),
                        (false, _) => f64::from(u8::from(names(to, from))),
                    }
                });
                (
                    mean(others.map(|other| (Some(other), 1))),
                    group.related.len(),
                )
            }));
        }
        judged.matched_auc = mean(view.groups.iter().flat_map(|group| {
            group.related.iter().map(|(place, _)| {
                let value = values[*place as usize];
                let others = group.unrelated.iter().map(|other| {
                    let other = values[*other as usize];
                    let half =
                        f64::from(u8::from(value > other)) + f64::from(u8::from(value >= other));
                    (Some(half / 2.0), 1)
                });
                (mean(others), 1)
            })
        }));
        judged
    }

    /// Of the strongest pairs, the part that is related: expected, where those at the edge have the same value.
    fn precision(&self, count: usize, relates: &[bool]) -> Option<f64> {
        let edge = self.strongest.get(count.checked_sub(1)?)?.0;
        let above = self.strongest.partition_point(|(value, _)| *value > edge);
        let end = self.strongest.partition_point(|(value, _)| *value >= edge);
        let hits = |from: usize, to: usize| {
            let strong = self.strongest[from..to].iter();
            strong.filter(|(_, place)| relates[*place as usize]).count() as f64
        };
        let at_edge = hits(above, end) / (end - above) as f64;
        Some((hits(0, above) + (count - above) as f64 * at_edge) / count as f64)
    }
}

/// Ranks all pairs of a view's range. Gives the mean precision over recall (as scikit-learn's `average_precision_score`) and the
/// area under the receiver's curve, ties being half; none where all pairs are related.
pub(super) fn ranked(frame: &Frame, view: &View, values: &[f64]) -> Option<(f64, f64)> {
    let relates = &frame.labels[view.of_label].1;
    let pairs = frame.pairs[view.range].iter();
    let mut all: Vec<(f64, bool)> = pairs
        .map(|place| (values[*place as usize], relates[*place as usize]))
        .collect();
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let related = view.related.len() as f64;
    let unrelated = all.len() as f64 - related;
    if related == 0.0 || unrelated <= 0.0 {
        return None;
    }
    let (mut right, mut wrong, mut precision, mut area) = (0.0, 0.0, 0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let hits = tied.iter().filter(|(_, related)| *related).count() as f64;
        let misses = tied.len() as f64 - hits;
        area += misses * (right + hits / 2.0);
        right += hits;
        wrong += misses;
        precision += hits / related * right / (right + wrong);
    }
    Some((precision, area / (related * unrelated)))
}

/// The mean of what there is, weighted; none of nothing.
fn mean(values: impl Iterator<Item = (Option<f64>, usize)>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for (value, weight) in values {
        if let Some(value) = value {
            sum += value * weight as f64;
            count += weight;
        }
    }
    (count > 0).then(|| sum / count as f64)
}
