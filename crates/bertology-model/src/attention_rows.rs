//! Attention of a few queries: what [`crate::attention`] does, where only some positions of a layer are
//! read. Keys and values are those of all tokens.

use bertology_kernels::softmax::{softmax_rows_backward, softmax_seen};
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::Error;
use crate::attention::{AttentionPass, Slice};
use crate::mask::HeadId;
use crate::positions::PositionGradients;
use crate::taps::{ATTENTION_SITES, LayerSite, Pass, Taps};
use crate::workspace::{LayerTrace, Scratch, sized};

impl<R: Real> AttentionPass<'_, R> {
    /// Whether someone looks at attention itself, so that all queries are computed.
    fn watched(&self, taps: &Taps<'_, '_, '_, R>) -> bool {
        let sites = ATTENTION_SITES.into_iter();
        sites
            .chain([LayerSite::AttentionEntropy])
            .any(|site| taps.wants(Pass::Forward, site))
    }

    /// Whether the values are of use where nobody reads a head's output.
    pub(crate) fn reads_values(&self, taps: &Taps<'_, '_, '_, R>) -> bool {
        taps.wants(Pass::Forward, LayerSite::Value) || taps.changes()
    }

    /// Head outputs of the rows that are read, `trace.context [rows, W]`.
    pub(crate) fn forward_rows(
        &self,
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let watched = self.watched(taps);
        let LayerTrace { qkv, context, .. } = trace;
        let context = sized(context, self.rows.count(self.batch) * self.width());
        for (sequence, id, slice) in self.slices() {
            let Scratch {
                scores,
                score_gradient,
                relative,
                tap,
                ..
            } = scratch;
            let tokens = self.rows.tokens(sequence).unwrap_or_default();
            let (rows, n) = (tokens.len(), slice.len());
            let probs = if watched {
                let all = self.watched_probabilities(
                    &slice,
                    qkv,
                    scores,
                    relative,
                    (sequence, id),
                    taps,
                )?;
                let probs = sized(score_gradient, rows * n);
                for (row, token) in probs.chunks_exact_mut(n).zip(tokens) {
                    row.copy_from_slice(&all[(token - slice.tokens.start) * n..][..n]);
                }
                probs
            } else {
                self.some_probabilities(&slice, qkv, tokens, (scores, tap, relative))
            };
            if rows == 0 {
                continue;
            }
            let positions = tokens.iter().map(|token| token - slice.tokens.start);
            self.drop_probs(probs, (sequence, id), positions, n);
            Product::replace(1).run(
                slice.context_mut(context),
                Matrix::new(probs, rows, n),
                slice.read(qkv, 2),
            );
        }
        Ok(())
    }

    /// Attention probabilities `[rows, n]` of the queries at `tokens`.
    fn some_probabilities<'s>(
        &self,
        slice: &Slice,
        qkv: &[R],
        tokens: &[usize],
        (scores, queries, bias): (&'s mut Vec<R>, &mut Vec<R>, &mut Vec<R>),
    ) -> &'s mut [R] {
        let (rows, n, dim) = (tokens.len(), slice.len(), slice.head_dim);
        let all = slice.read(qkv, 0);
        let queries = sized(queries, rows * dim);
        for (row, token) in queries.chunks_exact_mut(dim).zip(tokens) {
            row.copy_from_slice(all.row(token - slice.tokens.start));
        }
        let scores = sized(scores, rows * n);
        let product = self.scaled();
        let keys = slice.read(qkv, 1);
        product.run(
            MatrixMut::new(scores, rows, n),
            Matrix::new(queries, rows, dim),
            keys.transposed(),
        );
        let positions = tokens.iter().map(|token| token - slice.tokens.start);
        self.add_bias(slice, scores, (positions, 0), bias);
        let (sight, first) = (self.sight(), slice.tokens.start);
        softmax_seen(scores, n, |row| sight.of(tokens[row] - first, n));
        scores
    }

    /// [`AttentionPass::backward`] for the rows that are read: `scratch.heads [rows, W]` arrives as the
    /// gradient of the masked head outputs; `scratch.qkv [tokens, 2W]` leaves as that of keys and values,
    /// `scratch.query [rows, W]` as that of the queries, unless `deeper` is false.
    pub(crate) fn backward_rows(
        &self,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        deeper: bool,
        mut positions: Option<PositionGradients<'_, R>>,
        taps: &mut Taps<'_, '_, '_, R>,
        mut mask_gradient: impl FnMut(usize, HeadId, f64),
    ) -> Result<(), Error> {
        let width = self.width();
        for (sequence, id, slice) in self.slices() {
            let each = match self.rows.tokens(sequence) {
                Some([]) | None => Vec::new(),
                Some(_) => self.row_gradients(&slice, trace, scratch),
            };
            mask_gradient(sequence, id, each.iter().sum());
            if taps.wants(Pass::Backward, LayerSite::HeadMask) {
                let per_position = sized(&mut scratch.tap, slice.len());
                per_position.fill(R::ZERO);
                let tokens = self.rows.tokens(sequence).unwrap_or_default();
                for (value, token) in each.iter().zip(tokens) {
                    per_position[token - slice.tokens.start] = R::from_f64(*value);
                }
                let value = Matrix::new(per_position, slice.len(), 1);
                taps.emit_head(Pass::Backward, LayerSite::HeadMask, sequence, id, value)?;
            }
        }
        if !deeper {
            return Ok(());
        }
        self.apply_mask(&mut scratch.heads);
        let d_key_value = sized(&mut scratch.qkv, self.batch.tokens() * 2 * width);
        sized(&mut scratch.query, self.rows.count(self.batch) * width);
        for (sequence, tokens) in self.batch.ranges().enumerate() {
            // Nothing of a sequence of which nothing is read has a gradient.
            if self.rows.range(self.batch, sequence).is_empty() {
                d_key_value[tokens.start * 2 * width..tokens.end * 2 * width].fill(R::ZERO);
            }
        }
        for (sequence, id, slice) in self.slices() {
            let tokens = self.rows.tokens(sequence).unwrap_or_default();
            if !tokens.is_empty() {
                let positions = positions.as_mut().map(PositionGradients::reborrow);
                self.backward_rows_head(&slice, tokens, trace, scratch, (sequence, id), positions);
            }
        }
        Ok(())
    }

    /// For one head and sequence.
    fn backward_rows_head(
        &self,
        slice: &Slice,
        tokens: &[usize],
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        at: (usize, HeadId),
        gradients: Option<PositionGradients<'_, R>>,
    ) {
        let (rows, n) = (tokens.len(), slice.len());
        let Scratch {
            heads,
            qkv: d_key_value,
            query: d_query,
            scores,
            score_gradient,
            tap,
            dropped,
            relative,
            ..
        } = scratch;
        let d_context = slice.context(heads);
        let probs = self.some_probabilities(slice, &trace.qkv, tokens, (scores, tap, relative));
        let positions = tokens.iter().map(|token| token - slice.tokens.start);
        let p = self.multiplied(probs, dropped, at, positions.clone());
        // Keys and values lie side by side, `[tokens, 2W]`.
        let stride = 2 * slice.width;
        let first = slice.tokens.start * stride + slice.slot * slice.head_dim;
        let value = &mut d_key_value[first + slice.width..];
        let value = MatrixMut::strided(value, n, slice.head_dim, stride);
        Product::replace(1).run(value, p.transposed(), d_context);
        let d_scores = sized(score_gradient, rows * n);
        Product::replace(1).run(
            MatrixMut::new(d_scores, rows, n),
            d_context,
            slice.read(&trace.qkv, 2).transposed(),
        );
        self.drop_probs(d_scores, at, positions.clone(), n);
        softmax_rows_backward(d_scores, probs, n);
        if let Some(gradients) = gradients {
            self.bias_backward(slice, d_scores, (positions, 0), relative, gradients.bias);
        }
        let d = Matrix::new(d_scores, rows, n);
        let scaled = self.scaled();
        scaled.run(slice.context_mut(d_query), d, slice.read(&trace.qkv, 1));
        let key = MatrixMut::strided(&mut d_key_value[first..], n, slice.head_dim, stride);
        let queries = Matrix::new(tap, rows, slice.head_dim);
        scaled.run(key, d.transposed(), queries);
    }
}
