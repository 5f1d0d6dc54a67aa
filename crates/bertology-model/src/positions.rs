//! What the places of query and key add to the scores of one head: products with embedded distances, or a number from a
//! table.

use bertology_checkpoint::{Positions, ScoreBias};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::attention::{AttentionPass, Slice};
use crate::workspace::sized;

/// Relative position embeddings as one sequence sees them.
#[derive(Clone, Copy)]
struct Relative<'a, R> {
    /// `[2n - 1, head_dim]`: row `query - key + n - 1`.
    table: Matrix<'a, R>,
    keys_too: bool,
}

/// Gradients of the weights that positions have, to be added to; empty where a model has none.
pub(crate) struct PositionGradients<'a, R> {
    /// `[2P - 1, head_dim]` of one layer.
    pub(crate) distances: &'a mut [R],
    /// `[buckets, heads]` of the whole model.
    pub(crate) bias: &'a mut [R],
}

impl<R> PositionGradients<'_, R> {
    pub(crate) fn reborrow(&mut self) -> PositionGradients<'_, R> {
        PositionGradients {
            distances: self.distances,
            bias: self.bias,
        }
    }
}

impl<R: Real> AttentionPass<'_, R> {
    fn relative(&self, n: usize) -> Option<Relative<'_, R>> {
        let table = self.weights.distance.as_ref()?;
        let dim = self.arch.head_dim();
        let rows = &table[(self.arch.max_positions - n) * dim..][..(2 * n - 1) * dim];
        Some(Relative {
            table: Matrix::new(rows, 2 * n - 1, dim),
            keys_too: self.arch.positions == Positions::RelativeKeyQuery,
        })
    }

    /// `scratch [2n - 1]` ← what a head's scores gain at each offset `key - query`, from `-(n - 1)` on.
    fn bias_by_offset<'s>(
        &self,
        table: &[R],
        head: usize,
        n: usize,
        scratch: &'s mut Vec<R>,
    ) -> &'s [R] {
        let by_offset = sized(scratch, 2 * n - 1);
        for (at, bias) in by_offset.iter_mut().enumerate() {
            *bias = table[bucket(at, n) * self.arch.num_heads + head];
        }
        by_offset
    }

    /// Adds to `scores [queries, keys]`, already scaled, what depends on distance alone; the queries stand at these positions,
    /// the keys from `first_key` on.
    pub(crate) fn add_bias(
        &self,
        slice: &Slice,
        scores: &mut [R],
        (queries, first_key): (impl ExactSizeIterator<Item = usize>, usize),
        scratch: &mut Vec<R>,
    ) {
        let (Some(table), n) = (self.bias, slice.len()) else {
            return;
        };
        let head = self.weights.heads[slice.slot];
        let by_offset = self.bias_by_offset(table, head, n, scratch);
        let width = scores.len() / queries.len().max(1);
        for (row, query) in scores.chunks_exact_mut(width.max(1)).zip(queries) {
            add_assign(row, &by_offset[n - 1 - query + first_key..][..width]);
        }
    }

    /// Adds to the gradient of the table that [`Self::add_bias`] reads; `d_scores [queries, keys]`.
    pub(crate) fn bias_backward(
        &self,
        slice: &Slice,
        d_scores: &[R],
        (queries, first_key): (impl ExactSizeIterator<Item = usize>, usize),
        scratch: &mut Vec<R>,
        gradient: &mut [R],
    ) {
        if self.arch.score_bias == ScoreBias::None {
            return;
        }
        let (head, n) = (self.weights.heads[slice.slot], slice.len());
        let by_offset = sized(scratch, 2 * n - 1);
        by_offset.fill(R::ZERO);
        let width = d_scores.len() / queries.len().max(1);
        for (row, query) in d_scores.chunks_exact(width.max(1)).zip(queries) {
            add_assign(&mut by_offset[n - 1 - query + first_key..][..width], row);
        }
        for (at, sum) in by_offset.iter().enumerate() {
            gradient[bucket(at, n) * self.arch.num_heads + head] += *sum;
        }
    }

    /// Adds to all scores `[n, n]` of a head what positions add.
    pub(crate) fn add_positions(
        &self,
        slice: &Slice,
        qkv: &[R],
        scores: &mut [R],
        scratch: &mut Vec<R>,
    ) {
        let n = slice.len();
        self.add_bias(slice, scores, (0..n, 0), scratch);
        let Some(rel) = self.relative(n) else { return };
        let (query, key) = (slice.read(qkv, 0), slice.read(qkv, 1));
        let product = self.scaled();
        let width = 2 * n - 1;
        // query · E, then, where the variant says so, key · E; read along diagonals.
        for (side, by_key) in [(Some(query), false), (rel.keys_too.then_some(key), true)] {
            let Some(side) = side else { continue };
            let products = sized(scratch, n * width);
            product.run(
                MatrixMut::new(products, n, width),
                side,
                rel.table.transposed(),
            );
            for (l, row) in scores.chunks_exact_mut(n).enumerate() {
                for (r, score) in row.iter_mut().enumerate() {
                    let reader = if by_key { r } else { l };
                    *score += products[reader * width + l + n - 1 - r];
                }
            }
        }
    }

    /// What [`Self::add_positions`] has to do with the gradients of queries and keys, which `d_qkv` holds without it, and with
    /// those of its own weights; `d_scores [n, n]`.
    pub(crate) fn positions_backward(
        &self,
        slice: &Slice,
        qkv: &[R],
        d_scores: &[R],
        d_qkv: &mut [R],
        scratch: &mut Vec<R>,
        mut gradients: Option<PositionGradients<'_, R>>,
    ) {
        let n = slice.len();
        if let Some(gradients) = gradients.as_mut() {
            self.bias_backward(slice, d_scores, (0..n, 0), scratch, gradients.bias);
        }
        let Some(rel) = self.relative(n) else { return };
        // The scores of each distance are gathered, then multiplied by the table.
        let add = Product {
            accumulate: true,
            ..self.scaled()
        };
        let width = 2 * n - 1;
        for (part, by_key) in [(0, false), (1, true)] {
            if by_key && !rel.keys_too {
                continue;
            }
            let spread = sized(scratch, n * width);
            spread.fill(R::ZERO);
            for l in 0..n {
                for r in 0..n {
                    let reader = if by_key { r } else { l };
                    spread[reader * width + l + n - 1 - r] = d_scores[l * n + r];
                }
            }
            let spread = Matrix::new(spread, n, width);
            add.run(slice.write(d_qkv, part), spread, rel.table);
            if let Some(gradients) = gradients.as_mut() {
                let dim = slice.head_dim;
                let first = (self.arch.max_positions - n) * dim;
                let rows = &mut gradients.distances[first..][..width * dim];
                let read = slice.read(qkv, part);
                add.run(MatrixMut::new(rows, width, dim), spread.transposed(), read);
            }
        }
    }
}

/// The row for a place in an array of all offsets `key - query` of `n` tokens.
fn bucket(at: usize, n: usize) -> usize {
    ScoreBias::bucket(at as isize - (n as isize - 1))
}
