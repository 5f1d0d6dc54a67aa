//! The tensors of a reference file by name: which are inputs, which are results, and of what.

use std::collections::BTreeMap;

use bertology_checkpoint::{Architecture, TaskHead};
use bertology_model::{LayerSite, ModelSite, Pass, Tap};

use super::reference::{Reference, Tensor};
use super::{Ignored, ReferenceError};

const INPUTS: [&str; 11] = [
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "head_mask",
    "labels",
    "targets",
    "next_sentence_label",
    "start_positions",
    "end_positions",
    "pool_positions",
];

/// Sites of a layer that bear the layer's number.
const SITES: [(&str, LayerSite); 11] = [
    ("query", LayerSite::Query),
    ("key", LayerSite::Key),
    ("value", LayerSite::Value),
    ("rotated_query", LayerSite::RotatedQuery),
    ("rotated_key", LayerSite::RotatedKey),
    ("attention_scores", LayerSite::AttentionScores),
    ("attention_probs", LayerSite::AttentionProbs),
    ("head_output", LayerSite::HeadOutput),
    ("attention_output", LayerSite::AttentionOutput),
    ("mlp_inner", LayerSite::MlpInner),
    ("mlp_output", LayerSite::MlpOutput),
];

/// What a result of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// A value or a gradient that a tap shows.
    Tap(Pass, Tap),
    /// Attention as transformers returns it: multiplied by the head mask. Or the gradient of that.
    MaskedAttention(Pass, usize),
    Loss,
    /// The gradient with respect to the head mask.
    MaskGradient,
}

impl Quantity {
    /// The tap at which the model shows it.
    pub(super) fn tap(self) -> Option<(Pass, Tap)> {
        match self {
            Self::Tap(pass, tap) => Some((pass, tap)),
            Self::MaskedAttention(pass, layer) => {
                Some((pass, Tap::Layer(layer, LayerSite::AttentionProbs)))
            }
            Self::Loss | Self::MaskGradient => None,
        }
    }

    pub(super) fn layer(self) -> Option<usize> {
        match self.tap() {
            Some((_, Tap::Layer(layer, _))) => Some(layer),
            _ => None,
        }
    }

    pub(super) fn is_gradient(self) -> bool {
        matches!(self.tap(), Some((Pass::Backward, _))) || self == Self::MaskGradient
    }

    /// The place in the order of the computation. A gradient comes the later the earlier its value.
    pub(super) fn rank(self, layers: usize) -> usize {
        /// Sites in a layer, and room for one more.
        const STEPS: usize = 15;
        let end = (layers + 2) * STEPS;
        let within = |layer: usize, step: usize| (layer + 1) * STEPS + step;
        let forward = |tap| match tap {
            Tap::Model(ModelSite::Embeddings) => 0,
            Tap::Layer(layer, site) => {
                let step = match site {
                    LayerSite::Query => 0,
                    LayerSite::Key => 1,
                    LayerSite::Value => 2,
                    LayerSite::RotatedQuery => 3,
                    LayerSite::RotatedKey => 4,
                    LayerSite::AttentionScores => 5,
                    LayerSite::AttentionProbs | LayerSite::AttentionEntropy => 6,
                    LayerSite::HeadOutput | LayerSite::HeadMask => 8,
                    LayerSite::HeadContribution => 9,
                    LayerSite::AttentionOutput => 10,
                    LayerSite::MlpInner | LayerSite::NeuronMask => 11,
                    LayerSite::MlpOutput => 12,
                    LayerSite::HiddenState => 14,
                };
                within(layer, step)
            }
            Tap::Model(ModelSite::LastResidual) => within(layers - 1, 13),
            Tap::Model(ModelSite::Pooled) => end,
            Tap::Model(ModelSite::Logits) => end + 1,
            Tap::Model(ModelSite::TokenLogits) => end + 2,
            Tap::Model(ModelSite::Loss) => end + 3,
        };
        let last = 2 * (end + 4);
        match self {
            Self::Tap(Pass::Forward, tap) => forward(tap),
            Self::MaskedAttention(Pass::Forward, layer) => within(layer, 7),
            Self::Loss => forward(Tap::Model(ModelSite::Loss)),
            Self::Tap(Pass::Backward, tap) => last - forward(tap),
            Self::MaskedAttention(Pass::Backward, layer) => last - within(layer, 7),
            Self::MaskGradient => last + 1,
        }
    }
}

