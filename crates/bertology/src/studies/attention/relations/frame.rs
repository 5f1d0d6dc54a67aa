//! What is asked of every map of a text, made once for all heads.

use bertology_model::Matrix;

use super::{Distances, RelationSettings};
use crate::input::relations::{Related, RelationItem};

/// Units of a text, the pairs that are judged, and those that are related.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) units: usize,
    /// By range: the places `from · units + to` of the pairs in it, ascending; without direction the smaller unit first.
    pub(super) pairs: Vec<Vec<u32>>,
    /// By range: the most pairs that any cut of a view asks for; none where no label occurs.
    pub(super) most: Vec<Option<usize>>,
    /// Labels that occur, each in every range where it does.
    pub(super) views: Vec<View>,
    /// Numbers of the labels that occur, ascending, and where each relates, `[units, units]`.
    pub(super) labels: Vec<(usize, Vec<bool>)>,
}

/// A label in a range of distances.
#[derive(Debug)]
pub(super) struct View {
    pub(super) label: usize,
    pub(super) range: usize,
    /// Place in [`Frame::labels`].
    pub(super) of_label: usize,
    /// Place and weight of each related pair.
    pub(super) related: Vec<(u32, f64)>,
    /// Related pairs by their distance.
    pub(super) groups: Vec<Group>,
    /// Units with a related pair that begins there; without direction, at either end.
    pub(super) from: Vec<u32>,
    /// Units with one that ends there.
    pub(super) to: Vec<u32>,
}

/// Pairs of one distance.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) related: Vec<(u32, f64)>,
    /// Pairs of the same distance that are not related by this label.
    pub(super) unrelated: Vec<u32>,
}

impl Frame {
    pub(super) fn new(item: &RelationItem, settings: &RelationSettings) -> Self {
        let units = item.takes_part.len();
        let part = &item.takes_part;
        let of_range = |range: &Distances| {
            places(part, settings.symmetric, |from, to| range.holds(from, to)).collect()
        };
        let related = ordered(&item.related, settings.symmetric);
        let mut labels: Vec<(usize, Vec<bool>)> = Vec::new();
        let mut views = Vec::new();
        for of_label in related.chunk_by(|a, b| a.label == b.label) {
            let label = of_label[0].label;
            let mut relates = vec![false; units * units];
            for pair in of_label {
                relates[pair.from * units + pair.to] = true;
            }
            for (number, range) in settings.distances.iter().enumerate() {
                let held = of_label
                    .iter()
                    .filter(|pair| range.holds(pair.from, pair.to));
                let held: Vec<Related> = held.copied().collect();
                if !held.is_empty() {
                    let place = (label, number, labels.len());
                    views.push(View::new(&held, place, part, &relates, settings.symmetric));
                }
            }
            labels.push((label, relates));
        }
        let most = |range| {
            let views = views.iter().filter(|view: &&View| view.range == range);
            let related = views.map(|view| view.related.len()).max()?;
            Some(related.max(units))
        };
        Self {
            units,
            pairs: settings.distances.iter().map(of_range).collect(),
            most: (0..settings.distances.len()).map(most).collect(),
            views,
            labels,
        }
    }
}

/// The places of all pairs of units that take part and are held, ascending; without direction the smaller unit first.
pub(super) fn places(
    part: &[bool],
    symmetric: bool,
    holds: impl Fn(usize, usize) -> bool,
) -> impl Iterator<Item = u32> {
    let units = part.len();
    let all = (0..units).flat_map(move |from| {
        let first = if symmetric { from + 1 } else { 0 };
        (first..units).map(move |to| (from, to))
    });
    all.filter(move |(from, to)| part[*from] && part[*to] && holds(*from, *to))
        .map(move |(from, to)| (from * units + to) as u32)
}

/// By label; without direction the smaller unit first, and each pair once.
pub(super) fn ordered(related: &[Related], symmetric: bool) -> Vec<Related> {
    let mut all: Vec<Related> = related.to_vec();
    if symmetric {
        for pair in &mut all {
            (pair.from, pair.to) = (pair.from.min(pair.to), pair.from.max(pair.to));
        }
    }
    all.sort_by_key(|pair| (pair.label, pair.from, pair.to));
    all.dedup_by_key(|pair| (pair.label, pair.from, pair.to));
    all
}

