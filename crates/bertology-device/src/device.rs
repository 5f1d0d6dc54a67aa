//! What a device can do.

use std::fmt::Debug;
use std::ops::Range;

use bertology_kernels::{Activation, Real};

use crate::{Error, Factor, HeadMatrix, Shape, Sight};

/// What kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The processor.
    Host,
    /// A graphics card.
    Gpu,
    /// A program that acts as a graphics card.
    Software,
}

/// Which device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// As its driver calls it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it is spoken to through, `Vulkan` for example.
    pub through: String,
    /// Bytes that one buffer may have.
    pub largest_buffer: u64,
    /// Bytes of attention maps that are computed together, at most [`Info::largest_buffer`].
    pub map_bytes: u64,
}

/// [`Info::map_bytes`] of devices that hold so much: more would make nothing faster.
pub const MAP_BYTES: u64 = 256 << 20;

/// Some columns of the rows of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Where the first of them is in the buffer.
    pub first: usize,
    /// Numbers from row to row.
    pub stride: usize,
    /// How many of each row.
    pub width: usize,
}

impl Columns {
    /// All columns of rows of this width.
    #[must_use]
    pub fn all(width: usize) -> Self {
        Self {
            first: 0,
            stride: width,
            width,
        }
    }
}

/// The function between the two maps of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activate {
    /// The function.
    pub function: Activation,
    /// Numbers that come out of a row.
    pub inner: usize,
    /// Whether a row that goes in has `inner` numbers more, by which what comes out is multiplied.
    pub gated: bool,
}

/// How scores depend on the distance of query and key by way of a [`HeadMatrix::Spread`].
#[derive(Debug, Clone, Copy)]
pub struct Spread<'a, I> {
    /// `[2 · longest - 1]`: the column for each `query - key + longest - 1`.
    pub columns: &'a I,
    /// Whether a row is that of the key, and not of the query.
    pub by_key: bool,
}

/// Arithmetic on buffers of a device. Operations are done in the order in which they are asked for; what goes wrong with one
/// may be told by a later one, at the latest when something is read.
///
/// A buffer holds numbers of type `R`; matrices are row-major. Sizes that do not fit are faults of the caller, and may panic.
pub trait Device<R: Real>: Debug + Send + Sync {
    /// Numbers.
    type Buffer: Debug + Send + Sync;
    /// Places of rows.
    type Indices: Debug + Send + Sync;
    /// A [`Shape`], as the device reads it.
    type Shape: Debug + Send + Sync;

    /// Which device this is.
    fn info(&self) -> &Info;

    /// A buffer of zeros.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::OutOfMemory`], [`Error::Lost`].
    fn zeros(&self, len: usize) -> Result<Self::Buffer, Error>;

    /// A buffer of these numbers.
    ///
    /// # Errors
    /// As [`Device::zeros`].
    fn upload(&self, values: &[R]) -> Result<Self::Buffer, Error>;

    /// Places of rows; [`u32::MAX`] is no row.
    ///
    /// # Errors
    /// As [`Device::zeros`].
    fn indices(&self, rows: &[u32]) -> Result<Self::Indices, Error>;

    /// A shape.
    ///
    /// # Errors
    /// As [`Device::zeros`].
    fn shape(&self, shape: &Shape) -> Result<Self::Shape, Error>;

    /// Puts numbers into a buffer, from its place `first` on.
    ///
    /// # Errors
    /// [`Error::Lost`].
    fn write(&self, buffer: &mut Self::Buffer, first: usize, values: &[R]) -> Result<(), Error>;

    /// Numbers of a buffer, after all that was asked for before.
    ///
    /// # Errors
    /// Whatever went wrong since the last reading.
    fn read(&self, buffer: &Self::Buffer, range: Range<usize>) -> Result<Vec<R>, Error>;

    /// Bytes that were carried to the device and back so far, those of uploads included.
    fn carried(&self) -> u64;

