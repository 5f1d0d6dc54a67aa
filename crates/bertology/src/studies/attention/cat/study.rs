//! The CAT-score of every layer and head over a corpus: a state that can be saved, continued and merged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bertology_model::{Event, Interests, LayerSite, Sequence};
use serde::{Deserialize, Serialize};

use super::frame::{Choice, Frame, Room, Rules};
use super::masks::Quantile;
use super::measure::{HeadValues, Measure};
use super::sums::{Found, KindSums, Size, Sums};
use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::account::SequenceCounts;
use crate::input::snippet::{AlignmentCounts, LeafMean, SnippetItem};
use crate::input::supply::Fate;
use crate::watch::{Purpose, SnippetMeasures, Watch};
use crate::{Error, HeadTable, LoadedModel};

/// What is measured and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CatOptions {
    /// The quantile of attention; that of distances is one less it.
    pub quantile: Quantile,
    /// How high attention is chosen.
    pub choice: Choice,
    /// How attention between tokens becomes attention between leaves.
    pub mean: LeafMean,
    /// Make every row's attention to leaves sum to one.
    pub renormalise: bool,
    /// By language, kinds of leaves for [`Measure::Frequent`].
    pub frequent: BTreeMap<String, BTreeSet<String>>,
    /// Resamples of the bootstrap over snippets.
    pub resamples: u32,
    /// Permutations of leaves.
    pub permutations: u32,
    /// Of resamples, permutations and shuffles.
    pub seed: u64,
}

impl Default for CatOptions {
    /// The paper's, with 1,000 resamples and 200 permutations.
    fn default() -> Self {
        Self {
            quantile: Quantile::default(),
            choice: Choice::default(),
            mean: LeafMean::default(),
            renormalise: false,
            frequent: BTreeMap::new(),
            resamples: 1000,
            permutations: 200,
            seed: 0,
        }
    }
}

/// The scores so far, and what was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatState {
    /// Zeros; says which heads there are.
    heads: HeadTable,
    causal: bool,
    options: CatOptions,
    counts: SequenceCounts,
    alignment: AlignmentCounts,
    pub(crate) sums: Sums,
}

impl CatState {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// A model without heads.
    pub fn new(model: &LoadedModel, options: CatOptions) -> Result<Self, Error> {
        let heads = HeadTable::zeros(model.model());
        if heads.live().next().is_none() {
            return Err(Error::NoHeads {
                path: model.checkpoint().folder().to_owned(),
                action: "compare",
            });
        }
        let sums = Sums::new(size(&heads, &options));
        Ok(Self {
            heads,
            causal: model.architecture().causal,
            options,
            counts: SequenceCounts::default(),
            alignment: AlignmentCounts::default(),
            sums,
        })
    }

    /// What is measured and how.
    #[must_use]
    pub fn options(&self) -> &CatOptions {
        &self.options
    }

    /// What was read, and what was left out.
    #[must_use]
    pub fn counts(&self) -> &SequenceCounts {
        &self.counts
    }

    /// What became of tokens and leaves.
    #[must_use]
    pub fn alignment(&self) -> &AlignmentCounts {
        &self.alignment
    }

    pub(crate) fn heads(&self) -> &HeadTable {
        &self.heads
    }
}

fn size(heads: &HeadTable, options: &CatOptions) -> Size {
    Size {
        layers: heads.layers(),
        heads: heads.heads(),
        resamples: options.resamples as usize,
        permutations: options.permutations as usize,
    }
}

