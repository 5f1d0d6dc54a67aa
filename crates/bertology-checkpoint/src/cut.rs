//! What is taken out of a checkpoint, and what is multiplied into its weights.

use std::collections::BTreeMap;

use crate::Error;
use crate::arch::Architecture;
use crate::heads::HeadSet;
use crate::vocabulary::TokenCut;

/// What becomes of the heads, neurons and tokens of a checkpoint that is written anew: some leave, heads and neurons that stay
/// may be weighed by factors that go into the maps which read them. Nothing becomes of what is not named.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cut {
    heads: HeadSet,
    /// Of heads that stay, other than 1.
    head_factors: BTreeMap<(usize, usize), f64>,
    /// `[neurons]` of each layer that is named: 0 is gone.
    neurons: BTreeMap<usize, Vec<f64>>,
    tokens: Option<TokenCut>,
}

impl From<HeadSet> for Cut {
    fn from(heads: HeadSet) -> Self {
        Self {
            heads,
            ..Self::default()
        }
    }
}

impl Cut {
    /// With a factor for a head that stays (zero-based, as numbered before any pruning).
    #[must_use]
    pub fn weigh(mut self, layer: usize, head: usize, factor: f64) -> Self {
        self.head_factors.insert((layer, head), factor);
        self
    }

    /// With a factor for every neuron that a layer (zero-based) has; those with 0 leave, what remains is numbered anew.
    #[must_use]
    pub fn neurons(mut self, layer: usize, factors: Vec<f64>) -> Self {
        self.neurons.insert(layer, factors);
        self
    }

    /// With these tokens alone, and their tokenizer.
    #[must_use]
    pub fn tokens(mut self, tokens: TokenCut) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The tokens that stay, where some go.
    pub(crate) fn of_tokens(&self) -> Option<&TokenCut> {
        self.tokens.as_ref()
    }

    /// The heads that leave.
    #[must_use]
    pub fn heads(&self) -> &HeadSet {
        &self.heads
    }

    /// The factor of a head that stays.
    pub(crate) fn head_factor(&self, layer: usize, head: usize) -> f64 {
        self.head_factors
            .get(&(layer, head))
            .copied()
            .unwrap_or(1.0)
    }

    /// Factors of the neurons of a layer, if it is named.
    pub(crate) fn of_neurons(&self, layer: usize) -> Option<&[f64]> {
        self.neurons.get(&layer).map(Vec::as_slice)
    }

    /// Refuses what the architecture does not have or the file cannot say.
    pub(crate) fn check(&self, architecture: &Architecture) -> Result<(), Error> {
        self.heads.check(architecture)?;
        self.heads.check_shared(architecture)?;
        if let Some(tokens) = &self.tokens {
            tokens.check(architecture.vocab_size)?;
        }
        let weighed = self.head_factors.keys().copied().collect::<HeadSet>();
        weighed.check(architecture)?;
        let values = self.head_factors.values();
        if let Some(value) = values
            .chain(self.neurons.values().flatten())
            .find(|v| !v.is_finite())
        {
            return Err(Error::Factor { value: *value });
        }
        for (layer, factors) in &self.neurons {
            let neurons = (*layer < architecture.num_layers).then(|| architecture.neurons(*layer));
            if neurons != Some(factors.len()) {
                return Err(Error::NeuronFactors {
                    layer: *layer,
                    found: factors.len(),
                    layers: architecture.num_layers,
                    neurons: neurons.unwrap_or(architecture.intermediate_size),
                });
            }
        }
        let named = self.head_factors.keys().map(|(layer, _)| layer);
        if let Some(layer) = named.chain(self.neurons.keys()).next()
            && architecture.shared_layers.is_some()
        {
            return Err(Error::SharedFactors { layer: *layer });
        }
        Ok(())
    }
}
