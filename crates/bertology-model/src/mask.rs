//! Naming heads and weighing them, and neurons.

use std::fmt;

use bertology_kernels::Real;

use crate::{Error, Model};

/// One head: zero-based layer and zero-based number in the *unpruned* model. Prints as `L3H7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeadId {
    /// Layer, zero-based.
    pub layer: usize,
    /// Head, zero-based, as numbered before any pruning.
    pub head: usize,
}

impl fmt::Display for HeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}H{}", self.layer, self.head)
    }
}

/// A factor per head, `[layers, heads]`: 1 keeps a head, 0 masks it, anything between weakens it.
///
/// The factor multiplies the attention probabilities after the softmax, as transformers' `head_mask`
/// (4.57 and before); multiplying the head's context is the same function.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadMask {
    layers: usize,
    heads: usize,
    values: Vec<f64>,
}

impl HeadMask {
    /// Keeps every head that `model` has; heads that were pruned away get 0.
    #[must_use]
    pub fn ones<R: Real>(model: &Model<R>) -> Self {
        let arch = model.architecture();
        let mut mask = Self {
            layers: arch.num_layers,
            heads: arch.num_heads,
            values: vec![0.0; arch.num_layers * arch.num_heads],
        };
        for id in model.heads() {
            mask.set(id, 1.0);
        }
        mask
    }

    /// From row-major values `[layers, heads]`.
    ///
    /// # Errors
    /// [`Error::MaskShape`] if the number of values is another; [`Error::MaskValue`] if one is not
    /// finite.
    pub fn from_values(layers: usize, heads: usize, values: Vec<f64>) -> Result<Self, Error> {
        if values.len() != layers * heads {
            return Err(Error::MaskShape {
                found_layers: 1,
                found_heads: values.len(),
                layers,
                heads,
            });
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            let head = HeadId {
                layer: i / heads,
                head: i % heads,
            };
            return Err(Error::MaskValue {
                head,
                value: values[i],
            });
        }
        Ok(Self {
            layers,
            heads,
            values,
        })
    }

    /// The factor of a head.
    ///
    /// # Panics
    /// If the head does not exist.
    #[track_caller]
    #[must_use]
    pub fn get(&self, id: HeadId) -> f64 {
        self.values[self.index(id)]
    }

    /// Sets the factor of a head.
    ///
    /// # Panics
    /// If the head does not exist.
    #[track_caller]
    pub fn set(&mut self, id: HeadId, value: f64) {
        let index = self.index(id);
        self.values[index] = value;
    }

    /// All factors, row-major `[layers, heads]`.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Heads per layer of the unpruned model.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Heads with a factor other than 0, in order.
    pub fn live(&self) -> impl Iterator<Item = HeadId> + '_ {
        self.ids().filter(|id| self.get(*id) != 0.0)
    }

    /// Heads with factor 0, in order.
    pub fn masked(&self) -> impl Iterator<Item = HeadId> + '_ {
        self.ids().filter(|id| self.get(*id) == 0.0)
    }

    fn ids(&self) -> impl Iterator<Item = HeadId> + use<> {
        let heads = self.heads;
        (0..self.layers * heads).map(move |i| HeadId {
            layer: i / heads,
            head: i % heads,
        })
    }

    #[track_caller]
    fn index(&self, id: HeadId) -> usize {
        assert!(
            id.layer < self.layers && id.head < self.heads,
            "{id} of a mask [{}, {}]",
            self.layers,
            self.heads
        );
        id.layer * self.heads + id.head
    }

    /// Whether this mask fits `model`.
    ///
    /// # Errors
    /// [`Error::MaskShape`], or [`Error::HeadPruned`] if it keeps a head that the model no longer
    /// has.
    pub fn check<R: Real>(&self, model: &Model<R>) -> Result<(), Error> {
        let arch = model.architecture();
        if self.layers != arch.num_layers || self.heads != arch.num_heads {
            return Err(Error::MaskShape {
                found_layers: self.layers,
                found_heads: self.heads,
                layers: arch.num_layers,
                heads: arch.num_heads,
            });
        }
        match self.live().find(|id| !model.has_head(*id)) {
            Some(head) => Err(Error::HeadPruned { head }),
            None => Ok(()),
        }
    }
}

