//! What of a snippet is the same for all layers and heads: its cells, which of them are near, ranks of closeness,
//! permutations. And what a matrix of attention is against it.

use super::masks::{Cells, Mask, Overlap, Quantile};
use super::measure::{HeadValues, Measure, Values};
use super::ranks::{RankRoom, Ranks, partial};
use crate::input::snippet::{SnippetItem, Stranger};
use crate::random::Draws;

/// How cells with high attention are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// Above the quantile: the paper.
    #[default]
    Quantile,
    /// As many as are near, the first of equal ones first.
    Top,
}

/// What is compared with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) quantile: Quantile,
    pub(crate) choice: Choice,
    pub(crate) causal: bool,
    pub(crate) permutations: u32,
    pub(crate) seed: u64,
}

/// The quantiles of the curve that shows what hangs on the threshold.
pub(crate) const CURVE: [(u32, u32); 7] =
    [(1, 2), (3, 5), (7, 10), (3, 4), (4, 5), (9, 10), (19, 20)];

/// Attention this near to its threshold may fall on the other side in another precision.
const NEAR_THRESHOLD: f32 = 1e-7;

const PERMUTE: u64 = 0x7065_726d;
const SHUFFLE: u64 = 0x7368_7566;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Frame {
    rules: Rules,
    n: usize,
    index: u64,
    whole: Compared,
    off: Compared,
    /// Rows and columns of frequent kinds.
    frequent: Option<Compared>,
    /// Places of the whole in the bare tree, on a line, and in the strangers' trees.
    tree: Mask,
    line: Mask,
    strangers: [Option<Mask>; 4],
    /// Small distances after each permutation.
    permuted: Vec<Mask>,
    /// Small distances at each quantile of the curve.
    curve: Vec<Mask>,
    closeness: Option<Ranks>,
    tree_closeness: Option<Ranks>,
    offsets: Option<Ranks>,
    /// Of cells off the diagonal with equal |i-j|: their places, and the ranks of closeness among them.
    strata: Vec<(Vec<u32>, Ranks)>,
    offset_control: Option<f64>,
}

/// Cells, and which are near.
#[derive(Debug)]
struct Compared {
    places: Vec<u32>,
    /// Distances below this are small.
    low: u16,
    near: Mask,
}

/// Scratch.
#[derive(Debug, Default)]
pub(crate) struct Room {
    cells: Vec<f32>,
    sorted: Vec<f32>,
    ranks: RankRoom,
}

impl Compared {
    fn new(places: Vec<u32>, distances: &[u16], quantile: Quantile) -> Self {
        let (low, near) = near(distances, &places, quantile);
        Self { places, low, near }
    }
}

/// The bound of small distances, and the cells below it.
fn near(distances: &[u16], places: &[u32], quantile: Quantile) -> (u16, Mask) {
    let values: Vec<u16> = places.iter().map(|at| distances[*at as usize]).collect();
    let low = quantile.low(&values, &mut Vec::new());
    (low, Mask::of(values.iter().map(|value| *value < low)))
}

