//! `x · wᵀ` for `f32` matrices, panel by panel, on processors with AVX-512 or AVX2.
//!
//! A panel is a few rows of `w`, arranged so that what belongs to one column of `x` lies side by side; it stays in the
//! second-level cache while every row of `x` passes over it. A tile of a few rows by the panel's columns is summed up
//! in registers. This is the order of *Anatomy of High-Performance Matrix Multiplication* (Goto and van de Geijn 2008)
//! for tokens, many rows of moderate length: `x` is read where it lies, a panel is arranged just before it is used and
//! never leaves the cache, and what the result starts from (a bias) is part of the sum.
//!
//! An element is one sum in ascending order of `k`, in parts of at most [`DEPTH`] terms: it depends neither on the
//! other rows and columns nor on the number of threads, nor on the slices that suit the processor ([`slices`]).

mod slices;
#[cfg(test)]
mod tests;

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ops::Range;

use pulp::x86::{V3, V4};
use pulp::{NullaryFnOnce, Simd};

use self::slices::{ROWS_ASIDE, SLICES, Slices};
use crate::matrix::Matrix;
use crate::product::{Start, Sum};

/// Rows of a tile: with 4 vectors of columns it takes 24 of the 32 registers of AVX-512, with 2 it takes 12 of the 16
/// of AVX2.
const ROWS: usize = 6;
/// Terms that a panel has at most: 64 columns of them are 128 KiB.
const DEPTH: usize = 512;
/// Fewer rows are not worth a thread.
const THREAD_ROWS: usize = 8 * ROWS;
/// Floats of a cache line, and lanes of the widest vector.
const LINE: usize = 16;
/// So many squares before they are arranged, their cache lines are asked for.
const AHEAD: usize = 4;

/// The instruction set that products are compiled for.
#[derive(Debug, Clone, Copy)]
enum Level {
    Avx512(V4),
    Avx2(V3),
}

impl Level {
    /// That of this processor, if there is one.
    fn best() -> Option<Self> {
        let avx512 = V4::try_new().map(Self::Avx512);
        avx512.or_else(|| V3::try_new().map(Self::Avx2))
    }
}

