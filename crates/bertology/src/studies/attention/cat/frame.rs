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
pub(crate) const CURVE: [Quantile; 7] = [
    Quantile::fixed(1, 2),
    Quantile::fixed(3, 5),
    Quantile::fixed(7, 10),
    Quantile::THIRD_QUARTILE,
    Quantile::fixed(4, 5),
    Quantile::fixed(9, 10),
    Quantile::fixed(19, 20),
];

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
    curve: [Mask; CURVE.len()],
    closeness: Option<Ranked>,
    tree_closeness: Option<Ranked>,
    /// Ranks of -|i-j|.
    offsets: Option<Ranks>,
    /// Of cells off the diagonal with equal |i-j|: their places, and the ranks of closeness among them.
    strata: Vec<(Vec<u32>, Ranks)>,
    offset_control: Option<f64>,
}

/// Ranks of what is off the diagonal, and how they go with position.
#[derive(Debug)]
struct Ranked {
    ranks: Ranks,
    /// ρ with -|i-j|.
    with_offsets: Option<f64>,
}

impl Ranked {
    fn new(ranks: Option<Ranks>, offsets: Option<&Ranks>) -> Option<Self> {
        let ranks = ranks?;
        Some(Self {
            with_offsets: offsets.map(|offsets| ranks.rho(offsets)),
            ranks,
        })
    }
}

/// ρ of attention with closeness, and what is left of it with position held fast.
fn correlations(attention: Option<&Ranked>, closeness: Option<&Ranked>) -> [Option<f64>; 2] {
    let Some((attention, closeness)) = attention.zip(closeness) else {
        return [None, None];
    };
    let rho = attention.ranks.rho(&closeness.ranks);
    let positions = attention.with_offsets.zip(closeness.with_offsets);
    [Some(rho), positions.and_then(|(a, d)| partial(rho, a, d))]
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
        let curve = CURVE.map(|quantile| near(&item.distances, &whole.places, quantile).1);
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
            curve,
            frequent,
            closeness: Ranked::new(own, offsets.as_ref()),
            tree_closeness: Ranked::new(tree, offsets.as_ref()),
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
        gather(cells, attention, of);
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

    fn ranked(&self, attention: &[f32], room: &mut Room) -> Option<Ranked> {
        let values = self.off.places.iter().map(|at| attention[*at as usize]);
        Ranked::new(Ranks::of(values, &mut room.ranks), self.offsets.as_ref())
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
        let ranked = self.ranked(attention, room);
        let [rho, partial_rho] = correlations(ranked.as_ref(), self.closeness.as_ref());
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
        let mut values = [f64::NAN; Measure::ALL.len()];
        let mut set = |measure: Measure, value: Option<f64>| {
            values[measure as usize] = value.unwrap_or(f64::NAN);
        };
        let cells = self.whole.places.len();
        let high = self.high(attention, &self.whole, self.rules.quantile, room);
        let threshold_near = self.near_threshold(attention, room);
        let whole = Overlap::new(&high, &self.whole.near, cells);
        set(M::Cat, whole.jaccard());
        set(M::Adjusted, whole.adjusted());
        set(M::Chance, whole.chance());
        set(M::Ceiling, whole.ceiling());
        if let Some([attended, near]) = whole.shares() {
            set(M::Attended, Some(attended));
            set(M::Near, Some(near));
        }
        set(M::Both, Some(whole.both as f64));
        set(M::Either, Some(whole.either() as f64));
        set(M::Noise, whole.mean_of_noise());
        if !self.permuted.is_empty() && whole.either() > 0 {
            let sum: f64 = self.under_permutations(&high).sum();
            set(M::Permuted, Some(sum / self.permuted.len() as f64));
        }
        set(M::OffDiagonal, self.jaccard(attention, &self.off, room));
        if let Some(frequent) = &self.frequent {
            set(M::Frequent, self.jaccard(attention, frequent, room));
        }
        let against = |near: &Mask| Overlap::new(&high, near, cells).jaccard();
        set(M::Tree, against(&self.tree));
        set(M::Linear, against(&self.line));
        let strangers = [M::RandomTree, M::OtherTree, M::RightBranching, M::Balanced];
        for (measure, stranger) in strangers.into_iter().zip(&self.strangers) {
            set(measure, stranger.as_ref().and_then(against));
        }
        set(M::Offset, self.offset_control);
        let ranked = self.ranked(attention, room);
        let [rho, rest] = correlations(ranked.as_ref(), self.closeness.as_ref());
        set(M::Rho, rho);
        set(M::PartialRho, rest);
        let [rho, rest] = correlations(ranked.as_ref(), self.tree_closeness.as_ref());
        set(M::TreeRho, rho);
        set(M::TreePartialRho, rest);
        let position = self.closeness.as_ref().and_then(|own| own.with_offsets);
        set(M::OffsetRho, position);
        set(M::StratifiedRho, self.stratified(attention, room));
        let by_offset = self.mean_by_offset(attention);
        set(M::MeanByOffset, self.jaccard(&by_offset, &self.whole, room));
        let columns = self.mean_row(attention);
        set(M::Columns, self.jaccard(&columns, &self.whole, room));
        let shuffled = self.shuffled(attention, layer);
        set(M::Shuffled, self.jaccard(&shuffled, &self.whole, room));
        let curve = CURVE.iter().zip(&self.curve).map(|(quantile, near)| {
            let high = self.high(attention, &self.whole, *quantile, room);
            Overlap::new(&high, near, cells)
                .jaccard()
                .unwrap_or(f64::NAN)
        });
        let curve = curve.collect();
        LayerFound {
            values,
            curve,
            high,
            threshold_near,
        }
    }

    /// Cells next to their threshold, but for those on it.
    fn near_threshold(&self, attention: &[f32], room: &mut Room) -> u64 {
        let Room { cells, sorted, .. } = room;
        gather(cells, attention, &self.whole);
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
        for i in 0..n {
            let end = if self.rules.causal { i } else { n };
            let places: Vec<usize> = (0..end).filter(|j| *j != i).map(|j| i * n + j).collect();
            let mut row: Vec<f32> = places.iter().map(|at| attention[*at]).collect();
            draws.shuffle(&mut row);
            for (at, value) in places.into_iter().zip(row) {
                values[at] = value;
            }
        }
        values
    }

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

fn gather(cells: &mut Vec<f32>, attention: &[f32], of: &Compared) {
    cells.clear();
    cells.extend(of.places.iter().map(|at| attention[*at as usize]));
}

fn permutation(n: usize, mut draws: Draws) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    draws.shuffle(&mut order);
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

#[cfg(all(test, feature = "code"))]
mod recorded;
#[cfg(test)]
mod tests;
