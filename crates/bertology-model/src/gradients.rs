//! The gradient of a loss with respect to every weight of a model.

use std::sync::Arc;

use bertology_checkpoint::{Affine, Parameter};
use bertology_kernels::elementwise::{add_assign, square_sum};
use bertology_kernels::mixing::add_rows;
use bertology_kernels::norm::layer_norm_backward_affine;
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::Model;
use crate::parameters::Layout;

/// One number for every weight of a model, all parameters end to end in the order of [`Model::layout`].
#[derive(Debug, Clone)]
pub struct Gradients<R> {
    layout: Arc<Layout>,
    values: Vec<R>,
}

impl<R: Real> Gradients<R> {
    /// Zeros.
    #[must_use]
    pub fn new(model: &Model<R>) -> Self {
        let layout = model.layout();
        let values = vec![R::ZERO; layout.len()];
        Self {
            layout: Arc::new(layout),
            values,
        }
    }

    /// Which parameter lies where.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All of them.
    #[must_use]
    pub fn values(&self) -> &[R] {
        &self.values
    }

    /// All of them, to be changed.
    pub fn values_mut(&mut self) -> &mut [R] {
        &mut self.values
    }

    /// Those of one parameter, in its shape; `None` if the model does not have it.
    #[must_use]
    pub fn of(&self, parameter: Parameter) -> Option<&[R]> {
        self.layout
            .range(parameter)
            .map(|range| &self.values[range])
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.values.fill(R::ZERO);
    }

    /// `√Σ g²` over all of them (`torch.nn.utils.clip_grad_norm_`), summed in f64.
    #[must_use]
    pub fn norm(&self) -> f64 {
        square_sum(&self.values).sqrt()
    }

    /// Nothing, of a parameter that the model does not have.
    pub(crate) fn of_mut(&mut self, parameter: Parameter) -> &mut [R] {
        let range = self.layout.range(parameter).unwrap_or_default();
        &mut self.values[range]
    }

    /// `weight += dyᵀ · x`, `bias += Σ dy` of a linear map; `dy [n, outputs]`, `x [n, inputs]`.
    pub(crate) fn add_linear(
        &mut self,
        name: fn(Affine) -> Parameter,
        dy: Matrix<'_, R>,
        x: Matrix<'_, R>,
    ) {
        let weight = self.of_mut(name(Affine::Weight));
        Product::add(1).run(
            MatrixMut::new(weight, dy.cols(), x.cols()),
            dy.transposed(),
            x,
        );
        let bias = self.of_mut(name(Affine::Bias));
        if !bias.is_empty() {
            dy.iter_rows().for_each(|row| add_assign(bias, row));
        }
    }

    /// `weight += Σ dy · x̂`, `bias += Σ dy` of a norm.
    pub(crate) fn add_norm(&mut self, name: fn(Affine) -> Parameter, dy: &[R], hat: &[R]) {
        let weight = self.layout.range(name(Affine::Weight)).unwrap_or_default();
        let Some(bias) = self.layout.range(name(Affine::Bias)) else {
            let mut none = vec![R::ZERO; weight.len()];
            layer_norm_backward_affine(&mut self.values[weight], &mut none, dy, hat);
            return;
        };
        // A norm's bias lies right behind its weight.
        let (before, behind) = self.values.split_at_mut(bias.start);
        let (weight, bias) = (&mut before[weight], &mut behind[..bias.len()]);
        layer_norm_backward_affine(weight, bias, dy, hat);
    }

    /// Adds rows to those of a table that they were taken from.
    pub(crate) fn add_to_rows<'d>(
        &mut self,
        table: Parameter,
        width: usize,
        rows: impl Iterator<Item = (u32, &'d [R])>,
    ) where
        R: 'd,
    {
        let table = self.of_mut(table);
        for (id, row) in rows {
            add_assign(&mut table[id as usize * width..][..width], row);
        }
    }

    /// Adds what the columns of `dy` sum to.
    pub(crate) fn add_columns(&mut self, parameter: Parameter, dy: &[R]) {
        let sums = self.of_mut(parameter);
        if !sums.is_empty() {
            add_rows(sums, dy);
        }
    }
}