/// Computes a product on `threads` threads of the current rayon pool; gives it back where this processor or these
/// shapes are better served otherwise (measured: a single row, very few columns, factors that lie otherwise).
pub(crate) fn compute(sum: Sum<'_, f32>, threads: usize) -> Option<Sum<'_, f32>> {
    let (m, k, n) = (sum.a.rows, sum.a.cols, sum.b.cols);
    let arranged = sum.a.col_stride == 1 && sum.b.row_stride == 1;
    let level = if arranged && m > 1 && k >= LINE && n >= LINE {
        Level::best()
    } else {
        None
    };
    let Some(level) = level else {
        return Some(sum);
    };
    split(sum, level, &SLICES, threads);
    None
}

/// Puts columns of a matrix whose columns lie together, from row `row` on, into a panel of so many columns, which is as high
/// as it is long; false, and nothing is done, where this processor has no instructions for it.
///
/// # Panics
/// If the matrix has fewer rows or columns, or the panel no place for them in whole vectors.
#[track_caller]
pub(crate) fn arrange(
    panel: &mut [f32],
    width: usize,
    b: Matrix<'_, f32>,
    columns: Range<usize>,
    row: usize,
) -> bool {
    assert!(b.row_stride == 1 && columns.end <= b.cols && columns.len() <= width);
    assert!(width.is_multiple_of(LINE) && row + panel.len() / width <= b.rows);
    let (column, columns) = (columns.start, columns.len());
    macro_rules! by {
        ($simd:expr) => {
            $simd.vectorize(Arrange {
                simd: $simd,
                panel,
                width,
                b,
                column,
                columns,
                row,
            })
        };
    }
    match Level::best() {
        Some(Level::Avx512(simd)) => by!(simd),
        Some(Level::Avx2(simd)) => by!(simd),
        None => return false,
    }
    true
}

/// Rows may go to other threads: none of them depends on the others.
fn split(sum: Sum<'_, f32>, level: Level, slices: &Slices, threads: usize) {
    let Sum { dst, a, .. } = sum;
    let threads = threads.min(a.rows / THREAD_ROWS);
    if threads <= 1 {
        let sum = Sum { dst, ..sum };
        match level {
            Level::Avx512(simd) => simd.vectorize(OneThread { simd, sum, slices }),
            Level::Avx2(simd) => simd.vectorize(OneThread { simd, sum, slices }),
        }
        return;
    }
    let at = (a.rows * (threads / 2) / threads).next_multiple_of(ROWS);
    let (upper, lower) = dst.split_rows(at);
    let part = |dst, rows| Sum {
        dst,
        a: a.slice_rows(rows),
        ..sum
    };
    let (upper, lower) = (part(upper, 0..at), part(lower, at..a.rows));
    rayon::join(
        || split(upper, level, slices, threads / 2),
        || split(lower, level, slices, threads - threads / 2),
    );
}

/// What a tile needs of an instruction set.
trait Lanes: Simd {
    /// Vectors of a panel's width.
    const VECTORS: usize;

    /// In every four lanes: those of `a` and `b` by turns, of the lower two and of the upper two.
    fn mix(self, a: Self::f32s, b: Self::f32s) -> [Self::f32s; 2];

    /// [`Self::mix`] with two lanes as one.
    fn mix_pairs(self, a: Self::f32s, b: Self::f32s) -> [Self::f32s; 2];

    /// Turns a square of [`Simd::F32_LANES`] by as many: `source[i · stride + j]` to `panel[j · width + i]`.
    fn turn(self, panel: &mut [f32], width: usize, source: &[f32], stride: usize);
}

impl Lanes for V4 {
    const VECTORS: usize = 4;

    #[inline(always)]
    fn mix(self, a: Self::f32s, b: Self::f32s) -> [Self::f32s; 2] {
        let (f, a, b) = (self.avx512f, bytemuck::cast(a), bytemuck::cast(b));
        bytemuck::cast([f._mm512_unpacklo_ps(a, b), f._mm512_unpackhi_ps(a, b)])
    }

    #[inline(always)]
    fn mix_pairs(self, a: Self::f32s, b: Self::f32s) -> [Self::f32s; 2] {
        let (f, a, b) = (self.avx512f, bytemuck::cast(a), bytemuck::cast(b));
        bytemuck::cast([f._mm512_unpacklo_pd(a, b), f._mm512_unpackhi_pd(a, b)])
    }

    #[inline(always)]
    fn turn(self, panel: &mut [f32], width: usize, source: &[f32], stride: usize) {
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        let f = self.avx512f;
        // `[column of every quarter][four rows]`
        let mut turned = [[f._mm512_setzero_ps(); 4]; 4];
        for four in 0..4 {
            let [first, second, third, fourth] =
                turn_four(self, &source[4 * four * stride..], stride);
            turned[0][four] = bytemuck::cast(first);
            turned[1][four] = bytemuck::cast(second);
            turned[2][four] = bytemuck::cast(third);
            turned[3][four] = bytemuck::cast(fourth);
        }
        // Then the quarters of four vectors.
        for (column, [a, b, c, d]) in turned.into_iter().enumerate() {
            let even_ab = f._mm512_shuffle_f32x4::<EVEN>(a, b);
            let even_cd = f._mm512_shuffle_f32x4::<EVEN>(c, d);
            let odd_ab = f._mm512_shuffle_f32x4::<ODD>(a, b);
            let odd_cd = f._mm512_shuffle_f32x4::<ODD>(c, d);
            let quarters = [
                f._mm512_shuffle_f32x4::<EVEN>(even_ab, even_cd),
                f._mm512_shuffle_f32x4::<EVEN>(odd_ab, odd_cd),
                f._mm512_shuffle_f32x4::<ODD>(even_ab, even_cd),
                f._mm512_shuffle_f32x4::<ODD>(odd_ab, odd_cd),
            ];
            for (quarter, value) in quarters.into_iter().enumerate() {
                let place = (4 * quarter + column) * width;
                *vector_mut::<Self>(&mut panel[place..]) = bytemuck::cast(value);
            }
        }
    }
}

impl Lanes for V3 {
    const VECTORS: usize = 2;

    #[inline(always)]
    fn mix(self, a: Self::f32s, b: Self::f32s) -> [Self::f32s; 2] {
        let (f, a, b) = (self.avx, bytemuck::cast(a), bytemuck::cast(b));
        bytemuck::cast([f._mm256_unpacklo_ps(a, b), f._mm256_unpackhi_ps(a, b)])
    }

    #[inline(always)]
    fn mix_pairs(self, a: Self::f32s, b: Self::f32s) -> [Self::f32s; 2] {
        let (f, a, b) = (self.avx, bytemuck::cast(a), bytemuck::cast(b));
        bytemuck::cast([f._mm256_unpacklo_pd(a, b), f._mm256_unpackhi_pd(a, b)])
    }

    #[inline(always)]
    fn turn(self, panel: &mut [f32], width: usize, source: &[f32], stride: usize) {
        const LOWER: i32 = 0x20;
        const UPPER: i32 = 0x31;
        let f = self.avx;
        let upper_rows = turn_four(self, source, stride);
        let lower_rows = turn_four(self, &source[4 * stride..], stride);
        // Then the halves of two vectors.
        for (column, (a, b)) in upper_rows.into_iter().zip(lower_rows).enumerate() {
            let (a, b) = (bytemuck::cast(a), bytemuck::cast(b));
            let halves = [
                f._mm256_permute2f128_ps::<LOWER>(a, b),
                f._mm256_permute2f128_ps::<UPPER>(a, b),
            ];
            for (half, value) in halves.into_iter().enumerate() {
                let place = (4 * half + column) * width;
                *vector_mut::<Self>(&mut panel[place..]) = bytemuck::cast(value);
            }
        }
    }
}

/// Turns every four columns of four rows: column `c` of each of them is in vector `c`.
#[inline(always)]
fn turn_four<S: Lanes>(simd: S, source: &[f32], stride: usize) -> [S::f32s; 4] {
    let a = *vector::<S>(source);
    let b = *vector::<S>(&source[stride..]);
    let c = *vector::<S>(&source[2 * stride..]);
    let d = *vector::<S>(&source[3 * stride..]);
    let [low_ab, high_ab] = simd.mix(a, b);
    let [low_cd, high_cd] = simd.mix(c, d);
    let [first, second] = simd.mix_pairs(low_ab, low_cd);
    let [third, fourth] = simd.mix_pairs(high_ab, high_cd);
    [first, second, third, fourth]
}

/// The vector that a slice begins with.
#[inline(always)]
fn vector<S: Simd>(slice: &[f32]) -> &S::f32s {
    &S::as_simd_f32s(&slice[..S::F32_LANES]).0[0]
}

#[inline(always)]
fn vector_mut<S: Simd>(slice: &mut [f32]) -> &mut S::f32s {
    &mut S::as_mut_simd_f32s(&mut slice[..S::F32_LANES]).0[0]
}

/// A product on the calling thread.
struct OneThread<'a, S> {
    simd: S,
    sum: Sum<'a, f32>,
    slices: &'a Slices,
}

