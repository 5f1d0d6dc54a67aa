//! What a device makes of maps where they lie, so that tables are carried instead of maps.

use bertology_kernels::Real;

use crate::{Columns, Device, Sight};

/// Words that describe a unit of tokens in the [`Indices`](Device::Indices) of [`Reduce::fold`] and [`Reduce::strongest`]: the first
/// of the tokens that look for it and the one behind the last, the first of those that are looked at and the one behind the last,
/// its class, and whether it is marked (1, or 0).
pub const UNIT: usize = 6;

/// Columns of [`Reduce::strongest`].
pub const PARTNERS: usize = 5;

/// Sums, choices and divergences of maps. Where `to` says some columns, the table is `[tokens, heads, to.stride]`, with the tokens
/// of the whole batch, and nothing is written beside these columns.
pub trait Reduce<R: Real>: Device<R> {
    /// One column: each query's `-Σ_k p ln p` over the keys that it sees, in nats, with `0 ln 0 = 0`, where `p` is
    /// `(1 - smoothing) · probs + smoothing / keys`. A second one, if `to.width` is 2: its share of `ln keys`, 0 of a query that sees
    /// one key.
    fn row_entropies(
        &self,
        shape: &Self::Shape,
        out: (&mut Self::Buffer, Columns),
        probs: &Self::Buffer,
        smoothing: f64,
        sight: Sight,
    );

    /// A column for each of `to.width` classes: what each query's row has at the keys of the class that it sees, summed. A token
    /// is in class `c` if it has bit `c` of `classes [tokens of the batch]`. With `times`, each number is multiplied by the one
    /// there; of `absolute` sums the absolute value is taken.
    fn class_sums(
        &self,
        shape: &Self::Shape,
        out: (&mut Self::Buffer, Columns),
        map: (&Self::Buffer, Option<&Self::Buffer>),
        classes: &Self::Indices,
        sight: Sight,
        absolute: bool,
    );

    /// Three columns: what each query's row has at its own place, at the next and at the one before, 0 where there is none.
    fn neighbours(
        &self,
        shape: &Self::Shape,
        out: (&mut Self::Buffer, Columns),
        map: &Self::Buffer,
    );

    /// `out [sequences, heads, classes, columns]`: the rows of `table [tokens of the batch, heads, columns]` of the tokens of each class of
    /// a sequence, summed. Classes are those of [`Reduce::class_sums`]; `size` is how many there are, and the columns.
    fn sum_rows(
        &self,
        shape: &Self::Shape,
        out: &mut Self::Buffer,
        table: &Self::Buffer,
        classes: &Self::Indices,
        size: [usize; 2],
    );

    /// Maps of units, `out`, of maps of tokens, `map`: the mean over the tokens of the unit that looks, of the sums over the tokens
    /// of the unit that is looked at; 0 between units of the same class, and where there are no tokens. `units` has the same
    /// sequences and heads as `tokens`, the units in the place of tokens; `described [units of the batch, UNIT]` counts tokens
    /// within their sequence.
    fn fold(
        &self,
        units: &Self::Shape,
        out: &mut Self::Buffer,
        tokens: &Self::Shape,
        map: &Self::Buffer,
        described: &Self::Indices,
    );

    /// `out [units of the batch, heads, PARTNERS]`: which unit has the greatest weight, the first of equal ones, or -1 where none is
    /// above 0: in the row of a unit, in its column, in the sum of both; in its row before itself; in its row among those marked.
    fn strongest(
        &self,
        units: &Self::Shape,
        out: &mut Self::Buffer,
        map: &Self::Buffer,
        described: &Self::Indices,
    );

    /// Some `rows` of the maps of one sequence, of which `shape` is: `out[first + head · rows · n + row · n + key]`, smoothed over
    /// the keys that they see as in [`Reduce::row_entropies`], 0 at others.
    #[allow(clippy::too_many_arguments, reason = "one call site")]
    fn keep_rows(
        &self,
        shape: &Self::Shape,
        out: (&mut Self::Buffer, usize),
        map: &Self::Buffer,
        rows: &Self::Indices,
        smoothing: f64,
        sight: Sight,
    );

    /// For each pair of `maps [count, cells]`, in the order (0, 1), (0, 2) ... (1, 2) ...: the sum over cells of
    /// `½ p ln p + ½ q ln q - m ln m` with `m = (p + q) / 2`, in nats: the Jensen-Shannon divergences of their rows.
    fn divergences(&self, out: &mut Self::Buffer, maps: &Self::Buffer, size: [usize; 2]);
}
