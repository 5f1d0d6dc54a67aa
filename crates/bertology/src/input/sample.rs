//! Some units of an input, drawn by a seed.

use std::collections::BTreeSet;
use std::path::Path;

use super::supply::{Fate, Passage, Supply, Units};
use crate::Error;
use crate::random::Draws;

/// Some of the units of another supply, in its order.
#[derive(Debug)]
pub struct Sample<'a, S> {
    all: &'a S,
    /// Ascending.
    picks: Vec<u64>,
}

impl<'a, S: Supply> Sample<'a, S> {
    /// Samples of so many units each, drawn without returning any: no two share one. Where there are too few, the first
    /// samples are whole and the last ones are smaller.
    #[must_use]
    pub fn disjoint(all: &'a S, sizes: &[u64], seed: u64) -> Vec<Self> {
        // Drawn by Floyd's method: of the numbers below n, each set of that size is equally likely.
        let total = all.total();
        let wanted = sizes
            .iter()
            .fold(0_u64, |sum, size| sum.saturating_add(*size));
        let wanted = wanted.min(total);
        let mut draws = Draws::new(seed);
        let (mut order, mut taken) = (Vec::new(), BTreeSet::new());
        for end in total - wanted..total {
            let draw = draws.below(usize::try_from(end + 1).unwrap_or(usize::MAX)) as u64;
            let pick = if taken.contains(&draw) { end } else { draw };
            taken.insert(pick);
            order.push(pick);
        }
        // Floyd's sets are not in a random order; which unit is in which sample must be chance as well.
        draws.shuffle(&mut order);
        let mut rest = order.into_iter();
        sizes
            .iter()
            .map(|size| {
                let count = usize::try_from(*size).unwrap_or(usize::MAX);
                let mut picks: Vec<u64> = rest.by_ref().take(count).collect();
                picks.sort_unstable();
                Self { all, picks }
            })
            .collect()
    }

    /// The units, by their number among all, ascending.
    #[must_use]
    pub fn picks(&self) -> &[u64] {
        &self.picks
    }
}

impl<S: Supply> Supply for Sample<'_, S> {
    type Raw = S::Raw;
    type Item = S::Item;

    fn path(&self) -> &Path {
        self.all.path()
    }

    fn total(&self) -> u64 {
        self.picks.len() as u64
    }

    fn open(&self, first: u64) -> Result<Units<'_, S::Raw>, Error> {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let picks = self.picks.get(first..).unwrap_or_default();
        let Some(begin) = picks.first() else {
            return Ok(Box::new(std::iter::empty()));
        };
        let mut wanted = picks.iter().copied().peekable();
        let mut units = (*begin..).zip(self.all.open(*begin)?);
        Ok(Box::new(std::iter::from_fn(move || {
            let next = wanted.next()?;
            units.find_map(|(number, unit)| (number == next || unit.is_err()).then_some(unit))
        })))
    }

    fn size(&self, raw: &S::Raw) -> usize {
        self.all.size(raw)
    }

    fn line(&self, raw: &S::Raw) -> u64 {
        self.all.line(raw)
    }

    fn prepare(&self, raw: S::Raw) -> Result<Fate<Vec<Passage<S::Item>>>, Error> {
        self.all.prepare(raw)
    }
}
