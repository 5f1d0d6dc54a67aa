//! Which rows and columns of a tensor remain when heads and neurons leave, on raw bytes of any type.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::arch::{Architecture, FeedForward};
use crate::cut::Cut;
use crate::heads::HeadSet;
use crate::parameter::{Affine, LayerParameter, Parameter};
use crate::tensors::Tensor;

/// The form in which a checkpoint without some heads is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// Rows and columns removed, `pruned_heads` in the config. Loads in transformers up to 4.57 (MPNet, ModernBERT and DeBERTa do
    /// not, in any version) and in this library. Where neurons leave: as many in every layer, and the config's own key for the
    /// width of feed-forward blocks says how many are left; otherwise `intermediate_sizes` does, which only this library reads.
    Pruned,
    /// Full shapes, weights and biases of what leaves zero. Loads anywhere and computes the same, but
    /// is neither smaller nor faster.
    Zeroed,
}

/// What becomes of the units (heads, neurons) of one layer.
#[derive(Debug, PartialEq)]
pub(crate) struct Units {
    /// For each unit written, its place among those of the source, or nothing for zeros.
    slots: Vec<Option<usize>>,
    /// What the map that reads a unit written is multiplied by.
    factors: Vec<f64>,
    /// Units of the source.
    source: usize,
    /// Rows or columns of a unit.
    block: usize,
}

impl Units {
    fn changes_nothing(&self, scaled: bool) -> bool {
        let all = self.slots.iter().enumerate();
        self.slots.len() == self.source
            && all.clone().all(|(at, slot)| *slot == Some(at))
            && !(scaled && self.factors.iter().any(|factor| *factor != 1.0))
    }
}

/// One layer of the checkpoint to be written.
#[derive(Debug)]
pub(crate) struct LayerPlan {
    heads: Units,
    neurons: Units,
}

/// What becomes of every layer.
#[derive(Debug)]
pub(crate) struct Plan {
    layers: Vec<LayerPlan>,
    /// The file holds the blocks' linear maps as `[in, out]`.
    transposed: bool,
    gated: bool,
    /// Queries and keys are brought to scale over all heads: those of a head that gives nothing stay as they are.
    together: bool,
    /// `pruned_heads` of the new config; layers without are absent.
    pub(crate) pruned: BTreeMap<usize, BTreeSet<usize>>,
    /// Every head that no longer contributes, whether its rows are gone or zero.
    pub(crate) silent: HeadSet,
    /// Heads written as zeros so that their layer has one: `(layer, head)`.
    pub(crate) survivors: Vec<(usize, usize)>,
    /// Layers that keep one neuron of zeros so that they have one.
    pub(crate) hollow: Vec<usize>,
    /// Whether neurons leave or have left.
    pub(crate) narrower: bool,
}

impl Plan {
    /// The cut must be within the architecture; heads that the source lacks already are no
    /// obstacle.
    pub(crate) fn new(architecture: &Architecture, cut: &Cut, export: Export) -> Self {
        let heads = cut.heads();
        let mut plan = Self {
            layers: Vec::with_capacity(architecture.num_layers),
            transposed: architecture.family.table().transposed,
            gated: architecture.feed_forward == FeedForward::Gated,
            together: architecture.query_key_norm,
            pruned: BTreeMap::new(),
            silent: architecture.pruned_heads.clone().into(),
            survivors: Vec::new(),
            hollow: Vec::new(),
            narrower: false,
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
            let heads = Units {
                slots: written.iter().map(|head| place(*head)).collect(),
                factors: written
                    .iter()
                    .map(|head| cut.head_factor(layer, *head))
                    .collect(),
                source: live.len(),
                block: architecture.head_dim(),
            };
            let neurons = plan.neurons(architecture, cut, export, layer);
            plan.narrower |= neurons.slots.len() < architecture.intermediate_size;
            plan.layers.push(LayerPlan { heads, neurons });
        }
        plan
    }

    fn neurons(
        &mut self,
        architecture: &Architecture,
        cut: &Cut,
        export: Export,
        layer: usize,
    ) -> Units {
        let source = architecture.neurons(layer);
        let factor = |at: usize| cut.of_neurons(layer).map_or(1.0, |factors| factors[at]);
        let stays = |at: usize| (factor(at) != 0.0).then_some(at);
        let mut slots: Vec<Option<usize>> = match export {
            // Those that have left have no places of their own any longer; zeros stand behind the others.
            Export::Zeroed => (0..source)
                .map(stays)
                .chain(std::iter::repeat_n(
                    None,
                    architecture.intermediate_size - source,
                ))
                .collect(),
            Export::Pruned => (0..source).filter_map(stays).map(Some).collect(),
        };
        if slots.is_empty() {
            slots.push(None);
            self.hollow.push(layer);
        }
        Units {
            factors: slots.iter().map(|slot| slot.map_or(1.0, factor)).collect(),
            slots,
            source,
            block: 1,
        }
    }

