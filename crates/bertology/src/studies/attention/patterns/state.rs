//! The study: documents in, averages out.

use std::ops::Range;

use bertology_model::reduction::{Masses, Reduction, Table};
use bertology_model::{Event, HeadId, Interests, LayerSite, Pass, Sequence};
use serde::{Deserialize, Serialize};

use super::average::{Average, Ratios};
use super::behaviour::{Behaviour, Thresholds};
use super::classes::{Places, TokenClasses};
use super::document::{
    EntropySums, KeySums, QueryMass, entropies, key_denominator, pairs, sums_by_target, target_of,
    uniform,
};
use super::{Gradients, Key, KeyClass, PAPER_SMOOTHING, PatternOptions};
use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::account::SequenceCounts;
use crate::input::passages::TextItem;
use crate::input::supply::Fate;
use crate::table::check_finite;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel};

/// Kinds of entropy that are averaged: of all rows, of one row, as a share of what is possible.
const ENTROPIES: usize = 3;
/// Classes of keys that have an average of their own: the begin, separators, punctuation. Those of gradients come behind them.
const KEY_CLASSES: usize = 3;
/// Classes of queries: separators, all others, and the one whose entropy has an average of its own.
const SEP_QUERIES: usize = 0;
const OTHER_QUERIES: usize = 1;
const ONE_QUERY: usize = 2;
const QUERY_CLASSES: usize = 3;

/// The patterns of every map; see the [module](super).
#[derive(Debug, Clone)]
pub struct PatternLens {
    classes: TokenClasses,
    options: PatternOptions,
    /// Heads of a layer of the unpruned model.
    heads: usize,
    cells: usize,
}

impl PatternLens {
    fn keys(&self) -> &'static [Key] {
        Key::of(self.classes.is_causal())
    }

    fn targets(&self) -> &'static [KeyClass] {
        KeyClass::of(self.classes.is_causal())
    }
}

/// What one document contributes.
#[derive(Debug, Clone)]
pub struct DocumentPatterns {
    places: Places,
    /// Class of each token.
    target_of: Vec<usize>,
    /// Per key, then per kind of entropy, a cell a head.
    sums: Vec<Vec<f64>>,
    /// Per class of key, of `|∂L/∂α|`.
    gradients: Vec<Vec<f64>>,
    /// Per class of key, of `|α · ∂L/∂α|`.
    weighted: Vec<Vec<f64>>,
    /// Maps that wait for their gradients.
    maps: Vec<Vec<f32>>,
    scratch: Vec<f64>,
}

impl DocumentPatterns {
    /// Keeps what one map gave.
    fn put(&mut self, cell: usize, keys: &[Key], of_keys: &KeySums, nats: &EntropySums) {
        let keys = keys.iter().map(|key| of_keys.of(*key));
        let found = keys.chain([nats.all, nats.one, nats.normalized]);
        for (sums, value) in self.sums.iter_mut().zip(found) {
            sums[cell] = value;
        }
    }
}

impl Lens for PatternLens {
    type Item = TextItem;
    type Part = DocumentPatterns;

