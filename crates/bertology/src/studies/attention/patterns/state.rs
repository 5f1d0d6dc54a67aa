//! The study: documents in, averages out.

use std::ops::Range;

use bertology_model::HeadId;
use serde::{Deserialize, Serialize};

use super::average::{Average, Ratios};
use super::behaviour::{Behaviour, Thresholds};
use super::classes::TokenClasses;
use super::document::{key_denominator, pairs, uniform};
use super::lens::{ENTROPIES, PatternLens};
use super::{Gradients, Key, KeyClass, PatternOptions};
use crate::drive::{Contribution, Study};
use crate::input::account::SequenceCounts;
use crate::input::supply::Fate;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel};

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
