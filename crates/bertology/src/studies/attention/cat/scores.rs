//! What the sums say: means with intervals, differences to controls, heads, kinds of leaves.

use bertology_model::HeadId;

use super::frame::CURVE;
use super::measure::Measure;
use super::study::CatState;
use super::sums::{Moments, OF_HEADS};
use crate::HeadTable;
use crate::random::middle;

/// Kinds that are chosen: as many as the released code takes.
pub(super) const FREQUENT: usize = 8;

/// A mean over snippets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// Snippets in which it is defined.
    pub snippets: u64,
    /// The mean.
    pub value: f64,
    /// Of the mean; nothing for fewer than two snippets.
    pub standard_error: Option<f64>,
    /// The middle 95 % over resamples of snippets.
    pub interval: Option<[f64; 2]>,
}

/// The score of a layer less what a control has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The control.
    pub control: Measure,
    /// [`Measure::Cat`] less the control.
    pub value: f64,
    /// The middle 95 % over resamples of snippets, both on the same.
    pub interval: Option<[f64; 2]>,
}

impl Difference {
    /// Whether the score is above the control beyond chance.
    #[must_use]
    pub fn above(&self) -> bool {
        self.interval.is_some_and(|[low, _]| low > 0.0)
    }
}

/// What is known of a layer. Nothing where the model has no head there, or no snippet a score.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerScores {
    /// Layer, from 0.
    pub layer: usize,
    /// In the order of [`Measure::ALL`].
    pub means: Vec<Option<Mean>>,
    /// The score over all snippets' cells: Σ both / Σ either.
    pub micro: Option<f64>,
    /// The middle 95 % of `micro`.
    pub micro_interval: Option<[f64; 2]>,
    /// `(mean J - mean J₀) / (mean J* - mean J₀)`: the ratio of means beside the mean of ratios.
    pub adjusted_of_means: Option<f64>,
    /// To every control.
    pub differences: Vec<Difference>,
    /// Mean J at the quantiles of [`quantiles`].
    pub curve: Vec<Option<f64>>,
    /// Cells that lie within 1e-7 of their threshold.
    pub threshold_near: u64,
}

impl LayerScores {
    /// A mean.
    #[must_use]
    pub fn mean(&self, measure: Measure) -> Option<Mean> {
        self.means[measure as usize]
    }

    /// Whether the layer attends to structure as far as this can tell: its score is above that of every control that
    /// knows positions alone.
    #[must_use]
    pub fn attends_to_structure(&self) -> bool {
        let beats = |control: &Measure| {
            let found = self.differences.iter().find(|d| d.control == *control);
            found.is_some_and(Difference::above)
        };
        Measure::POSITIONAL.iter().all(beats)
    }
}

/// Scores of heads.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadScores {
    /// Mean J.
    pub cat: HeadTable,
    /// Of the mean.
    pub cat_standard_error: HeadTable,
    /// Mean J off the diagonal.
    pub off_diagonal: HeadTable,
    /// Mean adjusted score.
    pub adjusted: HeadTable,
    /// Mean Spearman's ρ of attention and closeness.
    pub rho: HeadTable,
    /// The same with |i-j| held fast.
    pub partial_rho: HeadTable,
    /// Mean J with leaves permuted, over the permutations.
    pub permuted: HeadTable,
    /// Share of permutations under which the best of all heads is as good as this one, the truth counted among them.
    pub p_value: HeadTable,
}

/// A kind of leaf.
#[derive(Debug, Clone, PartialEq)]
pub struct KindScores {
    /// The grammar's name.
    pub kind: String,
    /// Leaves.
    pub leaves: u64,
    /// Snippets with any.
    pub snippets: u64,
    /// Cells in their rows and columns.
    pub cells: u64,
    /// Of these, with high attention, by layer.
    pub high: Vec<u64>,
}

impl KindScores {
    /// The share of cells with high attention in a layer: a quarter by chance.
    #[must_use]
    pub fn confidence(&self, layer: usize) -> Option<f64> {
        let high = self.high.get(layer)?;
        (self.cells > 0).then(|| *high as f64 / self.cells as f64)
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct CatScores {
    /// Snippets with a score.
    pub snippets: u64,
    /// Their leaves.
    pub leaves: u64,
    /// By layer.
    pub layers: Vec<LayerScores>,
    /// By head.
    pub heads: HeadScores,
    /// By kind, the most frequent first.
    pub kinds: Vec<KindScores>,
}

/// The quantiles of [`LayerScores::curve`].
#[must_use]
pub fn quantiles() -> Vec<f64> {
    CURVE.iter().map(|quantile| quantile.value()).collect()
}

impl CatScores {
    /// Kinds to score alone ([`CatOptions::frequent`](super::CatOptions::frequent)): of those with a leaf a snippet on average
    /// the first by confidence in the last layer, equal ones by name. To be asked of snippets that are not scored with them.
    ///
    /// # Source
    ///
    /// Chen et al. 2022; DIFFERENCE: their code asks for half a leaf a snippet, weighted by length, and chooses for every layer
    /// anew, on what it scores.
    #[must_use]
    pub fn frequent_kinds(&self) -> Vec<String> {
        let last = self.layers.len().saturating_sub(1);
        let often = self
            .kinds
            .iter()
            .filter(|kind| kind.leaves >= self.snippets);
        let mut all: Vec<(f64, &str)> = often
            .filter_map(|kind| Some((kind.confidence(last)?, &*kind.kind)))
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        all.truncate(FREQUENT);
        all.into_iter().map(|(_, kind)| kind.to_owned()).collect()
    }

    pub(super) fn new(state: &CatState) -> Self {
        let sums = &state.sums;
        let layers = state.heads().layers();
        let mut kinds: Vec<KindScores> = sums
            .kinds
            .iter()
            .map(|(kind, sums)| KindScores {
                kind: kind.clone(),
                leaves: sums.leaves,
                snippets: sums.snippets,
                cells: sums.cells,
                high: sums.high.clone(),
            })
            .collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.leaves));
        Self {
            snippets: sums.snippets,
            leaves: sums.leaves,
            layers: (0..layers).map(|layer| of_layer(state, layer)).collect(),
            heads: of_heads(state),
            kinds,
        }
    }
}

