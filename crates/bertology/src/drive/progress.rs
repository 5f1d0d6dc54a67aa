//! How far a study is, chunk by chunk.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::study::Study;
use crate::Error;
use crate::watch::Savable;

/// Units in a chunk unless told otherwise.
pub const DEFAULT_CHUNK: u64 = 1024;

/// One of so many parts of a corpus, from 1: a share of its chunks that lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From 1.
    pub number: u64,
    /// Of so many.
    pub of: u64,
}

impl Part {
    /// The units of this part, of `total` in chunks of `chunk`.
    fn units(self, total: u64, chunk: u64) -> (u64, u64) {
        let chunks = total.div_ceil(chunk);
        // The product of two 64-bit numbers fits 128.
        let begin =
            |part: u64| (u128::from(chunks) * u128::from(part) / u128::from(self.of)) as u64;
        let unit = |part: u64| begin(part).saturating_mul(chunk).min(total);
        (unit(self.number - 1), unit(self.number))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "give K/N, the K-th of N parts, from 1: 2/8";
        let (number, of) = text.split_once('/').ok_or(wrong)?;
        match (number.parse(), of.parse()) {
            (Ok(number), Ok(of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(wrong),
        }
    }
}

/// A study on its way through a corpus.
#[derive(Debug)]
pub struct Progress<S> {
    /// With nothing added.
    fresh: S,
    chunk: u64,
    part: Option<Part>,
    saved: Saved<S>,
    /// `saved` was read back.
    resumed: bool,
}

/// What a state file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Saved<S> {
    /// Units in a chunk.
    chunk: u64,
    /// `None`: the whole corpus.
    part: Option<Part>,
    /// The first unit that is not accounted for; `None`: nothing was begun.
    next: Option<u64>,
    /// All finished chunks; of a part nothing.
    total: S,
    /// The unfinished chunk.
    open: Option<S>,
    /// The finished chunks of a part one by one: they are folded when all parts are there.
    chunks: Vec<S>,
}

/// What a part of a corpus came to: the units from `first` to `end`, a state a chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartState {
    /// The first unit, zero-based.
    pub first: u64,
    /// The unit behind the last.
    pub end: u64,
    /// Units of the whole corpus.
    pub total: u64,
    /// Units in a chunk.
    pub chunk: u64,
    /// A state a chunk, in order.
    pub chunks: Vec<Value>,
}

impl<S: Study> Progress<S> {
    /// Nothing done yet of a whole corpus, in chunks of [`DEFAULT_CHUNK`].
    pub fn new(study: S) -> Self {
        let saved = Saved {
            chunk: 0,
            part: None,
            next: None,
            total: study.empty(),
            open: None,
            chunks: Vec::new(),
        };
        let mut progress = Self {
            chunk: 0,
            part: None,
            fresh: study,
            saved,
            resumed: false,
        };
        progress.chunk = progress.fresh.chunk(DEFAULT_CHUNK);
        progress.saved.chunk = progress.chunk;
        progress
    }

    /// In chunks of about so many units: as many as the study can take.
    ///
    /// # Errors
    /// No unit.
    pub fn chunks_of(mut self, units: u64) -> Result<Self, Error> {
        if units == 0 {
            return Err(Error::Option {
                option: "the number of units in a chunk",
                value: "0".to_owned(),
                reason: "give at least 1",
            });
        }
        self.chunk = self.fresh.chunk(units);
        self.saved.chunk = self.chunk;
        Ok(self)
    }

    /// Only this part of the corpus.
    ///
    /// # Errors
    /// [`Error::NotInParts`] if every input of the study depends on all before it; a part that there is not.
    pub fn part(mut self, part: Option<Part>) -> Result<Self, Error> {
        if let Some(part) = part.filter(|part| !(1..=part.of).contains(&part.number)) {
            return Err(Error::Option {
                option: "the part of the corpus",
                value: part.to_string(),
                reason: "parts are counted from 1, up to as many as there are",
            });
        }
        if part.is_some() && self.chunk == u64::MAX {
            return Err(Error::NotInParts {
                reason: "every batch depends on all before it",
            });
        }
        self.part = part;
        self.saved.part = part;
        Ok(self)
    }

