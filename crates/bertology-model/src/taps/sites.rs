//! The places in a pass where values can be seen, and sets of them.

use crate::Error;

/// A site inside every block. `n` is the number of tokens of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerSite {
    /// Per head, `[n, head_dim]`; before it is turned, where positions are rotary.
    Query,
    /// Per head, `[n, head_dim]`; before it is turned, where positions are rotary.
    Key,
    /// Per head, `[n, head_dim]`.
    Value,
    /// Per head, `[n, head_dim]`: queries turned by their positions; models with rotary positions only.
    RotatedQuery,
    /// Per head, `[n, head_dim]`: keys turned by their positions; models with rotary positions only.
    RotatedKey,
    /// Per head, `[query, key]`: scaled scores before the softmax; −∞ at keys that a causal model, or a window, does
    /// not let the query see.
    AttentionScores,
    /// Per head, `[query, key]`: the softmax, before any head mask.
    AttentionProbs,
    /// Per head, `[n, head_dim]`: attention probabilities times values, before any head mask.
    HeadOutput,
    /// Per head, `[n, hidden]`: what the head adds to the residual stream, head mask included.
    /// The sum over heads plus the output bias is [`LayerSite::AttentionOutput`].
    HeadContribution,
    /// `[n, hidden]`: after the output projection and its bias, before the residual is added.
    AttentionOutput,
    /// `[n, intermediate]`: the neurons of the feed-forward block, after the activation, before any neuron mask: without one
    /// what its second map reads.
    MlpInner,
    /// `[n, hidden]`: after the feed-forward block, before the residual is added.
    MlpOutput,
    /// `[n, hidden]`: what the next layer receives; `hidden_states[layer + 1]` of transformers. Where
    /// the model has a final norm, that of the last layer is behind it, and
    /// [`ModelSite::LastResidual`] is before it.
    HiddenState,
    /// Backward only, per head, `[n, 1]`: what each position adds to the gradient of the loss with
    /// respect to the head's mask factor, `head_output · ∂loss/∂(factor · head_output)`.
    HeadMask,
    /// Backward only, `[n, intermediate]`: what each position adds to the gradient of the loss with respect to the neuron's
    /// mask factor, `neuron · ∂loss/∂(factor · neuron)`.
    NeuronMask,
    /// Forward only, per head, `[1, 1]`, in nats: the sum over queries of the entropies of [`LayerSite::AttentionProbs`].
    AttentionEntropy,
}

/// The sites that make up attention itself, below a head's output.
pub(crate) const ATTENTION_SITES: [LayerSite; 7] = [
    LayerSite::Query,
    LayerSite::Key,
    LayerSite::Value,
    LayerSite::RotatedQuery,
    LayerSite::RotatedKey,
    LayerSite::AttentionScores,
    LayerSite::AttentionProbs,
];

/// A site outside the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModelSite {
    /// `[n, hidden]`: `hidden_states[0]` of transformers.
    Embeddings,
    /// `[1, hidden]`: what the classifier reads: the pooled first token, after tanh; where there is no
    /// pooler (GPT, GPT-2) the last token's hidden state.
    Pooled,
    /// `[1, labels]`: logits of the sequence (classifier or next-sentence head).
    Logits,
    /// `[n, vocab]`: logits of the language-model head.
    TokenLogits,
    /// `[1, 1]`, in nats (or squared units for regression): the loss of the sequence.
    Loss,
    /// `[n, hidden]`: the residual stream above the last block, before the final norm; models with a
    /// final norm (GPT-2) only.
    LastResidual,
}

/// Any site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// Inside every block.
    Layer(LayerSite),
    /// Outside the blocks.
    Model(ModelSite),
}

impl From<LayerSite> for Site {
    fn from(site: LayerSite) -> Self {
        Self::Layer(site)
    }
}

impl From<ModelSite> for Site {
    fn from(site: ModelSite) -> Self {
        Self::Model(site)
    }
}

impl Site {
    fn bit(self) -> u32 {
        match self {
            Self::Layer(site) => 1 << site as u32,
            Self::Model(site) => 1 << (16 + site as u32),
        }
    }
}

/// Direction of a pass. In the backward pass a site carries the gradient of the sequence's own
/// loss with respect to the value that the forward pass has at that site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pass {
    /// Values.
    Forward,
    /// Gradients.
    Backward,
}

/// A place in a pass where values can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tap {
    /// A site of one layer (zero-based).
    Layer(usize, LayerSite),
    /// A site outside the layers.
    Model(ModelSite),
}

impl Tap {
    /// The site, whatever the layer.
    #[must_use]
    pub fn site(self) -> Site {
        match self {
            Self::Layer(_, site) => Site::Layer(site),
            Self::Model(site) => Site::Model(site),
        }
    }
}

/// The set of sites that an observer wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interests {
    forward: u32,
    backward: u32,
}

impl Interests {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds the values of a site.
    #[must_use]
    pub fn value(mut self, site: impl Into<Site>) -> Self {
        self.forward |= site.into().bit();
        self
    }

    /// Adds the gradients of a site.
    #[must_use]
    pub fn gradient(mut self, site: impl Into<Site>) -> Self {
        self.backward |= site.into().bit();
        self
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            forward: self.forward | other.forward,
            backward: self.backward | other.backward,
        }
    }

    /// Whether a site is wanted.
    #[must_use]
    pub fn contains(&self, pass: Pass, site: impl Into<Site>) -> bool {
        let set = match pass {
            Pass::Forward => self.forward,
            Pass::Backward => self.backward,
        };
        set & site.into().bit() != 0
    }

    /// Whether any gradient is wanted.
    #[must_use]
    pub fn any_gradient(&self) -> bool {
        self.backward != 0
    }

    /// Refuses sites that do not exist in the direction asked for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |site: &str, direction, reason| {
            Err(Error::NoSuchSite {
                site: site.to_owned(),
                direction,
                reason,
            })
        };
        for (site, name) in [
            (LayerSite::HeadMask, "HeadMask"),
            (LayerSite::NeuronMask, "NeuronMask"),
        ] {
            if self.contains(Pass::Forward, site) {
                let reason = "the mask is your input; only its gradient is one";
                return refuse(name, "forward", reason);
            }
        }
        if self.contains(Pass::Backward, LayerSite::AttentionEntropy) {
            let reason = "nothing is computed from it; ask for that of AttentionProbs";
            return refuse("AttentionEntropy", "backward", reason);
        }
        if self.contains(Pass::Backward, ModelSite::Loss) {
            return refuse("Loss", "backward", "the gradient of the loss is 1");
        }
        Ok(())
    }
}
