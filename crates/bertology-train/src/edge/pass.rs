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

use std::ops::Range;

use bertology_kernels::elementwise::{dot, sigmoids, softplus_sum, tanh_backward};
use bertology_kernels::mixing::{add_row_products, add_rows, add_scaled, mix};
use bertology_kernels::norm::{layer_norm, layer_norm_backward, layer_norm_backward_affine};
use bertology_kernels::product::{linear, linear_backward_input};
use bertology_kernels::softmax::{log_sum_exp, softmax_rows, weighted_softmax};
use bertology_kernels::{Activation, Matrix, MatrixMut, Product, Real};

use super::batch::{Batch, Spans};
use super::design::{Layout, NORM_EPSILON, Output, Pooling, Reading, RoleLayout, Shape};

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

/// Rows to which is added, without zeros at the beginning: the first that comes to a row is put there.
struct Rows<'a, T> {
    values: &'a mut [T],
    touched: &'a mut [bool],
    width: usize,
}

impl<T: Real> Rows<'_, T> {
    fn add(&mut self, at: usize, row: &[T], weight: T) {
        let own = &mut self.values[at * self.width..][..self.width];
        if !self.touched[at] {
            self.touched[at] = true;
            if weight == T::ONE {
                own.copy_from_slice(row);
                return;
            }
            own.fill(T::ZERO);
        }
        add_scaled(own, row, weight);
    }
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
        // a₀ + Σ A b: what does not depend on the input.
        let mut constant = self.of(&layout.outer_bias).to_vec();
        for (role, at) in layout.roles.iter().enumerate() {
            let bias = Matrix::new(self.of(&at.bias), shape.design.projection, 1);
            for part in 0..shape.parts() {
                let dst = MatrixMut::new(&mut constant, outer, 1);
                Product::add(1).run(dst, self.outer(role, part), bias);
            }
        }
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
                if role == 0 { &constant } else { &[] },
                1,
            );
        }
        join(work, input.batch, outer);
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

    /// The loss of the logits that [`Probe::forward`] left, times `weight`; their gradient stays in `work`.
    pub(crate) fn loss(&self, work: &mut Workspace<T>, batch: &Batch, weight: f64) -> f64 {
        let classes = self.shape.classes;
        let gradient = room(&mut work.logit_gradient, work.logits.len());
        let factor = T::from_f64(weight);
        let mut loss = 0.0;
        let rows = gradient.chunks_exact_mut(classes);
        for (at, (gradient, logits)) in rows.zip(work.logits.chunks_exact(classes)).enumerate() {
            let labels = batch.labels_of(at);
            match self.shape.design.output {
                Output::Sigmoid => {
                    sigmoids(gradient, logits);
                    loss += softplus_sum(logits).to_f64();
                    for label in labels {
                        let label = usize::from(*label);
                        loss -= logits[label].to_f64();
                        gradient[label] -= T::ONE;
                    }
                    gradient.iter_mut().for_each(|g| *g *= factor);
                }
                Output::Softmax => {
                    let normalizer = log_sum_exp(logits);
                    weighted_softmax(gradient, logits, normalizer, weight);
                    for label in labels {
                        let label = usize::from(*label);
                        loss += normalizer - logits[label].to_f64();
                        gradient[label] -= factor;
                    }
                }
            }
        }
        loss * weight
    }

    /// The gradient of the loss with respect to all parameters, from what [`Probe::loss`] left.
    pub(crate) fn backward(
        &self,
        gradient: &mut [T],
        work: &mut Workspace<T>,
        input: Input<'_, T>,
        masks: Option<&dyn Masks<T>>,
    ) {
        let (shape, layout) = (self.shape, self.layout);
        gradient.fill(T::ZERO);
        self.classifier_backward(gradient, work, input.batch, masks);
        // Mixing logits of a single layer have no gradient, and γ has that of a common factor of all W.
        let by_weights = layout.mixing.len() <= 1 && self.gamma() != T::ZERO;
        let mixes = !by_weights && !layout.gamma.is_empty();
        if mixes {
            let pieces = input.batch.pieces.len();
            room(&mut work.mixed_gradient, pieces * shape.hidden);
            work.touched.clear();
            work.touched.resize(pieces, false);
        }
        for role in 0..shape.roles {
            self.role_backward(gradient, work, role, &input.batch.roles[role], mixes);
        }
        if mixes {
            self.mix_backward(gradient, work, input, masks);
        } else if !layout.gamma.is_empty() {
            let both = layout.roles.iter().map(|at| {
                let blocks = gradient[at.weight.clone()].chunks(4096);
                let pairs = blocks.zip(self.of(&at.weight).chunks(4096));
                pairs.map(|(g, w)| dot(g, w).to_f64()).sum::<f64>()
            });
            let both: f64 = both.sum();
            gradient[layout.gamma.start] = T::from_f64(both / self.gamma().to_f64());
        }
    }

    /// Down to the gradient of A z + a₀.
    fn classifier_backward(
        &self,
        gradient: &mut [T],
        work: &mut Workspace<T>,
        batch: &Batch,
        masks: Option<&dyn Masks<T>>,
    ) {
        let (shape, layout) = (self.shape, self.layout);
        let (targets, outer, classes) = (batch.targets.len(), shape.outer(), shape.classes);
        let logits = Matrix::new(&work.logit_gradient, targets, classes);
        let down = room(&mut work.outer_gradient, targets * outer);
        if shape.is_mlp() {
            Product::replace(1).run(
                MatrixMut::new(&mut gradient[layout.inner.clone()], classes, outer),
                logits.transposed(),
                Matrix::new(&work.units, targets, outer),
            );
            add_rows(
                &mut gradient[layout.inner_bias.clone()],
                &work.logit_gradient,
            );
            let inner = Matrix::new(self.of(&layout.inner), classes, outer);
            linear_backward_input(down, logits, inner, 1);
            if let Some(masks) = masks {
                for (row, target) in down.chunks_exact_mut(outer).zip(&batch.targets) {
                    masks.units(*target, row);
                }
            }
            let [weight, bias] = &layout.norm;
            let both = &mut gradient[weight.start..bias.end];
            let (weights, biases) = both.split_at_mut(outer);
            layer_norm_backward_affine(weights, biases, down, &work.normalized);
            layer_norm_backward(down, &work.normalized, &work.rstd, self.of(weight));
            tanh_backward(down, &work.outer);
        } else {
            down.copy_from_slice(&work.logit_gradient);
        }
        add_rows(&mut gradient[layout.outer_bias.clone()], down);
    }

    /// The gradients of W, b, w and of the role's part of A; with `mixes` also that of the mixed vectors.
    fn role_backward(
        &self,
        gradient: &mut [T],
        work: &mut Workspace<T>,
        role: usize,
        spans: &Spans,
        mixes: bool,
    ) {
        let (shape, at) = (self.shape, &self.layout.roles[role]);
        let (outer, hidden, projection) = (shape.outer(), shape.hidden, shape.design.projection);
        let width = shape.parts() * hidden;
        let count = spans.ranges.len();
        let own = &work.roles[role];
        let rows = if spans.is_identity() {
            &work.outer_gradient[..]
        } else {
            let rows = zeros(&mut work.span_gradient, count * outer);
            let targets = work.outer_gradient.chunks_exact(outer);
            for (row, span) in targets.zip(&spans.of_target) {
                add_scaled(&mut rows[*span as usize * outer..][..outer], row, T::ONE);
            }
            rows
        };
        let rows = Matrix::new(rows, count, outer);
        let joint = room(&mut work.joint_gradient, outer * width);
        Product::replace(1).run(
            MatrixMut::new(joint, outer, width),
            rows.transposed(),
            Matrix::new(&own.pooled, count, width),
        );
        let sum = gradient[self.layout.outer_bias.clone()].to_vec();
        for part in 0..shape.parts() {
            let joint = Matrix::strided(&joint[part * hidden..], outer, hidden, width);
            let first = (role * shape.parts() + part) * projection;
            let all = &mut gradient[self.layout.outer.clone()][first..];
            let mut outers = MatrixMut::strided(all, outer, projection, shape.joined());
            for (row, sum) in sum.iter().enumerate() {
                add_scaled(outers.row_mut(row), self.of(&at.bias), *sum);
            }
            Product::add(1).run(outers, joint, self.projection(at).transposed());
            let back = self.outer(role, part).transposed();
            let weights = &mut gradient[at.weight.clone()];
            let weights = MatrixMut::new(weights, projection, hidden);
            Product::add(1).run(weights, back, joint);
            let biases = MatrixMut::new(&mut gradient[at.bias.clone()], projection, 1);
            Product::add(1).run(biases, back, Matrix::new(&sum, outer, 1));
        }
        let attends = shape.attends() && spans.several > 0;
        let wanted = match (mixes, attends) {
            (true, _) => count,
            (false, true) => spans.several,
            (false, false) => 0,
        };
        let pooled = room(&mut work.pooled_gradient, wanted * width);
        linear_backward_input(
            pooled,
            rows.slice_rows(0..wanted),
            Matrix::new(&own.joint, outer, width),
            1,
        );
        if attends {
            let logits = zeros(&mut work.piece_gradient, work.mixed.len() / hidden);
            attention_backward(logits, own, spans, pooled, &work.mixed);
            let mut query = vec![T::ZERO; hidden];
            for (piece, logit) in work.mixed.chunks_exact(hidden).zip(logits.iter()) {
                if *logit != T::ZERO {
                    add_scaled(&mut query, piece, *logit);
                }
            }
            let attention = self.attention(at);
            let weights = gradient[at.weight.clone()].chunks_exact_mut(hidden);
            for (row, weight) in weights.zip(attention) {
                add_scaled(row, &query, *weight);
            }
            // Behind it the bias, whose gradient is zero.
            let weights = &mut gradient[at.attention.start..at.attention.end - 1];
            Product::replace(1).run(
                MatrixMut::new(weights, projection, 1),
                self.projection(at),
                Matrix::new(&query, hidden, 1),
            );
        }
        if mixes {
            let logits = if attends {
                &work.piece_gradient[..]
            } else {
                &[]
            };
            let sums = Rows {
                values: &mut work.mixed_gradient,
                touched: &mut work.touched,
                width: hidden,
            };
            self.spread(sums, own, spans, pooled, logits);
        }
    }

    /// From the vectors of the spans to those of their pieces.
    fn spread(
        &self,
        mut mixed: Rows<'_, T>,
        work: &RoleWork<T>,
        spans: &Spans,
        pooled: &[T],
        logits: &[T],
    ) {
        let hidden = self.shape.hidden;
        let width = self.shape.parts() * hidden;
        let mut weights = &work.weights[..];
        for (at, (pooled, span)) in pooled.chunks_exact(width).zip(&spans.ranges).enumerate() {
            let pieces = range(*span);
            let (first, last) = (pieces.start, pieces.end - 1);
            match self.shape.design.pooling {
                Pooling::Endpoints => {
                    let (left, right) = pooled.split_at(hidden);
                    mixed.add(first, left, T::ONE);
                    mixed.add(last, right, T::ONE);
                }
                Pooling::Attention if at < spans.several => {
                    let (own, rest) = weights.split_at(pieces.len());
                    weights = rest;
                    for (piece, weight) in pieces.zip(own) {
                        mixed.add(piece, pooled, *weight);
                    }
                }
                Pooling::Mean => {
                    let share = T::from_f64((pieces.len() as f64).recip());
                    for piece in pieces {
                        mixed.add(piece, pooled, share);
                    }
                }
                Pooling::Attention | Pooling::Last => mixed.add(last, pooled, T::ONE),
            }
        }
        for (piece, logit) in logits.iter().enumerate() {
            if *logit != T::ZERO {
                mixed.add(piece, &work.query, *logit);
            }
        }
    }

    /// The gradients of the mixing logits and of γ.
    fn mix_backward(
        &self,
        gradient: &mut [T],
        work: &mut Workspace<T>,
        input: Input<'_, T>,
        masks: Option<&dyn Masks<T>>,
    ) {
        let hidden = self.shape.hidden;
        let products = zeros(&mut work.products, self.layout.mixing.len() * hidden);
        let rows = work.mixed_gradient.chunks_exact_mut(hidden);
        let stored = input.states.chunks_exact(input.layers * hidden);
        let pieces = input.batch.keys.iter().zip(&work.touched);
        for ((row, stored), (key, touched)) in rows.zip(stored).zip(pieces) {
            // Of pooling that does not look at all pieces of a span.
            if !touched {
                continue;
            }
            if let Some(masks) = masks {
                masks.input(*key, row);
            }
            add_row_products(products, row, stored);
        }
        let sums = products.chunks_exact(hidden);
        let sums: Vec<f64> = sums
            .map(|row| row.iter().map(|product| product.to_f64()).sum())
            .collect();
        let of_shares = || work.shares.iter().map(|share| share.to_f64()).zip(&sums);
        let mean: f64 = of_shares().map(|(share, sum)| share * sum).sum();
        let gamma = self.gamma().to_f64();
        let logits = &mut gradient[self.layout.mixing.clone()];
        for (logit, (share, sum)) in logits.iter_mut().zip(of_shares()) {
            *logit = T::from_f64(gamma * share * (sum - mean));
        }
        gradient[self.layout.gamma.start] = T::from_f64(mean);
    }
}