    fn wants(&self) -> Wants<'_> {
        let site = LayerSite::AttentionProbs;
        let values = Interests::none().value(site);
        let interests = match self.options.gradients {
            Gradients::None => values,
            Gradients::Plain | Gradients::TimesAttention => values.gradient(site),
        };
        Wants {
            // A map waits for its gradient, but not for the other sequences of a batch.
            one_at_a_time: self.options.gradients == Gradients::TimesAttention,
            ..Wants::sites(interests)
        }
    }

    fn begin(&self, item: &TextItem, _: &Sequence) -> Result<DocumentPatterns, Error> {
        let places = self.classes.places(&item.ids);
        let classes = self.targets().len();
        let zeros = |rows: usize| vec![vec![0.0; self.cells]; rows];
        let (plain, weighted) = match self.options.gradients {
            Gradients::None => (0, 0),
            Gradients::Plain => (classes, 0),
            Gradients::TimesAttention => (classes, classes),
        };
        Ok(DocumentPatterns {
            target_of: target_of(&places, self.targets()),
            places,
            sums: zeros(self.keys().len() + ENTROPIES),
            gradients: zeros(plain),
            weighted: zeros(weighted),
            maps: vec![Vec::new(); if weighted > 0 { self.cells } else { 0 }],
            scratch: Vec::new(),
        })
    }

    fn see(&self, _: &TextItem, part: &mut DocumentPatterns, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        let cell = head.layer * self.heads + head.head;
        let causal = self.classes.is_causal();
        if event.pass == Pass::Forward {
            let smoothing = self.options.entropy_smoothing;
            let nats = entropies(event.value, causal, smoothing, &mut part.scratch);
            let keys = KeySums::of_map(event.value, &part.places);
            part.put(cell, self.keys(), &keys, &nats);
            if let Some(map) = part.maps.get_mut(cell) {
                *map = event.value.to_vec();
            }
            return;
        }
        let map = part.maps.get_mut(cell).map(std::mem::take);
        for (sums, weights) in [
            (&mut part.gradients, None),
            (&mut part.weighted, map.as_deref()),
        ] {
            if sums.is_empty() {
                continue;
            }
            let found = sums_by_target(
                event.value,
                weights,
                &part.target_of,
                sums.len(),
                causal,
                &mut part.scratch,
            );
            for (sums, value) in sums.iter_mut().zip(found) {
                sums[cell] = value;
            }
        }
    }

    fn tables(&self) -> usize {
        1
    }

    fn reductions(&self, _: &TextItem, part: &DocumentPatterns) -> Vec<Reduction> {
        let mut classes: Vec<u32> = part
            .target_of
            .iter()
            .map(|class| 1 << (KEY_CLASSES + class))
            .collect();
        let places = &part.places;
        for (class, members) in [&places.begin, &places.sep, &places.punctuation]
            .into_iter()
            .enumerate()
        {
            members.iter().for_each(|at| classes[*at] |= 1 << class);
        }
        let mut queries = vec![1 << OTHER_QUERIES; places.tokens];
        places
            .sep
            .iter()
            .for_each(|at| queries[*at] = 1 << SEP_QUERIES);
        let one = if self.classes.is_causal() {
            queries.last_mut()
        } else {
            queries.first_mut()
        };
        if let Some(one) = one {
            *one |= 1 << ONE_QUERY;
        }
        vec![Reduction::Masses(Masses {
            classes,
            count: KEY_CLASSES,
            gradients: match self.options.gradients {
                Gradients::None => 0,
                Gradients::Plain | Gradients::TimesAttention => self.targets().len(),
            },
            queries,
            query_classes: QUERY_CLASSES,
            smoothing: if self.options.entropy_smoothing {
                PAPER_SMOOTHING
            } else {
                0.0
            },
            weighted: self.options.gradients == Gradients::TimesAttention,
        })]
    }

    fn see_table(&self, _: &TextItem, part: &mut DocumentPatterns, table: &Table<'_, f32>) {
        let Some(head) = table.head else {
            return;
        };
        let cell = head.layer * self.heads + head.head;
        let row = |queries: usize| table.value.row(queries);
        if table.pass == Pass::Forward {
            let mut keys = KeySums::default();
            for (queries, are_sep) in [(SEP_QUERIES, true), (OTHER_QUERIES, false)] {
                let at = |column: usize| f64::from(row(queries)[column]);
                let mass = QueryMass {
                    begin: at(0),
                    sep: at(1),
                    punctuation: at(2),
                    own: at(KEY_CLASSES),
                    next: at(KEY_CLASSES + 1),
                    previous: at(KEY_CLASSES + 2),
                };
                keys.add(&mass, are_sep);
            }
            let nats =
                |queries: usize, column: usize| f64::from(row(queries)[KEY_CLASSES + column]);
            let all = |column| nats(SEP_QUERIES, column) + nats(OTHER_QUERIES, column);
            let nats = EntropySums {
                all: all(3),
                one: nats(ONE_QUERY, 3),
                normalized: all(4),
            };
            part.put(cell, self.keys(), &keys, &nats);
            return;
        }
        let columns = part.gradients.iter_mut().chain(&mut part.weighted);
        for (column, sums) in columns.enumerate() {
            let of = |queries: usize| f64::from(row(queries)[column]);
            sums[cell] = of(SEP_QUERIES) + of(OTHER_QUERIES);
        }
    }

    fn close(&self, _: &TextItem, part: &mut DocumentPatterns) -> Result<(), Error> {
        let sums = part.sums.iter().map(|sums| ("attention", sums));
        let gradients = part.gradients.iter().chain(&part.weighted);
        let gradients = gradients.map(|sums| ("gradient of the attention", sums));
        for (what, sums) in sums.chain(gradients) {
            check_finite(what, sums, self.heads)?;
        }
        Ok(())
    }
}

