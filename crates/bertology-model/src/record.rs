//! What the gradients of a block's weights are made of: for every linear map the gradient of its output and its input.

use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Matrix, Real};

use crate::block::BlockPass;
use crate::dropout::DropSite;
use crate::feed_forward::activate;
use crate::model::Norm;
use crate::workspace::{LayerTrace, Scratch, sized};

/// Of one block and one batch. Buffers are taken from the pass and given back for others, never copied.
#[derive(Debug, Default)]
pub(crate) struct BlockRecord<R> {
    /// `[rows, hidden]`: gradient of what the feed-forward block adds.
    mlp_out: Vec<R>,
    /// `[rows, intermediate]`: behind the activation.
    activated: Vec<R>,
    /// `[rows, intermediate]`: gradient before the activation.
    mlp_in: Vec<R>,
    /// `[rows, hidden]`: what the feed-forward block read.
    middle: Vec<R>,
    /// `[rows, hidden]`: gradient of what attention adds.
    output: Vec<R>,
    /// `[tokens, 3W]`, or `[tokens, 2W]` of keys and values alone.
    qkv: Vec<R>,
    /// `[rows, W]` of the queries, where not all are read.
    query: Vec<R>,
    /// `[rows, hidden]`: what those queries are of.
    query_input: Vec<R>,
    /// Gradients of the norms of queries and of keys, `[W]` each, or empty.
    pub(crate) query_key: Vec<R>,
    /// `[tokens, hidden]`: what attention read; pre-norm only.
    normed: Vec<R>,
    /// Weight and bias of both norms, `[hidden]` each, attention's first: gradients.
    norms: Vec<R>,
    /// Gradient of the table of relative positions, or of queries and keys of distances, or empty.
    pub(crate) distances: Vec<R>,
    /// `[rows, hidden]`: what those distances are.
    distance_rows: Vec<R>,
    /// `[rows, hidden]`: their gradient, of one block.
    d_distance_rows: Vec<R>,
    /// The same of all blocks so far.
    pub(crate) distance_sum: Vec<R>,
    /// Gradient of the table of what distances add to scores, `[buckets, heads]`, or empty.
    pub(crate) bias: Vec<R>,
    /// Whether queries lie apart from keys and values.
    apart: bool,
    rows: usize,
    tokens: usize,
}

/// One term of the gradient of a linear map's rows from `first` on: `dyᵀ · x`.
pub(crate) struct Term<'a, R> {
    pub(crate) first: usize,
    /// `[n, outputs]`
    pub(crate) dy: Matrix<'a, R>,
    /// `[n, inputs]`
    pub(crate) x: Matrix<'a, R>,
}

impl<R: Real> BlockRecord<R> {
    /// Clears what is summed.
    pub(crate) fn begin(&mut self, block: &BlockPass<'_, R>, trace: &LayerTrace<R>) {
        self.rows = block.rows.count(block.batch);
        self.tokens = block.batch.tokens();
        sized(&mut self.norms, 4 * block.arch.hidden_size).fill(R::ZERO);
        let attention = &block.weights.attention;
        let normed = attention
            .norms
            .as_ref()
            .map_or(0, |_| 2 * attention.output.inputs);
        sized(&mut self.query_key, normed).fill(R::ZERO);
        let distance = block.weights.attention.distance.as_ref();
        let distances = distance.map_or(trace.distances.len(), Vec::len);
        sized(&mut self.distances, distances).fill(R::ZERO);
        sized(&mut self.bias, block.bias.map_or(0, <[R]>::len)).fill(R::ZERO);
    }

    fn norm(&mut self, which: usize) -> [&mut [R]; 2] {
        let width = self.norms.len() / 4;
        let (weight, bias) = self.norms[2 * which * width..][..2 * width].split_at_mut(width);
        [weight, bias]
    }

    pub(crate) fn attention_norm(&mut self) -> [&mut [R]; 2] {
        self.norm(0)
    }

    pub(crate) fn mlp_norm(&mut self) -> [&mut [R]; 2] {
        self.norm(1)
    }

    /// Gradients of both norms: weight and bias of attention's, then of the feed-forward block's, `[4, hidden]`.
    pub(crate) fn norms(&self) -> impl Iterator<Item = &[R]> {
        self.norms.chunks_exact((self.norms.len() / 4).max(1))
    }

    /// After the feed-forward block's way back: the gradients of its maps' outputs leave `scratch`.
    pub(crate) fn keep_feed_forward(
        &mut self,
        block: &BlockPass<'_, R>,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
    ) {
        std::mem::swap(&mut self.mlp_out, &mut scratch.update);
        std::mem::swap(&mut self.mlp_in, &mut scratch.inner);
        let inner = block.neurons();
        let activated = sized(&mut self.activated, self.rows * inner);
        activate(block.arch, activated, &trace.mlp_pre, inner);
        block.drop_wide(DropSite::MlpInner, activated, inner);
        match block.norm_behind_attention() {
            Some(norm) => affine(&mut self.middle, &trace.attention_hat, norm),
            None => affine(
                &mut self.middle,
                &trace.mlp_hat,
                &block.weights.rest.mlp_norm,
            ),
        }
    }

