//! What a study asks of an input, whatever it is.

use std::path::Path;

use bertology_model::{Sequence, Target};

use crate::Error;

/// A sequence on its way into a study.
#[derive(Debug, Clone)]
pub struct Passage<I> {
    /// The model's input.
    pub sequence: Sequence,
    /// What gradients are of.
    pub target: Option<Target>,
    /// What the study knows of it.
    pub item: I,
}

/// What became of a unit of the input.
#[derive(Debug, Clone)]
pub enum Fate<T> {
    /// It is studied.
    Studied(T),
    /// It is not.
    LeftOut(LeftOut),
}

impl<I> Fate<Vec<Passage<I>>> {
    /// A unit that is one sequence.
    #[must_use]
    pub fn one(passage: Passage<I>) -> Self {
        Self::Studied(vec![passage])
    }
}

/// Why a unit of the input is not studied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftOut {
    /// It has more tokens than may be.
    TooLong {
        /// So many.
        tokens: usize,
    },
    /// It has no token.
    Empty,
    /// Its sentences cannot be packed into a pair.
    Unpaired,
    /// The loss has nothing to predict in it.
    NothingToPredict,
    /// A program that is not of its language.
    WithErrors,
    /// A program that is too large for its parser, or on which it gave up.
    NotParsed,
    /// A program of fewer leaves than are asked for, counted in what the model reads.
    TooFewLeaves {
        /// So many.
        leaves: usize,
    },
}

/// The units of an input in order.
pub type Units<'a, R> = Box<dyn Iterator<Item = Result<R, Error>> + Send + 'a>;

/// Where the sequences of a study come from. Opening it again gives the same again.
///
/// A supply owns what it needs (a clone of a [`LoadedModel`](crate::LoadedModel) shares its weights), so that
/// it can live as long as anyone wants.
pub trait Supply: Sync {
    /// One unit of the input as it is read: a row, a window, a sentence, a document.
    type Raw: Send;
    /// What is known of a sequence.
    type Item: Send;

    /// The file, for messages.
    fn path(&self) -> &Path;

    /// Number of units.
    fn total(&self) -> u64;

    /// The units from number `first` (zero-based) on, in order, numbered as those of the whole: their lines,
    /// seeds and places are the same wherever the reading begins.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn open(&self, first: u64) -> Result<Units<'_, Self::Raw>, Error>;

    /// About how many tokens a unit has.
    fn size(&self, raw: &Self::Raw) -> usize;

    /// The line of a unit, from 1.
    fn line(&self, raw: &Self::Raw) -> u64;

    /// Encodes a unit; this happens on the workers. Most give one sequence; a text read through windows gives
    /// several, none of them empty.
    ///
    /// # Errors
    /// A unit that the model cannot take.
    fn prepare(&self, raw: Self::Raw) -> Result<Fate<Vec<Passage<Self::Item>>>, Error>;
}

/// The sequences of the first units, for timing and comparison.
///
/// # Errors
/// What reading and encoding refuse.
pub fn first_sequences<S: Supply>(supply: &S, units: usize) -> Result<Vec<Sequence>, Error> {
    let passages = first_passages(supply, units)?.into_iter();
    Ok(passages.map(|passage| passage.sequence).collect())
}

/// All sequences that have a target, with it: for studies that go through them many times.
///
/// # Errors
/// What reading and encoding refuse.
pub fn sequences_with_targets<S: Supply>(supply: &S) -> Result<Vec<(Sequence, Target)>, Error> {
    let passages = first_passages(supply, usize::MAX)?.into_iter();
    let with_target = |passage: Passage<_>| Some((passage.sequence, passage.target?));
    Ok(passages.filter_map(with_target).collect())
}

/// What is studied of the first units.
fn first_passages<S: Supply>(supply: &S, units: usize) -> Result<Vec<Passage<S::Item>>, Error> {
    let mut found = Vec::new();
    for raw in supply.open(0)?.take(units) {
        if let Fate::Studied(passages) = supply.prepare(raw?)? {
            found.extend(passages);
        }
    }
    Ok(found)
}

/// The units behind the first ones, which are read and dropped: those from the place sought to the unit wanted.
pub(crate) fn after<'a, R: 'a>(
    first: u64,
    mut units: impl Iterator<Item = Result<R, Error>> + Send + 'a,
) -> Result<Units<'a, R>, Error> {
    for unit in units
        .by_ref()
        .take(usize::try_from(first).unwrap_or(usize::MAX))
    {
        unit?;
    }
    Ok(Box::new(units))
}
