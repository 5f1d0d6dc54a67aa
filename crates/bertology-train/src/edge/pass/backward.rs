//! The loss, and the way back to the parameters.

use bertology_kernels::elementwise::{dot, sigmoids, softplus_sum, tanh_backward};
use bertology_kernels::mixing::{add_row_products, add_rows, add_scaled};
use bertology_kernels::norm::{layer_norm_backward, layer_norm_backward_affine};
use bertology_kernels::product::linear_backward_input;
use bertology_kernels::softmax::{log_sum_exp, weighted_softmax};
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use super::super::batch::{Batch, Spans};
use super::super::design::{Output, Pooling};
use super::{Input, Masks, Probe, RoleWork, Workspace, range, room, zeros};

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

impl<T: Real> Probe<'_, T> {
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
            let weight = self.of(weight);
            layer_norm_backward(down, &work.normalized, &work.rstd, weight, true);
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
            for (target, span) in spans.seen() {
                let row = &work.outer_gradient[target * outer..][..outer];
                add_scaled(&mut rows[span * outer..][..outer], row, T::ONE);
            }
            rows
        };
        let joint = room(&mut work.joint_gradient, outer * width);
        Product::replace(1).run(
            MatrixMut::new(joint, outer, width),
            Matrix::new(rows, count, outer).transposed(),
            Matrix::new(&own.pooled, count, width),
        );
        // Of the targets that have a span of this role.
        let mut sum = gradient[self.layout.outer_bias.clone()].to_vec();
        if !spans.is_whole() {
            sum.fill(T::ZERO);
            add_rows(&mut sum, rows);
        }
        let rows = Matrix::new(rows, count, outer);
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
