//! Linear maps by bf16 parts of both factors ([`Precision::Split`], [`Precision::Bf16`]).
//!
//! A weight is split once; the rows that it maps are split as they come. The order is that of `panels`: some columns of the
//! result are arranged as a panel that stays in the second-level cache while every row passes over it. Two neighbouring
//! terms of the sum stand side by side as one pair, as the units take them that multiply bf16 numbers:
//!
//! | unit | where | a tile |
//! | --- | --- | --- |
//! | `tiles` | matrix units of Intel processors (AMX), on Linux | 32 rows by 32 columns |
//! | `dots` | AVX512-BF16 (AMD since Zen 4, Intel since Cooper Lake) | 6 rows by 64 columns |
//! | `portable` | everywhere: bf16 numbers as f32 | 4 rows by 16 columns |
//!
//! An element of the result is one sum in an order of its own: it depends neither on other rows and columns nor on the
//! number of threads. The units round their sums in different orders.

#[cfg(target_arch = "x86_64")]
mod dots;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "x86_64", any(target_os = "linux", test)))]
mod tiles;

use std::any::TypeId;
use std::ops::Range;

use crate::elementwise::add_assign;
use crate::matrix::{Matrix, MatrixMut};
use crate::precision::{Precision, halves, rounded};
use crate::{Real, vectorized};

/// Terms that a panel has at most.
const DEPTH: usize = 512;
/// Terms that are padded with zeros: the width of a matrix unit's tile.
const STEP: usize = 32;
/// Fewer rows are not worth a thread.
const THREAD_ROWS: usize = 64;
/// Pairs behind a row, so that rows do not lie a power of two apart, where they would displace each other in the cache.
const APART: usize = 16;

/// bf16 parts of numbers: the greater ones, and the rests, empty where they do not count. In rows of pairs of
/// neighbours, the first in the lower half.
#[derive(Debug, Clone, Default)]
struct Pairs {
    high: Vec<u32>,
    low: Vec<u32>,
}

impl Pairs {
    fn zeros(len: usize, precision: Precision) -> Self {
        let low = if precision.parts() == 2 { len } else { 0 };
        Self {
            high: vec![0; len],
            low: vec![0; low],
        }
    }

    /// From a place on; of no rests, none.
    fn from(&self, place: usize) -> [&[u32]; 2] {
        [&self.high[place..], self.low.get(place..).unwrap_or(&[])]
    }

    /// Puts numbers at a place, and zeros behind them until there are `len` pairs.
    fn put(&mut self, place: usize, len: usize, numbers: &[f32]) {
        let high = &mut self.high[place..place + len];
        let low = self.low.get_mut(place..place + len);
        let low = low.unwrap_or(&mut []);
        vectorized!(split(numbers, high, low));
    }
}

#[inline(always)]
fn split(numbers: &[f32], high: &mut [u32], low: &mut [u32]) {
    let (twos, last) = numbers.as_chunks::<2>();
    let pair = |a: u32, b: u32| (a >> 16) | b;
    if low.is_empty() {
        for (high, two) in high.iter_mut().zip(twos) {
            let [a, b] = two.map(|x| rounded(x.to_bits()));
            *high = pair(a, b);
        }
    } else {
        for ((high, low), two) in high.iter_mut().zip(&mut *low).zip(twos) {
            let [a, b] = two.map(|x| halves(x.to_bits()));
            (*high, *low) = (pair(a[0], b[0]), pair(a[1], b[1]));
        }
    }
    let mut done = twos.len();
    if let [last] = last {
        let [a, b] = halves(last.to_bits());
        high[done] = a >> 16;
        if let Some(low) = low.get_mut(done) {
            *low = b >> 16;
        }
        done += 1;
    }
    high[done..].fill(0);
    if !low.is_empty() {
        low[done..].fill(0);
    }
}

/// A weight `[outputs, inputs]` as bf16 parts.
#[derive(Debug, Clone)]
pub struct Parts {
    outputs: usize,
    inputs: usize,
    precision: Precision,
    /// `[outputs][stride]`
    pairs: Pairs,
    stride: usize,
}

