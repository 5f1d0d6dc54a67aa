//! What the study sees of one document.

use bertology_model::reduction::{Masses, Reduction, Table};
use bertology_model::{Event, Interests, LayerSite, Pass, Sequence};

use super::classes::{Places, TokenClasses};
use super::document::{EntropySums, KeySums, QueryMass, entropies, sums_by_target, target_of};
use super::{Gradients, Key, KeyClass, PAPER_SMOOTHING, PatternOptions};
use crate::Error;
use crate::drive::{Lens, Wants};
use crate::input::passages::TextItem;
use crate::table::check_finite;

/// Kinds of entropy that are averaged: of all rows, of one row, as a share of what is possible.
pub(super) const ENTROPIES: usize = 3;
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
    pub(super) classes: TokenClasses,
    pub(super) options: PatternOptions,
    /// Heads of a layer of the unpruned model.
    pub(super) heads: usize,
    pub(super) cells: usize,
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
    pub(super) places: Places,
    /// Class of each token.
    pub(super) target_of: Vec<usize>,
    /// Per key, then per kind of entropy, a cell a head.
    pub(super) sums: Vec<Vec<f64>>,
    /// Per class of key, of `|∂L/∂α|`.
    pub(super) gradients: Vec<Vec<f64>>,
    /// Per class of key, of `|α · ∂L/∂α|`.
    pub(super) weighted: Vec<Vec<f64>>,
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