impl View {
    fn new(
        related: &[Related],
        (label, range, of_label): (usize, usize, usize),
        part: &[bool],
        relates: &[bool],
        symmetric: bool,
    ) -> Self {
        let units = part.len();
        let place = |from: usize, to: usize| (from * units + to) as u32;
        let mut by_distance = related.to_vec();
        let distance = |pair: &Related| pair.to as i64 - pair.from as i64;
        by_distance.sort_by_key(distance);
        let groups = by_distance.chunk_by(|a, b| distance(a) == distance(b));
        let groups = groups.map(|group| {
            let offset = distance(&group[0]);
            let others = (0..units).filter_map(|from| {
                let to = from.checked_add_signed(isize::try_from(offset).ok()?)?;
                let there = to < units && part[from] && part[to] && !relates[from * units + to];
                there.then(|| place(from, to))
            });
            Group {
                related: group
                    .iter()
                    .map(|pair| (place(pair.from, pair.to), pair.weight))
                    .collect(),
                unrelated: others.collect(),
            }
        });
        let sorted = |mut units: Vec<u32>| {
            units.sort_unstable();
            units.dedup();
            units
        };
        let mut from: Vec<u32> = related.iter().map(|pair| pair.from as u32).collect();
        let mut to: Vec<u32> = related.iter().map(|pair| pair.to as u32).collect();
        if symmetric {
            from.append(&mut to);
        }
        Self {
            label,
            range,
            of_label,
            groups: groups.collect(),
            related: related
                .iter()
                .map(|pair| (place(pair.from, pair.to), pair.weight))
                .collect(),
            from: sorted(from),
            to: sorted(to),
        }
    }
}

/// A head's map between units, `[units, units]`, and what is made of it.
#[derive(Debug, Default)]
pub(super) struct UnitMap {
    /// What pairs are judged by: attention; without direction both ways added, corrected where that is asked for.
    pub(super) judged: Vec<f64>,
    /// What shares are of: attention, or 1 where it is enough; without direction both ways added.
    pub(super) shared: Vec<f64>,
}

impl UnitMap {
    /// Both.
    pub(super) fn set(
        &mut self,
        map: Matrix<'_, f32>,
        item: &RelationItem,
        settings: &RelationSettings,
    ) {
        self.read(map, item, settings);
        let least = settings.least_attention;
        self.shared.clone_from(&self.judged);
        if least > 0.0 {
            for weight in &mut self.shared {
                *weight = f64::from(u8::from(*weight >= least));
            }
        }
        let units = item.takes_part.len();
        if settings.symmetric {
            both_ways(&mut self.shared, units);
        }
        self.finish(units, settings);
    }

    /// [`Self::judged`] alone.
    pub(super) fn set_judged(
        &mut self,
        map: Matrix<'_, f32>,
        item: &RelationItem,
        settings: &RelationSettings,
    ) {
        self.read(map, item, settings);
        self.finish(item.takes_part.len(), settings);
    }

    /// Attention as it is.
    fn read(&mut self, map: Matrix<'_, f32>, item: &RelationItem, settings: &RelationSettings) {
        let units = item.takes_part.len();
        self.judged.resize(units * units, 0.0);
        for (unit, row) in self.judged.chunks_exact_mut(units.max(1)).enumerate() {
            item.words.attention_from(map, unit, settings.rows, row);
        }
    }

    fn finish(&mut self, units: usize, settings: &RelationSettings) {
        if settings.symmetric {
            both_ways(&mut self.judged, units);
        }
        if settings.apc {
            corrected(&mut self.judged, units);
        }
    }
}

/// A map and what it is turned round, added.
fn both_ways(map: &mut [f64], units: usize) {
    for from in 0..units {
        for to in from..units {
            let sum = map[from * units + to] + map[to * units + from];
            (map[from * units + to], map[to * units + from]) = (sum, sum);
        }
    }
}

/// Takes off what the sums of row and column explain.
fn corrected(map: &mut [f64], units: usize) {
    let rows: Vec<f64> = map
        .chunks_exact(units.max(1))
        .map(|row| row.iter().sum())
        .collect();
    let mut columns = vec![0.0; units];
    for row in map.chunks_exact(units.max(1)) {
        for (sum, value) in columns.iter_mut().zip(row) {
            *sum += value;
        }
    }
    let all: f64 = rows.iter().sum();
    if all == 0.0 {
        return;
    }
    for (row, of_row) in map.chunks_exact_mut(units.max(1)).zip(&rows) {
        for (value, of_column) in row.iter_mut().zip(&columns) {
            *value -= of_row * of_column / all;
        }
    }
}
