//! A probe's way up and back over a batch.
//!
//! With h the states, m the mask of dropout, k the role and S its spans, the papers' probe is
//!
//! ```text
//! x_t = m_t γ Σ_l softmax(a)_l h_tl     v_t = W_k x_t + b_k     α = softmax over the span of w_k · v_t + c_k
//! r_k = Σ_t α_t v_t                     z = [r_1; r_2]          o = B drop(norm(tanh(A z + a_0))) + b_0
//! ```
//!
//! Nothing between W and A is bent, so they are one map: `A_k r_k = (A_k W_k) Σ_t α_t x_t + A_k b_k`, and attention
//! looks at `(W_kᵀ w_k) · x_t`; what is the same for a whole span cancels. Vectors are pooled before they are projected,
//! one product a span takes the place of one a piece and one a target, and spans that several targets have in common are
//! computed once. On the way back the gradient of the joint map gives those of both factors. For dependencies that is about half
//! of the arithmetic of the formulas as they stand.

mod backward;

use std::ops::Range;

use bertology_kernels::elementwise::dot;
use bertology_kernels::mixing::{add_scaled, mix};
use bertology_kernels::norm::layer_norm;
use bertology_kernels::product::linear;
use bertology_kernels::softmax::softmax_rows;
use bertology_kernels::{Activation, Matrix, MatrixMut, Product, Real};

use super::batch::{Batch, Spans};
use super::design::{Layout, NORM_EPSILON, Pooling, Reading, RoleLayout, Shape};

/// Dropout of a step: multiplies rows of values, or of gradients, by 0 or by the inverse of what is kept.
pub(crate) trait Masks<T> {
    /// The mixed vector of a piece, by its key in the batch.
    fn input(&self, key: u64, row: &mut [T]);
    /// The units of a target, by its number in the split.
    fn units(&self, target: u32, row: &mut [T]);
}

/// A probe and its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'a, T> {
    pub(crate) shape: &'a Shape,
    pub(crate) layout: &'a Layout,
    pub(crate) values: &'a [T],
}

/// A batch and the states of its pieces.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a, T> {
    pub(crate) batch: &'a Batch,
    /// `[pieces, layers, hidden]`
    pub(crate) states: &'a [T],
    /// Layers of a piece in `states`; a probe may read fewer.
    pub(crate) layers: usize,
}

/// What a pass computes, kept so that the way back finds it and the next batch the memory.
#[derive(Debug, Default)]
pub(crate) struct Workspace<T> {
    /// softmax(a)
    shares: Vec<T>,
    /// `[pieces, hidden]`: x
    mixed: Vec<T>,
    roles: Vec<RoleWork<T>>,
    /// `[targets, outer]`: A z + a₀, then tanh of it.
    outer: Vec<T>,
    /// `[targets, outer]`: the norm's x̂.
    normalized: Vec<T>,
    rstd: Vec<T>,
    /// `[targets, outer]`: what B sees.
    units: Vec<T>,
    /// `[targets, classes]`
    logits: Vec<T>,
    /// `[targets, classes]`
    logit_gradient: Vec<T>,
    /// `[targets, outer]`
    outer_gradient: Vec<T>,
    /// `[pieces, hidden]`
    mixed_gradient: Vec<T>,
    /// Which rows of it hold something.
    touched: Vec<bool>,
    /// Room of the way back: rows of spans, the joint map's gradient.
    span_gradient: Vec<T>,
    pooled_gradient: Vec<T>,
    joint_gradient: Vec<T>,
    piece_gradient: Vec<T>,
    /// `[layers read, hidden]`: of gradients and states, summed over pieces.
    products: Vec<T>,
}

#[derive(Debug, Default)]
struct RoleWork<T> {
    /// `[hidden]`: Wᵀ w
    query: Vec<T>,
    /// Of spans of several pieces, end to end: α
    weights: Vec<T>,
    /// `[spans, parts · hidden]`
    pooled: Vec<T>,
    /// `[outer, parts · hidden]`: A W
    joint: Vec<T>,
    /// `[spans, outer]`
    sums: Vec<T>,
}

/// Room for so many values; what stood there is of no use.
fn room<T: Real>(buffer: &mut Vec<T>, size: usize) -> &mut [T] {
    buffer.resize(size, T::ZERO);
    &mut buffer[..size]
}

fn zeros<T: Real>(buffer: &mut Vec<T>, size: usize) -> &mut [T] {
    let room = room(buffer, size);
    room.fill(T::ZERO);
    room
}

fn range(span: [u32; 2]) -> Range<usize> {
    span[0] as usize..span[1] as usize
}