    /// After attention's way back.
    pub(crate) fn keep_attention(
        &mut self,
        block: &BlockPass<'_, R>,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
    ) {
        std::mem::swap(&mut self.output, &mut scratch.update);
        std::mem::swap(&mut self.qkv, &mut scratch.qkv);
        if let Some(norm) = block.norm_before_attention() {
            affine(&mut self.normed, &trace.attention_hat, norm);
        }
        self.d_distance_rows.clear();
        if !trace.distances.is_empty() {
            block.distance_rows(&mut self.distance_rows);
            let d = &mut self.d_distance_rows;
            block.distances_backward(&self.distances, d);
            if self.distance_sum.is_empty() {
                self.distance_sum.extend_from_slice(d);
            } else {
                add_assign(&mut self.distance_sum, d);
            }
        }
        self.apart = block.rows.tokens(0).is_some();
        if self.apart {
            std::mem::swap(&mut self.query, &mut scratch.query);
            let width = block.arch.hidden_size;
            let input = match block.norm_before_attention() {
                None => &trace.input,
                Some(_) => &self.normed,
            };
            let compact = sized(&mut self.query_input, self.rows * width);
            compact.fill(R::ZERO);
            block.rows.add_from(compact, input, width);
        }
    }

    /// Queries, keys and values.
    pub(crate) fn qkv<'a>(
        &'a self,
        block: &BlockPass<'_, R>,
        trace: &'a LayerTrace<R>,
    ) -> Vec<Term<'a, R>> {
        let hidden = block.arch.hidden_size;
        let width = block.weights.attention.output.inputs;
        let input = match block.norm_before_attention() {
            None => &trace.input,
            Some(_) => &self.normed,
        };
        let x = Matrix::new(input, self.tokens, hidden);
        if !self.apart {
            let dy = Matrix::new(&self.qkv, self.tokens, 3 * width);
            let mut terms = vec![Term { first: 0, dy, x }];
            if block.weights.attention.distance_maps.is_none() {
                terms.extend(self.distance_term(block));
            }
            return terms;
        }
        vec![
            Term {
                first: 0,
                dy: Matrix::new(&self.query, self.rows, width),
                x: Matrix::new(&self.query_input, self.rows, hidden),
            },
            Term {
                first: width,
                dy: Matrix::new(&self.qkv, self.tokens, 2 * width),
                x,
            },
        ]
    }

    /// Of the maps that give distances their queries and keys.
    pub(crate) fn distance_term(&self, block: &BlockPass<'_, R>) -> Option<Term<'_, R>> {
        if self.d_distance_rows.is_empty() {
            return None;
        }
        let hidden = block.arch.hidden_size;
        let rows = self.d_distance_rows.len() / hidden;
        Some(Term {
            first: 0,
            dy: Matrix::new(&self.distances, rows, self.distances.len() / rows),
            x: Matrix::new(&self.distance_rows, rows, hidden),
        })
    }

    /// Attention's output map.
    pub(crate) fn output<'a>(
        &'a self,
        block: &BlockPass<'_, R>,
        trace: &'a LayerTrace<R>,
    ) -> Vec<Term<'a, R>> {
        let width = block.weights.attention.output.inputs;
        let x = Matrix::new(&trace.context, self.rows, width);
        self.single(&self.output, block.arch.hidden_size, x)
    }

    /// The feed-forward block's first map.
    pub(crate) fn mlp_in(&self, block: &BlockPass<'_, R>) -> Vec<Term<'_, R>> {
        let x = Matrix::new(&self.middle, self.rows, block.arch.hidden_size);
        self.single(&self.mlp_in, block.weights.rest.mlp_in.outputs, x)
    }

    /// Its second map.
    pub(crate) fn mlp_out(&self, block: &BlockPass<'_, R>) -> Vec<Term<'_, R>> {
        let x = Matrix::new(&self.activated, self.rows, block.neurons());
        self.single(&self.mlp_out, block.arch.hidden_size, x)
    }

    fn single<'a>(&self, dy: &'a [R], outputs: usize, x: Matrix<'a, R>) -> Vec<Term<'a, R>> {
        let dy = Matrix::new(dy, self.rows, outputs);
        vec![Term { first: 0, dy, x }]
    }
}

/// `y = hat · weight + bias`, as the norm gave it.
fn affine<R: Real>(y: &mut Vec<R>, hat: &[R], norm: &Norm<R>) {
    let width = norm.weight.len();
    let y = sized(y, hat.len());
    for (y, hat) in y.chunks_exact_mut(width).zip(hat.chunks_exact(width)) {
        let affine = norm.weight.iter().zip(&norm.bias);
        for ((y, hat), (weight, bias)) in y.iter_mut().zip(hat).zip(affine) {
            *y = hat.mul_add(*weight, *bias);
        }
    }
}
