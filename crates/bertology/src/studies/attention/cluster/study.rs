//! The distances of heads over a corpus: a state that can be saved and continued.

use std::ops::Range;

use bertology_model::reduction::{Divergences, Reduction, Table};
use bertology_model::{Event, HeadId, Interests, LayerSite, Sequence};
use serde::{Deserialize, Serialize};

use super::distances::JsSums;
use super::maps::{PackedMaps, RowChoice, Smoothing};
use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::account::SequenceCounts;
use crate::input::passages::TextItem;
use crate::input::supply::Fate;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel};

/// Bytes that the maps of one sequence may take, for each thread, unless told otherwise: 4 GiB.
pub const DEFAULT_MEMORY: u64 = 4 << 30;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DistanceOptions {
    /// What is done to a row before it is compared; the paper's smoothing by default.
    pub smoothing: Smoothing,
    /// Which source tokens are compared; all by default.
    pub rows: RowChoice,
    /// Of the rows that are drawn.
    pub seed: u64,
    /// Bytes that the maps of one sequence may take, for each thread. No result depends on it.
    #[serde(skip, default = "default_memory")]
    pub memory: u64,
}

fn default_memory() -> u64 {
    DEFAULT_MEMORY
}

impl Default for DistanceOptions {
    fn default() -> Self {
        Self {
            smoothing: Smoothing::default(),
            rows: RowChoice::default(),
            seed: 0,
            memory: DEFAULT_MEMORY,
        }
    }
}

impl DistanceOptions {
    /// With this smoothing.
    #[must_use]
    pub fn smoothing(mut self, smoothing: Smoothing) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// With maps of at most so many bytes at a time, for each thread.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// Of these rows, drawn by this seed.
    #[must_use]
    pub fn rows(mut self, rows: RowChoice, seed: u64) -> Self {
        (self.rows, self.seed) = (rows, seed);
        self
    }
}

/// Divergences summed so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistanceState {
    /// Zeros; says which heads there are.
    heads: HeadTable,
    /// Whether no token sees those behind it.
    causal: bool,
    options: DistanceOptions,
    counts: SequenceCounts,
    sums: JsSums,
}

impl DistanceState {
    /// Nothing summed yet.
    ///
    /// # Errors
    /// A model without heads; rows that cannot be drawn.
    pub fn new(model: &LoadedModel, options: &DistanceOptions) -> Result<Self, Error> {
        options.rows.check()?;
        let heads = HeadTable::zeros(model.model());
        let count = heads.live().count();
        if count == 0 {
            return Err(Error::NoHeads {
                path: model.checkpoint().folder().to_owned(),
                action: "compare",
            });
        }
        Ok(Self {
            heads,
            causal: model.architecture().causal,
            options: *options,
            counts: SequenceCounts::default(),
            sums: JsSums::new(count),
        })
    }

    /// What was read, and what was left out.
    #[must_use]
    pub fn counts(&self) -> &SequenceCounts {
        &self.counts
    }

    /// What is compared.
    #[must_use]
    pub fn options(&self) -> &DistanceOptions {
        &self.options
    }

    /// The heads compared, in the order of the sums.
    #[must_use]
    pub fn heads(&self) -> Vec<HeadId> {
        self.heads.live().collect()
    }

    /// The sums.
    #[must_use]
    pub fn sums(&self) -> &JsSums {
        &self.sums
    }
}

impl Study for DistanceState {
    type Lens = Comparing;
    type Found = JsSums;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> Comparing {
        Comparing::new(self.causal, &self.heads, &self.options)
    }