/// A factor per neuron of the feed-forward blocks, `[layers, neurons]`: 1 keeps a neuron, 0 masks it, anything between
/// weakens it.
///
/// The factor multiplies what the activation gives (of a gated block, what activation and gate give together), so that a
/// neuron with factor 0 is one whose row of the second map's input is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct NeuronMask {
    layers: usize,
    neurons: usize,
    values: Vec<f64>,
}

impl NeuronMask {
    /// Keeps every neuron that `model` has; what a layer has fewer than others gets 0.
    #[must_use]
    pub fn ones<R: Real>(model: &Model<R>) -> Self {
        let arch = model.architecture();
        let (layers, neurons) = (arch.num_layers, arch.intermediate_size);
        let mut mask = Self {
            layers,
            neurons,
            values: vec![0.0; layers * neurons],
        };
        for layer in 0..layers {
            mask.values[layer * neurons..][..arch.neurons(layer)].fill(1.0);
        }
        mask
    }

    /// From row-major values `[layers, neurons]`.
    ///
    /// # Errors
    /// [`Error::NeuronMaskShape`] if the number of values is another; [`Error::NeuronMaskValue`] if one is not finite.
    pub fn from_values(layers: usize, neurons: usize, values: Vec<f64>) -> Result<Self, Error> {
        if values.len() != layers * neurons {
            return Err(Error::NeuronMaskShape {
                found_layers: 1,
                found_neurons: values.len(),
                layers,
                neurons,
            });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NeuronMaskValue {
                layer: at / neurons,
                neuron: at % neurons,
                value: values[at],
            });
        }
        Ok(Self {
            layers,
            neurons,
            values,
        })
    }

    /// All factors, row-major `[layers, neurons]`.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The factors of a layer, `[neurons]`.
    ///
    /// # Panics
    /// If there is no such layer.
    #[track_caller]
    #[must_use]
    pub fn layer(&self, layer: usize) -> &[f64] {
        &self.values[layer * self.neurons..][..self.neurons]
    }

    /// Sets the factor of a neuron.
    ///
    /// # Panics
    /// If there is no such neuron.
    #[track_caller]
    pub fn set(&mut self, layer: usize, neuron: usize, value: f64) {
        assert!(
            layer < self.layers && neuron < self.neurons,
            "neuron {neuron} of layer {layer} of a mask [{}, {}]",
            self.layers,
            self.neurons
        );
        self.values[layer * self.neurons + neuron] = value;
    }

    /// Whether this mask fits `model`.
    ///
    /// # Errors
    /// [`Error::NeuronMaskShape`], or [`Error::NeuronPruned`] if it keeps a neuron that the model no longer has.
    pub fn check<R: Real>(&self, model: &Model<R>) -> Result<(), Error> {
        let arch = model.architecture();
        if (self.layers, self.neurons) == (arch.num_layers, arch.intermediate_size) {
            for layer in 0..self.layers {
                let there = arch.neurons(layer);
                let beyond = self.layer(layer).iter().skip(there);
                if let Some(at) = beyond.into_iter().position(|value| *value != 0.0) {
                    return Err(Error::NeuronPruned {
                        layer,
                        neuron: there + at,
                        there,
                    });
                }
            }
            return Ok(());
        }
        Err(Error::NeuronMaskShape {
            found_layers: self.layers,
            found_neurons: self.neurons,
            layers: arch.num_layers,
            neurons: arch.intermediate_size,
        })
    }
}

/// The head mask of a pass.
#[derive(Debug, Clone, Copy, Default)]
pub enum Masking<'a> {
    /// Every head as it is.
    #[default]
    None,
    /// One mask for every sequence.
    Shared(&'a HeadMask),
    /// One mask per sequence of the batch.
    PerSequence(&'a [HeadMask]),
}

impl Masking<'_> {
    /// The factor of a head for one sequence of the batch.
    pub(crate) fn factor(&self, sequence: usize, id: HeadId) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Shared(mask) => mask.get(id),
            Self::PerSequence(masks) => masks[sequence].get(id),
        }
    }

    pub(crate) fn check<R: Real>(&self, model: &Model<R>, sequences: usize) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            Self::Shared(mask) => mask.check(model),
            Self::PerSequence(masks) => {
                if masks.len() != sequences {
                    return Err(Error::MaskCount {
                        masks: masks.len(),
                        sequences,
                    });
                }
                masks.iter().try_for_each(|mask| mask.check(model))
            }
        }
    }
}
