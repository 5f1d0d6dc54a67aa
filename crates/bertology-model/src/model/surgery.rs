//! Heads and neurons taken out of the weights in memory, and factors that are multiplied into them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bertology_checkpoint::FeedForward;
use bertology_kernels::Real;

use super::{Attention, Layer, LayerRest, Model};
use crate::linear::Linear;
use crate::{Error, HeadId, HeadMask, NeuronMask};

impl<R: Real> Model<R> {
    /// A model that lacks these heads and shares all other weights: the same function as masking
    /// them, without computing them, but for queries and keys that go through one norm together (ESM-C). Heads that are already gone are accepted; a layer without heads
    /// keeps only its output bias. Layers that have their weights in common (ALBERT) go on having them as far as they lose the
    /// same heads; any other has weights of its own from then on.
    ///
    /// # Errors
    /// [`Error::NoSuchHead`] for a head that the unpruned model does not have.
    pub fn without_heads(&self, heads: impl IntoIterator<Item = HeadId>) -> Result<Self, Error> {
        let mut remove: BTreeSet<HeadId> = BTreeSet::new();
        for head in heads {
            if head.layer >= self.arch.num_layers || head.head >= self.arch.num_heads {
                return Err(Error::NoSuchHead {
                    head,
                    layers: self.arch.num_layers,
                    heads: self.arch.num_heads,
                });
            }
            remove.insert(head);
        }
        let mut pruned = self.clone();
        let mut arch = (*self.arch).clone();
        pruned.blocks.clear();
        // What becomes of a block without some of its heads, once for all layers that are to have it so.
        let mut made: BTreeMap<(usize, Vec<usize>), usize> = BTreeMap::new();
        for (index, block) in self.block_of.iter().enumerate() {
            let layer = &self.blocks[*block];
            let gone = |head: &usize| {
                remove.contains(&HeadId {
                    layer: index,
                    head: *head,
                })
            };
            let heads = &layer.attention.heads;
            let keep: Vec<usize> = (0..heads.len())
                .filter(|slot| !gone(&heads[*slot]))
                .collect();
            if keep.len() < heads.len() {
                let kept: Vec<usize> = keep.iter().map(|slot| heads[*slot]).collect();
                let set = arch.pruned_heads.entry(index).or_default();
                set.extend((0..arch.num_heads).filter(|head| !kept.contains(head)));
            }
            let place = made.entry((*block, keep)).or_insert_with_key(|(_, keep)| {
                let mut own = layer.clone();
                if keep.len() < heads.len() {
                    own.attention = Arc::new(layer.attention.select(keep, arch.head_dim()));
                }
                pruned.blocks.push(own);
                pruned.blocks.len() - 1
            });
            pruned.block_of[index] = *place;
        }
        pruned.arch = Arc::new(arch);
        Ok(pruned)
    }

    /// [`Model::without_heads`] for the heads that `mask` sets to 0.
    ///
    /// # Errors
    /// A mask that does not fit the model.
    pub fn without_masked(&self, mask: &HeadMask) -> Result<Self, Error> {
        mask.check(self)?;
        self.without_heads(mask.masked())
    }

    /// A model that computes what this one computes under the two masks: units whose factor is 0 are taken out of the weights,
    /// every other factor is multiplied into the map that reads its unit. Neurons that remain are numbered anew. Weights that no
    /// factor touches are shared; layers that have their weights in common (ALBERT) have weights of their own from then on where
    /// a factor other than 1 stands.
    ///
    /// # Errors
    /// A mask that does not fit the model.
    pub fn folded(&self, heads: &HeadMask, neurons: &NeuronMask) -> Result<Self, Error> {
        self.folded_and_rounded(heads, neurons, |value| value)
    }

    /// [`Model::folded`] with every weight that a factor other than 1 changes given to `round`, which a file may ask for whose
    /// numbers have fewer digits.
    ///
    /// # Errors
    /// As there.
    pub fn folded_and_rounded(
        &self,
        heads: &HeadMask,
        neurons: &NeuronMask,
        round: impl Fn(f64) -> f64,
    ) -> Result<Self, Error> {
        let round = &round;
        heads.check(self)?;
        neurons.check(self)?;
        let mut folded = self.without_heads(heads.masked())?;
        let mut arch = (*folded.arch).clone();
        let mut blocks = Vec::with_capacity(folded.depth());
        for layer in 0..folded.depth() {
            let mut own: Layer<R> = folded.layer(layer).clone();
            let present = &own.attention.heads;
            let factors: Vec<f64> = present
                .iter()
                .map(|&head| heads.get(HeadId { layer, head }))
                .collect();
            if factors.iter().any(|factor| *factor != 1.0) {
                let attention = Arc::make_mut(&mut own.attention);
                let dim = arch.head_dim();
                // Columns of heads that are gone, where there are such, read zeros.
                let mut columns = vec![1.0; attention.output.inputs];
                for (place, factor) in factors.iter().enumerate() {
                    let first = attention.slot(place) * dim;
                    columns[first..first + dim].fill(*factor);
                }
                let all: Vec<usize> = (0..columns.len()).collect();
                attention.output = columns_of(&attention.output, &all, &columns, round);
            }
            let width = own.rest.mlp_out.inputs;
            let factors = &neurons.layer(layer)[..width];
            if factors.iter().any(|factor| *factor != 1.0) {
                own.rest = Arc::new(own.rest.folded(factors, arch.feed_forward, round));
                let left = own.rest.mlp_out.inputs;
                if left < arch.intermediate_size {
                    arch.narrowed.insert(layer, left);
                }
            }
            blocks.push(own);
        }
        folded.share(blocks);
        folded.arch = Arc::new(arch);
        Ok(folded)
    }

