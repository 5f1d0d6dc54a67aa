//! Which rows and columns of a tensor remain when heads leave, on raw bytes of any type.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::arch::Architecture;
use crate::heads::HeadSet;
use crate::parameter::{Affine, LayerParameter, Parameter};
use crate::tensors::Tensor;

/// The form in which a checkpoint without some heads is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// Rows and columns removed, `pruned_heads` in the config. Loads in transformers up to 4.57 (MPNet, ModernBERT and DeBERTa do
    /// not, in any version) and in this library.
    Pruned,
    /// Full shapes, the heads' weights and biases zero. Loads anywhere and computes the same, but
    /// is neither smaller nor faster.
    Zeroed,
}

/// One layer of the checkpoint to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LayerPlan {
    /// For each head written, its place among the heads of the source, or nothing for zeros.
    slots: Vec<Option<usize>>,
    /// Heads of the source.
    source: usize,
}

impl LayerPlan {
    fn changes_nothing(&self) -> bool {
        self.slots.len() == self.source
            && self
                .slots
                .iter()
                .enumerate()
                .all(|(at, slot)| *slot == Some(at))
    }
}

/// What becomes of every layer.
#[derive(Debug)]
pub(crate) struct Plan {
    layers: Vec<LayerPlan>,
    head_dim: usize,
    /// The file holds the blocks' linear maps as `[in, out]`.
    transposed: bool,
    /// `pruned_heads` of the new config; layers without are absent.
    pub(crate) pruned: BTreeMap<usize, BTreeSet<usize>>,
    /// Every head that no longer contributes, whether its rows are gone or zero.
    pub(crate) silent: HeadSet,
    /// Heads written as zeros so that their layer has one: `(layer, head)`.
    pub(crate) survivors: Vec<(usize, usize)>,
}

impl Plan {
    /// `heads` must be within the architecture; heads that the source lacks already are no
    /// obstacle.
    pub(crate) fn new(architecture: &Architecture, heads: &HeadSet, export: Export) -> Self {
        let mut plan = Self {
            layers: Vec::with_capacity(architecture.num_layers),
            head_dim: architecture.head_dim(),
            transposed: architecture.family.table().transposed,
            pruned: BTreeMap::new(),
            silent: architecture.pruned_heads.clone().into(),
            survivors: Vec::new(),
        };
        plan.silent
            .extend(HeadSet::from(architecture.zeroed_heads.clone()).iter());
        plan.silent.extend(heads.iter());
        for layer in 0..architecture.num_layers {
            let live = architecture.heads(layer);
            let place = |head: usize| {
                live.iter()
                    .position(|&other| other == head)
                    .filter(|_| !heads.contains(layer, head))
            };
            let mut written: Vec<usize> = match export {
                Export::Zeroed => (0..architecture.num_heads).collect(),
                Export::Pruned => live
                    .iter()
                    .copied()
                    .filter(|&h| place(h).is_some())
                    .collect(),
            };
            if written.is_empty() {
                // Transformers cannot run a layer without heads. One head of zeros is the same
                // function: its output columns are zero, so only the output bias remains.
                let survivor = live.first().copied().unwrap_or(0);
                written.push(survivor);
                plan.survivors.push((layer, survivor));
            }
            let gone: BTreeSet<usize> = (0..architecture.num_heads)
                .filter(|head| !written.contains(head))
                .collect();
            if !gone.is_empty() {
                plan.pruned.insert(layer, gone);
            }
            let slots = written.into_iter().map(place).collect();
            plan.layers.push(LayerPlan {
                slots,
                source: live.len(),
            });
        }
        plan
    }

    /// The shape that the parameter's tensor will have.
    pub(crate) fn shape(&self, parameter: Option<Parameter>, tensor: &Tensor) -> Vec<usize> {
        let mut shape = tensor.shape().to_vec();
        if let Some(affected) = self.affected(parameter)
            && let Some(size) = shape.get_mut(affected.axis)
        {
            *size = affected.parts * affected.layer.slots.len() * self.head_dim;
        }
        shape
    }

