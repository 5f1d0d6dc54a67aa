//! What a device makes of attention maps in the place of handing them out.
//!
//! A map has as many numbers as its sequence has pairs of tokens; what studies make of it is a row or two a token. An observer that
//! says what it makes of maps ([`Observer::reductions`]) gets tables of a device, which makes them where the maps lie. The engine's own
//! pass hands out maps to everyone: they are in the processor's cache anyway.
//!
//! [`Observer::reductions`]: crate::Observer::reductions

use std::ops::Range;

use bertology_kernels::{Matrix, Real};

use crate::mask::HeadId;
use crate::taps::Pass;

/// What is made of the attention maps of one sequence of `n` tokens. The maps are those of
/// [`AttentionProbs`](crate::LayerSite::AttentionProbs) in both passes.
#[derive(Debug, Clone, PartialEq)]
pub enum Reduction {
    /// Where attention goes.
    Masses(Masses),
    /// Which unit of tokens each unit attends to most.
    Partners(Partners),
    /// How far all heads of all layers are apart.
    Divergences(Divergences),
}

/// Where attention goes, summed over the queries of some classes.
///
/// Forward a table of each head, `[queries' classes, count + 5]`: the attention to the keys of each class, to the query itself, to the next
/// token, to the one before (0 where there is none), its entropy in nats, and that as a share of the logarithm of the number of keys (0
/// of a query that sees one). Backward `[queries' classes, gradients]`: the sums of `|∂loss/∂probability|` over the keys of each class
/// that are not behind the query of a causal model; if `weighted` `[queries' classes, 2 · gradients]`, the sums of
/// `|probability · ∂loss/∂probability|` after them.
#[derive(Debug, Clone, PartialEq)]
pub struct Masses {
    /// `[n]`: the classes of each token; it is in class `c` if bit `c` is set, and in class `c` of gradients if bit `count + c` is.
    pub classes: Vec<u32>,
    /// How many classes there are; the same for all sequences of a batch, as what follows.
    pub count: usize,
    /// How many classes of gradients there are; with the others at most 31.
    pub gradients: usize,
    /// `[n]`: the classes of each token as a query, likewise.
    pub queries: Vec<u32>,
    /// How many of these there are.
    pub query_classes: usize,
    /// The entropy is that of `(1 - smoothing) p + smoothing / keys`, over the keys that are not behind the query of a causal model.
    pub smoothing: f64,
    /// Whether gradients are multiplied by the probabilities, too.
    pub weighted: bool,
}

/// Which unit each unit attends to most: forward a table of each head, `[units, 5]`, see [`Partners::IN_ROW`] and those behind it. A number
/// is that of a unit, the first of equal ones, or -1 where no weight is above 0.
///
/// The weight from a unit to another is the mean over the tokens by which it looks, of the sums over the tokens by which the other is
/// seen; between units of the same class it is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Partners {
    /// At most 16,777,216.
    pub units: Vec<Unit>,
}

impl Partners {
    /// Column: the unit that it attends to most.
    pub const IN_ROW: usize = 0;
    /// Column: the unit that attends to it most.
    pub const IN_COLUMN: usize = 1;
    /// Column: where the sum of both is greatest.
    pub const IN_BOTH: usize = 2;
    /// Column: the one that it attends to most of those before it.
    pub const BEFORE: usize = 3;
    /// Column: the one that it attends to most of those that are marked.
    pub const MARKED: usize = 4;
    /// How many columns there are.
    pub const COLUMNS: usize = 5;
}

/// Some tokens that are taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The tokens by which it looks, counted in the sequence.
    pub looks: Range<usize>,
    /// The tokens by which it is seen.
    pub seen: Range<usize>,
    /// Units of the same class have nothing to do with each other; every unit is of its own.
    pub class: u32,
    /// Whether it is one of [`Partners::MARKED`].
    pub marked: bool,
}

/// How far all heads of all layers are apart: once a sequence, behind all layers, `[1, pairs]` in the order (0, 1), (0, 2) ... (1, 2) ... of
/// the heads that are present, by layers: Jensen-Shannon divergences in nats, summed over rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergences {
    /// The queries whose rows are compared, counted in the sequence.
    pub rows: Vec<usize>,
    /// As [`Masses::smoothing`].
    pub smoothing: f64,
}

/// A table that was made of maps, handed to [`Observer::reduced`](crate::Observer::reduced).
#[derive(Debug, Clone, Copy)]
pub struct Table<'a, R> {
    /// Of values or of gradients.
    pub pass: Pass,
    /// Whose map; nothing where it is made of all.
    pub head: Option<HeadId>,
    /// Which sequence of the batch, zero-based.
    pub sequence: usize,
    /// Which of the reductions that the observer asked for.
    pub which: usize,
    /// The table; rows and columns as the reduction says. Borrowed: copy what you keep.
    pub value: Matrix<'a, R>,
}

impl<R: Real> Table<'_, R> {
    /// Of a table of [`Partners`]: what a column names for each unit, `[units]`.
    ///
    /// # Panics
    /// If there is no such column.
    #[track_caller]
    pub fn named(&self, column: usize) -> impl Iterator<Item = Option<usize>> {
        self.value.iter_rows().map(move |row| {
            let unit = row[column].to_f64();
            (unit >= 0.0).then_some(unit as usize)
        })
    }
}