impl Study for CatState {
    type Lens = CatLens;
    type Found = super::CatScores;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> CatLens {
        CatLens {
            options: self.options.clone(),
            causal: self.causal,
            layers: self.heads.layers(),
            heads: self.heads.heads(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            heads: self.heads.clone(),
            causal: self.causal,
            options: self.options.clone(),
            counts: SequenceCounts::default(),
            alignment: AlignmentCounts::default(),
            sums: Sums::new(size(&self.heads, &self.options)),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.heads != fresh.heads {
            let (was, is) = (self.heads.describe(), fresh.heads.describe());
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        if (self.causal, &self.options) != (fresh.causal, &fresh.options) {
            let say = |state: &Self| format!("{:?}", state.options);
            return Error::state_mismatch("the options", say(self), say(fresh));
        }
        self.counts.check()?;
        Error::unless_possible(
            self.sums.snippets == self.counts.sequences
                && self.sums.possible(size(&self.heads, &self.options)),
            "sums",
            "a number is out of its range, or there are more of them than snippets",
        )
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.counts.covers(&units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        match fate {
            Fate::Studied(found) => {
                let item = found.item;
                self.counts.study(found.tokens, item.cut);
                self.alignment += item.alignment;
                let seed = self.options.seed;
                self.sums
                    .add(seed, item.index, item.leaves(), &found.part.found);
            }
            Fate::LeftOut(why) => self.counts.leave_out(why),
        }
        Ok(())
    }

    fn tell(found: &Contribution<'_, Self>, watch: &mut dyn Watch) {
        let item = found.item;
        watch.snippet(&SnippetMeasures {
            index: item.index,
            line: item.line,
            name: &item.name,
            language: &item.language,
            tokens: found.tokens,
            leaves: item.leaves(),
            measures: found.part.found.measures.as_flattened(),
            width: Measure::ALL.len(),
        });
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.counts = self.counts.and(next.counts);
        self.alignment += next.alignment;
        self.sums.merge(&next.sums);
        Ok(())
    }

    fn finish(&self) -> Result<super::CatScores, Error> {
        Ok(super::CatScores::new(self))
    }
}

/// Sees a function's maps one by one; what is kept of them is attention between leaves, of the layer at hand.
#[derive(Debug, Clone)]
pub struct CatLens {
    options: CatOptions,
    causal: bool,
    layers: usize,
    heads: usize,
}

/// Of one function.
#[derive(Debug)]
pub struct CatPart {
    frame: Frame,
    room: Room,
    row: Vec<f64>,
    /// Attention of one head between leaves.
    head: Vec<f64>,
    /// Sums over the heads of a layer, which layer, and how many heads.
    layer: Vec<f64>,
    at: usize,
    seen: u32,
    found: Found,
}

impl CatLens {
    fn rules(&self) -> Rules {
        Rules {
            quantile: self.options.quantile,
            choice: self.options.choice,
            causal: self.causal,
            permutations: self.options.permutations,
            seed: self.options.seed,
        }
    }

    fn rounded(&self, attention: &[f64], share: f64, n: usize) -> Vec<f32> {
        let mut values: Vec<f64> = attention.iter().map(|value| value * share).collect();
        if self.options.renormalise {
            for row in values.chunks_exact_mut(n) {
                let sum: f64 = row.iter().sum();
                if sum > 0.0 {
                    row.iter_mut().for_each(|value| *value /= sum);
                }
            }
        }
        values.into_iter().map(|value| value as f32).collect()
    }

    /// The layer whose heads were all seen.
    fn close_layer(&self, item: &SnippetItem, part: &mut CatPart) {
        if part.seen == 0 {
            return;
        }
        let attention = self.rounded(&part.layer, f64::from(part.seen).recip(), item.leaves());
        let found = part.frame.layer(&attention, part.at, &mut part.room);
        part.found.measures[part.at] = found.values;
        let width = found.curve.len();
        part.found.curve[part.at * width..][..width].copy_from_slice(&found.curve);
        part.found.threshold_near[part.at] = found.threshold_near;
        let seen = part.frame.seen_of_leaves(&found.high);
        for (kind, seen) in item.kinds.iter().zip(seen) {
            if let Some(sums) = part.found.kinds.get_mut(kind) {
                sums.high[part.at] += seen;
            }
        }
        part.layer.fill(0.0);
        part.seen = 0;
    }
}

impl Lens for CatLens {
    type Item = SnippetItem;
    type Part = CatPart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &SnippetItem, _: &Sequence) -> Result<CatPart, Error> {
        item.check()?;
        let frequent = self.options.frequent.get(&item.language).map(|kinds| {
            let of = item.kinds.iter().map(|kind| kinds.contains(kind));
            of.collect::<Vec<bool>>()
        });
        let frame = Frame::new(item, frequent.as_deref(), self.rules());
        let cells = item.leaves() * item.leaves();
        let mut found = Found {
            measures: vec![[f64::NAN; Measure::ALL.len()]; self.layers],
            curve: vec![f64::NAN; self.layers * super::frame::CURVE.len()],
            threshold_near: vec![0; self.layers],
            heads: vec![HeadValues::default(); self.layers * self.heads],
            permuted: vec![Vec::new(); self.layers * self.heads],
            ..Found::default()
        };
        for (kind, cells) in item.kinds.iter().zip(frame.cells_of_leaves()) {
            let sums = found.kinds.entry(kind.clone()).or_insert_with(|| KindSums {
                snippets: 1,
                high: vec![0; self.layers],
                ..KindSums::default()
            });
            sums.leaves += 1;
            sums.cells += cells;
        }
        Ok(CatPart {
            frame,
            room: Room::default(),
            row: Vec::new(),
            head: vec![0.0; cells],
            layer: vec![0.0; cells],
            at: 0,
            seen: 0,
            found,
        })
    }

    fn see(&self, item: &SnippetItem, part: &mut CatPart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        if head.layer != part.at {
            self.close_layer(item, part);
            part.at = head.layer;
        }
        part.head.fill(0.0);
        item.tokens.add(
            &mut part.head,
            event.value,
            self.options.mean,
            &mut part.row,
        );
        super::sums::add(&mut part.layer, &part.head);
        part.seen += 1;
        let attention = self.rounded(&part.head, 1.0, item.leaves());
        let cell = head.layer * self.heads + head.head;
        let permuted = &mut part.found.permuted[cell];
        part.found.heads[cell] = part.frame.head(&attention, permuted, &mut part.room);
    }

    fn close(&self, item: &SnippetItem, part: &mut CatPart) -> Result<(), Error> {
        self.close_layer(item, part);
        Ok(())
    }

    /// The matrices of the function at hand.
    fn bytes(&self, tokens: u64) -> u64 {
        let masks = u64::from(self.options.permutations) / 8;
        let kept = (self.layers * self.heads) as u64 * u64::from(self.options.permutations) * 4;
        tokens.saturating_mul(tokens).saturating_mul(60 + masks) + kept
    }
}

#[cfg(test)]
mod tests;
