//! What adds up.

use std::fmt;
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lens::Lens;
use crate::Error;
use crate::input::supply::Fate;
use crate::watch::{Purpose, Watch};

/// What adds up over a corpus. It can be saved, resumed, sent and merged.
pub trait Study: Serialize + DeserializeOwned + Sized {
    /// What sees one input.
    type Lens: Lens;
    /// What comes out.
    type Found;

    /// What the pass is for.
    const PURPOSE: Purpose;

    /// What sees one input.
    fn lens(&self) -> Self::Lens;

    /// The same study with nothing added.
    #[must_use]
    fn empty(&self) -> Self;

    /// The size of chunks that this study can take, when `wanted` units are asked for; `u64::MAX` if every
    /// input depends on all before it, so that there is one chunk.
    fn chunk(&self, wanted: u64) -> u64 {
        wanted
    }

    /// Refuses a state that was made for something else: another model, other options, other data.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with what differs.
    fn agrees(&self, fresh: &Self) -> Result<(), Error>;

    /// Refuses a state that was read back and cannot have come of these units, counted from zero, all of the corpus
    /// that it has gone through.
    ///
    /// # Errors
    /// [`Error::StateImpossible`] with the field.
    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        let _ = units;
        Ok(())
    }

    /// One more sequence, in file order.
    ///
    /// # Errors
    /// A contribution that cannot be taken (a disk that is full).
    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error>;

    /// Takes from a fresh study what no file holds: this one was read back. Gives whether all is there that it
    /// speaks of; if not, its chunk is begun again.
    fn adopt(&mut self, fresh: &Self) -> bool {
        let _ = fresh;
        true
    }

    /// The state is about to be saved: whatever it speaks of must be on disk.
    ///
    /// # Errors
    /// A disk that is full.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The chunk is complete: a moment to write what it holds.
    ///
    /// # Errors
    /// A disk that is full.
    fn close_chunk(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Tells those who look on what was found of one sequence.
    fn tell(found: &Contribution<'_, Self>, watch: &mut dyn Watch) {
        let _ = (found, watch);
    }

    /// Adds the units that follow, added up apart.
    ///
    /// # Errors
    /// [`Error::Merge`] for parts of different studies; what closing a chunk may bring.
    fn merge(&mut self, next: Self) -> Result<(), Error>;

    /// The result.
    ///
    /// # Errors
    /// Nothing to average, and the like.
    fn finish(&self) -> Result<Self::Found, Error>;
}

/// What a study's lens knows of an input.
pub type ItemOf<S> = <<S as Study>::Lens as Lens>::Item;
/// What an input contributes to a study.
pub type PartOf<S> = <<S as Study>::Lens as Lens>::Part;

/// What one sequence contributed.
pub struct Contribution<'a, S: Study> {
    /// What was known of it.
    pub item: &'a ItemOf<S>,
    /// What the lens found.
    pub part: PartOf<S>,
    /// Its length in tokens.
    pub tokens: usize,
}

impl<S: Study> fmt::Debug for Contribution<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Contribution");
        shown.field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