enum Meaning {
    Input(&'static str),
    Result(Quantity),
}

/// What a name without its prefix means; `None` if nothing.
fn meaning(name: &str, arch: &Architecture) -> Option<Result<Meaning, ReferenceError>> {
    if let Some(input) = INPUTS.into_iter().find(|input| *input == name) {
        return Some(Ok(Meaning::Input(input)));
    }
    let quantity = match name {
        "mask_grad" | "grad.head_mask" => Ok(Quantity::MaskGradient),
        "loss" => Ok(Quantity::Loss),
        _ => {
            let (pass, site) = match name.strip_prefix("grad.") {
                Some(site) => (Pass::Backward, site),
                None => (Pass::Forward, name),
            };
            match model_site(site, arch) {
                Some(tap) => Ok(Quantity::Tap(pass, tap)),
                None => numbered(pass, site, arch)?,
            }
        }
    };
    Some(quantity.map(Meaning::Result))
}

fn model_site(name: &str, arch: &Architecture) -> Option<Tap> {
    Some(match name {
        "last_hidden_state" => Tap::Layer(arch.num_layers - 1, LayerSite::HiddenState),
        "last_residual" => Tap::Model(ModelSite::LastResidual),
        "pooled" | "pooler_output" => Tap::Model(ModelSite::Pooled),
        "logits" => match arch.head {
            TaskHead::MaskedLm | TaskHead::CausalLm | TaskHead::PreTraining => {
                Tap::Model(ModelSite::TokenLogits)
            }
            _ if arch.head.token_scores().is_some() => Tap::Model(ModelSite::TokenLogits),
            _ => Tap::Model(ModelSite::Logits),
        },
        "prediction_logits" => Tap::Model(ModelSite::TokenLogits),
        "seq_relationship_logits" => Tap::Model(ModelSite::Logits),
        _ => return None,
    })
}

/// `hidden_states.3` and the like.
fn numbered(
    pass: Pass,
    name: &str,
    arch: &Architecture,
) -> Option<Result<Quantity, ReferenceError>> {
    let (kind, number) = name.rsplit_once('.')?;
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: usize = number.parse().ok()?;
    let site = SITES.into_iter().find(|(site, _)| *site == kind);
    let (quantity, last) = match (kind, site) {
        ("hidden_states", _) => {
            let tap = match number.checked_sub(1) {
                None => Tap::Model(ModelSite::Embeddings),
                Some(layer) => Tap::Layer(layer, LayerSite::HiddenState),
            };
            (Quantity::Tap(pass, tap), arch.num_layers)
        }
        ("attentions", _) => (Quantity::MaskedAttention(pass, number), arch.num_layers - 1),
        (_, Some((_, site))) => (
            Quantity::Tap(pass, Tap::Layer(number, site)),
            arch.num_layers - 1,
        ),
        _ => return None,
    };
    Some(if number <= last {
        Ok(quantity)
    } else {
        Err(ReferenceError::NoSuchLayer {
            name: name.to_owned(),
            layers: arch.num_layers,
            last,
        })
    })
}

/// A tensor with its full name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) tensor: &'a Tensor,
}

/// Every tensor of the file, accounted for.
#[derive(Debug)]
pub(super) struct Account<'a> {
    pub(super) inputs: BTreeMap<&'static str, Named<'a>>,
    pub(super) results: Vec<(Quantity, Named<'a>)>,
    pub(super) ignored: Vec<Ignored>,
}

impl<'a> Account<'a> {
    /// Results are those whose names begin with the first of `prefixes`, or all where there is none;
    /// an input is taken from the first prefix that has it, or from outside.
    pub(super) fn new(
        reference: &'a Reference,
        arch: &Architecture,
        prefixes: &[String],
    ) -> Result<Self, ReferenceError> {
        let mut account = Self {
            inputs: BTreeMap::new(),
            results: Vec::new(),
            ignored: Vec::new(),
        };
        let mut levels: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut unknown = Vec::new();
        let mut groups: Vec<String> = Vec::new();
        for (name, tensor) in reference.tensors() {
            let named = Named { name, tensor };
            let prefixed = prefixes.iter().enumerate().find_map(|(level, prefix)| {
                Some((level, meaning(name.strip_prefix(prefix.as_str())?, arch)?))
            });
            let plain = || Some((prefixes.len(), meaning(name, arch)?));
            match prefixed.or_else(plain) {
                Some((level, Ok(Meaning::Input(input)))) => {
                    let better = levels.get(input).is_none_or(|found| level < *found);
                    let loser = if better {
                        levels.insert(input, level);
                        account.inputs.insert(input, named)
                    } else {
                        Some(named)
                    };
                    if let (Some(loser), Some(winner)) = (loser, account.inputs.get(input)) {
                        account.ignored.push(Ignored {
                            name: loser.name.to_owned(),
                            reason: format!("{} is read instead", winner.name),
                        });
                    }
                }
                Some((0, quantity)) => {
                    if let Meaning::Result(quantity) = quantity? {
                        account.results.push((quantity, named));
                    }
                }
                Some(_) => account.ignore(named, format!("not of the group {}", prefixes[0])),
                None => match name.split_once('.') {
                    Some((group, rest)) if meaning(rest, arch).is_some() => {
                        let group = format!("{group}.");
                        account.ignore(named, format!("of the group {group}"));
                        if !groups.contains(&group) {
                            groups.push(group);
                        }
                    }
                    _ => unknown.push(name.to_owned()),
                },
            }
        }
        if !unknown.is_empty() {
            return Err(ReferenceError::UnknownTensors { names: unknown });
        }
        if account.results.is_empty() {
            let named = prefixes.first().map_or_else(String::new, |prefix| {
                format!(" whose name begins with {prefix}")
            });
            let reason = if groups.is_empty() {
                format!("the reference has no result{named}, only inputs")
            } else {
                format!(
                    "the reference has no result{named}; its results are in the groups {}: choose \
                     one by its prefix",
                    groups.join(", ")
                )
            };
            return Err(ReferenceError::NothingToCompare { reason });
        }
        account
            .results
            .sort_by_key(|(quantity, named)| (quantity.rank(arch.num_layers), named.name));
        Ok(account)
    }

    pub(super) fn ignore(&mut self, named: Named<'_>, reason: impl Into<String>) {
        self.ignored.push(Ignored {
            name: named.name.to_owned(),
            reason: reason.into(),
        });
    }

    pub(super) fn input(&self, name: &'static str) -> Option<Named<'a>> {
        self.inputs.get(name).copied()
    }

    /// Takes an input out as one that is not needed.
    pub(super) fn drop_input(&mut self, name: &'static str, reason: &str) {
        if let Some(named) = self.inputs.remove(name) {
            self.ignore(named, reason);
        }
    }
}
