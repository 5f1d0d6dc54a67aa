//! The best head of every relation.

use bertology_model::HeadId;

use super::arcs::{ALL, ALL_WITHOUT_PUNCT};
use super::{Direction, SyntaxCounts};
use crate::studies::proportion::Proportion;

/// The best fixed offset of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Baseline {
    /// How far ahead the word stands that is named.
    pub offset: i64,
    /// How often it is the head.
    pub score: Proportion,
}

/// The best head of a relation in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BestHead {
    /// Who attends to whom.
    pub direction: Direction,
    /// The head.
    pub head: HeadId,
    /// How often it is right.
    pub score: Proportion,
    /// How many of the relation's words have a head that this direction can name.
    pub reachable: u64,
    /// How often it is right on the data on which it was chosen; the same as `score` if those are these.
    pub chosen_by: Proportion,
    /// Whether this direction can make the best baseline's guess at all; only in causal models it may not.
    pub baseline_in_reach: bool,
}

/// A relation, its best heads and its best offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationScores {
    /// The relation, or one of the rows of all words.
    pub relation: String,
    /// Its words.
    pub total: u64,
    /// The best head in every direction, in the order of [`Direction::ALL`].
    pub directions: [BestHead; 3],
    /// The best offset.
    pub baseline: Baseline,
}

impl RelationScores {
    /// The best of the paper's two directions.
    #[must_use]
    pub fn best(&self) -> &BestHead {
        let [to_head, to_dependent, _] = &self.directions;
        if to_dependent.chosen_by.part > to_head.chosen_by.part {
            to_dependent
        } else {
            to_head
        }
    }
}

impl SyntaxCounts {
    /// Heads and offsets that are best on the data of `chosen_on`, with their scores on these data: the rows of all words
    /// first, then relations, the most frequent first. Of equals the first head and the nearest offset (ahead before
    /// behind) count.
    ///
    /// Roots, which attention cannot name, are not among them, nor relations of which one of the two has no word.
    /// A head chosen on the data on which it is scored looks better than it is, the more so the fewer words there are.
    #[must_use]
    pub fn best(&self, chosen_on: &Self) -> Vec<RelationScores> {
        let names = self.rows().names().iter().enumerate();
        let mut found: Vec<RelationScores> = names
            .filter(|(_, name)| !is_root(name))
            .filter_map(|(row, name)| self.best_of(name, row, chosen_on))
            .collect();
        let order = |name: &str| match name {
            ALL => 0,
            ALL_WITHOUT_PUNCT => 1,
            _ => 2,
        };
        found.sort_by(|a, b| {
            let by_frequency = || b.total.cmp(&a.total);
            order(&a.relation)
                .cmp(&order(&b.relation))
                .then_with(by_frequency)
                .then_with(|| a.relation.cmp(&b.relation))
        });
        found
    }

    fn best_of(&self, name: &str, row: usize, chosen_on: &Self) -> Option<RelationScores> {
        let there = chosen_on.rows().find(name)?;
        if self.total(row) == 0 || chosen_on.total(there) == 0 {
            return None;
        }
        let mut offsets = self.options().all_offsets();
        offsets.sort_by_key(|offset| (offset.abs(), *offset < 0));
        let correct = |offset: i64| chosen_on.offset(offset, there).unwrap_or_default().part;
        let offset = first_greatest(offsets, |offset| correct(*offset))?;
        let baseline = Baseline {
            offset,
            score: self.offset(offset, row)?,
        };
        let best = |direction: Direction| {
            let scores = |head: &HeadId| chosen_on.score(direction, *head, there).part;
            let head = first_greatest(chosen_on.live(), scores)?;
            Some(BestHead {
                direction,
                head,
                score: self.score(direction, head, row),
                reachable: self.reachable(direction, row),
                chosen_by: chosen_on.score(direction, head, there),
                baseline_in_reach: !self.is_causal() || can_guess(direction, offset),
            })
        };
        Some(RelationScores {
            relation: name.to_owned(),
            total: self.total(row),
            directions: [
                best(Direction::DependentToHead)?,
                best(Direction::HeadToDependent)?,
                best(Direction::Both)?,
            ],
            baseline,
        })
    }
}

/// Whether the word at an offset is on the side that a causal model sees.
fn can_guess(direction: Direction, offset: i64) -> bool {
    match direction {
        Direction::DependentToHead => offset < 0,
        Direction::HeadToDependent => offset > 0,
        Direction::Both => true,
    }
}

fn is_root(name: &str) -> bool {
    name == "root" || name.starts_with("root:")
}

fn first_greatest<T>(all: Vec<T>, value: impl Fn(&T) -> u64) -> Option<T> {
    let mut best: Option<(u64, T)> = None;
    for one in all {
        let value = value(&one);
        if best.as_ref().is_none_or(|(most, _)| value > *most) {
            best = Some((value, one));
        }
    }
    best.map(|(_, one)| one)
}