impl<S: Lanes> NullaryFnOnce for OneThread<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            simd,
            mut sum,
            slices,
        } = self;
        let (k, n) = (sum.b.rows, sum.b.cols);
        let width = S::VECTORS * S::F32_LANES;
        // Parts of about the same depth, in whole squares.
        let depth = k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(LINE);
        let vectors = n.div_ceil(S::F32_LANES).min(S::VECTORS);
        let lines = depth.min(k) + slices.rows_aside(sum.a.rows, depth);
        let mut buffer = vec![0.0; lines * vectors * S::F32_LANES + LINE];
        let aligned = buffer.as_ptr().align_offset(4 * LINE);
        let buffer = &mut buffer[aligned.min(LINE)..];
        for column in (0..n).step_by(width) {
            let columns = width.min(n - column);
            for row in (0..k).step_by(depth) {
                let rows = depth.min(k - row);
                let trial = slices.trial([sum.a.rows, rows, columns]);
                let strip = Strip {
                    simd,
                    sum: &mut sum,
                    buffer,
                    column,
                    columns,
                    row,
                    rows,
                    slice: trial.slice,
                };
                match columns.div_ceil(S::F32_LANES) {
                    1 => strip.run::<1>(),
                    2 => strip.run::<2>(),
                    3 => strip.run::<3>(),
                    _ => strip.run::<4>(),
                }
                slices.done(&trial);
            }
        }
    }
}

