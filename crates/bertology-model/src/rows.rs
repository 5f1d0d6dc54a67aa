//! The positions whose output of a layer someone reads.
//!
//! A classifier reads one position of the last layer, a masked language model a few. Queries, scores and
//! everything after attention need be computed there only; keys and values everywhere.

use std::ops::Range;

use bertology_kernels::Real;
use bertology_kernels::elementwise::add_assign;

use crate::PackedBatch;

/// Rows of `[tokens, …]` arrays that are carried on, in order; arrays of only these rows are called
/// compact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Every token.
    All,
    /// Some of each sequence.
    Some {
        /// Packed token of each row, ascending.
        tokens: Vec<usize>,
        /// Where each sequence's rows begin, and the end of the last.
        offsets: Vec<usize>,
    },
}

impl Rows {
    /// The rows at `positions` of each sequence in turn (ascending, counted from the sequence's start);
    /// [`Rows::All`] where that saves little.
    pub(crate) fn at(
        batch: &PackedBatch,
        positions: impl IntoIterator<Item = impl IntoIterator<Item = usize>>,
    ) -> Self {
        let mut tokens = Vec::new();
        let mut offsets = vec![0];
        for (range, positions) in batch.ranges().zip(positions) {
            tokens.extend(positions.into_iter().map(|position| range.start + position));
            offsets.push(tokens.len());
        }
        if tokens.len() * 2 > batch.tokens() {
            Self::All
        } else {
            Self::Some { tokens, offsets }
        }
    }

    /// Number of rows.
    pub(crate) fn count(&self, batch: &PackedBatch) -> usize {
        match self {
            Self::All => batch.tokens(),
            Self::Some { tokens, .. } => tokens.len(),
        }
    }

    /// Where the rows of a sequence lie in a compact array.
    pub(crate) fn range(&self, batch: &PackedBatch, sequence: usize) -> Range<usize> {
        match self {
            Self::All => batch.range(sequence),
            Self::Some { offsets, .. } => offsets[sequence]..offsets[sequence + 1],
        }
    }

    /// Packed tokens of a sequence's rows; `None` if they are all.
    pub(crate) fn tokens(&self, sequence: usize) -> Option<&[usize]> {
        match self {
            Self::All => None,
            Self::Some { tokens, offsets } => {
                Some(&tokens[offsets[sequence]..offsets[sequence + 1]])
            }
        }
    }

    /// The row of a sequence, counted from its first, that holds `position`; `None` if nobody reads it.
    pub(crate) fn row(
        &self,
        batch: &PackedBatch,
        sequence: usize,
        position: usize,
    ) -> Option<usize> {
        match self.tokens(sequence) {
            None => Some(position),
            Some(tokens) => tokens
                .binary_search(&(batch.range(sequence).start + position))
                .ok(),
        }
    }

    /// `compact += full` at these rows.
    pub(crate) fn add_from<R: Real>(&self, compact: &mut [R], full: &[R], width: usize) {
        match self {
            Self::All => add_assign(compact, full),
            Self::Some { tokens, .. } => {
                for (row, token) in compact.chunks_exact_mut(width).zip(tokens) {
                    add_assign(row, &full[token * width..][..width]);
                }
            }
        }
    }

    /// `full += compact` at these rows.
    pub(crate) fn add_to<R: Real>(&self, full: &mut [R], compact: &[R], width: usize) {
        match self {
            Self::All => add_assign(full, compact),
            Self::Some { tokens, .. } => {
                for (row, token) in compact.chunks_exact(width).zip(tokens) {
                    add_assign(&mut full[token * width..][..width], row);
                }
            }
        }
    }

    /// Moves these rows of `full` to its front and cuts off the rest.
    pub(crate) fn compact<R: Real>(&self, full: &mut Vec<R>, width: usize) {
        if let Self::Some { tokens, .. } = self {
            for (row, token) in tokens.iter().enumerate() {
                full.copy_within(token * width..(token + 1) * width, row * width);
            }
            full.truncate(tokens.len() * width);
        }
    }
}