/// softmax(a), by f64.
pub(crate) fn shares<T: Real>(logits: &[T]) -> Vec<T> {
    let mut shares: Vec<f64> = logits.iter().map(|logit| logit.to_f64()).collect();
    let width = shares.len();
    softmax_rows(&mut shares, width);
    shares.into_iter().map(T::from_f64).collect()
}

/// The sums of the roles' spans, target by target.
fn join<T: Real>(work: &mut Workspace<T>, batch: &Batch, outer: usize) {
    let [first, rest @ ..] = &mut work.roles[..] else {
        return;
    };
    if batch.roles[0].is_identity() {
        std::mem::swap(&mut work.outer, &mut first.sums);
    } else {
        let rows = room(&mut work.outer, batch.targets.len() * outer);
        let spans = rows.chunks_exact_mut(outer).zip(&batch.roles[0].of_target);
        for (row, span) in spans {
            row.copy_from_slice(&first.sums[*span as usize * outer..][..outer]);
        }
    }
    for (work_of, spans) in rest.iter().zip(&batch.roles[1..]) {
        let rows = work.outer.chunks_exact_mut(outer).zip(&spans.of_target);
        for (row, span) in rows {
            add_scaled(
                row,
                &work_of.sums[*span as usize * outer..][..outer],
                T::ONE,
            );
        }
    }
}

/// The gradient of the attention logits of the pieces, from that of the vectors of spans of several pieces.
fn attention_backward<T: Real>(
    logits: &mut [T],
    work: &RoleWork<T>,
    spans: &Spans,
    pooled: &[T],
    mixed: &[T],
) {
    let hidden = work.query.len();
    let mut weights = &work.weights[..];
    let several = spans.ranges[..spans.several].iter();
    for (span, pooled) in several.zip(pooled.chunks_exact(hidden)) {
        let pieces = range(*span);
        let (own, rest) = weights.split_at(pieces.len());
        weights = rest;
        let rows = mixed[pieces.start * hidden..].chunks_exact(hidden);
        let slopes: Vec<T> = rows
            .take(pieces.len())
            .map(|row| dot(pooled, row))
            .collect();
        let mean = dot(own, &slopes);
        for ((logit, weight), slope) in logits[pieces].iter_mut().zip(own).zip(slopes) {
            *logit += *weight * (slope - mean);
        }
    }
}

#[cfg(test)]
mod tests;