/// All rows of the product by one panel.
struct Strip<'s, 'a, S> {
    simd: S,
    sum: &'s mut Sum<'a, f32>,
    /// Place for the panel, and for sums behind it.
    buffer: &'s mut [f32],
    column: usize,
    columns: usize,
    row: usize,
    rows: usize,
    /// Rows of the panel that tiles go through at once.
    slice: usize,
}

impl<S: Lanes> Strip<'_, '_, S> {
    #[inline(always)]
    fn run<const V: usize>(self) {
        let Self {
            simd,
            sum,
            buffer,
            column,
            columns,
            row,
            rows,
            slice,
        } = self;
        let (panel, aside) = buffer.split_at_mut(rows * V * S::F32_LANES);
        simd.vectorize(Arrange {
            simd,
            panel,
            width: V * S::F32_LANES,
            b: sum.b,
            column,
            columns,
            row,
        });
        let (panel, _) = S::as_simd_f32s(panel);
        let (panel, _) = panel.as_chunks::<V>();
        let mut start = [simd.splat_f32s(0.0); V];
        let held = match sum.start {
            _ if row > 0 => true,
            Start::Held => true,
            Start::Nothing => false,
            Start::Row(values) => {
                let values = values[column..][..columns].chunks(S::F32_LANES);
                for (start, values) in start.iter_mut().zip(values) {
                    *start = simd.partial_load_f32s(values);
                }
                false
            }
        };
        let (m, stride, dst_stride) = (sum.a.rows, sum.a.row_stride, sum.dst.row_stride);
        let (aside, _) = S::as_mut_simd_f32s(aside);
        let (aside, _) = aside.as_chunks_mut::<V>();
        let sliced = slice < rows;
        let block = if sliced { ROWS_ASIDE } else { m };
        for top in (0..m).step_by(block) {
            let bottom = m.min(top + block);
            for from in (0..rows).step_by(slice) {
                let until = rows.min(from + slice);
                for first in (top..bottom).step_by(ROWS) {
                    let a = &sum.a.data[first * stride + row + from..];
                    let dst = &mut sum.dst.data[first * dst_stride + column..];
                    macro_rules! tile {
                        ($rows:literal) => {
                            simd.vectorize(Tile::<S, V, $rows> {
                                simd,
                                panel: &panel[from..until],
                                a,
                                stride,
                                aside: if sliced {
                                    &mut aside[first - top..][..$rows]
                                } else {
                                    &mut []
                                },
                                goes_on: from > 0,
                                ends: until == rows,
                                dst,
                                dst_stride,
                                columns,
                                start: (!held).then_some(&start),
                                scale: sum.scale,
                            })
                        };
                    }
                    match bottom - first {
                        1 => tile!(1),
                        2 => tile!(2),
                        3 => tile!(3),
                        4 => tile!(4),
                        5 => tile!(5),
                        _ => tile!(6),
                    }
                }
            }
        }
    }
}

/// Puts the rows `row..` and the columns `column..column + columns` of `b` into a panel, zeros behind them.
struct Arrange<'a, S> {
    simd: S,
    panel: &'a mut [f32],
    /// Columns of the panel.
    width: usize,
    b: Matrix<'a, f32>,
    column: usize,
    columns: usize,
    row: usize,
}