    /// Takes these blocks, one for each layer, and keeps once those that are the same in memory.
    fn share(&mut self, layers: Vec<Layer<R>>) {
        self.blocks.clear();
        self.block_of = layers
            .into_iter()
            .map(|layer| {
                let same = |block: &Layer<R>| {
                    Arc::ptr_eq(&block.attention, &layer.attention)
                        && Arc::ptr_eq(&block.rest, &layer.rest)
                };
                self.blocks.iter().position(same).unwrap_or_else(|| {
                    self.blocks.push(layer);
                    self.blocks.len() - 1
                })
            })
            .collect();
    }
}

/// The map of some of its inputs, each column multiplied by its factor.
fn columns_of<R: Real>(
    map: &Linear<R>,
    columns: &[usize],
    factors: &[f64],
    round: impl Fn(f64) -> f64,
) -> Linear<R> {
    let scaled = |value: R, by: f64| match by {
        1.0 => value,
        by => R::from_f64(round(value.to_f64() * by)),
    };
    let mut weight = Vec::with_capacity(map.outputs * columns.len());
    for row in map.weight.chunks_exact(map.inputs.max(1)) {
        weight.extend(
            columns
                .iter()
                .zip(factors)
                .map(|(at, by)| scaled(row[*at], *by)),
        );
    }
    let mut kept = Linear::new(weight.into(), map.bias.clone(), columns.len(), map.outputs);
    kept.set_precision(map.precision());
    kept
}

/// The map to some of its outputs.
fn rows_of<R: Real>(map: &Linear<R>, rows: impl Iterator<Item = usize> + Clone) -> Linear<R> {
    let (mut weight, mut bias) = (Vec::new(), Vec::new());
    for row in rows.clone() {
        weight.extend_from_slice(&map.weight[row * map.inputs..(row + 1) * map.inputs]);
        if let Some(value) = map.bias.get(row) {
            bias.push(*value);
        }
    }
    let mut kept = Linear::new(weight.into(), bias, map.inputs, rows.count());
    kept.set_precision(map.precision());
    kept
}

impl<R: Real> LayerRest<R> {
    /// With a factor for each neuron; those with 0 are gone.
    fn folded(&self, factors: &[f64], kind: FeedForward, round: impl Fn(f64) -> f64) -> Self {
        let keep: Vec<usize> = (0..factors.len())
            .filter(|at| factors[*at] != 0.0)
            .collect();
        let kept: Vec<f64> = keep.iter().map(|at| factors[*at]).collect();
        let mlp_in = if keep.len() == factors.len() {
            self.mlp_in.clone()
        } else {
            let halves = match kind {
                FeedForward::Plain => 1,
                FeedForward::Gated => 2,
            };
            let keep = &keep;
            let rows = (0..halves)
                .flat_map(move |half| keep.iter().map(move |at| half * factors.len() + at));
            rows_of(&self.mlp_in, rows)
        };
        Self {
            attention_norm: self.attention_norm.clone(),
            mlp_in,
            mlp_out: columns_of(&self.mlp_out, &keep, &kept, round),
            mlp_norm: self.mlp_norm.clone(),
        }
    }
}

impl<R: Real> Attention<R> {
    /// The heads at these slots, in this order.
    fn select(&self, slots: &[usize], head_dim: usize) -> Self {
        if self.norms.is_some() {
            // The norms are of the queries and keys of all.
            return Self {
                heads: slots.iter().map(|slot| self.heads[*slot]).collect(),
                ..self.clone()
            };
        }
        let width = self.heads.len() * head_dim;
        let hidden = self.qkv.inputs;
        // Of a map that has the rows of all heads so many times.
        let some = |map: &Linear<R>| {
            let (mut weight, mut bias) = (Vec::new(), Vec::new());
            let parts = map.outputs / width.max(1);
            for part in 0..parts {
                for slot in slots {
                    let rows = part * width + slot * head_dim..part * width + (slot + 1) * head_dim;
                    if !map.bias.is_empty() {
                        bias.extend_from_slice(&map.bias[rows.clone()]);
                    }
                    weight.extend_from_slice(&map.weight[rows.start * hidden..rows.end * hidden]);
                }
            }
            let outputs = parts * slots.len() * head_dim;
            let mut kept = Linear::new(weight.into(), bias, hidden, outputs);
            kept.set_precision(map.precision());
            kept
        };
        let mut weight = Vec::with_capacity(hidden * slots.len() * head_dim);
        if width > 0 {
            for row in self.output.weight.chunks_exact(width) {
                for slot in slots {
                    weight.extend_from_slice(&row[slot * head_dim..(slot + 1) * head_dim]);
                }
            }
        }
        let (kept, out_bias) = (slots.len() * head_dim, self.output.bias.clone());
        let mut output = Linear::new(weight.into(), out_bias, kept, hidden);
        output.set_precision(self.output.precision());
        Self {
            heads: slots.iter().map(|slot| self.heads[*slot]).collect(),
            qkv: some(&self.qkv),
            norms: None,
            output,
            distance: self.distance.clone(),
            distance_maps: self.distance_maps.as_ref().map(some),
        }
    }
}
