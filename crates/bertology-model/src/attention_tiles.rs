//! Attention of one head a few queries at a time: from scores to head outputs, and back, while they are in the cache. What
//! [`crate::attention`] does where nobody looks at scores or probabilities, or changes them.

use bertology_kernels::softmax::{softmax_seen, softmax_seen_backward};
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::attention::{AttentionPass, Slice};
use crate::mask::HeadId;
use crate::positions::PositionGradients;
use crate::seen::Block;
use crate::taps::{LayerSite, Pass, Taps};
use crate::workspace::{Scratch, sized};

impl<R: Real> AttentionPass<'_, R> {
    /// Whether scores and probabilities of all queries of a head have to be there at once in this pass.
    pub(crate) fn is_whole(&self, pass: Pass, taps: &Taps<'_, '_, '_, R>) -> bool {
        let sites = [
            LayerSite::AttentionScores,
            LayerSite::AttentionProbs,
            LayerSite::AttentionEntropy,
        ];
        let watched = sites.into_iter().any(|site| taps.wants(pass, site));
        watched || taps.changes() || self.weights.distance.is_some() || self.distances.is_some()
    }

    /// `context [queries, head_dim]` of one head and sequence.
    pub(crate) fn forward_tiles(
        &self,
        slice: &Slice,
        (qkv, context): (&[R], &mut [R]),
        scratch: &mut Scratch<R>,
        at: (usize, HeadId),
    ) {
        let Scratch {
            scores, relative, ..
        } = scratch;
        let values = slice.read(qkv, 2);
        for block in self.tiles(slice.len()) {
            let probs = self.tile_probabilities(slice, qkv, &block, scores, relative);
            let Block { queries, keys } = block;
            self.drop_probs(probs, at, queries.clone(), keys.len());
            let context = slice.context_mut(context);
            Product::replace(1).run(
                context.corner(queries.clone(), slice.head_dim),
                Matrix::new(probs, queries.len(), keys.len()),
                values.slice_rows(keys),
            );
        }
    }

    /// Attention probabilities of a tile, `[queries, keys]`.
    fn tile_probabilities<'s>(
        &self,
        slice: &Slice,
        qkv: &[R],
        Block { queries, keys }: &Block,
        scores: &'s mut Vec<R>,
        relative: &mut Vec<R>,
    ) -> &'s mut [R] {
        let (n, rows, width) = (slice.len(), queries.len(), keys.len());
        let scores = sized(scores, rows * width);
        let product = self.scaled();
        product.run(
            MatrixMut::new(scores, rows, width),
            slice.read(qkv, 0).slice_rows(queries.clone()),
            slice.read(qkv, 1).slice_rows(keys.clone()).transposed(),
        );
        self.add_bias(slice, scores, (queries.clone(), keys.start), relative);
        let sight = self.sight();
        softmax_seen(scores, width, |row| {
            sight.among(keys, queries.start + row, n)
        });
        scores
    }

    /// From the gradient of a head's outputs to that of its queries, keys and values, as seen by the attention itself (turned,
    /// where something turns them); see [`AttentionPass::backward`] for the formulas.
    pub(crate) fn backward_tiles(
        &self,
        slice: &Slice,
        qkv: &[R],
        scratch: &mut Scratch<R>,
        at: (usize, HeadId),
        mut positions: Option<PositionGradients<'_, R>>,
    ) {
        let (n, sight) = (slice.len(), self.sight());
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
        let mut tiles = self.tiles(n).peekable();
        // What tiles add to is set by the first where it reaches all keys, as the last queries do unless they see a window.
        let mut held = tiles.peek().is_some_and(|block| block.keys != (0..n));
        if held {
            for part in 1..3 {
                let mut gradient = slice.write(d_qkv, part);
                (0..n).for_each(|row| gradient.row_mut(row).fill(R::ZERO));
            }
        }
        for block in tiles {
            let probs = self.tile_probabilities(slice, qkv, &block, scores, relative);
            let Block { queries, keys } = block;
            let (rows, width) = (queries.len(), keys.len());
            let add = |scale| Product {
                scale,
                accumulate: held,
                threads: 1,
            };
            let multiplied = self.multiplied(probs, dropped, at, queries.clone());
            let d = d_context.slice_rows(queries.clone());
            add(R::ONE).run(
                slice.write(d_qkv, 2).corner(keys.clone(), slice.head_dim),
                multiplied.transposed(),
                d,
            );
            let d_scores = sized(score_gradient, rows * width);
            Product::replace(1).run(
                MatrixMut::new(d_scores, rows, width),
                d,
                value.slice_rows(keys.clone()).transposed(),
            );
            self.drop_probs(d_scores, at, queries.clone(), width);
            softmax_seen_backward(d_scores, probs, width, |row| {
                sight.among(&keys, queries.start + row, n)
            });
            if let Some(positions) = positions.as_mut() {
                let read = (queries.clone(), keys.start);
                self.bias_backward(slice, d_scores, read, relative, positions.bias);
            }
            let d = Matrix::new(d_scores, rows, width);
            let scaled = self.scaled();
            scaled.run(
                slice
                    .write(d_qkv, 0)
                    .corner(queries.clone(), slice.head_dim),
                d,
                key.slice_rows(keys.clone()),
            );
            add(self.scale()).run(
                slice.write(d_qkv, 1).corner(keys.clone(), slice.head_dim),
                d.transposed(),
                query.slice_rows(queries),
            );
            held = true;
        }
    }
}
