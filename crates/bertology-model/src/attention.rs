//! Attention of one head over one sequence, forwards and backwards, and the loop over both.

use std::ops::Range;

use bertology_checkpoint::Architecture;
use bertology_kernels::elementwise::dot;
use bertology_kernels::softmax::{entropy, softmax_rows_backward, softmax_seen};
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::distances::Distances;
use crate::dropout::{DropSite, Drops};
use crate::intervention::Place;
use crate::mask::HeadId;
use crate::model::Attention;
use crate::positions::PositionGradients;
use crate::rotary::Rotary;
use crate::rows::Rows;
use crate::seen::Block;
use crate::taps::{LayerSite, Pass, Tap, Taps};
use crate::workspace::{LayerTrace, Scratch, sized};
use crate::{Error, Masking, PackedBatch};

/// The parts of a packed projection in their order.
pub(crate) const PROJECTIONS: [LayerSite; 3] = [LayerSite::Query, LayerSite::Key, LayerSite::Value];
/// The first of them once they are turned.
pub(crate) const ROTATED: [LayerSite; 2] = [LayerSite::RotatedQuery, LayerSite::RotatedKey];

/// Where the queries, keys and values of one head of one sequence lie in a packed `[tokens, 3W]`
/// array, and its context in `[rows, W]`.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) tokens: Range<usize>,
    /// Where the rows that are carried on lie in compact arrays.
    pub(crate) rows: Range<usize>,
    /// Place of the head among those that have room.
    pub(crate) slot: usize,
    /// Heads that have room times head size.
    pub(crate) width: usize,
    pub(crate) head_dim: usize,
}

impl Slice {
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Queries (0), keys (1) or values (2).
    pub(crate) fn read<'a, R>(&self, qkv: &'a [R], part: usize) -> Matrix<'a, R> {
        let stride = 3 * self.width;
        let first = self.tokens.start * stride + part * self.width + self.slot * self.head_dim;
        Matrix::strided(&qkv[first..], self.len(), self.head_dim, stride)
    }

    pub(crate) fn write<'a, R>(&self, qkv: &'a mut [R], part: usize) -> MatrixMut<'a, R> {
        let stride = 3 * self.width;
        let first = self.tokens.start * stride + part * self.width + self.slot * self.head_dim;
        MatrixMut::strided(&mut qkv[first..], self.len(), self.head_dim, stride)
    }

    pub(crate) fn context<'a, R>(&self, context: &'a [R]) -> Matrix<'a, R> {
        let first = self.rows.start * self.width + self.slot * self.head_dim;
        Matrix::strided(
            &context[first..],
            self.rows.len(),
            self.head_dim,
            self.width,
        )
    }

    pub(crate) fn context_mut<'a, R>(&self, context: &'a mut [R]) -> MatrixMut<'a, R> {
        let first = self.rows.start * self.width + self.slot * self.head_dim;
        MatrixMut::strided(
            &mut context[first..],
            self.rows.len(),
            self.head_dim,
            self.width,
        )
    }
}

/// One layer's attention over a batch: what all heads and sequences share.
pub(crate) struct AttentionPass<'a, R> {
    pub(crate) arch: &'a Architecture,
    pub(crate) weights: &'a Attention<R>,
    pub(crate) layer: usize,
    pub(crate) batch: &'a PackedBatch,
    /// The positions whose head outputs are carried on.
    pub(crate) rows: &'a Rows,
    pub(crate) masking: Masking<'a>,
    pub(crate) drops: Option<Drops>,
    /// `[buckets, heads]`: what distance adds to scores, where the model has such a table.
    pub(crate) bias: Option<&'a [R]>,
    /// Queries and keys of distances, where they have such.
    pub(crate) distances: Option<Distances<'a, R>>,
    /// What turns queries and keys, where something does.
    pub(crate) rotary: Option<&'a Rotary<R>>,
}