/// Averages on their way: they can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatternsState {
    classes: TokenClasses,
    options: PatternOptions,
    /// Zeros; says which heads there are.
    table: HeadTable,
    counts: SequenceCounts,
    keys: Vec<Ratios>,
    entropies: Vec<Ratios>,
    /// One cell: what is possible is the same for all heads.
    uniform: Ratios,
    /// Per class: over pairs, over rows.
    gradients: Vec<[Ratios; 2]>,
    weighted: Vec<[Ratios; 2]>,
}

impl PatternsState {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// A model without heads.
    pub fn new(
        model: &LoadedModel,
        classes: TokenClasses,
        options: PatternOptions,
    ) -> Result<Self, Error> {
        let table = HeadTable::zeros(model.model());
        if table.live().next().is_none() {
            return Err(Error::NoHeads {
                path: model.checkpoint().folder().to_owned(),
                action: "study",
            });
        }
        Ok(Self::over(table, classes, options))
    }

    fn over(table: HeadTable, classes: TokenClasses, options: PatternOptions) -> Self {
        let fresh = Ratios::new(table.values().len());
        let causal = classes.is_causal();
        let by_target = |wanted: bool| {
            let count = if wanted {
                KeyClass::of(causal).len()
            } else {
                0
            };
            vec![[fresh.clone(), fresh.clone()]; count]
        };
        Self {
            keys: vec![fresh.clone(); Key::of(causal).len()],
            entropies: vec![fresh.clone(); ENTROPIES],
            uniform: Ratios::new(1),
            gradients: by_target(options.gradients != Gradients::None),
            weighted: by_target(options.gradients == Gradients::TimesAttention),
            counts: SequenceCounts::default(),
            classes,
            options,
            table,
        }
    }

    /// Refuses sums that no texts give.
    fn check(&self) -> Result<(), Error> {
        self.counts.check()?;
        let documents = self.counts.sequences;
        let tokens = self.counts.tokens as f64;
        let nats = tokens.max(2.0).ln();
        let gradients = |all: &[[Ratios; 2]]| {
            all.iter().all(|[by_pair, by_row]| {
                by_pair.possible(documents, tokens * tokens, f64::INFINITY)
                    && by_row.possible(documents, tokens, f64::INFINITY)
            })
        };
        let most = [nats, nats, 1.0];
        let mut entropies = self.entropies.iter().zip(most);
        Error::unless_possible(
            self.keys
                .iter()
                .all(|keys| keys.possible(documents, tokens, 1.0)),
            "keys",
            "a share of attention is not between 0 and 1, or of more texts than were studied",
        )?;
        Error::unless_possible(
            entropies.all(|(ratios, most)| ratios.possible(documents, tokens, most)),
            "entropies",
            "an entropy is negative, larger than of so many tokens, or of more texts than were studied",
        )?;
        Error::unless_possible(
            self.uniform.possible(documents, tokens, nats) && self.uniform.documents() == documents,
            "uniform",
            "the entropy is not one of as many texts as were studied",
        )?;
        Error::unless_possible(
            gradients(&self.gradients),
            "gradients",
            "a mean is negative or of more texts than were studied",
        )?;
        Error::unless_possible(
            gradients(&self.weighted),
            "weighted",
            "a mean is negative or of more texts than were studied",
        )
    }

    /// Units of the input that are accounted for.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.counts.units()
    }

    /// What became of them.
    #[must_use]
    pub fn counts(&self) -> &SequenceCounts {
        &self.counts
    }
}

