//! Pairs of units with the attention of all heads between them, for a regression to be trained on.

use bertology_model::{Event, Interests, LayerSite, Sequence};
use serde::{Deserialize, Serialize};

use super::frame::{UnitMap, ordered, places};
use super::regression::HeadRegression;
use super::{RelationPassages, RelationSettings};
use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::account::SequenceCounts;
use crate::input::relations::RelationItem;
use crate::input::supply::Fate;
use crate::random::Draws;
use crate::table::check_finite;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel};

/// Which pairs are gathered: all that are related, and of the others as many as fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gather {
    /// What is made of the maps.
    pub settings: RelationSettings,
    /// Each unrelated pair is taken with this probability, and then counts for one over it.
    pub keep: f64,
    /// Of which unrelated pairs are taken.
    pub seed: u64,
}

impl Gather {
    /// At most about `most` pairs of these texts; all, if there are no more.
    #[must_use]
    pub fn at_most(
        settings: RelationSettings,
        passages: &RelationPassages,
        most: u64,
        seed: u64,
    ) -> Self {
        let counts = &passages.info().counts;
        let directions = if settings.symmetric { 2 } else { 1 };
        let others = (counts.possible / directions).saturating_sub(counts.pairs());
        let room = most.saturating_sub(counts.pairs());
        Self {
            keep: if room >= others {
                1.0
            } else {
                room as f64 / others as f64
            },
            settings,
            seed,
        }
    }
}

/// Gathers the pairs of a text.
#[derive(Debug, Clone)]
pub struct GatherLens {
    gather: Gather,
    heads: HeadTable,
}

/// The pairs of a text.
#[derive(Debug)]
pub struct GatheredPart {
    /// Place `from · units + to` of each.
    places: Vec<u32>,
    /// Pair, label and weight of those that are related.
    related: Vec<(u32, u32, f64)>,
    /// `[pairs, features]`
    features: Vec<f32>,
    map: UnitMap,
}

impl GatherLens {
    fn features(&self) -> usize {
        let (layers, heads) = (self.heads.layers(), self.heads.heads());
        HeadRegression::features(layers, heads, self.gather.settings.symmetric)
    }
}

impl Lens for GatherLens {
    type Item = RelationItem;
    type Part = GatheredPart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &RelationItem, _: &Sequence) -> Result<GatheredPart, Error> {
        let Gather {
            settings,
            keep,
            seed,
        } = &self.gather;
        let units = item.takes_part.len();
        let held = ordered(&item.related, settings.symmetric).into_iter();
        let mut related: Vec<(u32, u32, f64)> = held
            .filter(|pair| settings.hold(pair.from, pair.to))
            .map(|pair| {
                let place = (pair.from * units + pair.to) as u32;
                (place, pair.label as u32, pair.weight)
            })
            .collect();
        related.sort_by_key(|(place, label, _)| (*place, *label));
        let all = places(&item.takes_part, settings.symmetric, |from, to| {
            settings.hold(from, to)
        });
        let is_related = |place: &u32| related.binary_search_by_key(place, |(of, ..)| *of).is_ok();
        let drawn = |place: &u32| Draws::of([*seed, item.line, u64::from(*place)]).unit() < *keep;
        let taken = all.filter(|place| *keep >= 1.0 || is_related(place) || drawn(place));
        let places: Vec<u32> = taken.collect();
        for (place, ..) in &mut related {
            // All related pairs are among them.
            *place = places.partition_point(|of| of < place) as u32;
        }
        Ok(GatheredPart {
            features: vec![0.0; places.len() * self.features()],
            places,
            related,
            map: UnitMap::default(),
        })
    }

    fn see(&self, item: &RelationItem, part: &mut GatheredPart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        part.map
            .set_judged(event.value, item, &self.gather.settings);
        let (units, features) = (item.takes_part.len(), self.features());
        let cell = head.layer * self.heads.heads() + head.head;
        let cells = self.heads.values().len();
        let rows = part.features.chunks_exact_mut(features);
        for (place, row) in part.places.iter().zip(rows) {
            let (from, to) = (*place as usize / units, *place as usize % units);
            row[cell] = part.map.judged[from * units + to] as f32;
            if !self.gather.settings.symmetric {
                row[cells + cell] = part.map.judged[to * units + from] as f32;
            }
        }
    }

    fn close(&self, _: &RelationItem, part: &mut GatheredPart) -> Result<(), Error> {
        part.map = UnitMap::default();
        let wrong = part.features.iter().find(|value| !value.is_finite());
        check_finite(
            "attention",
            wrong.map(|value| f64::from(*value)).as_slice(),
            1,
        )
    }

    fn bytes(&self, tokens: u64) -> u64 {
        let pairs = (tokens * tokens) as f64 * self.gather.keep;
        pairs as u64 * self.features() as u64 * 4
    }
}

/// Pairs of units with what all heads attend between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    gather: Gather,
    heads: HeadTable,
    labels: Vec<String>,
    counts: SequenceCounts,
    features: Vec<f32>,
    related: Vec<(u32, u32, f64)>,
    pairs: usize,
}

impl Gathered {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new(model: &LoadedModel, passages: &RelationPassages, gather: Gather) -> Self {
        Self {
            gather,
            heads: HeadTable::zeros(model.model()),
            labels: passages.labels().to_vec(),
            counts: SequenceCounts::default(),
            features: Vec::new(),
            related: Vec::new(),
            pairs: 0,
        }
    }

    /// How the pairs were chosen.
    #[must_use]
    pub fn gather(&self) -> &Gather {
        &self.gather
    }

    /// Layers and heads of the unpruned model.
    #[must_use]
    pub fn heads(&self) -> &HeadTable {
        &self.heads
    }

    /// All labels.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Number of pairs.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Attention of all heads, `[pairs, features]`; [`HeadRegression::features`] says what they are.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Pair, label and weight of those that are related; ascending. Pairs that are not related by a label weigh 1 if they are
    /// by another, else one over [`Gather::keep`].
    #[must_use]
    pub fn related(&self) -> &[(u32, u32, f64)] {
        &self.related
    }
}

impl Study for Gathered {
    type Lens = GatherLens;
    type Found = Self;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> GatherLens {
        GatherLens {
            gather: self.gather.clone(),
            heads: self.heads.clone(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            gather: self.gather.clone(),
            heads: self.heads.clone(),
            labels: self.labels.clone(),
            counts: SequenceCounts::default(),
            features: Vec::new(),
            related: Vec::new(),
            pairs: 0,
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let of = |study: &Self| {
            (
                study.gather.clone(),
                study.heads.clone(),
                study.labels.clone(),
            )
        };
        if of(self) != of(fresh) {
            let say = |study: &Self| study.gather.settings.describe();
            return Error::state_mismatch("the pairs that are gathered", say(self), say(fresh));
        }
        Ok(())
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let found = match fate {
            Fate::Studied(found) => found,
            Fate::LeftOut(why) => {
                self.counts.leave_out(why);
                return Ok(());
            }
        };
        self.counts.study(found.tokens, found.item.beyond);
        let first = self.pairs as u32;
        let related = found.part.related.iter();
        self.related
            .extend(related.map(|(pair, label, weight)| (first + pair, *label, *weight)));
        self.features.extend_from_slice(&found.part.features);
        self.pairs += found.part.places.len();
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.counts = self.counts.and(next.counts);
        let first = self.pairs as u32;
        let related = next.related.iter();
        self.related
            .extend(related.map(|(pair, label, weight)| (first + pair, *label, *weight)));
        self.features.extend_from_slice(&next.features);
        self.pairs += next.pairs;
        Ok(())
    }

    fn finish(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}
