//! What the places of query and key add to the scores of one head: products with embedded distances, or a number from a
//! table.

use bertology_checkpoint::{Positions, ScoreBias};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::attention::{AttentionPass, Slice};
use crate::workspace::sized;

/// What distances have for queries and keys, as one head and sequence see it.
struct Relative<'a, R> {
    /// `[rows, head_dim]`: what queries are multiplied by, then what keys are, where they are.
    met: [Option<Matrix<'a, R>>; 2],
    /// The row for each `query - key + n - 1`.
    rows: Vec<usize>,
}

/// Gradients of the weights that positions have, to be added to; empty where a model has none.
pub(crate) struct PositionGradients<'a, R> {
    /// `[2P - 1, head_dim]` of one layer; or queries and keys of the distances of a batch in one layer, `[rows, kW]`.
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
    fn relative(&self, slice: &Slice) -> Option<Relative<'_, R>> {
        let n = slice.len();
        if let Some(distances) = &self.distances {
            return Some(Relative {
                met: distances.met(slice),
                rows: distances.row_of_offset(n),
            });
        }
        let table = self.weights.distance.as_ref()?;
        let dim = self.arch.head_dim();
        let rows = &table[(self.arch.max_positions - n) * dim..][..(2 * n - 1) * dim];
        let table = Matrix::new(rows, 2 * n - 1, dim);
        let keys_too = self.arch.positions == Positions::RelativeKeyQuery;
        Some(Relative {
            met: [Some(table), keys_too.then_some(table)],
            rows: (0..2 * n - 1).collect(),
        })
    }

    /// Where the gradient of what queries, or keys, are multiplied by is added to.
    fn met_mut<'g>(
        &self,
        slice: &Slice,
        gradient: &'g mut [R],
        by_key: bool,
    ) -> Option<MatrixMut<'g, R>> {
        if let Some(distances) = &self.distances {
            return distances.met_mut(slice, gradient, by_key);
        }
        let (n, dim) = (slice.len(), slice.head_dim);
        let rows = &mut gradient[(self.arch.max_positions - n) * dim..][..(2 * n - 1) * dim];
        Some(MatrixMut::new(rows, 2 * n - 1, dim))
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

    /// The same for a head whose scores fall with the distance.
    fn slope_by_offset<'s>(&self, head: usize, n: usize, scratch: &'s mut Vec<R>) -> &'s [R] {
        let slope = ScoreBias::slope(head, self.arch.num_heads);
        let by_offset = sized(scratch, 2 * n - 1);
        for (at, bias) in by_offset.iter_mut().enumerate() {
            *bias = R::from_f64(-slope * at.abs_diff(n - 1) as f64);
        }
        by_offset
    }

    /// `[2n - 1]`: what a head's scores gain at each offset `key - query`, from `-(n - 1)` on, where distance alone adds
    /// something.
    pub(crate) fn by_offset<'s>(
        &self,
        head: impl FnOnce() -> usize,
        n: usize,
        scratch: &'s mut Vec<R>,
    ) -> Option<&'s [R]> {
        match (self.arch.score_bias, self.bias) {
            (ScoreBias::Slopes, _) => Some(self.slope_by_offset(head(), n, scratch)),
            (_, Some(table)) => Some(self.bias_by_offset(table, head(), n, scratch)),
            _ => None,
        }
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
        let n = slice.len();
        let head = || self.weights.heads[slice.slot];
        let Some(by_offset) = self.by_offset(head, n, scratch) else {
            return;
        };
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
        if self.arch.score_bias != ScoreBias::Buckets {
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
        let Some(rel) = self.relative(slice) else {
            return;
        };
        let product = self.scaled();
        // query · E, then, where the variant says so, key · E; read along diagonals.
        for (part, met) in rel.met.into_iter().enumerate() {
            let Some(met) = met else { continue };
            let width = met.rows();
            let products = sized(scratch, n * width);
            product.run(
                MatrixMut::new(products, n, width),
                slice.read(qkv, part),
                met.transposed(),
            );
            for (l, row) in scores.chunks_exact_mut(n).enumerate() {
                let rows = rel.rows[l..l + n].iter().rev();
                for ((r, score), distance) in row.iter_mut().enumerate().zip(rows) {
                    let reader = if part == 0 { l } else { r };
                    *score += products[reader * width + distance];
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
        let Some(rel) = self.relative(slice) else {
            return;
        };
        // The scores of each distance are gathered, then multiplied by the table.
        let add = Product {
            accumulate: true,
            ..self.scaled()
        };
        for (part, met) in rel.met.into_iter().enumerate() {
            let Some(met) = met else { continue };
            let width = met.rows();
            let spread = sized(scratch, n * width);
            spread.fill(R::ZERO);
            for (l, row) in d_scores.chunks_exact(n).enumerate() {
                let rows = rel.rows[l..l + n].iter().rev();
                for ((r, d), distance) in row.iter().enumerate().zip(rows) {
                    let reader = if part == 0 { l } else { r };
                    spread[reader * width + distance] += *d;
                }
            }
            let spread = Matrix::new(spread, n, width);
            add.run(slice.write(d_qkv, part), spread, met);
            if let Some(gradients) = gradients.as_mut()
                && let Some(sum) = self.met_mut(slice, gradients.distances, part == 1)
            {
                add.run(sum, spread.transposed(), slice.read(qkv, part));
            }
        }
    }
}

/// The row for a place in an array of all offsets `key - query` of `n` tokens.
fn bucket(at: usize, n: usize) -> usize {
    ScoreBias::bucket(at as isize - (n as isize - 1))
}