impl Frame {
    /// `frequent`: which leaves are of frequent kinds; nothing where no kinds were chosen.
    pub(crate) fn new(item: &SnippetItem, frequent: Option<&[bool]>, rules: Rules) -> Self {
        let n = item.leaves();
        let q = rules.quantile;
        let places = |cells: Cells| cells.places(n, rules.causal);
        let whole = Compared::new(places(Cells::Whole), &item.distances, q);
        let off = Compared::new(places(Cells::OffDiagonal), &item.distances, q);
        let line: Vec<u16> = (0..n * n)
            .map(|at| (at / n).abs_diff(at % n) as u16)
            .collect();
        let of_whole = |distances: &[u16]| near(distances, &whole.places, q).1;
        let mut room = RankRoom::default();
        let mut closeness = |distances: &[u16]| {
            let values = off
                .places
                .iter()
                .map(|at| -f32::from(distances[*at as usize]));
            Ranks::of(values, &mut room)
        };
        let [own, tree, offsets] = [&item.distances, &item.tree, &line].map(|d| closeness(d));
        let permuted = (0..u64::from(rules.permutations)).map(|round| {
            let order = permutation(n, Draws::of([rules.seed, PERMUTE, item.index, round]));
            // The same distances in other places: the bound is the same.
            Mask::of(whole.places.iter().map(|at| {
                let (i, j) = (*at as usize / n, *at as usize % n);
                item.distances[order[i] as usize * n + order[j] as usize] < whole.low
            }))
        });
        let curve = CURVE.iter().filter_map(|(numerator, denominator)| {
            let quantile = Quantile::new(*numerator, *denominator).ok()?;
            Some(near(&item.distances, &whole.places, quantile).1)
        });
        let frequent = frequent.map(|frequent| {
            let kept = whole.places.iter().copied();
            let kept = kept.filter(|at| frequent[*at as usize / n] && frequent[*at as usize % n]);
            Compared::new(kept.collect(), &item.distances, q)
        });
        let mut frame = Self {
            rules,
            n,
            index: item.index,
            tree: of_whole(&item.tree),
            line: of_whole(&line),
            strangers: Stranger::ALL.map(|of| {
                let distances = &item.strangers[of as usize];
                (!distances.is_empty()).then(|| of_whole(distances))
            }),
            permuted: permuted.collect(),
            curve: curve.collect(),
            frequent,
            closeness: own,
            tree_closeness: tree,
            offsets,
            strata: strata(&off.places, &item.distances, n),
            offset_control: None,
            whole,
            off,
        };
        let inverse: Vec<f32> = line.iter().map(|d| 1.0 / (1.0 + f32::from(*d))).collect();
        frame.offset_control = frame.jaccard(&inverse, &frame.whole, &mut Room::default());
        frame
    }

    /// High attention among these cells.
    fn high(&self, attention: &[f32], of: &Compared, quantile: Quantile, room: &mut Room) -> Mask {
        let Room { cells, sorted, .. } = room;
        cells.clear();
        cells.extend(of.places.iter().map(|at| attention[*at as usize]));
        match self.rules.choice {
            Choice::Quantile => {
                let high = quantile.high(cells, sorted);
                Mask::of(cells.iter().map(|value| *value > high))
            }
            Choice::Top => {
                let mut order: Vec<u32> = (0..cells.len() as u32).collect();
                order.sort_by(|a, b| cells[*b as usize].total_cmp(&cells[*a as usize]));
                let mut chosen = vec![false; cells.len()];
                for at in &order[..of.near.ones() as usize] {
                    chosen[*at as usize] = true;
                }
                Mask::of(chosen.into_iter())
            }
        }
    }

    fn overlap(&self, attention: &[f32], of: &Compared, room: &mut Room) -> Overlap {
        let high = self.high(attention, of, self.rules.quantile, room);
        Overlap::new(&high, &of.near, of.places.len())
    }

    fn jaccard(&self, attention: &[f32], of: &Compared, room: &mut Room) -> Option<f64> {
        self.overlap(attention, of, room).jaccard()
    }

    fn ranks(&self, attention: &[f32], room: &mut Room) -> Option<Ranks> {
        let values = self.off.places.iter().map(|at| attention[*at as usize]);
        Ranks::of(values, &mut room.ranks)
    }

    /// ρ with closeness, and what is left of it with position held fast.
    fn correlations(
        &self,
        attention: Option<&Ranks>,
        closeness: Option<&Ranks>,
    ) -> [Option<f64>; 2] {
        let (Some(attention), Some(closeness)) = (attention, closeness) else {
            return [None, None];
        };
        let rho = attention.rho(closeness);
        let rest = self
            .offsets
            .as_ref()
            .and_then(|offsets| partial(rho, attention.rho(offsets), closeness.rho(offsets)));
        [Some(rho), rest]
    }

    /// A head against the snippet, and its J under each permutation: nothing is put there where J is not defined.
    pub(crate) fn head(
        &self,
        attention: &[f32],
        permuted: &mut Vec<f32>,
        room: &mut Room,
    ) -> HeadValues {
        let high = self.high(attention, &self.whole, self.rules.quantile, room);
        let whole = Overlap::new(&high, &self.whole.near, self.whole.places.len());
        let cat = whole.jaccard();
        if cat.is_some() {
            permuted.extend(self.under_permutations(&high).map(|j| j as f32));
        }
        let ranks = self.ranks(attention, room);
        let [rho, partial_rho] = self.correlations(ranks.as_ref(), self.closeness.as_ref());
        HeadValues {
            cat,
            off_diagonal: self.jaccard(attention, &self.off, room),
            adjusted: whole.adjusted(),
            rho,
            partial_rho,
        }
    }

