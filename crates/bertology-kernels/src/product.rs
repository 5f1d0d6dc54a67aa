//! Products of matrices and the linear maps made of them.

use gemm_common::Parallelism;

use crate::Real;
use crate::matrix::{Matrix, MatrixMut};

/// `dst = [alpha · dst +] beta · lhs · rhs` on pointers: `m`, `n`, `k`, then each matrix with its column
/// and row stride, whether to read `dst`, the two factors, which of the three to conjugate, and threads.
pub(crate) type Library<T> = unsafe fn(
    usize,
    usize,
    usize,
    *mut T,
    isize,
    isize,
    bool,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    isize,
    T,
    T,
    bool,
    bool,
    bool,
    Parallelism,
);

/// How a product uses what the destination held and how many threads it may use.
#[derive(Debug, Clone, Copy)]
pub struct Product<T> {
    /// Factor on the product.
    pub scale: T,
    /// Add to the destination instead of replacing it.
    pub accumulate: bool,
    /// Threads of the current rayon pool; 1 stays on the calling thread.
    pub threads: usize,
}

impl<T: Real> Product<T> {
    /// `dst = a·b` on `threads` threads.
    #[must_use]
    pub fn replace(threads: usize) -> Self {
        Self {
            scale: T::ONE,
            accumulate: false,
            threads,
        }
    }

    /// `dst += a·b` on `threads` threads.
    #[must_use]
    pub fn add(threads: usize) -> Self {
        Self {
            scale: T::ONE,
            accumulate: true,
            threads,
        }
    }

    /// Computes `dst = [dst +] scale · a · b` for `a [m, k]`, `b [k, n]`, `dst [m, n]`.
    ///
    /// # Numerics
    /// Deterministic for a given shape. The kernel, and with it the order of the sums over `k`,
    /// depends on `m` and `n`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn run(self, dst: MatrixMut<'_, T>, a: Matrix<'_, T>, b: Matrix<'_, T>) {
        let start = if self.accumulate {
            Start::Held
        } else {
            Start::Nothing
        };
        let scale = self.scale;
        Sum {
            dst,
            start,
            scale,
            a,
            b,
        }
        .compute(self.threads);
    }
}

/// What a product is added to.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a, T> {
    /// Zeros.
    Nothing,
    /// What the destination holds.
    Held,
    /// The same row `[n]` for every row.
    Row(&'a [T]),
}

/// `dst = start + scale · a · b` for `dst [m, n]`, `a [m, k]` and `b [k, n]`.
#[derive(Debug)]
pub struct Sum<'a, T> {
    pub(crate) dst: MatrixMut<'a, T>,
    pub(crate) start: Start<'a, T>,
    pub(crate) scale: T,
    pub(crate) a: Matrix<'a, T>,
    pub(crate) b: Matrix<'a, T>,
}

