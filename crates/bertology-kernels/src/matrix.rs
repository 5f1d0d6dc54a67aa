//! Views on strided matrices.

use std::ops::Range;

/// A read-only matrix in someone else's memory; element `(i, j)` is `data[i·row_stride + j·col_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

/// The mutable twin of [`Matrix`]; distinct `(i, j)` are distinct elements.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    pub(crate) data: &'a mut [T],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
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
        self.slice_cols(0..cols)
    }

    /// The matrix of some columns in their order.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    #[must_use]
    pub fn slice_cols(self, cols: Range<usize>) -> Self {
        assert!(cols.end <= self.cols, "columns {cols:?} of {}", self.cols);
        Self {
            data: &self.data[(cols.start * self.col_stride).min(self.data.len())..],
            cols: cols.len(),
            ..self
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
        self.block(rows, 0..cols)
    }

    /// The matrix of some rows and columns in their order.
    ///
    /// # Panics
    /// If there are not so many.
    #[track_caller]
    #[must_use]
    pub fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        assert!(rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        assert!(cols.end <= self.cols, "columns {cols:?} of {}", self.cols);
        let first = (rows.start * self.row_stride + cols.start).min(self.data.len());
        Self {
            data: &mut self.data[first..],
            rows: rows.len(),
            cols: cols.len(),
            row_stride: self.row_stride,
        }
    }

    /// The rows before `at`, and those from it on, each with all its memory.
    #[track_caller]
    pub(crate) fn split_rows(self, at: usize) -> (Self, Self) {
        let Self {
            data,
            rows,
            cols,
            row_stride,
        } = self;
        let (upper, lower) = data.split_at_mut(at * row_stride);
        let part = |data, rows| Self {
            data,
            rows,
            cols,
            row_stride,
        };
        (part(upper, at), part(lower, rows - at))
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