impl<R: Real> AttentionPass<'_, R> {
    /// Drops from attention probabilities, or from their gradient, `[queries, n]`, the queries at these positions.
    pub(crate) fn drop_probs(
        &self,
        probs: &mut [R],
        (sequence, id): (usize, HeadId),
        queries: impl Iterator<Item = usize>,
        n: usize,
    ) {
        if let Some(drops) = &self.drops {
            let site = DropSite::AttentionProbs(id.head);
            drops.positions(site, self.layer, sequence, queries, probs, n);
        }
    }

    /// Attention probabilities `[queries, keys]`, the queries at these positions, as they multiply the values: without what is
    /// dropped.
    pub(crate) fn multiplied<'b>(
        &self,
        probs: &'b [R],
        dropped: &'b mut Vec<R>,
        at: (usize, HeadId),
        queries: impl ExactSizeIterator<Item = usize>,
    ) -> Matrix<'b, R> {
        let rows = queries.len();
        let keys = probs.len() / rows.max(1);
        if !self.drops_probs() {
            return Matrix::new(probs, rows, keys);
        }
        let dropped = sized(dropped, probs.len());
        dropped.copy_from_slice(probs);
        self.drop_probs(dropped, at, queries, keys);
        Matrix::new(dropped, rows, keys)
    }

    /// Whether some attention probabilities are dropped.
    pub(crate) fn drops_probs(&self) -> bool {
        let off = |drops: &Drops| drops.is_off(DropSite::AttentionProbs(0));
        self.drops.as_ref().is_some_and(|drops| !off(drops))
    }

    pub(crate) fn width(&self) -> usize {
        self.weights.output.inputs
    }

    /// Heads that are gone and still have room give nothing, and have no gradient.
    fn nothing_of_the_gone(&self, of_heads: &mut [R]) {
        if self.weights.heads.len() * self.arch.head_dim() < self.width() {
            of_heads.fill(R::ZERO);
        }
    }

    /// `1 / √head_dim`, or what the architecture has in its place.
    pub(crate) fn scale(&self) -> R {
        let scale = self.arch.score_scale;
        R::from_f64(scale.factor(self.arch.head_dim(), self.layer))
    }

    /// A product times that, in the place of what was there.
    pub(crate) fn scaled(&self) -> Product<R> {
        Product {
            scale: self.scale(),
            ..Product::replace(1)
        }
    }

    /// A site of one head in one sequence.
    pub(crate) fn place(site: LayerSite, sequence: usize, id: HeadId) -> Place {
        Place {
            tap: Tap::Layer(id.layer, site),
            sequence,
            head: Some(id.head),
        }
    }

    /// Every (sequence, head) of the batch, in order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = (usize, HeadId, Slice)> + use<'_, R> {
        (0..self.batch.len()).flat_map(move |sequence| {
            (0..self.weights.heads.len()).map(move |place| {
                let (id, slice) = self.slice(sequence, place);
                (sequence, id, slice)
            })
        })
    }

    /// A sequence and a head, by its place among those present.
    pub(crate) fn slice(&self, sequence: usize, place: usize) -> (HeadId, Slice) {
        let id = HeadId {
            layer: self.layer,
            head: self.weights.heads[place],
        };
        let slice = Slice {
            tokens: self.batch.range(sequence),
            rows: self.rows.range(self.batch, sequence),
            slot: self.weights.slot(place),
            width: self.width(),
            head_dim: self.arch.head_dim(),
        };
        (id, slice)
    }

    /// Attention probabilities of one head and sequence into `scores [n, n]`; `raw` sees, and may
    /// change, the scores before the softmax.
    fn probabilities<'s>(
        &self,
        slice: &Slice,
        qkv: &[R],
        scores: &'s mut Vec<R>,
        relative: &mut Vec<R>,
        raw: impl FnOnce(&mut [R]) -> Result<(), Error>,
    ) -> Result<&'s mut [R], Error> {
        let n = slice.len();
        let (query, key) = (slice.read(qkv, 0), slice.read(qkv, 1));
        let scores = sized(scores, n * n);
        let product = self.scaled();
        for Block { queries, keys } in self.blocks(n) {
            product.run(
                MatrixMut::new(scores, n, n).block(queries.clone(), keys.clone()),
                query.slice_rows(queries),
                key.slice_rows(keys).transposed(),
            );
        }
        self.add_positions(slice, qkv, scores, relative);
        raw(scores)?;
        let sight = self.sight();
        softmax_seen(scores, n, |query| sight.of(query, n));
        Ok(scores)
    }

    /// From queries, keys and values in `trace.qkv` to head outputs in `trace.context`, both packed.
    pub(crate) fn forward(
        &self,
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        if *self.rows != Rows::All {
            return self.forward_rows(trace, scratch, taps);
        }
        let LayerTrace { qkv, context, .. } = trace;
        let context = sized(context, self.batch.tokens() * self.width());
        self.nothing_of_the_gone(context);
        let whole = self.is_whole(Pass::Forward, taps);
        for (sequence, id, slice) in self.slices() {
            let at = (sequence, id);
            if whole {
                self.forward_whole(&slice, (qkv, context), scratch, at, taps)?;
            } else {
                self.watched_projections(&slice, qkv, at, taps)?;
                self.forward_tiles(&slice, (qkv, context), scratch, at);
            }
            let site = LayerSite::HeadOutput;
            taps.edit(Self::place(site, sequence, id), slice.context_mut(context))?;
            taps.emit_head(Pass::Forward, site, sequence, id, slice.context(context))?;
        }
        Ok(())
    }

    /// `context [n, head_dim]` of one head and sequence, by way of all its probabilities.
    fn forward_whole(
        &self,
        slice: &Slice,
        (qkv, context): (&mut [R], &mut [R]),
        scratch: &mut Scratch<R>,
        at: (usize, HeadId),
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let Scratch {
            scores, relative, ..
        } = scratch;
        let n = slice.len();
        let probs = self.watched_probabilities(slice, qkv, scores, relative, at, taps)?;
        self.drop_probs(probs, at, 0..n, n);
        let probs = Matrix::new(probs, n, n);
        let values = slice.read(qkv, 2);
        for Block { queries, keys } in self.blocks_seen(n, taps) {
            Product::replace(1).run(
                slice
                    .context_mut(context)
                    .corner(queries.clone(), slice.head_dim),
                probs.slice_rows(queries).slice_cols(keys.clone()),
                values.slice_rows(keys),
            );
        }
        Ok(())
    }

    /// Queries, keys and values of one head, changed and seen by whoever wants, and turned where something turns them.
    fn watched_projections(
        &self,
        slice: &Slice,
        qkv: &mut [R],
        (sequence, id): (usize, HeadId),
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let pass = Pass::Forward;
        for (part, site) in PROJECTIONS.into_iter().enumerate() {
            taps.edit(Self::place(site, sequence, id), slice.write(qkv, part))?;
            taps.emit_head(pass, site, sequence, id, slice.read(qkv, part))?;
        }
        if let Some(rotary) = self.rotary {
            let positions = &self.batch.positions[slice.tokens.clone()];
            let angles = rotary.angles(self.reach());
            for (part, site) in ROTATED.into_iter().enumerate() {
                angles.turn(slice.write(qkv, part), positions);
                taps.edit(Self::place(site, sequence, id), slice.write(qkv, part))?;
                taps.emit_head(pass, site, sequence, id, slice.read(qkv, part))?;
            }
        }
        Ok(())
    }

    /// [`Self::probabilities`], with everything on the way changed and seen by whoever wants.
    pub(crate) fn watched_probabilities<'s>(
        &self,
        slice: &Slice,
        qkv: &mut [R],
        scores: &'s mut Vec<R>,
        relative: &mut Vec<R>,
        (sequence, id): (usize, HeadId),
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<&'s mut [R], Error> {
        self.watched_projections(slice, qkv, (sequence, id), taps)?;
        let (pass, n) = (Pass::Forward, slice.len());
        let probs = self.probabilities(slice, qkv, scores, relative, |scores| {
            let site = LayerSite::AttentionScores;
            if taps.wants(pass, site) || taps.changes() {
                self.hide_unseen(scores, n);
            }
            let place = Self::place(site, sequence, id);
            taps.edit(place, MatrixMut::new(scores, n, n))?;
            taps.emit_head(pass, site, sequence, id, Matrix::new(scores, n, n))
        })?;
        let site = LayerSite::AttentionProbs;
        let place = Self::place(site, sequence, id);
        taps.edit(place, MatrixMut::new(probs, n, n))?;
        taps.emit_head(pass, site, sequence, id, Matrix::new(probs, n, n))?;
        let site = LayerSite::AttentionEntropy;
        if taps.wants(pass, site) {
            let entropies = probs.chunks_exact(n).map(|row| entropy(row).to_f64());
            let sum = [R::from_f64(entropies.sum())];
            taps.emit_head(pass, site, sequence, id, Matrix::new(&sum, 1, 1))?;
        }
        Ok(probs)
    }

    /// The head outputs `context [rows, W]` times the head mask; without a mask, themselves.
    pub(crate) fn masked<'b>(&self, context: &'b [R], buffer: &'b mut Vec<R>) -> &'b [R] {
        if matches!(self.masking, Masking::None) {
            return context;
        }
        let masked = sized(buffer, context.len());
        masked.copy_from_slice(context);
        self.apply_mask(masked);
        masked
    }

    /// Multiplies `heads [rows, W]` by the head mask. Without a mask nothing is touched, so that
    /// a mask of ones and no mask give the same bits.
    pub(crate) fn apply_mask(&self, heads: &mut [R]) {
        if matches!(self.masking, Masking::None) {
            return;
        }
        for (sequence, id, slice) in self.slices() {
            let factor = R::from_f64(self.masking.factor(sequence, id));
            for row in slice.rows {
                let first = row * slice.width + slice.slot * slice.head_dim;
                for value in &mut heads[first..][..slice.head_dim] {
                    *value *= factor;
                }
            }
        }
    }

    /// From the gradient of the masked head outputs to the gradient of queries, keys and values.
    ///
    /// `scratch.heads [tokens, W]` arrives as the gradient with respect to `factor · head_output`;
    /// `scratch.qkv [tokens, 3W]` leaves as the gradient of the projections, unless `deeper` is
    /// false. `mask_gradient` receives, per sequence, what each head's factor would change; to `positions` are added the
    /// gradients of what positions have for weights.
    ///
    /// With `C = P V`, `G = ∂loss/∂(m C)`: `∂loss/∂m = Σ C ⊙ G`, `dC = m G`, `dV = Pᵀ dC`,
    /// `dP = dC Vᵀ`, `dZ = P ⊙ (dP − rowsum(P ⊙ dP))`, `dQ = dZ K / √d`, `dK = dZᵀ Q / √d`.
    pub(crate) fn backward(
        &self,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        deeper: bool,
        mut positions: Option<PositionGradients<'_, R>>,
        taps: &mut Taps<'_, '_, '_, R>,
        mut mask_gradient: impl FnMut(usize, HeadId, f64),
    ) -> Result<(), Error> {
        if *self.rows != Rows::All {
            return self.backward_rows(trace, scratch, deeper, positions, taps, mask_gradient);
        }
        let pass = Pass::Backward;
        let width = self.width();
        if deeper {
            let d_qkv = sized(&mut scratch.qkv, self.batch.tokens() * 3 * width);
            self.nothing_of_the_gone(d_qkv);
        }
        for (sequence, id, slice) in self.slices() {
            let each = self.row_gradients(&slice, trace, scratch);
            mask_gradient(sequence, id, each.iter().sum());
            if taps.wants(pass, LayerSite::HeadMask) {
                let per_position = sized(&mut scratch.tap, each.len());
                for (value, of) in per_position.iter_mut().zip(&each) {
                    *value = R::from_f64(*of);
                }
                let value = Matrix::new(per_position, each.len(), 1);
                taps.emit_head(pass, LayerSite::HeadMask, sequence, id, value)?;
            }
        }
        self.apply_mask(&mut scratch.heads);
        for (sequence, id, slice) in self.slices() {
            let gradient = slice.context(&scratch.heads);
            taps.emit_head(pass, LayerSite::HeadOutput, sequence, id, gradient)?;
            if deeper {
                let place = Self::place(LayerSite::HeadOutput, sequence, id);
                taps.edits()
                    .block(&place, slice.context_mut(&mut scratch.heads));
                let positions = positions.as_mut().map(PositionGradients::reborrow);
                self.backward_head(&slice, trace, scratch, (sequence, id), positions, taps)?;
            }
        }
        Ok(())
    }

    /// What each row adds to the gradient of the head's mask factor: `context · ∂loss/∂(factor · context)`.
    pub(crate) fn row_gradients(
        &self,
        slice: &Slice,
        trace: &LayerTrace<R>,
        scratch: &Scratch<R>,
    ) -> Vec<f64> {
        let context = slice.context(&trace.context);
        let gradient = slice.context(&scratch.heads);
        let rows = context.iter_rows().zip(gradient.iter_rows());
        rows.map(|(c, g)| dot(c, g).to_f64()).collect()
    }

    /// The part of [`Self::backward`] below the head output, for one head and sequence.
    fn backward_head(
        &self,
        slice: &Slice,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        (sequence, id): (usize, HeadId),
        positions: Option<PositionGradients<'_, R>>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (pass, at) = (Pass::Backward, (sequence, id));
        // To queries and keys as the scores saw them.
        if self.is_whole(pass, taps) {
            self.backward_whole(slice, &trace.qkv, scratch, at, positions, taps)?;
        } else {
            self.backward_tiles(slice, &trace.qkv, scratch, at, positions);
        }
        let d_qkv = &mut scratch.qkv;
        // Back to before they were turned.
        if let Some(rotary) = self.rotary {
            let positions = &self.batch.positions[slice.tokens.clone()];
            let angles = rotary.angles(self.reach());
            for (part, site) in ROTATED.into_iter().enumerate() {
                taps.emit_head(pass, site, sequence, id, slice.read(d_qkv, part))?;
                taps.edits()
                    .block(&Self::place(site, sequence, id), slice.write(d_qkv, part));
                angles.turn_back(slice.write(d_qkv, part), positions);
            }
        }
        // The gradients of the three projections are complete and can be seen.
        for (part, site) in PROJECTIONS.into_iter().enumerate() {
            taps.emit_head(pass, site, sequence, id, slice.read(d_qkv, part))?;
            taps.edits()
                .block(&Self::place(site, sequence, id), slice.write(d_qkv, part));
        }
        Ok(())
    }

    /// From the gradient of a head's outputs to that of its queries, keys and values, by way of all its probabilities and
    /// scores, whose gradients are seen and stopped.
    fn backward_whole(
        &self,
        slice: &Slice,
        qkv: &[R],
        scratch: &mut Scratch<R>,
        (sequence, id): (usize, HeadId),
        positions: Option<PositionGradients<'_, R>>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let pass = Pass::Backward;
        let n = slice.len();
        let Scratch {
            heads,
            qkv: d_qkv,
            scores,
            score_gradient,
            relative,
            dropped,
            ..
        } = scratch;
        let [query, key, value] = [0, 1, 2].map(|part| slice.read(qkv, part));
        let d_context = slice.context(heads);
        // 1. The weights P = softmax(S) again, with the changes that were made on the way up.
        // Recomputed rather than stored: n² numbers per head would outgrow everything else.
        let at = |site| Self::place(site, sequence, id);
        let probs = self.probabilities(slice, qkv, scores, relative, |scores| {
            taps.edits().replay(&at(LayerSite::AttentionScores), scores);
            Ok(())
        })?;
        taps.edits().replay(&at(LayerSite::AttentionProbs), probs);
        let p = self.multiplied(probs, dropped, (sequence, id), 0..n);
        let d_scores = sized(score_gradient, n * n);
        // 2. Context = P·V, so dV = Pᵀ·dContext and dP = dContext·Vᵀ. `d_scores` holds dP until step 3.
        let plain = Product::replace(1);
        plain.run(slice.write(d_qkv, 2), p.transposed(), d_context);
        plain.run(
            MatrixMut::new(d_scores, n, n),
            d_context,
            value.transposed(),
        );
        self.drop_probs(d_scores, (sequence, id), 0..n, n);
        // 3. Through the softmax: dS = P ∘ (dP − rowsum(P ∘ dP)).
        let site = LayerSite::AttentionProbs;
        taps.emit_head(pass, site, sequence, id, Matrix::new(d_scores, n, n))?;
        taps.edits()
            .block(&at(site), MatrixMut::new(d_scores, n, n));
        softmax_rows_backward(d_scores, probs, n);
        let site = LayerSite::AttentionScores;
        taps.emit_head(pass, site, sequence, id, Matrix::new(d_scores, n, n))?;
        taps.edits()
            .block(&at(site), MatrixMut::new(d_scores, n, n));
        // 4. S = scale·Q·Kᵀ, so dQ = scale·dS·K and dK = scale·dSᵀ·Q.
        let d = Matrix::new(d_scores, n, n);
        let scaled = self.scaled();
        scaled.run(slice.write(d_qkv, 0), d, key);
        scaled.run(slice.write(d_qkv, 1), d.transposed(), query);
        // 5. Positions add to the scores, of queries and keys or by themselves.
        self.positions_backward(slice, qkv, d_scores, d_qkv, relative, positions);
        Ok(())
    }

    /// Emits what each head adds to the residual stream; `masked [tokens, W]` are the head outputs
    /// after the head mask.
    pub(crate) fn emit_contributions(
        &self,
        masked: &[R],
        tap_buffer: &mut Vec<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (pass, site) = (Pass::Forward, LayerSite::HeadContribution);
        if !taps.wants(pass, site) {
            return Ok(());
        }
        let hidden = self.arch.hidden_size;
        for (sequence, id, slice) in self.slices() {
            let n = slice.len();
            let buffer = sized(tap_buffer, n * hidden);
            let weight = Matrix::strided(
                &self.weights.output.weight[slice.slot * slice.head_dim..],
                hidden,
                slice.head_dim,
                slice.width,
            );
            let product = Product {
                scale: R::from_f64(self.arch.branch_scale),
                ..Product::replace(1)
            };
            product.run(
                MatrixMut::new(buffer, n, hidden),
                slice.context(masked),
                weight.transposed(),
            );
            let value = Matrix::new(buffer, n, hidden);
            taps.emit_head(pass, site, sequence, id, value)?;
        }
        Ok(())
    }
}
