//! Linear maps of a model, in the precision that it computes in.

use std::ops::Range;

use bertology_kernels::parts::Parts;
use bertology_kernels::product::{linear_backward_input, linear_into};
use bertology_kernels::{Matrix, MatrixMut, Precision, Real};

use crate::model::Weights;

/// `y = x · weightᵀ + bias`.
#[derive(Debug, Clone)]
pub(crate) struct Linear<R> {
    /// `[outputs, inputs]`
    pub(crate) weight: Weights<R>,
    /// `[outputs]`, or empty where the map has none.
    pub(crate) bias: Vec<R>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// What is multiplied by instead of the weight, where the precision is not that of the weight.
    parts: Option<Parts>,
}

impl<R: Real> Linear<R> {
    pub(crate) fn new(weight: Weights<R>, bias: Vec<R>, inputs: usize, outputs: usize) -> Self {
        Self {
            weight,
            bias,
            inputs,
            outputs,
            parts: None,
        }
    }

    pub(crate) fn matrix(&self) -> Matrix<'_, R> {
        Matrix::new(&self.weight, self.outputs, self.inputs)
    }

    pub(crate) fn precision(&self) -> Precision {
        self.parts.as_ref().map_or(Precision::F32, Parts::precision)
    }

    /// The map in a precision. Pages of the file that are not needed any longer are given back.
    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.parts = Parts::new(self.matrix(), precision);
        if self.parts.is_some() {
            self.weight.release();
        }
    }

    /// `y [rows, outputs]` of `x [rows, inputs]`.
    pub(crate) fn forward(&self, y: &mut [R], x: Matrix<'_, R>, threads: usize) {
        let y = MatrixMut::new(y, x.rows(), self.outputs);
        self.forward_some(y, x, self.outputs, threads);
    }

    /// The first outputs only, into a part of a wider matrix: `y [rows, outputs]`.
    pub(crate) fn forward_some(
        &self,
        y: MatrixMut<'_, R>,
        x: Matrix<'_, R>,
        outputs: usize,
        threads: usize,
    ) {
        let bias = self.bias.get(..outputs).unwrap_or_default();
        self.factor().forward(y, x, 0..outputs, bias, threads);
    }

    /// `dx [rows, inputs]` of `dy [rows, outputs]`.
    pub(crate) fn backward(&self, dx: &mut [R], dy: Matrix<'_, R>, threads: usize) {
        self.backward_of(dx, dy, 0..self.outputs, threads);
    }

    /// What some of the outputs give: `dx [rows, inputs]` of `dy [rows, outputs of them]`.
    pub(crate) fn backward_of(
        &self,
        dx: &mut [R],
        dy: Matrix<'_, R>,
        outputs: Range<usize>,
        threads: usize,
    ) {
        self.factor().backward(dx, dy, outputs, threads);
    }

    fn factor(&self) -> Factor<'_, R> {
        Factor {
            weight: self.matrix(),
            parts: self.parts.as_ref(),
        }
    }
}

/// What a linear map multiplies by: a weight `[outputs, inputs]`, or parts in the place of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor<'a, R> {
    pub(crate) weight: Matrix<'a, R>,
    pub(crate) parts: Option<&'a Parts>,
}

impl<R: Real> Factor<'_, R> {
    /// Some outputs: `y [rows, outputs]` of `x [rows, inputs]`; `bias [outputs]` or empty.
    pub(crate) fn forward(
        self,
        y: MatrixMut<'_, R>,
        x: Matrix<'_, R>,
        outputs: Range<usize>,
        bias: &[R],
        threads: usize,
    ) {
        match self.parts {
            Some(parts) => parts.outputs(outputs).linear_into(y, x, bias, threads),
            None => linear_into(y, x, self.weight.slice_rows(outputs), bias, threads),
        }
    }

    /// What some outputs give: `dx [rows, inputs]` of `dy [rows, outputs]`.
    pub(crate) fn backward(
        self,
        dx: &mut [R],
        dy: Matrix<'_, R>,
        outputs: Range<usize>,
        threads: usize,
    ) {
        match self.parts {
            Some(parts) => {
                let some = parts.outputs(outputs);
                some.linear_backward_input(dx, dy, threads);
            }
            None => linear_backward_input(dx, dy, self.weight.slice_rows(outputs), threads),
        }
    }
}
