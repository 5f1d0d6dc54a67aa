//! The score as the paper's released code computes it, for comparison with figures that were recorded with it.
//!
//! The mean over functions of J between whole matrices, layer by layer, over the leaves that its search finds
//! ([`LegacyItem`]). Kinds of leaves are chosen anew for every layer from that layer's own attention, so that layers are
//! not comparable with each other; nothing else uses any of this.

use std::collections::BTreeMap;
use std::ops::Range;

use bertology_model::{Event, Interests, LayerSite, Sequence};
use serde::{Deserialize, Serialize};

use super::FrequentKinds;
use super::masks::{Mask, Overlap, Quantile};
use super::scores::FREQUENT;
use super::sums::Moments;
use crate::Watch;
use crate::drive::{Contribution, Lens, Study, Wants};
use crate::drive::{Progress, Work, drive};
use crate::input::account::SequenceCounts;
use crate::input::legacy::{LegacyItem, LegacyKinds, LegacyPassages, LegacyView};
use crate::input::snippet::LeafMean;
use crate::input::supply::Fate;
use crate::watch::Purpose;
use crate::{Error, LoadedModel};

/// Which of an item's views each layer is scored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum LegacyPlan {
    /// Each in both, of which the first has all kinds and the second those of the list.
    Both,
    /// Each in the one of its own number.
    Own,
}

impl LegacyPlan {
    fn views(self, layer: usize) -> Range<usize> {
        match self {
            Self::Both => 0..2,
            Self::Own => layer..layer + 1,
        }
    }

    fn columns(self) -> usize {
        match self {
            Self::Both => 2,
            Self::Own => 1,
        }
    }
}

/// A kind in a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KindCount {
    /// Cells of rows and columns that are listed as the kind's.
    cells: u64,
    /// Of these, with high attention.
    high: u64,
}

/// A language.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct OfLanguage {
    functions: u64,
    /// `[layers, columns of the plan]`
    scores: Vec<Moments>,
    /// `[layers]`: leaves of the first view.
    leaves: Vec<u64>,
    /// `[layers]`: of the first view.
    kinds: Vec<BTreeMap<String, KindCount>>,
    /// By view.
    sought: Vec<u64>,
    found: Vec<u64>,
}

/// The scores so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LegacyState {
    plan: LegacyPlan,
    layers: usize,
    counts: SequenceCounts,
    languages: BTreeMap<String, OfLanguage>,
}

impl LegacyState {
    fn new(model: &LoadedModel, plan: LegacyPlan) -> Self {
        Self {
            plan,
            layers: model.architecture().num_layers,
            counts: SequenceCounts::default(),
            languages: BTreeMap::new(),
        }
    }
}

/// Which leaves a score of the released code is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyChoice {
    /// All.
    All,
    /// Those of its list of kinds ([`FrequentKinds::Static`](super::FrequentKinds)).
    Static,
    /// Those of the kinds that the layer itself attends to most.
    Top,
}

impl LegacyChoice {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Static => "static",
            Self::Top => "top",
        }
    }
}

/// A layer's score of the released code.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyScore {
    /// The language.
    pub language: String,
    /// Layer, from 0.
    pub layer: usize,
    /// Which leaves it is of.
    pub choice: LegacyChoice,
    /// Functions with a score.
    pub functions: u64,
    /// Functions without one: no leaf was found, or no cell is high or near.
    pub skipped: u64,
    /// Mean J.
    pub cat: Option<f64>,
    /// Of the mean.
    pub standard_error: Option<f64>,
    /// Share of the tokens that were given to a leaf.
    pub found: Option<f64>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyScores {
    /// By language, layer and view.
    pub scores: Vec<LegacyScore>,
    /// By layer and language: the kinds with the largest share of high attention in the first view, the largest first.
    pub kinds: Vec<BTreeMap<String, Vec<String>>>,
}