    fn empty(&self) -> Self {
        Self {
            heads: self.heads.clone(),
            causal: self.causal,
            options: self.options,
            counts: SequenceCounts::default(),
            sums: JsSums::new(self.sums.heads()),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.heads != fresh.heads || self.sums.heads() != fresh.sums.heads() {
            let (was, is) = (self.heads.describe(), fresh.heads.describe());
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        let options = |state: &Self| {
            let DistanceOptions {
                smoothing,
                rows,
                seed,
                ..
            } = state.options;
            (state.causal, smoothing, rows, seed)
        };
        if options(self) != options(fresh) {
            let say = |state: &Self| format!("{:?}", options(state));
            return Error::state_mismatch("the options", say(self), say(fresh));
        }
        self.counts.check()?;
        let SequenceCounts {
            sequences, tokens, ..
        } = self.counts;
        let rows = self.sums.rows();
        Error::unless_possible(
            (self.sums.sequences(), self.sums.tokens()) == (sequences, tokens)
                && rows <= tokens
                && (rows == tokens || self.options.rows != RowChoice::All),
            "sums",
            "other tokens were compared than were read",
        )?;
        Error::unless_possible(
            self.sums.possible(),
            "sums",
            "a divergence is negative or more than ln 2 a token",
        )
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.counts.covers(&units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        match fate {
            Fate::Studied(found) => {
                self.counts.study(found.tokens, found.item.cut);
                self.sums.add_counted(&found.part.sums);
            }
            Fate::LeftOut(why) => self.counts.leave_out(why),
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.counts = self.counts.and(next.counts);
        self.sums.merge(&next.sums)
    }

    fn finish(&self) -> Result<JsSums, Error> {
        Ok(self.sums.clone())
    }
}

/// Keeps a sequence's maps, compares them, and lets them go.
#[derive(Debug)]
pub struct Comparing {
    options: DistanceOptions,
    causal: bool,
    width: usize,
    /// Of every head of the unpruned model, its number among those that there are.
    places: Vec<Option<usize>>,
    count: usize,
}

/// Of one sequence.
#[derive(Debug)]
pub struct Compared {
    tokens: usize,
    /// Which are compared.
    rows: Vec<usize>,
    /// From the first head that is seen until all have been.
    maps: Option<PackedMaps>,
    sums: JsSums,
}

impl Comparing {
    fn new(causal: bool, heads: &HeadTable, options: &DistanceOptions) -> Self {
        let mut count = 0;
        let mut next = || {
            count += 1;
            count - 1
        };
        Self {
            options: *options,
            causal,
            width: heads.heads(),
            places: heads
                .live_flags()
                .iter()
                .map(|live| live.then(&mut next))
                .collect(),
            count,
        }
    }

    /// Bytes of the maps of a sequence of so many tokens.
    fn bytes(&self, tokens: usize) -> u64 {
        let rows = self.options.rows.count(tokens) as u64;
        let (count, tokens) = (self.count as u64, tokens as u64);
        // Causal rows are half as long in the mean; which ones are drawn is not known before.
        let cells = if self.causal && rows == tokens {
            tokens.saturating_mul(tokens + 1) / 2
        } else {
            rows.saturating_mul(tokens)
        };
        count
            .saturating_mul(cells)
            .saturating_mul(size_of::<f32>() as u64)
    }
}

impl Lens for Comparing {
    type Item = TextItem;
    type Part = Compared;

    fn wants(&self) -> Wants<'_> {
        Wants {
            one_at_a_time: true,
            ..Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
        }
    }

    fn begin(&self, _: &TextItem, sequence: &Sequence) -> Result<Compared, Error> {
        let DistanceOptions {
            rows, seed, memory, ..
        } = self.options;
        let tokens = sequence.len();
        let bytes = self.bytes(tokens);
        if bytes > memory {
            return Err(Error::MapsTooLarge {
                tokens,
                heads: self.count,
                bytes,
                limit: memory,
            });
        }
        Ok(Compared {
            tokens,
            rows: rows.choose(&sequence.ids, seed),
            maps: None,
            sums: JsSums::new(self.count),
        })
    }

    fn see(&self, _: &TextItem, part: &mut Compared, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        let place = self.places.get(head.layer * self.width + head.head);
        if let Some(Some(place)) = place {
            let fresh = || {
                let rows = part.rows.clone();
                let smoothing = self.options.smoothing;
                PackedMaps::new(self.count, part.tokens, rows, self.causal, smoothing)
            };
            part.maps.get_or_insert_with(fresh).put(*place, event.value);
        }
    }

    fn tables(&self) -> usize {
        1
    }

    fn reductions(&self, _: &TextItem, part: &Compared) -> Vec<Reduction> {
        vec![Reduction::Divergences(Divergences {
            rows: part.rows.clone(),
            smoothing: self.options.smoothing.share(),
        })]
    }

    fn see_table(&self, _: &TextItem, part: &mut Compared, table: &Table<'_, f32>) {
        let sums = table.value.row(0).iter().map(|sum| f64::from(*sum));
        part.sums.add_summed(sums, part.tokens, part.rows.len());
    }

    fn close(&self, _: &TextItem, part: &mut Compared) -> Result<(), Error> {
        if let Some(maps) = part.maps.take() {
            part.sums.add(&maps);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studies::attention::cluster::{ClusterCount, Clusters, Scale};
    use bertology_model::{LayerSite, Matrix, Pass, Tap};
    use std::f64::consts::LN_2;

    /// One layer of heads that look at themselves, one of heads that look at the next token, and uniform
    /// ones, each mixed with a little of the uniform; the head that is pruned away is never seen.
    #[test]
    fn planted_kinds_of_heads_become_clusters() {
        let live = [true, true, true, true, true, true, true, false, true];
        let lens = Comparing {
            options: DistanceOptions::default(),
            causal: false,
            width: 3,
            places: vec![
                Some(0),
                Some(1),
                Some(2),
                Some(3),
                Some(4),
                Some(5),
                Some(6),
                None,
                Some(7),
            ],
            count: 8,
        };
        let n = 10;
        let item = TextItem {
            ids: Vec::new(),
            special: Vec::new(),
            cut: 0,
        };
        let mut state = JsSums::new(8);
        for _ in 0..2 {
            let sequence = Sequence::new((0..n as u32).collect());
            let mut part = lens.begin(&item, &sequence).expect("room");
            for (at, _) in live.iter().enumerate().filter(|(_, live)| **live) {
                let (kind, share) = (at / 3, 0.02 * (at % 3) as f32);
                let mut map = vec![(if kind == 2 { 1.0 } else { share }) / n as f32; n * n];
                for i in 0..n {
                    match kind {
                        0 => map[i * n + i] += 1.0 - share,
                        1 => map[i * n + (i + 1) % n] += 1.0 - share,
                        _ => {}
                    }
                }
                let event = Event {
                    pass: Pass::Forward,
                    tap: Tap::Layer(at / 3, LayerSite::AttentionProbs),
                    sequence: 0,
                    head: Some(at % 3),
                    value: Matrix::new(&map, n, n),
                };
                lens.see(&item, &mut part, &event);
            }
            lens.close(&item, &mut part).expect("sums");
            assert!(part.maps.is_none(), "maps are let go");
            state.add_counted(&part.sums);
        }
        assert_eq!((state.sequences(), state.tokens()), (2, 20));
        let distances = state.distances(Scale::Mean).expect("sums");
        assert!(distances.values().iter().all(|d| (0.0..LN_2).contains(d)));
        // The two uniform heads are the same head.
        assert_eq!(distances.get(6, 7), 0.0);
        let found = Clusters::new(&distances, ClusterCount::Auto).expect("a cut");
        assert_eq!(found.labels, [0, 0, 0, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn the_size_of_maps_is_known_before() {
        let mut lens = Comparing {
            options: DistanceOptions::default(),
            causal: false,
            width: 25,
            places: Vec::new(),
            count: 48 * 25,
        };
        assert_eq!(lens.bytes(1024), 4 * 1200 * 1024 * 1024);
        lens.options.rows = RowChoice::Count(10);
        assert_eq!(lens.bytes(1024), 4 * 1200 * 1024 * 10);
        lens.options.rows = RowChoice::All;
        lens.causal = true;
        assert_eq!(lens.bytes(1024), 4 * 1200 * 1024 * 1025 / 2);
        assert!(lens.bytes(usize::MAX / 2) > DEFAULT_MEMORY);
    }
}