impl Parts {
    /// The parts that a precision asks for; `None` where it takes numbers as they are.
    ///
    /// # Panics
    /// If there are to be parts and `T` is not `f32`.
    #[track_caller]
    #[must_use]
    pub fn new<T: Real>(weight: Matrix<'_, T>, precision: Precision) -> Option<Self> {
        if precision.parts() == 0 {
            return None;
        }
        let weight = of_f32(weight);
        let (outputs, inputs) = (weight.rows(), weight.cols());
        let stride = inputs.div_ceil(2);
        let mut pairs = Pairs::zeros(outputs * stride, precision);
        for row in 0..outputs {
            pairs.put(row * stride, stride, weight.row(row));
        }
        Some(Self {
            outputs,
            inputs,
            precision,
            pairs,
            stride,
        })
    }

    /// That of the products.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The map to some of the outputs.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    #[must_use]
    pub fn outputs(&self, outputs: Range<usize>) -> PartsView<'_> {
        assert!(
            outputs.end <= self.outputs,
            "{outputs:?} of {}",
            self.outputs
        );
        PartsView {
            parts: self,
            outputs,
        }
    }

    /// The whole map.
    #[must_use]
    pub fn all(&self) -> PartsView<'_> {
        self.outputs(0..self.outputs)
    }
}

/// Some outputs of a weight in parts.
#[derive(Debug, Clone)]
pub struct PartsView<'a> {
    parts: &'a Parts,
    outputs: Range<usize>,
}

impl PartsView<'_> {
    /// [`linear_into`](crate::product::linear_into) by parts.
    ///
    /// # Shapes
    /// `y [rows, outputs]`, `x [rows, inputs]`, `bias [outputs]` or empty.
    ///
    /// # Panics
    /// If the shapes do not fit, or `T` is not `f32`.
    #[track_caller]
    pub fn linear_into<T: Real>(
        &self,
        y: MatrixMut<'_, T>,
        x: Matrix<'_, T>,
        bias: &[T],
        threads: usize,
    ) {
        let (x, bias) = (of_f32(x), bytemuck::cast_slice(bias));
        let y = MatrixMut {
            data: bytemuck::cast_slice_mut(y.data),
            rows: y.rows,
            cols: y.cols,
            row_stride: y.row_stride,
        };
        assert!(bias.is_empty() || bias.len() == self.outputs.len());
        assert_eq!(x.cols(), self.parts.inputs);
        self.compute(y, x, bias, Side::Outputs, threads);
    }

    /// [`linear_backward_input`](crate::product::linear_backward_input) by parts.
    ///
    /// # Shapes
    /// `dx [rows, inputs]`, `dy [rows, outputs]`.
    ///
    /// # Panics
    /// If the shapes do not fit, or `T` is not `f32`.
    #[track_caller]
    pub fn linear_backward_input<T: Real>(&self, dx: &mut [T], dy: Matrix<'_, T>, threads: usize) {
        assert_eq!(dy.cols(), self.outputs.len());
        let dy = of_f32(dy);
        let dx = MatrixMut::new(bytemuck::cast_slice_mut(dx), dy.rows(), self.parts.inputs);
        self.compute(dx, dy, &[], Side::Inputs, threads);
    }

    #[track_caller]
    fn compute(
        &self,
        to: MatrixMut<'_, f32>,
        rows: Matrix<'_, f32>,
        start: &[f32],
        side: Side,
        threads: usize,
    ) {
        let width = match side {
            Side::Outputs => self.outputs.len(),
            Side::Inputs => self.parts.inputs,
        };
        assert!(
            to.rows == rows.rows() && to.cols == width,
            "[{}, {}] for [{}, {width}]",
            to.rows,
            to.cols,
            rows.rows()
        );
        let map = Map {
            weight: self,
            side,
            width,
            start,
        };
        map.by_threads(to, rows, threads);
    }
}

/// The same matrix.
///
/// # Panics
/// If `T` is not `f32`.
#[track_caller]
fn of_f32<T: Real>(matrix: Matrix<'_, T>) -> Matrix<'_, f32> {
    assert_eq!(TypeId::of::<T>(), TypeId::of::<f32>(), "parts are of f32");
    Matrix {
        data: bytemuck::cast_slice(matrix.data),
        rows: matrix.rows,
        cols: matrix.cols,
        row_stride: matrix.row_stride,
        col_stride: matrix.col_stride,
    }
}

/// Along which side of the weight the result lies.
#[derive(Debug, Clone, Copy)]
enum Side {
    Outputs,
    Inputs,
}

/// What this processor has for bf16 numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bf16Unit {
    /// Matrix units (AMX): many times as fast as f32.
    Matrix,
    /// A product of vectors (AVX512-BF16): twice as many products as in f32.
    Vector,
    /// Nothing: they are computed as f32.
    None,
}

