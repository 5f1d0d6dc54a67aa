//! How far does a head look? The mean distance of attention (Vig and Belinkov 2019, *Analyzing the Structure of
//! Attention in a Transformer Language Model*).
//!
//! Over all sentences and rows, the sum of `weight · |query − key|` over the sum of `weight`, for every head. What
//! counts as a step, and which weights take part, is a [`Measure`]. A head that always looks k steps away has
//! distance k, one that looks at itself 0; a causal model looks back only.

use std::ops::Range;

use bertology_model::{Event, Interests, LayerSite, Sequence};
use serde::{Deserialize, Serialize};

use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::account::{MOST, SequenceCounts};
use crate::input::supply::Fate;
use crate::input::treebank::SentenceItem;
use crate::input::words::RowMode;
use crate::studies::proportion::possible;
use crate::table::check_finite;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel};

/// Between what distances are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// All tokens: special ones look, are looked at, and are a step like any other.
    Tokens,
    /// Tokens without the special ones: weights from them and to them take no part.
    TokensWithoutSpecial,
    /// Words ([`Words`](super::Words)): special tokens take no part, and words that are written as one and share
    /// their tokens are one word.
    Words,
}

impl Measure {
    /// All, in the order of every table.
    pub const ALL: [Self; 3] = [Self::Tokens, Self::TokensWithoutSpecial, Self::Words];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::TokensWithoutSpecial => "tokens_without_special",
            Self::Words => "words",
        }
    }
}

/// Weight, and weight times distance.
#[derive(Debug, Clone, Copy, Default)]
struct Weighed {
    weight: f64,
    distance: f64,
}

impl Weighed {
    fn add(&mut self, weight: f64, from: usize, to: usize) {
        self.weight += weight;
        self.distance += weight * from.abs_diff(to) as f64;
    }
}

/// Measures the maps of a sentence.
#[derive(Debug, Clone)]
pub struct DistanceLens {
    rows: RowMode,
    layers: usize,
    heads: usize,
}

/// What a sentence contributes.
#[derive(Debug)]
pub struct DistancePart {
    /// `[measures, layers · heads]`
    found: Vec<Weighed>,
    /// The place of each word; none for one that shares the tokens of the word before it.
    places: Vec<Option<usize>>,
    /// Attention from one word to all, `[words]`.
    row: Vec<f64>,
}

impl Lens for DistanceLens {
    type Item = SentenceItem;
    type Part = DistancePart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &SentenceItem, _: &Sequence) -> Result<DistancePart, Error> {
        let mut next = 0..;
        let shared = &item.shared;
        let place = |word: usize| match word.checked_sub(1) {
            Some(before) if shared[word].is_some() && shared[word] == shared[before] => None,
            _ => next.next(),
        };
        Ok(DistancePart {
            found: vec![Weighed::default(); Measure::ALL.len() * self.layers * self.heads],
            places: (0..item.words.len()).map(place).collect(),
            row: vec![0.0; item.words.len()],
        })
    }

    fn see(&self, item: &SentenceItem, part: &mut DistancePart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        let map = event.value;
        let special = &item.text.special;
        let [mut all, mut inner, mut words] = [Weighed::default(); 3];
        for query in 0..map.rows() {
            for (key, weight) in map.row(query).iter().enumerate() {
                let weight = f64::from(*weight);
                all.add(weight, query, key);
                if !special[query] && !special[key] {
                    inner.add(weight, query, key);
                }
            }
        }
        for (word, from) in part.places.iter().enumerate() {
            let Some(from) = *from else {
                continue;
            };
            let row = &mut part.row;
            item.words.attention_from(map, word, self.rows, row);
            for (weight, to) in row.iter().zip(&part.places) {
                if let Some(to) = *to {
                    words.add(*weight, from, to);
                }
            }
        }
        let cell = head.layer * self.heads + head.head;
        for (measure, found) in [all, inner, words].into_iter().enumerate() {
            part.found[measure * self.layers * self.heads + cell] = found;
        }
    }

    fn close(&self, _: &SentenceItem, part: &mut DistancePart) -> Result<(), Error> {
        let distances: Vec<f64> = part.found.iter().map(|found| found.distance).collect();
        for of_measure in distances.chunks(self.layers * self.heads) {
            check_finite("the attention distance", of_measure, self.heads)?;
        }
        Ok(())
    }
}