    /// `out = value` everywhere.
    fn fill(&self, out: &mut Self::Buffer, value: R);

    /// Some columns of `rows` rows.
    fn copy(
        &self,
        out: &mut Self::Buffer,
        to: Columns,
        x: &Self::Buffer,
        from: Columns,
        rows: usize,
    );

    /// `out[r] [+]= table[rows[r]]`, rows of `width` numbers; no row is zeros.
    fn gather(
        &self,
        out: &mut Self::Buffer,
        table: &Self::Buffer,
        rows: &Self::Indices,
        width: usize,
        add: bool,
    );

    /// `out[rows[r]] = x[r]`, rows of `width` numbers, each place once.
    fn scatter(&self, out: &mut Self::Buffer, x: &Self::Buffer, rows: &Self::Indices, width: usize);

    /// `out += x` for the first `len` numbers.
    fn add(&self, out: &mut Self::Buffer, x: &Self::Buffer, len: usize);

    /// `out *= x` for the first `len` numbers.
    fn multiply(&self, out: &mut Self::Buffer, x: &Self::Buffer, len: usize);

    /// `out *= factor` for the first `len` numbers.
    fn scale(&self, out: &mut Self::Buffer, factor: R, len: usize);

    /// `out [rows, width]`, row `r` times `factors[r]`.
    fn scale_rows(&self, out: &mut Self::Buffer, factors: &Self::Buffer, rows: usize, width: usize);

    /// `out [rows, width]`, column `c` times `factors[c]`.
    fn scale_columns(
        &self,
        out: &mut Self::Buffer,
        factors: &Self::Buffer,
        rows: usize,
        width: usize,
    );

    /// `y [rows, outputs] = x [rows, inputs] · weightᵀ + bias`: the first `outputs` rows of `weight [.., inputs]`, and of `bias`.
    fn linear(
        &self,
        y: &mut Self::Buffer,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        size: [usize; 3],
    );

    /// `dx [rows, inputs] = dy [rows, outputs] · weight`. `size` is rows, inputs and outputs here and in [`Device::linear`].
    fn linear_backward(
        &self,
        dx: &mut Self::Buffer,
        dy: &Self::Buffer,
        weight: &Self::Buffer,
        size: [usize; 3],
    );

    /// `y = norm(hat)`, rows of `weight`'s width: `hat` becomes what is normalised (without the mean only if `centred`) and
    /// `rstd [rows]` the inverse deviation, which the backward pass reads.
    #[allow(clippy::too_many_arguments, reason = "a norm has as many parts")]
    fn norm(
        &self,
        y: &mut Self::Buffer,
        hat: &mut Self::Buffer,
        rstd: &mut Self::Buffer,
        weight: &Self::Buffer,
        bias: &Self::Buffer,
        size: [usize; 2],
        epsilon: f64,
        centred: bool,
    );

    /// The gradient of a norm's input in the place of that of its output, `d [rows, width]`; `size` is rows and width.
    fn norm_backward(
        &self,
        d: &mut Self::Buffer,
        hat: &Self::Buffer,
        rstd: &Self::Buffer,
        weight: &Self::Buffer,
        size: [usize; 2],
        centred: bool,
    );

    /// `out [rows, inner]` of `pre [rows, inner]`, or `[rows, 2 · inner]`, the gate behind it, where it is gated.
    fn activate(&self, out: &mut Self::Buffer, pre: &Self::Buffer, rows: usize, by: Activate);

    /// `d_pre`, shaped as `pre`, of `d [rows, inner]`.
    fn activate_backward(
        &self,
        d_pre: &mut Self::Buffer,
        d: &Self::Buffer,
        pre: &Self::Buffer,
        rows: usize,
        by: Activate,
    );

    /// `losses[r] = weights[r] · (ln Σ_c e^z[r][c] - z[r][labels[r]])`, and the gradient of their sum in the place of the logits
    /// `z [rows, columns]`; `size` is rows and columns.
    fn cross_entropy(
        &self,
        logits: &mut Self::Buffer,
        losses: &mut Self::Buffer,
        labels: &Self::Indices,
        weights: &Self::Buffer,
        size: [usize; 2],
    );