    /// The bytes that the parameter's tensor will have.
    pub(crate) fn bytes<'t>(
        &self,
        parameter: Option<Parameter>,
        tensor: &'t Tensor,
    ) -> Cow<'t, [u8]> {
        let Some(Affected { layer, axis, parts }) = self.affected(parameter) else {
            return tensor.bytes().into();
        };
        // Bytes that one step along the axis spans, and how often the axis repeats.
        let inner: usize = tensor.shape().iter().skip(axis + 1).product();
        let outer: usize = parts * tensor.shape().iter().take(axis).product::<usize>();
        let block = self.head_dim * inner * (tensor.dtype().bitsize() / 8);
        let mut bytes = Vec::with_capacity(outer * layer.slots.len() * block);
        for repeat in 0..outer {
            let row = repeat * layer.source * block;
            for slot in &layer.slots {
                let source = slot.and_then(|place| {
                    let start = row + place * block;
                    tensor.bytes().get(start..start + block)
                });
                match source {
                    Some(source) => bytes.extend_from_slice(source),
                    None => bytes.resize(bytes.len() + block, 0),
                }
            }
        }
        bytes.into()
    }

    /// How the parameter's tensor changes, if it does.
    fn affected(&self, parameter: Option<Parameter>) -> Option<Affected<'_>> {
        let Some(Parameter::Layer(layer, parameter)) = parameter else {
            return None;
        };
        let Held { axis, parts } = Held::of(layer, parameter, self.transposed)?;
        self.layers
            .get(layer)
            .filter(|plan| !plan.changes_nothing())
            .map(|layer| Affected { layer, axis, parts })
    }
}

/// How a tensor holds heads: head-major along `axis`, `parts` times over (queries, keys, values).
struct Held {
    axis: usize,
    parts: usize,
}

impl Held {
    /// Nothing where the parameter belongs to no head; `transposed`: the file holds linear maps as `[in, out]`.
    fn of(layer: usize, parameter: LayerParameter, transposed: bool) -> Option<Self> {
        let (axis, parts) = match parameter {
            LayerParameter::Query(_)
            | LayerParameter::Key(_)
            | LayerParameter::Value(_)
            | LayerParameter::DistanceQuery(_)
            | LayerParameter::DistanceKey(_)
            | LayerParameter::DistanceMaps(_) => (0, 1),
            LayerParameter::QueryKeyValue(_) => (0, 3),
            LayerParameter::AttentionOutput(Affine::Weight) => (1, 1),
            LayerParameter::AttentionOutput(Affine::Bias)
            | LayerParameter::DistanceEmbedding
            | LayerParameter::AttentionNorm(_)
            | LayerParameter::MlpIn(_)
            | LayerParameter::MlpActivated(_)
            | LayerParameter::MlpGate(_)
            | LayerParameter::MlpOut(_)
            | LayerParameter::MlpNorm(_) => return None,
        };
        let turned = transposed && Parameter::Layer(layer, parameter).is_block_map();
        Some(Self {
            axis: if turned { 1 - axis } else { axis },
            parts,
        })
    }

    /// Whether all that a tensor has of one of `heads` heads, the one at `slot`, is zeros.
    fn zero(&self, tensor: &Tensor, slot: usize, heads: usize, head_dim: usize) -> bool {
        let inner: usize = tensor.shape().iter().skip(self.axis + 1).product();
        let outer: usize = self.parts * tensor.shape().iter().take(self.axis).product::<usize>();
        let block = head_dim * inner * (tensor.dtype().bitsize() / 8);
        (0..outer).all(|repeat| {
            let start = (repeat * heads + slot) * block;
            let bytes = tensor.bytes().get(start..start + block);
            bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
        })
    }
}

/// The heads of which the files hold zeros only: weights and biases of query, key and value, and their columns of
/// the output. All shapes must be those of the architecture.
pub(crate) fn zeroed_heads<'t>(
    architecture: &Architecture,
    tensor: impl Fn(Parameter) -> Option<&'t Tensor>,
) -> BTreeMap<usize, BTreeSet<usize>> {
    use LayerParameter as P;
    // The output first: of a head that does something, its first row tells.
    let parameters = [
        P::AttentionOutput,
        P::Query,
        P::Key,
        P::Value,
        P::QueryKeyValue,
    ]
    .into_iter()
    .flat_map(|make: fn(Affine) -> P| [make(Affine::Weight), make(Affine::Bias)]);
    let parameters: Vec<P> = parameters.collect();
    let transposed = architecture.family.table().transposed;
    let mut zeroed: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for layer in 0..architecture.num_layers {
        let heads = architecture.heads(layer);
        for (slot, head) in heads.iter().enumerate() {
            let zero = parameters.iter().all(|&parameter| {
                let held = Held::of(layer, parameter, transposed);
                match (held, tensor(Parameter::Layer(layer, parameter))) {
                    (Some(held), Some(tensor)) => {
                        held.zero(tensor, slot, heads.len(), architecture.head_dim())
                    }
                    // The output's bias is no head's, and queries, keys and values are one tensor or three.
                    _ => true,
                }
            });
            if zero {
                zeroed.entry(layer).or_default().insert(*head);
            }
        }
    }
    zeroed
}

/// [`Held`] of a tensor that changes.
struct Affected<'a> {
    layer: &'a LayerPlan,
    axis: usize,
    parts: usize,
}