/// Scores of all functions, in two passes: the kinds of a layer are known after the first.
///
/// # Errors
/// As [`drive`].
pub fn legacy_scores(
    model: &LoadedModel,
    passages: &LegacyPassages,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<LegacyScores, Error> {
    let mut study = |plan: LegacyPlan, kinds: Vec<LegacyKinds>| {
        let mut progress = Progress::new(LegacyState::new(model, plan));
        drive(
            model,
            &passages.with_kinds(kinds),
            &mut progress,
            work,
            watch,
        )?;
        progress.into_study().finish()
    };
    let fixed = LegacyKinds::Some(FrequentKinds::of_2022());
    let mut found = study(LegacyPlan::Both, vec![LegacyKinds::All, fixed])?;
    let of_layer = |kinds: &BTreeMap<String, Vec<String>>| {
        let each = kinds.iter();
        let each =
            each.map(|(language, kinds)| (language.clone(), kinds.iter().cloned().collect()));
        LegacyKinds::Some(each.collect())
    };
    let own = study(LegacyPlan::Own, found.kinds.iter().map(of_layer).collect())?;
    found.scores.extend(own.scores);
    Ok(found)
}

/// The first kinds by their share of high attention, of those that are listed for more than half as many leaves as there
/// are: `cells > Σ n`, where a leaf has 2 n cells. Equal ones by name.
///
/// DIFFERENCE: the released code has equal ones in the order in which they were met.
fn top(kinds: &BTreeMap<String, KindCount>, leaves: u64) -> Vec<String> {
    let share = |count: &KindCount| count.high as f64 / count.cells as f64;
    let often = |(_, count): &(&String, &KindCount)| count.high > 0 && count.cells > leaves;
    let mut all: Vec<(&String, &KindCount)> = kinds.iter().filter(often).collect();
    all.sort_by(|a, b| share(b.1).total_cmp(&share(a.1)));
    all.into_iter()
        .take(FREQUENT)
        .map(|(kind, _)| kind.clone())
        .collect()
}

impl Study for LegacyState {
    type Lens = LegacyLens;
    type Found = LegacyScores;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> LegacyLens {
        LegacyLens {
            plan: self.plan,
            layers: self.layers,
        }
    }

    fn empty(&self) -> Self {
        Self {
            plan: self.plan,
            layers: self.layers,
            counts: SequenceCounts::default(),
            languages: BTreeMap::new(),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let [was, is] = [self, fresh].map(|of| (of.layers, of.plan));
        if was != is {
            let [was, is] = [was, is].map(|of| format!("{of:?}"));
            return Error::state_mismatch("layers and choices of kinds", was, is);
        }
        self.counts.check()
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.counts.covers(&units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let found = match fate {
            Fate::Studied(found) => found,
            Fate::LeftOut(why) => {
                self.counts.leave_out(why);
                return Ok(());
            }
        };
        self.counts.study(found.tokens, found.item.cut);
        let (layers, columns) = (self.layers, self.plan.columns());
        let of = self
            .languages
            .entry(found.item.language.clone())
            .or_default();
        of.functions += 1;
        of.scores.resize(layers * columns, Moments::default());
        of.leaves.resize(layers, 0);
        of.kinds.resize(layers, BTreeMap::new());
        of.sought.resize(found.item.views.len(), 0);
        of.found.resize(found.item.views.len(), 0);
        for (at, view) in found.item.views.iter().enumerate() {
            of.sought[at] += view.sought;
            of.found[at] += view.found;
        }
        for (sums, score) in of.scores.iter_mut().zip(&found.part.scores) {
            if let Some(score) = score {
                sums.add(*score);
            }
        }
        for (layer, kinds) in found.part.kinds.iter().enumerate() {
            of.leaves[layer] += found.part.leaves[layer];
            for (kind, count) in kinds {
                let sum = of.kinds[layer].entry(kind.clone()).or_default();
                sum.cells += count.cells;
                sum.high += count.high;
            }
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.counts = self.counts.and(next.counts);
        for (language, next) in next.languages {
            let of = self.languages.entry(language).or_default();
            if of.functions == 0 {
                *of = next;
                continue;
            }
            of.functions += next.functions;
            let scores = of.scores.iter_mut().zip(&next.scores);
            scores.for_each(|(own, next)| own.merge(next));
            for (own, next) in [
                (&mut of.leaves, &next.leaves),
                (&mut of.sought, &next.sought),
                (&mut of.found, &next.found),
            ] {
                own.iter_mut()
                    .zip(next)
                    .for_each(|(own, next)| *own += next);
            }
            for (own, next) in of.kinds.iter_mut().zip(next.kinds) {
                for (kind, count) in next {
                    let sum = own.entry(kind).or_default();
                    sum.cells += count.cells;
                    sum.high += count.high;
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<LegacyScores, Error> {
        let columns = self.plan.columns();
        let mut scores = Vec::new();
        let mut kinds = vec![BTreeMap::new(); self.layers];
        for (language, of) in &self.languages {
            for (at, sums) in of.scores.iter().enumerate() {
                let (layer, view) = (at / columns, at % columns);
                let shown = self.plan.views(layer).start + view;
                scores.push(LegacyScore {
                    language: language.clone(),
                    layer,
                    choice: match (self.plan, view) {
                        (LegacyPlan::Own, _) => LegacyChoice::Top,
                        (LegacyPlan::Both, 0) => LegacyChoice::All,
                        (LegacyPlan::Both, _) => LegacyChoice::Static,
                    },
                    functions: sums.count,
                    skipped: of.functions - sums.count,
                    cat: sums.mean(),
                    standard_error: sums.standard_error(),
                    found: (of.sought[shown] > 0)
                        .then(|| of.found[shown] as f64 / of.sought[shown] as f64),
                });
            }
            for (layer, kinds) in kinds.iter_mut().enumerate() {
                let top = top(&of.kinds[layer], of.leaves[layer]);
                kinds.insert(language.clone(), top);
            }
        }
        Ok(LegacyScores { scores, kinds })
    }
}

/// Sees a function's maps one by one.
#[derive(Debug, Clone)]
pub(crate) struct LegacyLens {
    plan: LegacyPlan,
    layers: usize,
}

/// Of one function.
#[derive(Debug, Default)]
pub(crate) struct LegacyPart {
    /// Sums over the heads of a layer between the leaves of each view; which layer, and how many heads.
    sums: Vec<Vec<f64>>,
    at: usize,
    seen: u32,
    row: Vec<f64>,
    /// `[layers, columns of the plan]`
    scores: Vec<Option<f64>>,
    /// `[layers]`
    leaves: Vec<u64>,
    kinds: Vec<BTreeMap<String, KindCount>>,
}

/// J of a layer's attention and the mask of high attention; nothing where the released code passes the function over.
fn jaccard(sums: &[f64], heads: u32, view: &LegacyView) -> Option<(f64, Mask)> {
    let share = f64::from(heads).recip();
    let attention: Vec<f32> = sums.iter().map(|sum| (sum * share) as f32).collect();
    if attention.iter().all(|value| *value == 0.0) {
        return None;
    }
    let q = Quantile::THIRD_QUARTILE;
    let (high, low) = (
        q.high(&attention, &mut Vec::new()),
        q.low(&view.distances, &mut Vec::new()),
    );
    let high = Mask::of(attention.iter().map(|value| *value > high));
    let near = Mask::of(view.distances.iter().map(|value| *value < low));
    let found = Overlap::new(&high, &near, attention.len()).jaccard();
    Some((found.unwrap_or(f64::NAN), high))
}

fn count_kinds(view: &LegacyView, high: &Mask) -> BTreeMap<String, KindCount> {
    let n = view.tokens.len();
    let mut counts = vec![KindCount::default(); n];
    for at in 0..n * n {
        for leaf in [at / n, at % n] {
            counts[leaf].cells += 1;
            counts[leaf].high += u64::from(high.holds(at));
        }
    }
    let mut kinds: BTreeMap<String, KindCount> = BTreeMap::new();
    for (kind, count) in view.kinds.iter().zip(counts) {
        let sum = kinds.entry(kind.clone()).or_default();
        sum.cells += count.cells;
        sum.high += count.high;
    }
    kinds
}

impl LegacyLens {
    fn close_layer(&self, item: &LegacyItem, part: &mut LegacyPart) {
        if part.seen == 0 {
            return;
        }
        let columns = self.plan.columns();
        for (column, number) in self.plan.views(part.at).enumerate() {
            let (view, sums) = (&item.views[number], &mut part.sums[number]);
            if let Some((score, high)) = jaccard(sums, part.seen, view) {
                let place = &mut part.scores[part.at * columns + column];
                *place = Some(score).filter(|score| score.is_finite());
                if column == 0 {
                    part.leaves[part.at] = view.tokens.len() as u64;
                    part.kinds[part.at] = count_kinds(view, &high);
                }
            }
            sums.fill(0.0);
        }
        part.seen = 0;
    }
}

impl Lens for LegacyLens {
    type Item = LegacyItem;
    type Part = LegacyPart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &LegacyItem, _: &Sequence) -> Result<LegacyPart, Error> {
        item.check()?;
        let needed = match self.plan {
            LegacyPlan::Both => 2,
            LegacyPlan::Own => self.layers,
        };
        if item.views.len() != needed {
            return Err(Error::Option {
                option: "choices of kinds",
                value: item.views.len().to_string(),
                reason: "there are as many as are scored",
            });
        }
        let cells = |view: &LegacyView| vec![0.0; view.distances.len()];
        Ok(LegacyPart {
            sums: item.views.iter().map(cells).collect(),
            scores: vec![None; self.layers * self.plan.columns()],
            leaves: vec![0; self.layers],
            kinds: vec![BTreeMap::new(); self.layers],
            ..LegacyPart::default()
        })
    }

    fn see(&self, item: &LegacyItem, part: &mut LegacyPart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        if head.layer != part.at {
            self.close_layer(item, part);
            part.at = head.layer;
        }
        for number in self.plan.views(head.layer) {
            let view = &item.views[number];
            view.tokens.add(
                &mut part.sums[number],
                event.value,
                LeafMean::MeanMean,
                &mut part.row,
            );
        }
        part.seen += 1;
    }

    fn close(&self, item: &LegacyItem, part: &mut LegacyPart) -> Result<(), Error> {
        self.close_layer(item, part);
        Ok(())
    }

    fn bytes(&self, tokens: u64) -> u64 {
        tokens
            .saturating_mul(tokens)
            .saturating_mul(16 * self.layers.max(2) as u64)
    }
}