impl<T: Real> Sum<'_, T> {
    #[track_caller]
    fn compute(self, threads: usize) {
        let (m, k, n) = (self.a.rows, self.a.cols, self.b.cols);
        assert!(
            self.b.rows == k && self.dst.rows == m && self.dst.cols == n,
            "product [{m}, {k}] · [{}, {n}] into [{}, {}]",
            self.b.rows,
            self.dst.rows,
            self.dst.cols
        );
        if m == 0 || n == 0 {
            return;
        }
        if let Some(sum) = T::by_panels(self, threads) {
            sum.by_library(threads);
        }
    }

    /// By the crates under `gemm`, which know every processor and layout.
    ///
    /// `gemm` itself is left out: it would also build the products of complex numbers.
    #[allow(unsafe_code, reason = "the product crate takes raw pointers")]
    fn by_library(self, threads: usize) {
        let Self {
            mut dst,
            start,
            scale,
            a,
            b,
        } = self;
        let (m, k, n) = (a.rows, a.cols, b.cols);
        let accumulate = match start {
            Start::Held => true,
            Start::Nothing if k > 0 => false,
            Start::Nothing => {
                (0..m).for_each(|row| dst.row_mut(row).fill(T::ZERO));
                true
            }
            Start::Row(values) => {
                (0..m).for_each(|row| dst.row_mut(row).copy_from_slice(values));
                true
            }
        };
        if k == 0 {
            return;
        }
        let parallelism = if threads > 1 {
            Parallelism::Rayon(threads)
        } else {
            Parallelism::None
        };
        // Its kernels like columns that lie together. Ours are rows, so it is asked for dstᵀ = bᵀ·aᵀ;
        // a single column is both.
        let (m, n, a, b, dst_col_stride, dst_row_stride) = if dst.row_stride > 1 {
            (n, m, b.transposed(), a.transposed(), dst.row_stride, 1)
        } else {
            (m, n, a, b, 1, dst.row_stride)
        };
        // SAFETY: the views were checked at construction to span their slices (`span`), shapes fit
        // each other, `dst` is exclusively borrowed and its rows do not overlap, and all memory is
        // initialised.
        unsafe {
            T::library()(
                m,
                n,
                k,
                dst.data.as_mut_ptr(),
                dst_col_stride.cast_signed(),
                dst_row_stride.cast_signed(),
                accumulate,
                a.data.as_ptr(),
                a.col_stride.cast_signed(),
                a.row_stride.cast_signed(),
                b.data.as_ptr(),
                b.col_stride.cast_signed(),
                b.row_stride.cast_signed(),
                T::ONE,
                scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// `y = x · wᵀ + bias`: a linear map as PyTorch stores it.
///
/// # Shapes
/// `y [rows, out]`, `x [rows, in]`, `weight [out, in]`, `bias [out]`, or empty for none.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn linear<T: Real>(
    y: &mut [T],
    x: Matrix<'_, T>,
    weight: Matrix<'_, T>,
    bias: &[T],
    threads: usize,
) {
    let (rows, out) = (x.rows(), weight.rows());
    assert!(
        y.len() == rows * out,
        "{} elements for [{rows}, {out}]",
        y.len()
    );
    linear_into(MatrixMut::new(y, rows, out), x, weight, bias, threads);
}

/// [`linear`] into a part of a wider matrix.
///
/// # Shapes
/// `y [rows, out]`, `x [rows, in]`, `weight [out, in]`, `bias [out]` or empty.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn linear_into<T: Real>(
    y: MatrixMut<'_, T>,
    x: Matrix<'_, T>,
    weight: Matrix<'_, T>,
    bias: &[T],
    threads: usize,
) {
    let outputs = weight.rows();
    assert!(
        bias.is_empty() || bias.len() == outputs,
        "bias of {} for {outputs} outputs",
        bias.len()
    );
    let start = if bias.is_empty() {
        Start::Nothing
    } else {
        Start::Row(bias)
    };
    let (a, b) = (x, weight.transposed());
    Sum {
        dst: y,
        start,
        scale: T::ONE,
        a,
        b,
    }
    .compute(threads);
}

/// Gradient of [`linear`] with respect to its input: `dx = dy · w`.
///
/// # Shapes
/// `dx [rows, in]`, `dy [rows, out]`, `weight [out, in]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn linear_backward_input<T: Real>(
    dx: &mut [T],
    dy: Matrix<'_, T>,
    weight: Matrix<'_, T>,
    threads: usize,
) {
    Product::replace(threads).run(MatrixMut::new(dx, dy.rows(), weight.cols()), dy, weight);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in f64.
    fn naive(a: &Matrix<'_, f64>, b: &Matrix<'_, f64>) -> Vec<f64> {
        let at =
            |m: &Matrix<'_, f64>, i: usize, j: usize| m.data[i * m.row_stride + j * m.col_stride];
        (0..a.rows * b.cols)
            .map(|e| {
                let (i, j) = (e / b.cols, e % b.cols);
                (0..a.cols).map(|k| at(a, i, k) * at(b, k, j)).sum()
            })
            .collect()
    }

    fn ramp(n: usize) -> Vec<f64> {
        (0..n)
            .map(|i| ((i * 7919) % 101) as f64 / 50.0 - 1.0)
            .collect()
    }

    #[test]
    fn product_follows_the_definition_for_every_layout() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (17, 33, 9), (64, 7, 64)] {
            let (left, right) = (ramp(m * k), ramp(k * n + 3));
            let a = Matrix::new(&left, m, k);
            for (a, b) in [
                (a, Matrix::new(&right, k, n)),
                (a, Matrix::new(&right, n, k).transposed()),
                (
                    Matrix::new(&left, k, m).transposed(),
                    Matrix::new(&right, k, n),
                ),
            ] {
                let expected = naive(&a, &b);
                let mut got = vec![f64::NAN; m * n];
                Product::replace(1).run(MatrixMut::new(&mut got, m, n), a, b);
                for (x, y) in got.iter().zip(&expected) {
                    assert!((x - y).abs() < 1e-12, "{x} {y}");
                }
                let product = Product {
                    scale: -2.0,
                    accumulate: true,
                    threads: 2,
                };
                product.run(MatrixMut::new(&mut got, m, n), a, b);
                for (x, y) in got.iter().zip(&expected) {
                    assert!((x + y).abs() < 1e-12, "{x} {y}");
                }
            }
        }
    }

    #[test]
    fn strided_views_leave_the_gaps_alone() {
        let data = ramp(12);
        let mut out = vec![9.0; 8];
        let a = Matrix::strided(&data, 2, 2, 6);
        let identity = [1.0, 0.0, 0.0, 1.0];
        Product::replace(1).run(
            MatrixMut::strided(&mut out, 2, 2, 4),
            a,
            Matrix::new(&identity, 2, 2),
        );
        assert_eq!(
            out,
            [data[0], data[1], 9.0, 9.0, data[6], data[7], 9.0, 9.0]
        );
    }

    /// A product put together from its blocks is the product.
    #[test]
    fn parts_of_matrices_are_matrices() {
        let (a, b) = (ramp(7 * 5), ramp(5 * 6));
        let (left, right) = (Matrix::new(&a, 7, 5), Matrix::new(&b, 6, 5).transposed());
        let whole = naive(&left, &right);
        let mut got = vec![0.0; 7 * 6];
        for (rows, cols) in [(0..3, 4), (3..7, 6), (0..3, 6)] {
            Product::replace(1).run(
                MatrixMut::new(&mut got, 7, 6).corner(rows.clone(), cols),
                left.slice_rows(rows),
                right.first_cols(cols),
            );
        }
        assert!(got.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-12));
        let some = right.transposed().slice_rows(2..4);
        assert_eq!((some.rows(), some.row(1)), (2, &b[15..20]));
        assert_eq!(left.slice_rows(7..7).rows(), 0);
    }

    #[test]
    fn empty_inner_dimension_gives_zero() {
        let mut out = [5.0; 4];
        Product::replace(1).run(
            MatrixMut::new(&mut out, 2, 2),
            Matrix::new(&[], 2, 0),
            Matrix::new(&[], 0, 2),
        );
        assert_eq!(out, [0.0; 4]);
    }
}