    fn under_permutations<'a>(&'a self, high: &'a Mask) -> impl Iterator<Item = f64> + 'a {
        let cells = self.whole.places.len();
        let of = move |near: &Mask| {
            Overlap::new(high, near, cells)
                .jaccard()
                .unwrap_or_default()
        };
        self.permuted.iter().map(of)
    }

    /// A layer against the snippet.
    pub(crate) fn layer(&self, attention: &[f32], layer: usize, room: &mut Room) -> LayerFound {
        use Measure as M;
        let mut values = Values::default();
        let cells = self.whole.places.len();
        let high = self.high(attention, &self.whole, self.rules.quantile, room);
        let threshold_near = self.near_threshold(room);
        let whole = Overlap::new(&high, &self.whole.near, cells);
        values.set(M::Cat, whole.jaccard());
        values.set(M::Adjusted, whole.adjusted());
        values.set(M::Chance, whole.chance());
        values.set(M::Ceiling, whole.ceiling());
        if let Some([attended, near]) = whole.shares() {
            values.set(M::Attended, attended);
            values.set(M::Near, near);
        }
        values.set(M::Both, whole.both as f64);
        values.set(M::Either, whole.either() as f64);
        values.set(M::Noise, whole.mean_of_noise());
        if !self.permuted.is_empty() && whole.either() > 0 {
            let sum: f64 = self.under_permutations(&high).sum();
            values.set(M::Permuted, sum / self.permuted.len() as f64);
        }
        values.set(M::OffDiagonal, self.jaccard(attention, &self.off, room));
        if let Some(frequent) = &self.frequent {
            values.set(M::Frequent, self.jaccard(attention, frequent, room));
        }
        let against = |near: &Mask| Overlap::new(&high, near, cells).jaccard();
        values.set(M::Tree, against(&self.tree));
        values.set(M::Linear, against(&self.line));
        let strangers = [M::RandomTree, M::OtherTree, M::RightBranching, M::Balanced];
        for (measure, stranger) in strangers.into_iter().zip(&self.strangers) {
            values.set(measure, stranger.as_ref().and_then(against));
        }
        values.set(M::Offset, self.offset_control);
        let ranks = self.ranks(attention, room);
        let [rho, rest] = self.correlations(ranks.as_ref(), self.closeness.as_ref());
        values.set(M::Rho, rho);
        values.set(M::PartialRho, rest);
        let [rho, rest] = self.correlations(ranks.as_ref(), self.tree_closeness.as_ref());
        values.set(M::TreeRho, rho);
        values.set(M::TreePartialRho, rest);
        let position = self.closeness.as_ref().zip(self.offsets.as_ref());
        values.set(M::OffsetRho, position.map(|(d, o)| d.rho(o)));
        values.set(M::StratifiedRho, self.stratified(attention, room));
        let by_offset = self.mean_by_offset(attention);
        values.set(M::MeanByOffset, self.jaccard(&by_offset, &self.whole, room));
        let columns = self.mean_row(attention);
        values.set(M::Columns, self.jaccard(&columns, &self.whole, room));
        let shuffled = self.shuffled(attention, layer);
        values.set(M::Shuffled, self.jaccard(&shuffled, &self.whole, room));
        let curve = CURVE
            .iter()
            .zip(&self.curve)
            .map(|((numerator, denominator), near)| {
                let quantile = Quantile::new(*numerator, *denominator).ok()?;
                let high = self.high(attention, &self.whole, quantile, room);
                Overlap::new(&high, near, cells).jaccard()
            });
        let curve = curve.map(|j| j.unwrap_or(f64::NAN)).collect();
        LayerFound {
            values,
            curve,
            high,
            threshold_near,
        }
    }

    /// Cells of the last choice that lie next to their threshold, but for those on it.
    fn near_threshold(&self, room: &mut Room) -> u64 {
        let Room { cells, sorted, .. } = room;
        let high = self.rules.quantile.high(cells, sorted);
        let close = |value: &&f32| (**value - high).abs() <= NEAR_THRESHOLD && **value != high;
        cells.iter().filter(close).count() as u64
    }