    /// For every sequence and head `out = [out +] scale · a · b`.
    #[allow(clippy::too_many_arguments, reason = "a product has as many parts")]
    fn products(
        &self,
        shape: &Self::Shape,
        out: (&mut Self::Buffer, HeadMatrix),
        a: (&Self::Buffer, Factor),
        b: (&Self::Buffer, Factor),
        scale: R,
        accumulate: bool,
    );

    /// `map[h][q][k] += by_offset[h][k - q + longest - 1]`; `by_offset [heads, 2 · longest - 1]`.
    fn add_by_offset(&self, shape: &Self::Shape, map: &mut Self::Buffer, by_offset: &Self::Buffer);

    /// `map[q][k] += spread[q or k][column of q - k]`.
    fn add_spread(
        &self,
        shape: &Self::Shape,
        map: &mut Self::Buffer,
        spread: &Self::Buffer,
        by: Spread<'_, Self::Indices>,
    );

    /// What [`Device::add_spread`] gives back: every column of a row is the sum of the entries of `map` that read it.
    fn sum_spread(
        &self,
        shape: &Self::Shape,
        spread: &mut Self::Buffer,
        map: &Self::Buffer,
        by: Spread<'_, Self::Indices>,
    );

    /// `-∞` where a query does not see a key.
    fn hide(&self, shape: &Self::Shape, map: &mut Self::Buffer, sight: Sight);

    /// Each query's softmax over the keys that it sees; 0 elsewhere.
    fn softmax(&self, shape: &Self::Shape, map: &mut Self::Buffer, sight: Sight);

    /// `d = p ⊙ (d - rowsum(p ⊙ d))`: the gradient of the scores in the place of that of the probabilities `p`.
    fn softmax_backward(&self, shape: &Self::Shape, d: &mut Self::Buffer, probs: &Self::Buffer);

    /// Turns the pairs `(c, c + half)` of every head's rows by the angles of their tokens' positions: `(a, b)` becomes
    /// `(a cos - b sin, b cos + a sin)`, or the other way round where `back`. `angles` are cosines and sines,
    /// `[positions, half]`; `positions` those of all tokens of the batch. `x` is [`HeadMatrix::Tokens`].
    #[allow(clippy::too_many_arguments, reason = "one call site")]
    fn turn(
        &self,
        shape: &Self::Shape,
        x: (&mut Self::Buffer, HeadMatrix),
        angles: [&Self::Buffer; 2],
        positions: &Self::Indices,
        half: usize,
        back: bool,
    );

    /// `x [tokens, width]`, the columns of every head times the factor of its sequence and head; `factors [sequences, heads]`.
    fn scale_heads(
        &self,
        shape: &Self::Shape,
        x: &mut Self::Buffer,
        width: usize,
        factors: &Self::Buffer,
    );

    /// `out [tokens, heads]`: the product of `a`'s and `b`'s numbers of every head, both `[tokens, width]`.
    fn head_dots(
        &self,
        shape: &Self::Shape,
        out: &mut Self::Buffer,
        a: &Self::Buffer,
        b: &Self::Buffer,
        width: usize,
    );

    /// `out [sequences, heads]`, from its place `first` on: the sums of `x [tokens, heads]` over every sequence's tokens.
    fn sum_tokens(
        &self,
        shape: &Self::Shape,
        out: &mut Self::Buffer,
        first: usize,
        x: &Self::Buffer,
    );

    /// `flags[first + s] = 1` for every sequence `s` that has a number in its rows of `x [tokens, width]` that is NaN or
    /// infinite, else 0.
    fn flag_nonfinite(
        &self,
        shape: &Self::Shape,
        flags: &mut Self::Buffer,
        first: usize,
        x: &Self::Buffer,
        width: usize,
    );
}