    /// Goes on behind the first `units`, which are accounted for elsewhere.
    #[must_use]
    pub fn after(mut self, units: u64) -> Self {
        self.saved.next = Some(units);
        self
    }

    /// Everything was added up elsewhere: this is what came of it.
    #[must_use]
    pub fn finished(mut self, study: S) -> Self {
        self.saved.total = study;
        self
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// [`Error::State`] for what is no such state, [`Error::StateMismatch`] for one of another study,
    /// [`Error::StateImpossible`] for one with numbers that no corpus gives.
    pub fn resume(mut self, saved: Value) -> Result<Self, Error> {
        let mut saved: Saved<S> =
            serde_json::from_value(saved).map_err(|source| Error::State { source })?;
        for state in std::iter::once(&mut saved.total).chain(&mut saved.chunks) {
            state.agrees(&self.fresh)?;
            state.adopt(&self.fresh);
        }
        if saved.chunk != self.chunk {
            let say = |units: u64| units.to_string();
            return Error::state_mismatch("the size of chunks", say(saved.chunk), say(self.chunk));
        }
        if saved.part != self.part {
            let say = |part: Option<Part>| part.map_or("the whole".into(), |part| part.to_string());
            return Error::state_mismatch(
                "the part of the corpus",
                say(saved.part),
                say(self.part),
            );
        }
        if let Some(open) = &mut saved.open {
            open.agrees(&self.fresh)?;
            if !open.adopt(&self.fresh) {
                saved.open = None;
                saved.next = saved.next.map(|next| next - next % saved.chunk);
            }
        }
        // Of a part the finished chunks are those before the place that it has come to, of the whole none are kept.
        let chunks = saved.chunks.len() as u64;
        let whole = chunks.checked_mul(saved.chunk);
        Error::unless_possible(
            match (saved.part, saved.next) {
                (None, _) | (Some(_), None) => chunks == 0,
                (Some(_), Some(next)) => {
                    whole.is_some_and(|whole| whole < next.saturating_add(saved.chunk))
                }
            },
            "chunks",
            "there are others than it speaks of",
        )?;
        self.saved = saved;
        self.resumed = true;
        Ok(self)
    }

    /// Units in a chunk; `u64::MAX`: there is one.
    #[must_use]
    pub fn chunk(&self) -> u64 {
        self.chunk
    }

    /// The study with nothing added.
    #[must_use]
    pub fn fresh(&self) -> &S {
        &self.fresh
    }

    /// The units of a corpus of `total` that are to be gone through: the first, and the one behind the last.
    #[must_use]
    pub fn bounds(&self, total: u64) -> (u64, u64) {
        match self.part {
            None => (0, total),
            Some(part) => part.units(total, self.chunk),
        }
    }

    /// The first unit that is not accounted for.
    #[must_use]
    pub fn next(&self, total: u64) -> u64 {
        self.saved.next.unwrap_or(self.bounds(total).0)
    }

    /// Units that are accounted for.
    #[must_use]
    pub fn done(&self, total: u64) -> u64 {
        self.next(total).saturating_sub(self.bounds(total).0)
    }

    /// Refuses sums read back that cannot be those of the units of a corpus of `total` that are said to be done.
    pub(super) fn check(&self, total: u64) -> Result<(), Error> {
        if !self.resumed {
            return Ok(());
        }
        let (first, next) = (self.bounds(total).0, self.next(total));
        let folded = match &self.saved.open {
            Some(open) => {
                let folded = next - next % self.chunk;
                open.covers(folded..next)?;
                folded
            }
            None => next,
        };
        if self.part.is_none() {
            return self.saved.total.covers(first..folded);
        }
        self.saved.total.covers(first..first)?;
        let mut places = spans(first..folded, self.chunk);
        for chunk in &self.saved.chunks {
            chunk.covers(places.next().unwrap_or(folded..folded))?;
        }
        Ok(())
    }

    /// The chunk that is being filled.
    pub(super) fn open(&mut self) -> &mut S {
        let fresh = &self.fresh;
        self.saved.open.get_or_insert_with(|| fresh.empty())
    }

    /// `next` units are accounted for; at the end of a chunk it is folded.
    pub(super) fn advance(&mut self, next: u64, last: bool) -> Result<(), Error> {
        self.saved.next = Some(next);
        if !last && !next.is_multiple_of(self.chunk) {
            return Ok(());
        }
        // A chunk in which nothing was found is a chunk all the same.
        let open = self.saved.open.take();
        let mut open = open.unwrap_or_else(|| self.fresh.empty());
        open.close_chunk()?;
        if self.part.is_some() {
            self.saved.chunks.push(open);
            Ok(())
        } else {
            self.saved.total.merge(open)
        }
    }

    /// All finished chunks together.
    #[must_use]
    pub fn study(&self) -> &S {
        &self.saved.total
    }

    /// All finished chunks together.
    #[must_use]
    pub fn into_study(self) -> S {
        self.saved.total
    }

    /// What a finished part is, to be sent to where the parts are merged.
    ///
    /// # Errors
    /// [`Error::Merge`] for what is no part, or not finished; [`Error::State`].
    pub fn into_part(self, total: u64) -> Result<PartState, Error> {
        let (first, end) = self.bounds(total);
        let refuse = |reason| Err(Error::Merge { reason });
        if self.part.is_none() {
            return refuse("this is the whole, not a part of it");
        }
        if self.next(total) != end {
            return refuse("the part is not finished");
        }
        let chunks = self
            .saved
            .chunks
            .iter()
            .map(to_value)
            .collect::<Result<_, _>>()?;
        Ok(PartState {
            first,
            end,
            total,
            chunk: self.chunk,
            chunks,
        })
    }

    /// Refuses a part whose states are none of this study, or hold numbers that no corpus gives.
    ///
    /// # Errors
    /// As [`Progress::merge`], which looks at the same but does not say at which part.
    pub fn check_part(&self, part: &PartState) -> Result<(), Error> {
        let places = spans(part.first..part.end, self.chunk);
        for (chunk, place) in part.chunks.iter().zip(places) {
            self.chunk_read_back(chunk.clone(), place)?;
        }
        Ok(())
    }

    fn chunk_read_back(&self, chunk: Value, place: Range<u64>) -> Result<S, Error> {
        let chunk: S = serde_json::from_value(chunk).map_err(|source| Error::State { source })?;
        chunk.agrees(&self.fresh)?;
        chunk.covers(place)?;
        Ok(chunk)
    }

    /// Folds parts that lie side by side and make up the whole, in whatever order they are given.
    ///
    /// # Errors
    /// [`Error::Merge`] for parts with a gap or an overlap, or of different grids; states that are none or
    /// [cannot be](Error::StateImpossible).
    pub fn merge(mut self, mut parts: Vec<PartState>) -> Result<Self, Error> {
        let refuse = |reason| Err(Error::Merge { reason });
        parts.sort_by_key(|part| (part.first, part.end));
        let Some(total) = parts.first().map(|part| part.total) else {
            return refuse("there is none");
        };
        let mut next = 0;
        for part in parts {
            if part.total != total {
                return refuse("they are of corpora of different sizes");
            }
            if part.chunk != self.chunk {
                return refuse("they have chunks of different sizes");
            }
            if part.first != next {
                return refuse("they do not lie side by side");
            }
            let units = part.end.saturating_sub(part.first);
            if part.chunks.len() as u64 != units.div_ceil(self.chunk) {
                return refuse("one of them is not finished");
            }
            next = part.end;
            let places = spans(part.first..part.end, self.chunk);
            for (chunk, place) in part.chunks.into_iter().zip(places) {
                let chunk = self.chunk_read_back(chunk, place)?;
                self.saved.total.merge(chunk)?;
            }
        }
        if next != total {
            return refuse("the last part is not there");
        }
        self.saved.next = Some(next);
        Ok(self)
    }
}

/// The units of each chunk, where the first begins one.
fn spans(units: Range<u64>, chunk: u64) -> impl Iterator<Item = Range<u64>> {
    let mut next = units.start;
    std::iter::from_fn(move || {
        let from = next;
        next = from.saturating_add(chunk).min(units.end);
        (from < next).then_some(from..next)
    })
}

fn to_value<S: Serialize>(state: &S) -> Result<Value, Error> {
    serde_json::to_value(state).map_err(|source| Error::State { source })
}

impl<S: Study> Savable for Progress<S> {
    fn save(&mut self) -> Result<Value, Error> {
        if let Some(open) = &mut self.saved.open {
            open.flush()?;
        }
        to_value(&self.saved)
    }
}