    /// ρ among cells of equal |i-j|, weighted by their number.
    fn stratified(&self, attention: &[f32], room: &mut Room) -> Option<f64> {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (places, closeness) in &self.strata {
            let values = places.iter().map(|at| attention[*at as usize]);
            if let Some(ranks) = Ranks::of(values, &mut room.ranks) {
                sum += ranks.rho(closeness) * places.len() as f64;
                weight += places.len() as f64;
            }
        }
        (weight > 0.0).then(|| sum / weight)
    }

    /// The mean over cells of equal signed offset, in every cell.
    fn mean_by_offset(&self, attention: &[f32]) -> Vec<f32> {
        let n = self.n;
        let mut sums = vec![(0.0_f64, 0_u32); 2 * n];
        let offset = |at: u32| n + at as usize / n - at as usize % n;
        for at in &self.whole.places {
            let (sum, count) = &mut sums[offset(*at)];
            *sum += f64::from(attention[*at as usize]);
            *count += 1;
        }
        let mut means = vec![0.0; n * n];
        for at in &self.whole.places {
            let (sum, count) = sums[offset(*at)];
            means[*at as usize] = (sum / f64::from(count)) as f32;
        }
        means
    }

    /// The mean of the cells of each column, in every row.
    fn mean_row(&self, attention: &[f32]) -> Vec<f32> {
        let n = self.n;
        let mut sums = vec![(0.0_f64, 0_u32); n];
        for at in &self.whole.places {
            let (sum, count) = &mut sums[*at as usize % n];
            *sum += f64::from(attention[*at as usize]);
            *count += 1;
        }
        let mean = |(sum, count): &(f64, u32)| (sum / f64::from(*count)) as f32;
        let row: Vec<f32> = sums.iter().map(mean).collect();
        (0..n * n).map(|at| row[at % n]).collect()
    }

    /// The cells of each row off the diagonal in another order.
    fn shuffled(&self, attention: &[f32], layer: usize) -> Vec<f32> {
        let n = self.n;
        let mut values = attention.to_vec();
        let mut draws = Draws::of([self.rules.seed, SHUFFLE, self.index, layer as u64]);
        let mut row: Vec<usize> = Vec::with_capacity(n);
        for i in 0..n {
            let end = if self.rules.causal { i } else { n };
            row.clear();
            row.extend((0..end).filter(|j| *j != i));
            for last in (1..row.len()).rev() {
                let other = draws.below(last + 1);
                values.swap(i * n + row[last], i * n + row[other]);
            }
        }
        values
    }
}

/// A layer of a snippet.
#[derive(Debug)]
pub(crate) struct LayerFound {
    pub(crate) values: Values,
    /// J at the quantiles of the curve; not a number where it is not defined.
    pub(crate) curve: Vec<f64>,
    /// High attention among all cells.
    pub(crate) high: Mask,
    /// Cells next to the threshold.
    pub(crate) threshold_near: u64,
}

impl Frame {
    /// Of every leaf, the cells in its row and its column with high attention; the diagonal counts twice.
    pub(crate) fn seen_of_leaves(&self, high: &Mask) -> Vec<u64> {
        let mut seen = vec![0; self.n];
        for (at, place) in self.whole.places.iter().enumerate() {
            if high.holds(at) {
                seen[*place as usize / self.n] += 1;
                seen[*place as usize % self.n] += 1;
            }
        }
        seen
    }

    /// Of every leaf, the cells in its row and its column.
    pub(crate) fn cells_of_leaves(&self) -> Vec<u64> {
        let mut cells = vec![0; self.n];
        for place in &self.whole.places {
            cells[*place as usize / self.n] += 1;
            cells[*place as usize % self.n] += 1;
        }
        cells
    }
}

fn permutation(n: usize, mut draws: Draws) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        order.swap(last, draws.below(last + 1));
    }
    order
}

/// Cells of equal |i-j| among which closeness differs.
fn strata(places: &[u32], distances: &[u16], n: usize) -> Vec<(Vec<u32>, Ranks)> {
    let mut by_offset: Vec<Vec<u32>> = vec![Vec::new(); n];
    for at in places {
        by_offset[(*at as usize / n).abs_diff(*at as usize % n)].push(*at);
    }
    let mut room = RankRoom::default();
    let with_ranks = by_offset.into_iter().filter_map(|places| {
        let values = places.iter().map(|at| -f32::from(distances[*at as usize]));
        let ranks = Ranks::of(values, &mut room)?;
        Some((places, ranks))
    });
    with_ranks.collect()
}

#[cfg(test)]
mod tests;
