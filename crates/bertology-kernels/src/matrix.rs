//! Views on strided matrices and their product, through the `gemm` crate.

use std::ops::Range;

use crate::Real;

/// A read-only matrix in someone else's memory; element `(i, j)` is `data[i·row_stride + j·col_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// The mutable twin of [`Matrix`]; distinct `(i, j)` are distinct elements.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

/// Elements that a view of `rows × cols` spans.
fn span(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        0
    } else {
        (rows - 1) * row_stride + (cols - 1) * col_stride + 1
    }
}

impl<'a, T> Matrix<'a, T> {
    /// A contiguous row-major `[rows, cols]` matrix.
    ///
    /// # Panics
    /// If `data` is shorter than that.
    #[track_caller]
    #[must_use]
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows of `cols` elements that begin `row_stride` apart.
    ///
    /// # Panics
    /// If `data` is shorter than that.
    #[track_caller]
    #[must_use]
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(
            data.len() >= span(rows, cols, row_stride, 1),
            "matrix [{rows}, {cols}] with row stride {row_stride} needs more than {} elements",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// The transpose, without moving anything.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    /// The matrix of some rows in their order.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    #[must_use]
    pub fn slice_rows(self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        Self {
            data: &self.data[(rows.start * self.row_stride).min(self.data.len())..],
            rows: rows.len(),
            ..self
        }
    }

    /// The matrix of the first `cols` columns.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    #[must_use]
    pub fn first_cols(self, cols: usize) -> Self {
        assert!(cols <= self.cols, "{cols} columns of {}", self.cols);
        Self { cols, ..self }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i` of a matrix whose rows are contiguous.
    ///
    /// # Panics
    /// On a transposed view, or past the last row.
    #[track_caller]
    #[must_use]
    pub fn row(&self, i: usize) -> &'a [T] {
        assert!(
            self.col_stride == 1 || self.cols <= 1,
            "rows of a transposed view are not slices"
        );
        assert!(i < self.rows, "row {i} of {}", self.rows);
        if self.cols == 0 {
            return &[];
        }
        &self.data[i * self.row_stride..][..self.cols]
    }

    /// All rows, first to last.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &'a [T]> + use<'a, T> {
        let view = Self { ..*self };
        (0..self.rows).map(move |i| view.row(i))
    }
}

impl<T: Copy> Matrix<'_, T> {
    /// A contiguous row-major copy.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        let mut out = Vec::with_capacity(self.rows * self.cols);
        for row in self.iter_rows() {
            out.extend_from_slice(row);
        }
        out
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// A contiguous row-major `[rows, cols]` matrix.
    ///
    /// # Panics
    /// If `data` is shorter than that.
    #[track_caller]
    #[must_use]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows of `cols` elements that begin `row_stride ≥ cols` apart.
    ///
    /// # Panics
    /// If `data` is shorter than that or rows would overlap.
    #[track_caller]
    #[must_use]
    pub fn strided(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(
            row_stride >= cols,
            "rows of {cols} elements overlap at stride {row_stride}"
        );
        assert!(
            data.len() >= span(rows, cols, row_stride, 1),
            "matrix [{rows}, {cols}] with row stride {row_stride} needs more than {} elements",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride,
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`.
    ///
    /// # Panics
    /// Past the last row.
    #[track_caller]
    #[must_use]
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        if self.cols == 0 {
            return &mut [];
        }
        &mut self.data[i * self.row_stride..][..self.cols]
    }

    /// The matrix of some rows in their order, and of its first `cols` columns.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    #[must_use]
    pub fn corner(self, rows: Range<usize>, cols: usize) -> Self {
        assert!(rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        assert!(cols <= self.cols, "{cols} columns of {}", self.cols);
        let first = (rows.start * self.row_stride).min(self.data.len());
        Self {
            data: &mut self.data[first..],
            rows: rows.len(),
            cols,
            row_stride: self.row_stride,
        }
    }

    /// The same matrix, to be read.
    #[must_use]
    pub fn as_view(&self) -> Matrix<'_, T> {
        Matrix::strided(self.data, self.rows, self.cols, self.row_stride)
    }

    /// The same matrix for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut {
            data: self.data,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
        }
    }
}

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
    #[allow(unsafe_code, reason = "the product crate takes raw pointers")]
    pub fn run(self, dst: MatrixMut<'_, T>, a: Matrix<'_, T>, b: Matrix<'_, T>) {
        let (m, k, n) = (a.rows, a.cols, b.cols);
        assert!(
            b.rows == k && dst.rows == m && dst.cols == n,
            "product [{m}, {k}] · [{}, {n}] into [{}, {}]",
            b.rows,
            dst.rows,
            dst.cols
        );
        if m == 0 || n == 0 {
            return;
        }
        if k == 0 {
            if !self.accumulate {
                for i in 0..m {
                    dst.data[i * dst.row_stride..][..n].fill(T::ZERO);
                }
            }
            return;
        }
        let parallelism = if self.threads > 1 {
            gemm::Parallelism::Rayon(self.threads)
        } else {
            gemm::Parallelism::None
        };
        // SAFETY: the views were checked at construction to span their slices (`span`), shapes fit
        // each other, `dst` is exclusively borrowed and its rows do not overlap, and all memory is
        // initialised. `T` is f32 or f64, which the crate supports.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                dst.data.as_mut_ptr(),
                1,
                dst.row_stride.cast_signed(),
                self.accumulate,
                a.data.as_ptr(),
                a.col_stride.cast_signed(),
                a.row_stride.cast_signed(),
                b.data.as_ptr(),
                b.col_stride.cast_signed(),
                b.row_stride.cast_signed(),
                T::ONE,
                self.scale,
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
        bias.is_empty() || bias.len() == out,
        "bias of {} for {out} outputs",
        bias.len()
    );
    assert!(
        y.len() == rows * out,
        "{} elements for [{rows}, {out}]",
        y.len()
    );
    if out == 0 {
        return;
    }
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
    mut y: MatrixMut<'_, T>,
    x: Matrix<'_, T>,
    weight: Matrix<'_, T>,
    bias: &[T],
    threads: usize,
) {
    if bias.is_empty() {
        Product::replace(threads).run(y, x, weight.transposed());
        return;
    }
    for row in 0..y.rows() {
        y.row_mut(row).copy_from_slice(bias);
    }
    Product::add(threads).run(y, x, weight.transposed());
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