impl<T: Real> Probe<'_, T> {
    fn of(&self, range: &Range<usize>) -> &[T] {
        &self.values[range.clone()]
    }

    /// W of a role, `[projection, hidden]`.
    fn projection(&self, role: &RoleLayout) -> Matrix<'_, T> {
        let Shape { design, hidden, .. } = self.shape;
        Matrix::new(self.of(&role.weight), design.projection, *hidden)
    }

    /// A for one part of a role, `[outer, projection]`, within the rows of all parts.
    fn outer(&self, role: usize, part: usize) -> Matrix<'_, T> {
        let projection = self.shape.design.projection;
        let first = (role * self.shape.parts() + part) * projection;
        let values = &self.of(&self.layout.outer)[first..];
        Matrix::strided(values, self.shape.outer(), projection, self.shape.joined())
    }

    fn attention(&self, role: &RoleLayout) -> &[T] {
        self.of(&role.attention)
            .split_last()
            .map_or(&[], |(_, w)| w)
    }

    /// γ; 1 where nothing is mixed.
    fn gamma(&self) -> T {
        self.of(&self.layout.gamma)
            .first()
            .copied()
            .unwrap_or(T::ONE)
    }

    /// The logits of a batch, `[targets, classes]`, in its order; with `masks` as in training.
    pub(crate) fn forward<'w>(
        &self,
        work: &'w mut Workspace<T>,
        input: Input<'_, T>,
        masks: Option<&dyn Masks<T>>,
    ) -> &'w [T] {
        let (shape, layout) = (self.shape, self.layout);
        let targets = input.batch.targets.len();
        let outer = shape.outer();
        self.mix(work, input, masks);
        work.roles.resize_with(shape.roles, RoleWork::default);
        let constants = self.constants(input.batch);
        for (role, at) in layout.roles.iter().enumerate() {
            let spans = &input.batch.roles[role];
            let own = &mut work.roles[role];
            self.pool(own, at, spans, &work.mixed);
            let width = shape.parts() * shape.hidden;
            let joint = room(&mut own.joint, outer * width);
            for part in 0..shape.parts() {
                let columns = &mut joint[part * shape.hidden..];
                let dst = MatrixMut::strided(columns, outer, shape.hidden, width);
                Product::replace(1).run(dst, self.outer(role, part), self.projection(at));
            }
            let count = spans.ranges.len();
            linear(
                room(&mut own.sums, count * outer),
                Matrix::new(&own.pooled, count, width),
                Matrix::new(&own.joint, outer, width),
                constants.get(role).map_or(&[], Vec::as_slice),
                1,
            );
        }
        join(work, input.batch, self.of(&layout.outer_bias));
        let logits = room(&mut work.logits, targets * shape.classes);
        if !shape.is_mlp() {
            logits.copy_from_slice(&work.outer);
            return logits;
        }
        let hat = room(&mut work.normalized, targets * outer);
        Activation::Tanh.forward(hat, &work.outer);
        work.outer.copy_from_slice(hat);
        let units = room(&mut work.units, targets * outer);
        let [weight, bias] = &layout.norm;
        layer_norm(
            units,
            hat,
            room(&mut work.rstd, targets),
            self.of(weight),
            self.of(bias),
            NORM_EPSILON,
            true,
        );
        if let Some(masks) = masks {
            let rows = units.chunks_exact_mut(outer);
            for (row, target) in rows.zip(&input.batch.targets) {
                masks.units(*target, row);
            }
        }
        linear(
            logits,
            Matrix::new(units, targets, outer),
            Matrix::new(self.of(&layout.inner), shape.classes, outer),
            self.of(&layout.inner_bias),
            1,
        );
        logits
    }

    /// What of A z + a₀ does not depend on the input, by the role whose spans it is added to: a₀ + Σ A b, for the first; where
    /// some targets lack a span, A b for each, and a₀ is left to [`join`].
    fn constants(&self, batch: &Batch) -> Vec<Vec<T>> {
        let (shape, layout) = (self.shape, self.layout);
        let outer = shape.outer();
        let add = |constant: &mut Vec<T>, role: usize, at: &RoleLayout| {
            let bias = Matrix::new(self.of(&at.bias), shape.design.projection, 1);
            for part in 0..shape.parts() {
                let dst = MatrixMut::new(constant, outer, 1);
                Product::add(1).run(dst, self.outer(role, part), bias);
            }
        };
        let roles = layout.roles.iter().enumerate();
        if batch.is_whole() {
            let mut constant = self.of(&layout.outer_bias).to_vec();
            roles.for_each(|(role, at)| add(&mut constant, role, at));
            return vec![constant];
        }
        let own = roles.map(|(role, at)| {
            let mut constant = vec![T::ZERO; outer];
            add(&mut constant, role, at);
            constant
        });
        own.collect()
    }

    /// x of every piece.
    fn mix(&self, work: &mut Workspace<T>, input: Input<'_, T>, masks: Option<&dyn Masks<T>>) {
        let hidden = self.shape.hidden;
        let keys = &input.batch.keys;
        let factors: Vec<T> = match self.shape.reading {
            Reading::Mix(_) => {
                work.shares = shares(self.of(&self.layout.mixing));
                let gamma = self.gamma();
                work.shares.iter().map(|share| gamma * *share).collect()
            }
            Reading::Single(_) => Vec::new(),
        };
        let mixed = room(&mut work.mixed, keys.len() * hidden);
        let stored = input.states.chunks_exact(input.layers * hidden);
        for ((row, stored), key) in mixed.chunks_exact_mut(hidden).zip(stored).zip(keys) {
            match self.shape.reading {
                Reading::Mix(_) => mix(row, stored, &factors),
                Reading::Single(layer) => {
                    row.copy_from_slice(&stored[usize::from(layer) * hidden..][..hidden]);
                }
            }
            if let Some(masks) = masks {
                masks.input(*key, row);
            }
        }
    }

    /// The vectors of a role's spans.
    fn pool(&self, work: &mut RoleWork<T>, at: &RoleLayout, spans: &Spans, mixed: &[T]) {
        let hidden = self.shape.hidden;
        let row = |piece: usize| &mixed[piece * hidden..][..hidden];
        if self.shape.attends() && spans.several > 0 {
            let query = room(&mut work.query, hidden);
            let attention = self.attention(at);
            Product::replace(1).run(
                MatrixMut::new(query, 1, hidden),
                Matrix::new(attention, 1, attention.len()),
                self.projection(at),
            );
            work.weights.clear();
            for span in &spans.ranges[..spans.several] {
                let first = work.weights.len();
                work.weights
                    .extend(range(*span).map(|piece| dot(query, row(piece))));
                let width = span[1] - span[0];
                softmax_rows(&mut work.weights[first..], width as usize);
            }
        }
        let width = self.shape.parts() * hidden;
        let pooled = room(&mut work.pooled, spans.ranges.len() * width);
        let mut weights = &work.weights[..];
        for (at, (pooled, span)) in pooled
            .chunks_exact_mut(width)
            .zip(&spans.ranges)
            .enumerate()
        {
            let pieces = range(*span);
            let (first, last) = (pieces.start, pieces.end - 1);
            match self.shape.design.pooling {
                Pooling::Endpoints => {
                    pooled[..hidden].copy_from_slice(row(first));
                    pooled[hidden..].copy_from_slice(row(last));
                }
                Pooling::Attention | Pooling::Mean if at < spans.several => {
                    let rows = &mixed[first * hidden..];
                    if self.shape.attends() {
                        let (own, rest) = weights.split_at(pieces.len());
                        weights = rest;
                        mix(pooled, rows, own);
                    } else {
                        let share = T::from_f64((pieces.len() as f64).recip());
                        mix(pooled, rows, &vec![share; pieces.len()]);
                    }
                }
                Pooling::Attention | Pooling::Mean | Pooling::Last => {
                    pooled.copy_from_slice(row(last));
                }
            }
        }
    }
}

