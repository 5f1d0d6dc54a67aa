//! The gradients of one block's weights, summed over all groups of a batch: each thread some rows of each matrix.

use bertology_checkpoint::Parameter;
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{MatrixMut, Product, Real};

use super::{Group, WEIGHT_ROWS, spread};
use crate::Model;
use crate::gradients::Gradients;
use crate::model::Norm;
use crate::record::Term;

impl<R: Real> Model<R> {
    /// Adds the gradients of one block's weights, of which every group has its part recorded.
    pub(super) fn weights_of_block(
        &self,
        layer: usize,
        groups: &[Group<R>],
        pool: Option<&rayon::ThreadPool>,
        gradients: &mut Gradients<R>,
    ) {
        // Layers that have weights in common add to the same gradients.
        let range = gradients.layout().layer(self.first_with(layer));
        let mut rest = &mut gradients.values_mut()[range];
        let mut take = |len: usize| -> &mut [R] {
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(len);
            rest = behind;
            part
        };
        let weights = self.layer(layer);
        let (attention, others) = (&weights.attention, &weights.rest);
        let hidden = self.architecture().hidden_size;
        let mut tasks = Vec::new();
        let mut norms = Vec::new();
        let mut distances = None;
        let mut query_key = None;
        // In the order of the layout.
        for part in [
            Part::Map(Map::Qkv),
            Part::QueryKeyNorms,
            Part::Distances,
            Part::Map(Map::Distances),
            Part::Map(Map::Output),
            Part::Norm(others.attention_norm.as_ref()),
            Part::Map(Map::MlpIn),
            Part::Map(Map::MlpOut),
            Part::Norm(Some(&others.mlp_norm)),
        ] {
            match part {
                Part::Map(map) => {
                    let linear = match map {
                        Map::Distances => match &attention.distance_maps {
                            Some(maps) => maps,
                            None => continue,
                        },
                        Map::Qkv => &attention.qkv,
                        Map::Output => &attention.output,
                        Map::MlpIn => &others.mlp_in,
                        Map::MlpOut => &others.mlp_out,
                    };
                    let inputs = linear.inputs;
                    let weight = take(linear.weight.len());
                    let bias = take(linear.bias.len());
                    if inputs == 0 {
                        // A layer without heads has no columns here, but a bias.
                        tasks.push(Task {
                            map,
                            first: 0,
                            rows: linear.outputs,
                            inputs,
                            weight,
                            bias,
                        });
                        continue;
                    }
                    let blocks = weight.chunks_mut(WEIGHT_ROWS * inputs);
                    let mut biases = bias.chunks_mut(WEIGHT_ROWS);
                    for (block, weight) in blocks.enumerate() {
                        let first = block * WEIGHT_ROWS;
                        let bias = biases.next().unwrap_or_default();
                        tasks.push(Task {
                            map,
                            first,
                            rows: weight.len() / inputs,
                            inputs,
                            weight,
                            bias,
                        });
                    }
                }
                Part::Norm(norm) => {
                    norms.push(norm.map(|_| take(hidden)));
                    norms.push(norm.filter(|norm| norm.biased).map(|_| take(hidden)));
                }
                Part::QueryKeyNorms => {
                    let norms = attention.norms.as_ref();
                    query_key =
                        norms.map(|norms| take(norms.iter().map(|norm| norm.weight.len()).sum()));
                }
                Part::Distances => {
                    distances = attention.distance.as_ref().map(|table| take(table.len()));
                }
            }
        }
        let run = |task: Task<'_, R>| {
            let mut task = task;
            for group in groups {
                let block = self.training_block(layer, &group.batch, &group.rows, None);
                let (record, trace) = (&group.record, &group.work.layers[layer]);
                let terms = match task.map {
                    Map::Qkv => record.qkv(&block, trace),
                    Map::Distances => record.distance_term(&block).into_iter().collect(),
                    Map::Output => record.output(&block, trace),
                    Map::MlpIn => record.mlp_in(&block),
                    Map::MlpOut => record.mlp_out(&block),
                };
                terms.iter().for_each(|term| task.add(term));
            }
        };
        spread(pool, tasks, run);
        for group in groups {
            for (sum, part) in norms.iter_mut().zip(group.record.norms()) {
                if let Some(sum) = sum {
                    add_assign(sum, part);
                }
            }
            if let Some(sum) = &mut distances {
                add_assign(sum, &group.record.distances);
            }
            if let Some(sum) = &mut query_key {
                add_assign(sum, &group.record.query_key);
            }
        }
        // One table for all layers, so that every layer adds to it.
        let bias = gradients.of_mut(Parameter::RelativeAttentionBias);
        if !bias.is_empty() {
            groups
                .iter()
                .for_each(|group| add_assign(bias, &group.record.bias));
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Map {
    Qkv,
    Distances,
    Output,
    MlpIn,
    MlpOut,
}

/// What lies in a block's part of the layout.
enum Part<'a, R> {
    Map(Map),
    QueryKeyNorms,
    Distances,
    Norm(Option<&'a Norm<R>>),
}

/// Some rows of the gradient of one map.
struct Task<'a, R> {
    map: Map,
    first: usize,
    rows: usize,
    inputs: usize,
    /// `[rows, inputs]`
    weight: &'a mut [R],
    /// `[rows]`, or empty where the map has none
    bias: &'a mut [R],
}

impl<R: Real> Task<'_, R> {
    /// Adds what a term has for these rows.
    fn add(&mut self, term: &Term<'_, R>) {
        let own = self.first..self.first + self.rows;
        let of = term.first..term.first + term.dy.cols();
        let (start, end) = (own.start.max(of.start), own.end.min(of.end));
        if start >= end {
            return;
        }
        let columns = start - of.start..end - of.start;
        let rows = start - own.start..end - own.start;
        let inputs = self.inputs;
        Product::add(1).run(
            MatrixMut::new(
                &mut self.weight[rows.start * inputs..rows.end * inputs],
                rows.len(),
                inputs,
            ),
            term.dy.transposed().slice_rows(columns.clone()),
            term.x,
        );
        if self.bias.is_empty() {
            return;
        }
        for row in term.dy.iter_rows() {
            add_assign(&mut self.bias[rows.clone()], &row[columns.clone()]);
        }
    }
}