    /// Neurons of each layer as written.
    pub(crate) fn widths(&self) -> impl Iterator<Item = usize> + '_ {
        self.layers.iter().map(|layer| layer.neurons.slots.len())
    }

    /// The shape that the parameter's tensor will have.
    pub(crate) fn shape(&self, parameter: Option<Parameter>, tensor: &Tensor) -> Vec<usize> {
        let mut shape = tensor.shape().to_vec();
        if let Some(Affected { units, held }) = self.affected(parameter)
            && let Some(size) = shape.get_mut(held.axis)
        {
            *size = held.parts * units.slots.len() * units.block;
        }
        shape
    }

    /// The bytes that the parameter's tensor will have.
    pub(crate) fn bytes<'t>(
        &self,
        parameter: Option<Parameter>,
        tensor: &'t Tensor,
    ) -> Cow<'t, [u8]> {
        let Some(Affected { units, held }) = self.affected(parameter) else {
            return tensor.bytes().into();
        };
        // Bytes that one step along the axis spans, and how often the axis repeats.
        let inner: usize = tensor.shape().iter().skip(held.axis + 1).product();
        let outer: usize = held.parts * tensor.shape().iter().take(held.axis).product::<usize>();
        let block = units.block * inner * (tensor.dtype().bitsize() / 8);
        let mut bytes = Vec::with_capacity(outer * units.slots.len() * block);
        for repeat in 0..outer {
            let row = repeat * units.source * block;
            for (slot, factor) in units.slots.iter().zip(&units.factors) {
                let source = slot.and_then(|place| {
                    let start = row + place * block;
                    tensor.bytes().get(start..start + block)
                });
                match source {
                    Some(source) if held.scaled && *factor != 1.0 => {
                        tensor.extend_scaled(source, *factor, &mut bytes);
                    }
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
        if self.together && parameter.is_query_or_key() {
            return None;
        }
        let held = Held::of(layer, parameter, self.transposed, self.gated)?;
        let plan = self.layers.get(layer)?;
        let units = match held.of {
            Unit::Head => &plan.heads,
            Unit::Neuron => &plan.neurons,
        };
        (!units.changes_nothing(held.scaled)).then_some(Affected { units, held })
    }
}

/// What a tensor holds along one of its axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Head,
    Neuron,
}

/// How a tensor holds heads or neurons: one after the other along `axis`, `parts` times over (queries, keys, values; the
/// halves of a gated block).
struct Held {
    of: Unit,
    axis: usize,
    parts: usize,
    /// The tensor reads what the units give, and so takes their factors.
    scaled: bool,
}

impl Held {
    /// Nothing where the parameter belongs to no unit; `transposed`: the file holds linear maps as `[in, out]`.
    fn of(layer: usize, parameter: LayerParameter, transposed: bool, gated: bool) -> Option<Self> {
        let (of, axis, parts) = match parameter {
            LayerParameter::Query(_)
            | LayerParameter::Key(_)
            | LayerParameter::Value(_)
            | LayerParameter::DistanceQuery(_)
            | LayerParameter::DistanceKey(_)
            | LayerParameter::DistanceMaps(_) => (Unit::Head, 0, 1),
            LayerParameter::QueryKeyValue(_) => (Unit::Head, 0, 3),
            LayerParameter::AttentionOutput(Affine::Weight) => (Unit::Head, 1, 1),
            LayerParameter::MlpIn(_) => (Unit::Neuron, 0, if gated { 2 } else { 1 }),
            LayerParameter::MlpActivated(_) | LayerParameter::MlpGate(_) => (Unit::Neuron, 0, 1),
            LayerParameter::MlpOut(Affine::Weight) => (Unit::Neuron, 1, 1),
            LayerParameter::AttentionOutput(Affine::Bias)
            | LayerParameter::DistanceEmbedding
            | LayerParameter::QueryNorm(_)
            | LayerParameter::KeyNorm(_)
            | LayerParameter::AttentionNorm(_)
            | LayerParameter::MlpOut(Affine::Bias)
            | LayerParameter::MlpNorm(_) => return None,
        };
        let turned = transposed && Parameter::Layer(layer, parameter).is_block_map();
        Some(Self {
            of,
            axis: if turned { 1 - axis } else { axis },
            parts,
            scaled: matches!(
                parameter,
                LayerParameter::AttentionOutput(_) | LayerParameter::MlpOut(_)
            ),
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
    .flat_map(|make: fn(Affine) -> P| [make(Affine::Weight), make(Affine::Bias)])
    .filter(|parameter| !(architecture.query_key_norm && parameter.is_query_or_key()));
    let parameters: Vec<P> = parameters.collect();
    let transposed = architecture.family.table().transposed;
    let mut zeroed: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for layer in 0..architecture.num_layers {
        let heads = architecture.heads(layer);
        for (slot, head) in heads.iter().enumerate() {
            let zero = parameters.iter().all(|&parameter| {
                let held = Held::of(layer, parameter, transposed, false);
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

/// A tensor that changes.
struct Affected<'a> {
    units: &'a Units,
    held: Held,
}