/// softmax(a), by f64.
pub(crate) fn shares<T: Real>(logits: &[T]) -> Vec<T> {
    let mut shares: Vec<f64> = logits.iter().map(|logit| logit.to_f64()).collect();
    let width = shares.len();
    softmax_rows(&mut shares, width);
    shares.into_iter().map(T::from_f64).collect()
}

/// The sums of the roles' spans, target by target, with `bias` a₀ where they are without it.
fn join<T: Real>(work: &mut Workspace<T>, batch: &Batch, bias: &[T]) {
    let outer = bias.len();
    let Some(first) = work.roles.first_mut() else {
        return;
    };
    let whole = batch.is_whole();
    if batch.roles[0].is_identity() {
        std::mem::swap(&mut work.outer, &mut first.sums);
    } else {
        let rows = room(&mut work.outer, batch.targets.len() * outer);
        if whole {
            for (target, span) in batch.roles[0].seen() {
                let sums = &first.sums[span * outer..][..outer];
                rows[target * outer..][..outer].copy_from_slice(sums);
            }
        } else {
            rows.chunks_exact_mut(outer)
                .for_each(|row| row.copy_from_slice(bias));
        }
    }
    let rest = work.roles.iter().zip(&batch.roles);
    for (work_of, spans) in rest.skip(usize::from(whole)) {
        for (target, span) in spans.seen() {
            let row = &mut work.outer[target * outer..][..outer];
            add_scaled(row, &work_of.sums[span * outer..][..outer], T::ONE);
        }
    }
}

#[cfg(test)]
mod tests;
