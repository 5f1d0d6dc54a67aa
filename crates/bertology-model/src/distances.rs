//! Queries and keys of distances, which come from rows of one table by maps of each layer, forwards and backwards.

use std::ops::Range;

use bertology_checkpoint::{Affine, Disentangled, Parameter};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::norm::layer_norm_backward_affine;
use bertology_kernels::{Matrix, MatrixMut, Real};

use crate::attention::Slice;
use crate::block::BlockPass;
use crate::dropout::DropSite;
use crate::gradients::Gradients;
use crate::model::RelativeTable;
use crate::workspace::sized;
use crate::{Model, PackedBatch};

/// Rows of the table that the distances within `n` tokens read.
pub(crate) fn rows_within(rule: Disentangled, n: usize) -> Range<usize> {
    let far = n.saturating_sub(1) as isize;
    rule.row(-far)..rule.row(far) + 1
}

/// Where in a row of queries and keys of distances begin those that queries meet, and those that keys meet; nothing where they
/// meet none. `width` is that of all heads present.
pub(crate) fn columns(rule: Disentangled, width: usize) -> [Option<usize>; 2] {
    let behind_queries = rule.shared || rule.queries;
    let keys = if behind_queries { width } else { 0 };
    [rule.keys.then_some(keys), rule.queries.then_some(0)]
}

/// Rows that the sequences of a batch read.
fn rows_read(rule: Disentangled, batch: &PackedBatch) -> Range<usize> {
    let longest = batch.ranges().map(|range| range.len()).max();
    rows_within(rule, longest.unwrap_or(0))
}

/// Queries and keys of the distances of a batch, in one layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Distances<'a, R> {
    rule: Disentangled,
    /// `[rows, stride]`, from row `first` of the table on.
    values: &'a [R],
    first: usize,
    stride: usize,
    /// Heads present times head size.
    width: usize,
}

impl<'a, R: Real> Distances<'a, R> {
    /// Of one head, `[rows, head_dim]`: what queries meet, and what keys meet.
    pub(crate) fn met(&self, slice: &Slice) -> [Option<Matrix<'a, R>>; 2] {
        let rows = self.values.len() / self.stride;
        columns(self.rule, self.width).map(|start| {
            let values = &self.values[start? + slice.slot * slice.head_dim..];
            Some(Matrix::strided(values, rows, slice.head_dim, self.stride))
        })
    }

    /// The same places in the gradient of all.
    pub(crate) fn met_mut<'g>(
        &self,
        slice: &Slice,
        gradient: &'g mut [R],
        by_key: bool,
    ) -> Option<MatrixMut<'g, R>> {
        let rows = gradient.len() / self.stride;
        let start = columns(self.rule, self.width)[usize::from(by_key)]?;
        let values = &mut gradient[start + slice.slot * slice.head_dim..];
        Some(MatrixMut::strided(
            values,
            rows,
            slice.head_dim,
            self.stride,
        ))
    }

    /// Which of these rows each offset `query - key` of `n` tokens reads, from `-(n - 1)` on.
    pub(crate) fn row_of_offset(&self, n: usize) -> Vec<usize> {
        let far = n as isize - 1;
        (-far..=far)
            .map(|offset| self.rule.row(offset) - self.first)
            .collect()
    }
}

impl<R: Real> RelativeTable<R> {
    /// `out [rows, width]` ← some rows, behind their norm.
    pub(crate) fn some(&self, rows: Range<usize>, width: usize, epsilon: f64, out: &mut Vec<R>) {
        let rows = &self.rows[rows.start * width..rows.end * width];
        let out = sized(out, rows.len());
        match &self.norm {
            None => out.copy_from_slice(rows),
            Some(norm) => {
                let (mut hat, mut rstd) = (rows.to_vec(), vec![R::ZERO; rows.len() / width]);
                norm.forward(out, &mut hat, &mut rstd, epsilon);
            }
        }
    }

    /// From the gradient of all rows behind their norm, `d [rows, width]`, to that of the table; to `affine`, weight and bias of
    /// the norm, are added their gradients.
    fn backward(&self, d: &mut [R], epsilon: f64, affine: [&mut [R]; 2]) {
        let Some(norm) = &self.norm else { return };
        let [weight, bias] = affine;
        let (mut hat, mut rstd) = (self.rows.clone(), vec![R::ZERO; d.len() / weight.len()]);
        let mut out = vec![R::ZERO; hat.len()];
        norm.forward(&mut out, &mut hat, &mut rstd, epsilon);
        layer_norm_backward_affine(weight, bias, d, &hat);
        norm.backward(d, &hat, &rstd);
    }
}