/// What this processor has for bf16 numbers, and this library uses.
#[must_use]
pub fn bf16_unit() -> Bf16Unit {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::Amx::begin().is_some() {
        return Bf16Unit::Matrix;
    }
    #[cfg(target_arch = "x86_64")]
    if dots::Dots::find().is_some() {
        return Bf16Unit::Vector;
    }
    Bf16Unit::None
}

/// What multiplies tiles.
trait Unit {
    const ROWS: usize;
    const WIDTH: usize;

    /// `out [ROWS, WIDTH] = rows · panel`. Only the first `used` rows need be right.
    fn tile(&mut self, factors: &Factors<'_>, used: usize, out: &mut [f32]);
}

/// Both factors of a tile by parts: the greater ones, and the rests, empty where they do not count.
struct Factors<'a> {
    /// `[ROWS][stride]`, of which `pairs` count.
    rows: [&'a [u32]; 2],
    stride: usize,
    /// `[pairs][WIDTH]`
    panel: [&'a [u32]; 2],
    /// Whole steps of [`STEP`] terms.
    pairs: usize,
}

impl<'a> Factors<'a> {
    /// The products that count, the smallest first.
    fn products(&self) -> impl Iterator<Item = [&'a [u32]; 2]> + use<'a> {
        let (rows, panel) = (self.rows, self.panel);
        let rests = !panel[1].is_empty();
        let small = rests.then_some([[rows[1], panel[0]], [rows[0], panel[1]]]);
        let small = small.into_iter().flatten();
        small.chain([[rows[0], panel[0]]])
    }
}

/// A product: what it multiplies by and begins with.
#[derive(Clone, Copy)]
struct Map<'a> {
    weight: &'a PartsView<'a>,
    side: Side,
    /// Columns of the result.
    width: usize,
    /// `[width]`, or empty for zeros.
    start: &'a [f32],
}

impl Map<'_> {
    /// Rows may go to other threads: none of them depends on the others.
    fn by_threads(self, to: MatrixMut<'_, f32>, rows: Matrix<'_, f32>, threads: usize) {
        let count = rows.rows();
        let threads = threads.min(count / THREAD_ROWS);
        if threads <= 1 {
            return self.best(to, rows);
        }
        let at = count * (threads / 2) / threads;
        let (upper, lower) = to.split_rows(at);
        rayon::join(
            || self.by_threads(upper, rows.slice_rows(0..at), threads / 2),
            || self.by_threads(lower, rows.slice_rows(at..count), threads - threads / 2),
        );
    }

    /// On the calling thread, by the best that there is.
    fn best(self, to: MatrixMut<'_, f32>, rows: Matrix<'_, f32>) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if let Some(amx) = tiles::Amx::begin() {
            return self.run(&mut tiles::ByTiles(amx), to, rows);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(mut dots) = dots::Dots::find() {
            return self.run(&mut dots, to, rows);
        }
        self.run(&mut portable::Portable, to, rows);
    }

    fn run<U: Unit>(self, unit: &mut U, mut to: MatrixMut<'_, f32>, rows: Matrix<'_, f32>) {
        let (height, terms) = (rows.rows(), rows.cols());
        // Of about the same depth, in whole steps; one of zeros where there are no terms.
        let depth = terms.div_ceil(terms.div_ceil(DEPTH).max(1));
        let depth = depth.next_multiple_of(STEP).max(STEP);
        let stride = depth / 2 + APART;
        let precision = self.weight.parts.precision;
        let mut left = Pairs::zeros(height.next_multiple_of(U::ROWS) * stride, precision);
        let mut panel = Pairs::zeros(depth / 2 * U::WIDTH, precision);
        let mut tile = vec![0.0; U::ROWS * U::WIDTH];
        for first in (0..terms.max(1)).step_by(depth) {
            let here = first..terms.min(first + depth);
            let pairs = here.len().next_multiple_of(STEP) / 2;
            for row in 0..height {
                left.put(row * stride, pairs, &rows.row(row)[here.clone()]);
            }
            for column in (0..self.width).step_by(U::WIDTH) {
                let columns = column..self.width.min(column + U::WIDTH);
                self.arrange(&mut panel, U::WIDTH, here.clone(), columns.clone());
                for row in (0..height).step_by(U::ROWS) {
                    let used = U::ROWS.min(height - row);
                    let factors = Factors {
                        rows: left.from(row * stride),
                        stride,
                        panel: panel.from(0),
                        pairs,
                    };
                    unit.tile(&factors, used, &mut tile);
                    for (r, sums) in tile.chunks_exact(U::WIDTH).take(used).enumerate() {
                        let to = &mut to.row_mut(row + r)[columns.clone()];
                        self.put(to, &sums[..columns.len()], columns.clone(), first > 0);
                    }
                }
            }
        }
    }

    /// Adds sums to what the destination holds or begins with.
    fn put(&self, to: &mut [f32], sums: &[f32], columns: Range<usize>, held: bool) {
        if held {
            add_assign(to, sums);
            return;
        }
        to.copy_from_slice(sums);
        if let Some(start) = self.start.get(columns) {
            add_assign(to, start);
        }
    }

    /// Puts terms of some columns into a panel `[pairs][width]`, zeros behind them.
    fn arrange(&self, panel: &mut Pairs, width: usize, terms: Range<usize>, columns: Range<usize>) {
        let weight = self.weight.parts;
        let parts = [
            (&weight.pairs.high, &mut panel.high),
            (&weight.pairs.low, &mut panel.low),
        ];
        let outputs = self.weight.outputs.start;
        for (from, to) in parts {
            if from.is_empty() {
                continue;
            }
            let filled = terms.len().div_ceil(2) * width;
            to[filled..].fill(0);
            let to = &mut to[..filled];
            match self.side {
                Side::Outputs => {
                    let columns = outputs + columns.start..outputs + columns.end;
                    turn(to, width, from, weight.stride, terms.start / 2, columns);
                }
                Side::Inputs => {
                    let terms = outputs + terms.start..outputs + terms.end;
                    vectorized!(interleave(
                        to,
                        width,
                        from,
                        weight.stride,
                        terms.clone(),
                        columns.start / 2
                    ));
                }
            }
        }
    }
}

/// `panel[p · width + j]` is pair `first + p` of row `columns.start + j`.
fn turn(
    panel: &mut [u32],
    width: usize,
    from: &[u32],
    stride: usize,
    first: usize,
    columns: Range<usize>,
) {
    #[cfg(target_arch = "x86_64")]
    {
        let (rows, pairs) = (from.len() / stride, bytemuck::cast_slice(from));
        let columns_of = Matrix::new(pairs, rows, stride).transposed();
        let to = bytemuck::cast_slice_mut(panel);
        if crate::panels::arrange(to, width, columns_of, columns.clone(), first) {
            return;
        }
    }
    for (j, row) in from
        .chunks_exact(stride)
        .take(columns.end)
        .skip(columns.start)
        .enumerate()
    {
        for (line, pair) in panel.chunks_exact_mut(width).zip(&row[first..]) {
            line[j] = *pair;
        }
    }
}

/// `panel[p · width + j]` is the pair of rows `terms.start + 2p` and the next at column `2 · first + j`.
#[inline(always)]
fn interleave(
    panel: &mut [u32],
    width: usize,
    from: &[u32],
    stride: usize,
    terms: Range<usize>,
    first: usize,
) {
    const LOWER: u32 = 0xffff;
    for (term, line) in terms.clone().step_by(2).zip(panel.chunks_exact_mut(width)) {
        let upper = &from[term * stride + first..(term + 1) * stride];
        let (twos, _) = line.as_chunks_mut::<2>();
        if term + 1 < terms.end {
            let lower = &from[(term + 1) * stride + first..(term + 2) * stride];
            for ((two, a), b) in twos.iter_mut().zip(upper).zip(lower) {
                *two = [(a & LOWER) | (b << 16), (a >> 16) | (b & !LOWER)];
            }
        } else {
            for (two, a) in twos.iter_mut().zip(upper) {
                *two = [a & LOWER, a >> 16];
            }
        }
    }
}