impl Study for PatternsState {
    type Lens = PatternLens;
    type Found = Patterns;

    const PURPOSE: Purpose = Purpose::Attention;

    fn lens(&self) -> PatternLens {
        PatternLens {
            classes: self.classes.clone(),
            options: self.options,
            heads: self.table.heads(),
            cells: self.table.values().len(),
        }
    }

    fn empty(&self) -> Self {
        Self::over(self.table.clone(), self.classes.clone(), self.options)
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let cells = fresh.table.values().len();
        let both = |all: &[[Ratios; 2]]| all.iter().flatten().all(|r| r.has_cells(cells));
        let fits = self.table == fresh.table
            && self.keys.len() == fresh.keys.len()
            && self.entropies.len() == fresh.entropies.len()
            && self.gradients.len() == fresh.gradients.len()
            && self.weighted.len() == fresh.weighted.len()
            && self
                .keys
                .iter()
                .chain(&self.entropies)
                .all(|r| r.has_cells(cells))
            && both(&self.gradients)
            && both(&self.weighted)
            && self.uniform.has_cells(1);
        if !fits {
            let (was, is) = (self.table.describe(), fresh.table.describe());
            return Error::state_mismatch("the set of heads", was, is);
        }
        if (&self.classes, self.options) != (&fresh.classes, fresh.options) {
            let say = |state: &Self| format!("{:?}, {:?}", state.options, state.classes);
            return Error::state_mismatch("the options", say(self), say(fresh));
        }
        self.check()
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.counts.covers(&units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let Contribution { item, part, tokens } = match fate {
            Fate::Studied(contribution) => contribution,
            Fate::LeftOut(why) => {
                self.counts.leave_out(why);
                return Ok(());
            }
        };
        self.counts.study(tokens, item.cut);
        let causal = self.classes.is_causal();
        let (keys, entropies) = part.sums.split_at(self.keys.len());
        let all = Key::of(causal).iter().zip(&mut self.keys).zip(keys);
        for ((key, ratios), sums) in all {
            ratios.add(
                sums,
                key_denominator(*key, &part.places, self.options.denominators),
            );
        }
        let (possible, spread) = uniform(tokens, causal);
        let rows = [tokens as f64, 1.0, spread as f64];
        for ((ratios, sums), rows) in self.entropies.iter_mut().zip(entropies).zip(rows) {
            ratios.add(sums, rows);
        }
        self.uniform.add(&[possible], tokens as f64);
        let pairs = pairs(&part.target_of, KeyClass::of(causal).len(), causal);
        for (all, sums) in [
            (&mut self.gradients, &part.gradients),
            (&mut self.weighted, &part.weighted),
        ] {
            for (([by_pair, by_row], sums), pairs) in all.iter_mut().zip(sums).zip(&pairs) {
                if *pairs > 0 {
                    by_pair.add(sums, *pairs as f64);
                    by_row.add(sums, tokens as f64);
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        if self.table != next.table {
            return Err(Error::Merge {
                reason: "they are of different heads",
            });
        }
        if self.classes != next.classes || self.options != next.options {
            return Err(Error::Merge {
                reason: "they have different options",
            });
        }
        let ours = self.keys.iter_mut().chain(&mut self.entropies);
        for (ours, theirs) in ours.zip(next.keys.iter().chain(&next.entropies)) {
            ours.merge(theirs);
        }
        let ours = self
            .gradients
            .iter_mut()
            .chain(&mut self.weighted)
            .flatten();
        let theirs = next.gradients.iter().chain(&next.weighted).flatten();
        for (ours, theirs) in ours.zip(theirs) {
            ours.merge(theirs);
        }
        self.uniform.merge(&next.uniform);
        self.counts = self.counts.and(next.counts);
        Ok(())
    }

    fn finish(&self) -> Result<Patterns, Error> {
        let Some(uniform) = self.uniform.mean_of_first() else {
            return Err(Error::NoExamples);
        };
        let causal = self.classes.is_causal();
        let average = |ratios: &Ratios| ratios.finish(&self.table);
        let [all, one, normalized] = [0, 1, 2].map(|kind| average(&self.entropies[kind]));
        let of_targets = KeyClass::of(causal).iter().zip(&self.gradients);
        let gradients = of_targets
            .enumerate()
            .map(|(at, (target, [by_pair, by_row]))| {
                let weighted = self.weighted.get(at);
                GradientAverages {
                    target: *target,
                    mean: average(by_pair),
                    row_sum: average(by_row),
                    times_attention: weighted
                        .map(|[by_pair, by_row]| [average(by_pair), average(by_row)]),
                }
            });
        Ok(Patterns {
            classes: self.classes.clone(),
            options: self.options,
            counts: self.counts,
            keys: Key::of(causal)
                .iter()
                .zip(&self.keys)
                .map(|(key, ratios)| (*key, average(ratios)))
                .collect(),
            entropy: EntropyAverages {
                all,
                one,
                normalized,
                uniform,
            },
            gradients: gradients.collect(),
        })
    }
}

/// What all heads look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Patterns {
    /// The tokens of each class.
    pub classes: TokenClasses,
    /// How it was measured.
    pub options: PatternOptions,
    /// What became of the texts.
    pub counts: SequenceCounts,
    /// Mean attention by what it goes to, in the order of [`Key::of`].
    pub keys: Vec<(Key, Average)>,
    /// How spread attention is.
    pub entropy: EntropyAverages,
    /// How much the loss depends on attention, in the order of [`KeyClass::of`]; empty without
    /// [`PatternOptions::gradients`].
    pub gradients: Vec<GradientAverages>,
}

/// Entropy of attention in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntropyAverages {
    /// Mean over all rows.
    pub all: Average,
    /// Of the first row, from `[CLS]`; of causal models of the last row, the only one that sees everything.
    pub one: Average,
    /// Mean share of what is possible, `E / ln(keys that the row sees)`, over rows that see more than one.
    pub normalized: Average,
    /// What a head that looks everywhere alike would have over all rows: mean over documents of `ln n`, of causal
    /// models of `ln(n!)/n`.
    pub uniform: f64,
}

/// `|∂L/∂α|` where the key is of one class: `α` is the softmax, taken as free (its rows need not sum to 1), `L`
/// the mean loss of a document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GradientAverages {
    /// The class of the key.
    pub target: KeyClass,
    /// Mean over the pairs of a query and a key of the class, in causal models those that the query sees.
    pub mean: Average,
    /// Summed over the keys of the class, mean over queries.
    pub row_sum: Average,
    /// Both of `|α · ∂L/∂α|`.
    pub times_attention: Option<[Average; 2]>,
}

impl Patterns {
    /// The average of a key; `None` for one that the model does not have.
    #[must_use]
    pub fn key(&self, key: Key) -> Option<&Average> {
        let found = self.keys.iter().find(|(of, _)| *of == key);
        found.map(|(_, average)| average)
    }

    /// What each head does, in a word, in order; `None` for a head to which no rule applies.
    #[must_use]
    pub fn behaviours(&self, thresholds: &Thresholds) -> Vec<(HeadId, Option<Behaviour>)> {
        let Thresholds {
            neighbour,
            broad,
            class,
        } = *thresholds;
        let of = |key: Key| self.key(key).map(|average| &average.mean);
        let rules = [
            (of(Key::Next), neighbour, Behaviour::Next),
            (of(Key::Previous), neighbour, Behaviour::Previous),
            (Some(&self.entropy.all.mean), broad, Behaviour::Broad),
            (of(Key::First), class, Behaviour::First),
            (of(Key::Cls), class, Behaviour::Cls),
            (of(Key::Sep), class, Behaviour::Sep),
            (of(Key::Punctuation), class, Behaviour::Punctuation),
        ];
        let name = |id: HeadId| {
            let applies = rules.iter().rev().find(|(table, threshold, _)| {
                let value = table.and_then(|table| table.get(id));
                value.is_some_and(|value| value > *threshold)
            });
            (id, applies.map(|(_, _, behaviour)| *behaviour))
        };
        self.entropy.all.mean.live().map(name).collect()
    }
}