fn of_layer(state: &CatState, layer: usize) -> LayerScores {
    let sums = &state.sums;
    let column = |measure: Measure| layer * Measure::ALL.len() + measure as usize;
    let mean = |measure: Measure| {
        let moments = sums.measure(layer, measure);
        Some(Mean {
            snippets: moments.count,
            value: moments.mean()?,
            standard_error: moments.standard_error(),
            interval: middle(&sums.resampled.each(|of| of(column(measure))[0])),
        })
    };
    let means: Vec<Option<Mean>> = Measure::ALL.into_iter().map(mean).collect();
    let value = |measure: Measure| means[measure as usize].map(|mean| mean.value);
    let total = |measure: Measure| sums.measure(layer, measure).sum;
    let either = total(Measure::Either);
    let (both, all) = (column(Measure::Both), column(Measure::Either));
    let differences = CONTROLS.iter().filter_map(|control| {
        let (cat, other) = (column(Measure::Cat), column(*control));
        Some(Difference {
            control: *control,
            value: value(Measure::Cat)? - value(*control)?,
            interval: middle(&sums.resampled.each(|of| of(cat)[0] - of(other)[0])),
        })
    });
    let curve = sums.curve[layer * CURVE.len()..][..CURVE.len()].iter();
    let adjusted = || {
        let (chance, ceiling) = (value(Measure::Chance)?, value(Measure::Ceiling)?);
        (ceiling > chance).then_some((value(Measure::Cat)? - chance) / (ceiling - chance))
    };
    LayerScores {
        layer,
        micro: (either > 0.0).then(|| total(Measure::Both) / either),
        micro_interval: middle(&sums.resampled.each(|of| of(both)[1] / of(all)[1])),
        adjusted_of_means: adjusted(),
        differences: differences.collect(),
        curve: curve.map(Moments::mean).collect(),
        threshold_near: sums.threshold_near[layer],
        means,
    }
}

/// What a layer's score is compared with.
pub const CONTROLS: [Measure; 11] = [
    Measure::Offset,
    Measure::MeanByOffset,
    Measure::Permuted,
    Measure::Shuffled,
    Measure::Columns,
    Measure::Noise,
    Measure::Linear,
    Measure::RandomTree,
    Measure::OtherTree,
    Measure::RightBranching,
    Measure::Balanced,
];

fn of_heads(state: &CatState) -> HeadScores {
    let (sums, heads) = (&state.sums, state.heads());
    let cell = |id: HeadId| id.layer * heads.heads() + id.head;
    let table = |column: usize, value: fn(&Moments) -> Option<f64>| {
        let of = |id: HeadId| value(&sums.heads[cell(id) * OF_HEADS + column]);
        let known = heads.restricted(|id| of(id).is_some());
        known.map(|id, _| of(id).unwrap_or_default())
    };
    let rounds = state.options().permutations as usize;
    let count = |id: HeadId| sums.heads[cell(id) * OF_HEADS].count as f64;
    let under = |id: HeadId, round: usize| sums.permuted[cell(id) * rounds + round] / count(id);
    let cat = table(0, Moments::mean);
    let ids: Vec<HeadId> = cat.live().collect();
    // The best of all heads under each permutation: one bound for all.
    let best: Vec<f64> = (0..rounds)
        .map(|round| ids.iter().map(|id| under(*id, round)).fold(0.0, f64::max))
        .collect();
    HeadScores {
        cat_standard_error: table(0, Moments::standard_error),
        off_diagonal: table(1, Moments::mean),
        adjusted: table(2, Moments::mean),
        rho: table(3, Moments::mean),
        partial_rho: table(4, Moments::mean),
        permuted: cat
            .restricted(|_| rounds > 0)
            .map(|id, _| (0..rounds).map(|round| under(id, round)).sum::<f64>() / rounds as f64),
        p_value: cat.restricted(|_| rounds > 0).map(|_, score| {
            let as_good = best.iter().filter(|best| **best >= score).count();
            (1 + as_good) as f64 / (1 + rounds) as f64
        }),
        cat,
    }
}