impl<S: Lanes> NullaryFnOnce for Arrange<'_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            simd,
            panel,
            width,
            b,
            column,
            columns,
            row,
        } = self;
        let lanes = S::F32_LANES;
        let rows = panel.len() / width;
        for left in (0..columns).step_by(lanes) {
            for first in (0..rows).step_by(lanes) {
                let source = &b.data[(column + left) * b.col_stride + row + first..];
                let panel = &mut panel[first * width + left..];
                let (high, wide) = (lanes.min(rows - first), lanes.min(columns - left));
                if high == lanes && wide == lanes {
                    for j in 0..lanes {
                        let next = j * b.col_stride + AHEAD * lanes;
                        prefetch(source.as_ptr().wrapping_add(next));
                    }
                    simd.turn(panel, width, source, b.col_stride);
                    continue;
                }
                // At the edges by way of a square with zeros in it.
                let (mut square, mut turned) = ([0.0; LINE * LINE], [0.0; LINE * LINE]);
                for j in 0..wide {
                    let part = &source[j * b.col_stride..][..high];
                    *vector_mut::<S>(&mut square[j * lanes..]) = simd.partial_load_f32s(part);
                }
                simd.turn(&mut turned, lanes, &square, lanes);
                for i in 0..high {
                    *vector_mut::<S>(&mut panel[i * width..]) = *vector::<S>(&turned[i * lanes..]);
                }
            }
        }
    }
}

/// `R` rows by a panel of `V` vectors.
struct Tile<'a, S: Simd, const V: usize, const R: usize> {
    simd: S,
    /// `[depth][V]`.
    panel: &'a [[S::f32s; V]],
    /// Rows of the left factor from the first of the tile on, at the panel's first row.
    a: &'a [f32],
    stride: usize,
    /// Sums of the slice before, by row, and of this one.
    aside: &'a mut [[S::f32s; V]],
    /// There was a slice before.
    goes_on: bool,
    /// No slice comes behind.
    ends: bool,
    /// Rows of the destination from the first of the tile on, at the panel's first column.
    dst: &'a mut [f32],
    dst_stride: usize,
    columns: usize,
    /// What the sums begin with; `None`: what the destination holds.
    start: Option<&'a [S::f32s; V]>,
    scale: f32,
}

impl<S: Simd, const V: usize, const R: usize> NullaryFnOnce for Tile<'_, S, V, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            simd,
            panel,
            a,
            stride,
            aside,
            goes_on,
            ends,
            dst,
            dst_stride,
            columns,
            start,
            scale,
        } = self;
        let rows: [&[f32]; R] = std::array::from_fn(|r| &a[r * stride..][..panel.len()]);
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        if goes_on {
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = aside[r][v];
                }
            }
        }
        for (k, line) in panel.iter().enumerate() {
            if k % LINE == 0 {
                for row in rows {
                    prefetch(row.as_ptr().wrapping_add(R * stride + k));
                }
            }
            for r in 0..R {
                let value = simd.splat_f32s(rows[r][k]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(value, line[v], sums[r][v]);
                }
            }
        }
        if !ends {
            for r in 0..R {
                for v in 0..V {
                    aside[r][v] = sums[r][v];
                }
            }
            return;
        }
        let scale = simd.splat_f32s(scale);
        if columns == V * S::F32_LANES {
            for r in 0..R {
                let (dst, _) = S::as_mut_simd_f32s(&mut dst[r * dst_stride..][..columns]);
                for v in 0..V {
                    let from = match start {
                        Some(start) => start[v],
                        None => dst[v],
                    };
                    dst[v] = simd.mul_add_f32s(scale, sums[r][v], from);
                }
            }
            return;
        }
        // A copy for indices that are not known beforehand: `sums` could not be registers with them.
        let mut copy = [[simd.splat_f32s(0.0); V]; R];
        for r in 0..R {
            for v in 0..V {
                copy[r][v] = sums[r][v];
            }
        }
        for (r, sums) in copy.iter().enumerate() {
            let dst = dst[r * dst_stride..][..columns].chunks_mut(S::F32_LANES);
            for (v, (dst, sum)) in dst.zip(sums).enumerate() {
                let from = match start {
                    Some(start) => start[v],
                    None => simd.partial_load_f32s(dst),
                };
                simd.partial_store_f32s(dst, simd.mul_add_f32s(scale, *sum, from));
            }
        }
    }
}

/// Asks for a cache line of the rows that come next.
#[inline(always)]
#[allow(unsafe_code, reason = "a hint to the processor is an intrinsic")]
fn prefetch(address: *const f32) {
    // SAFETY: a prefetch reads nothing that the program could see and cannot fault, whatever the address; every
    // processor with AVX has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}
