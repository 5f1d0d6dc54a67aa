//! The units of a model that may go: heads and neurons, layer by layer.

use bertology_model::{HeadMask, Model, NeuronMask, Real};

use crate::Error;

/// What a group's units are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Heads of one layer, in the order of those that it has.
    Heads,
    /// Neurons of the feed-forward block of one layer.
    Neurons,
}

impl Kind {
    /// The place of a layer's group of this kind among all groups.
    #[must_use]
    pub fn group(self, layer: usize) -> usize {
        match self {
            Self::Heads => 2 * layer,
            Self::Neurons => 2 * layer + 1,
        }
    }
}

/// Something of every unit: a vector for the heads of layer 0, one for its neurons, one for the heads of layer 1, and so on.
pub type PerUnit<T> = Vec<Vec<T>>;

/// The heads and neurons that a model has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// Original numbers of the heads of each layer.
    heads: Vec<Vec<usize>>,
    /// Neurons of each layer.
    widths: Vec<usize>,
    /// `[layers, heads]` and `[layers, neurons]` of the masks.
    shape: [usize; 3],
}

impl Groups {
    /// Of a model.
    #[must_use]
    pub fn of<R: Real>(model: &Model<R>) -> Self {
        let arch = model.architecture();
        let mut heads = vec![Vec::new(); arch.num_layers];
        for id in model.heads() {
            heads[id.layer].push(id.head);
        }
        Self {
            heads,
            widths: (0..arch.num_layers)
                .map(|layer| arch.neurons(layer))
                .collect(),
            shape: [arch.num_layers, arch.num_heads, arch.intermediate_size],
        }
    }

    /// Number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.shape[0]
    }

    /// Layer (zero-based) and kind of each group, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Kind)> + use<> {
        (0..self.layers()).flat_map(|layer| [(layer, Kind::Heads), (layer, Kind::Neurons)])
    }

    /// Units of each group.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        self.heads
            .iter()
            .zip(&self.widths)
            .flat_map(|(heads, width)| [heads.len(), *width])
            .collect()
    }

    /// Original numbers of the heads of a layer.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn heads(&self, layer: usize) -> &[usize] {
        &self.heads[layer]
    }

    /// The two masks of a factor for each unit; what the model does not have gets 0.
    ///
    /// # Errors
    /// A factor that is not finite.
    ///
    /// # Panics
    /// If there are not as many factors as units.
    pub fn masks(&self, factors: &PerUnit<f64>) -> Result<(HeadMask, NeuronMask), Error> {
        let [layers, heads, neurons] = self.shape;
        let mut of_heads = vec![0.0; layers * heads];
        let mut of_neurons = vec![0.0; layers * neurons];
        for layer in 0..layers {
            for (head, factor) in self.heads[layer]
                .iter()
                .zip(&factors[Kind::Heads.group(layer)])
            {
                of_heads[layer * heads + head] = *factor;
            }
            of_neurons[layer * neurons..][..self.widths[layer]]
                .copy_from_slice(&factors[Kind::Neurons.group(layer)]);
        }
        Ok((
            HeadMask::from_values(layers, heads, of_heads)?,
            NeuronMask::from_values(layers, neurons, of_neurons)?,
        ))
    }
}

/// Factors 1 for what stays and 0 for what goes.
#[must_use]
pub fn factors(keep: &PerUnit<bool>) -> PerUnit<f64> {
    let factor = |keep: &bool| if *keep { 1.0 } else { 0.0 };
    keep.iter()
        .map(|group| group.iter().map(factor).collect())
        .collect()
}

#[cfg(test)]
impl Groups {
    /// Layers of so many heads and neurons.
    pub(crate) fn for_tests(layers: &[(usize, usize)]) -> Self {
        let most = |of: fn(&(usize, usize)) -> usize| layers.iter().map(of).max().unwrap_or(0);
        Self {
            heads: layers
                .iter()
                .map(|(heads, _)| (0..*heads).collect())
                .collect(),
            widths: layers.iter().map(|(_, width)| *width).collect(),
            shape: [layers.len(), most(|of| of.0), most(|of| of.1)],
        }
    }
}