impl<R: Real> BlockPass<'_, R> {
    /// What distances have in this block, given their queries and keys.
    pub(crate) fn distances<'d>(&self, values: &'d [R]) -> Option<Distances<'d, R>> {
        let (rule, width) = (
            self.arch.disentangled?,
            self.weights.attention.output.inputs,
        );
        let stride = match &self.weights.attention.distance_maps {
            Some(maps) => maps.outputs,
            None => 2 * width,
        };
        (!values.is_empty()).then(|| Distances {
            rule,
            values,
            first: rows_read(rule, self.batch).start,
            stride,
            width,
        })
    }

    /// `rows [rows, hidden]` ← what the distances of this batch are, with what training drops of them.
    pub(crate) fn distance_rows(&self, rows: &mut Vec<R>) {
        rows.clear();
        let (Some(table), Some(rule)) = (self.relative, self.arch.disentangled) else {
            return;
        };
        let (read, width) = (rows_read(rule, self.batch), self.arch.hidden_size);
        table.some(read.clone(), width, self.arch.norm_epsilon, rows);
        self.drop_distances(rows);
    }

    /// Drops from rows of distances, or from their gradient.
    pub(crate) fn drop_distances(&self, rows: &mut [R]) {
        if let (Some(drops), Some(rule)) = (self.drops(), self.arch.disentangled) {
            let (read, width) = (rows_read(rule, self.batch), self.arch.hidden_size);
            drops.positions(DropSite::Distances, self.layer, 0, read, rows, width);
        }
    }

    /// `values [rows, kW]` ← queries and keys of the distances of this batch; nothing where they have none.
    pub(crate) fn meet_distances(&self, values: &mut Vec<R>, rows: &mut Vec<R>) {
        values.clear();
        let attention = &self.weights.attention;
        let used = self
            .arch
            .disentangled
            .is_some_and(|rule| rule.keys || rule.queries);
        if !used || attention.heads.is_empty() {
            return;
        }
        self.distance_rows(rows);
        let (hidden, count) = (self.arch.hidden_size, rows.len() / self.arch.hidden_size);
        let rows = Matrix::new(rows, count, hidden);
        match &attention.distance_maps {
            Some(maps) => maps.forward(sized(values, count * maps.outputs), rows, self.threads),
            None => {
                let outputs = 2 * attention.output.inputs;
                let values = MatrixMut::new(sized(values, count * outputs), count, outputs);
                attention
                    .qkv
                    .forward_some(values, rows, outputs, self.threads);
            }
        }
    }

    /// From the gradient of queries and keys of distances to that of the rows that they come from, `rows [rows, hidden]`.
    pub(crate) fn distances_backward(&self, gradient: &[R], rows: &mut Vec<R>) {
        let attention = &self.weights.attention;
        let hidden = self.arch.hidden_size;
        let map = attention.distance_maps.as_ref();
        let outputs = map.map_or(2 * attention.output.inputs, |maps| maps.outputs);
        let count = gradient.len() / outputs;
        let rows = sized(rows, count * hidden);
        let map = map.unwrap_or(&attention.qkv);
        let upper = Matrix::new(gradient, count, outputs);
        map.backward_of(rows, upper, 0..outputs, self.threads);
        self.drop_distances(rows);
    }
}

impl<R: Real> Model<R> {
    /// Adds the gradients of the table of distances, which every block reads, and of its norm: from batches, and the sums over
    /// all blocks of the gradients of the rows that each of them reads.
    pub(crate) fn relative_table<'s>(
        &self,
        sums: impl Iterator<Item = (&'s PackedBatch, &'s [R])>,
        gradients: &mut Gradients<R>,
    ) where
        R: 's,
    {
        let arch = self.architecture();
        let (Some(table), Some(rule)) = (&self.shell.relative, arch.disentangled) else {
            return;
        };
        let width = arch.hidden_size;
        let mut d = vec![R::ZERO; table.rows.len()];
        for (batch, sum) in sums {
            let first = rows_read(rule, batch).start * width;
            add_assign(&mut d[first..][..sum.len()], sum);
        }
        let mut affine = [vec![R::ZERO; width], vec![R::ZERO; width]];
        let [weight, bias] = &mut affine;
        table.backward(&mut d, arch.norm_epsilon, [weight, bias]);
        add_assign(gradients.of_mut(Parameter::RelativeEmbeddings), &d);
        if table.norm.is_some() {
            for (name, sum) in [Affine::Weight, Affine::Bias].into_iter().zip(&affine) {
                add_assign(gradients.of_mut(Parameter::RelativeNorm(name)), sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bertology_checkpoint::{Checkpoint, DropoutRates, OpenOptions};

    use crate::{Gradients, Model, Sequence, Target, TrainingOptions, TrainingWorkspace};

    /// Rows of distances are dropped in training, anew in every layer and step.
    #[test]
    fn rows_are_dropped() {
        let folder = bertology_testkit::golden("engine/deberta");
        let checkpoint = Checkpoint::open(&folder, &OpenOptions::new()).expect("a checkpoint");
        let mut model = Model::<f32>::from_checkpoint(&checkpoint).expect("a model");
        Arc::make_mut(&mut model.arch).dropout = DropoutRates {
            distances: 0.5,
            ..DropoutRates::default()
        };
        let texts = [Sequence::new(vec![1, 9, 20, 31, 7, 2])];
        let loss = |dropout| {
            let options = TrainingOptions {
                targets: &[Target::Label(0)],
                weights: &[1.0],
                dropout,
                states: None,
                stop: None,
            };
            let mut work = TrainingWorkspace::new(1).expect("threads");
            let mut gradients = Gradients::new(&model);
            let output = model.add_gradients(&texts, &options, &mut work, &mut gradients);
            output.expect("a pass")[0].loss.expect("a loss")
        };
        let kept = loss(None);
        let dropped = [1, 2].map(|step| loss(Some((7, step))));
        assert!((dropped[0] - kept).abs() > 1e-4, "{dropped:?} {kept}");
        assert!((dropped[0] - dropped[1]).abs() > 1e-4, "{dropped:?}");
    }
}