/// Sums over sentences, of one measure and head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    /// Sentences with any weight.
    sentences: u64,
    weight: f64,
    distance: f64,
    weight_squared: f64,
    distance_squared: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, found: Weighed) {
        let Weighed { weight, distance } = found;
        self.merge(&Self {
            sentences: u64::from(weight > 0.0),
            weight,
            distance,
            weight_squared: weight * weight,
            distance_squared: distance * distance,
            product: weight * distance,
        });
    }

    fn merge(&mut self, other: &Self) {
        self.sentences += other.sentences;
        self.weight += other.weight;
        self.distance += other.distance;
        self.weight_squared += other.weight_squared;
        self.distance_squared += other.distance_squared;
        self.product += other.product;
    }

    /// Whether these can be sums over at most `sentences` sentences of `tokens` tokens, `most` of which look.
    fn possible(&self, sentences: u64, tokens: f64, most: f64) -> bool {
        let Self {
            weight, distance, ..
        } = *self;
        let squares = self.weight_squared * self.distance_squared;
        self.sentences <= sentences
            && (self.sentences > 0) == (weight > 0.0)
            && possible(weight, most)
            && possible(distance, weight * tokens)
            // Of sums of what is not negative, and by the inequality of Cauchy and Schwarz.
            && possible(self.weight_squared, weight * weight)
            && possible(self.distance_squared, distance * distance)
            && possible(self.product, weight * distance)
            && possible(self.product * self.product, squares)
            // In each sentence the distance is at most its weight times its length.
            && possible(self.product, tokens * self.weight_squared)
            && possible(self.distance_squared, tokens * self.product)
            && possible(weight * weight, self.weight_squared * self.sentences as f64)
    }

    fn mean(&self) -> f64 {
        self.distance / self.weight
    }

    /// Of a ratio of two sums over sentences, by its linear part: the root of the sum of the squared
    /// `distance − mean · weight` of the sentences, over the weight, with n/(n − 1) for the mean that is estimated.
    fn standard_error(&self) -> f64 {
        let (n, mean) = (self.sentences as f64, self.mean());
        let squares =
            self.distance_squared - 2.0 * mean * self.product + mean * mean * self.weight_squared;
        // Where all sentences are alike, rounding can leave a little less than nothing.
        (squares.max(0.0) * n / (n - 1.0)).sqrt() / self.weight
    }
}

/// The distances so far, and what was read; also the state of a study that is not finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistanceSums {
    /// Zeros; says which heads there are.
    heads: HeadTable,
    rows: RowMode,
    counts: SequenceCounts,
    words: u64,
    /// `[measures, layers · heads]`
    sums: Vec<Sums>,
}

impl DistanceSums {
    /// Nothing summed yet. `rows` is what the attention from a word of several tokens is.
    #[must_use]
    pub fn new(model: &LoadedModel, rows: RowMode) -> Self {
        let heads = HeadTable::zeros(model.model());
        Self {
            rows,
            counts: SequenceCounts::default(),
            words: 0,
            sums: vec![Sums::default(); Measure::ALL.len() * heads.values().len()],
            heads,
        }
    }

    /// What was read, and what was left out.
    #[must_use]
    pub fn counts(&self) -> &SequenceCounts {
        &self.counts
    }

    /// The words of the sentences studied.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.words
    }
}

/// How far every head looks, by one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanDistance {
    /// Between what.
    pub measure: Measure,
    /// In tokens or words; none for a head without any such attention.
    pub mean: HeadTable,
    /// Of the mean, over sentences; none for fewer than two.
    pub standard_error: HeadTable,
    /// Sentences in which the head has any such attention, `[layers, heads]`.
    pub sentences: Vec<u64>,
}

impl Study for DistanceSums {
    type Lens = DistanceLens;
    /// By the measures of [`Measure::ALL`].
    type Found = [MeanDistance; 3];

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> DistanceLens {
        DistanceLens {
            rows: self.rows,
            layers: self.heads.layers(),
            heads: self.heads.heads(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            heads: self.heads.clone(),
            rows: self.rows,
            counts: SequenceCounts::default(),
            words: 0,
            sums: vec![Sums::default(); self.sums.len()],
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.heads != fresh.heads || self.sums.len() != fresh.sums.len() {
            let (was, is) = (self.heads.describe(), fresh.heads.describe());
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        if self.rows != fresh.rows {
            let say = |state: &Self| format!("{:?}", state.rows);
            return Error::state_mismatch("the attention from a word", say(self), say(fresh));
        }
        self.counts.check()?;
        Error::unless_possible(
            self.words <= MOST,
            "words",
            "there are more than any corpus has",
        )?;
        let tokens = self.counts.tokens as f64;
        let cells = self.heads.values().len().max(1);
        let words = self.words as f64;
        let of_measures = self.sums.chunks(cells).zip([tokens, tokens, words]);
        let mut all =
            of_measures.flat_map(|(sums, most)| sums.iter().map(move |sums| (sums, most)));
        Error::unless_possible(
            all.all(|(sums, most)| sums.possible(self.counts.sequences, tokens.max(words), most)),
            "sums",
            "a distance is negative or farther than the sentences are long",
        )
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        Error::unless_possible(
            self.counts.units() == units.end.saturating_sub(units.start),
            "counts",
            "there are not as many sentences as are done",
        )
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        match fate {
            Fate::Studied(found) => {
                self.counts.study(found.tokens, 0);
                self.words += found.item.words.len() as u64;
                for (sums, found) in self.sums.iter_mut().zip(&found.part.found) {
                    sums.add(*found);
                }
            }
            Fate::LeftOut(why) => self.counts.leave_out(why),
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        next.agrees(self)?;
        self.counts = self.counts.and(next.counts);
        self.words += next.words;
        for (sums, next) in self.sums.iter_mut().zip(&next.sums) {
            sums.merge(next);
        }
        Ok(())
    }

    fn finish(&self) -> Result<[MeanDistance; 3], Error> {
        let cells = self.heads.values().len();
        Ok(Measure::ALL.map(|measure| {
            let sums = &self.sums[measure as usize * cells..][..cells];
            let table = |fewest: u64, value: fn(&Sums) -> f64| {
                let of =
                    |id: bertology_model::HeadId| &sums[id.layer * self.heads.heads() + id.head];
                let known = self.heads.restricted(|id| of(id).sentences >= fewest);
                known.map(|id, _| value(of(id)))
            };
            MeanDistance {
                measure,
                mean: table(1, Sums::mean),
                standard_error: table(2, Sums::standard_error),
                sentences: sums.iter().map(|sums| sums.sentences).collect(),
            }
        }))
    }
}
