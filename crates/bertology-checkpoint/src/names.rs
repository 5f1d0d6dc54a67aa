//! What the tensor names of a file mean, and the shapes that the config asks for.

use std::fmt;

use crate::arch::{Architecture, Family, Positions, Segments, SharedLayers, TaskHead};
use crate::parameter::{Affine, LayerParameter, Parameter};
use crate::tables::{DISTANCE, Table, find};

/// Why a tensor of the file takes no part in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// A constant that the engine computes itself: `position_ids`, `token_type_ids`, the causal
    /// mask of GPT files (`attn.bias`, `attn.masked_bias`).
    Buffer,
    /// It belongs to a task head other than the one opened.
    OtherTask,
    /// The encoder's pooler, which the opened head does not read.
    UnusedPooler,
    /// The table of absolute positions of a model with relative or rotary ones alone.
    UnusedPositions,
    /// A copy of the tensor to which it is tied.
    TiedCopy,
    /// An output layer of its own where the config ties it to the word embeddings; left out because
    /// unexpected tensors were allowed.
    OverriddenByTie,
    /// One of two biases of a masked language model's output layer: not the one with which transformers computes.
    OtherBias,
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffer => "a constant that is computed, not stored",
            Self::OtherTask => "belongs to another task's head",
            Self::UnusedPooler => "this task does not read the encoder's pooler",
            Self::UnusedPositions => {
                "the position table takes no part beside relative or rotary positions"
            }
            Self::TiedCopy => "equal to the tensor that it is tied to",
            Self::OtherBias => {
                "the output layer has another bias, with which transformers computes"
            }
            Self::OverriddenByTie => "config.json ties it to the word embeddings",
        })
    }
}

/// What a name in the file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Use(Parameter),
    /// A language model's output weight or bias stored beside the tensor that it is tied to.
    TiedDecoder(Affine),
    Ignore(IgnoreReason),
    Unknown,
}

/// The table of one checkpoint: family, head and the prefix of its base names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) architecture: &'a Architecture,
    /// What base names start with in this file, or nothing.
    pub(crate) prefix: &'static str,
}

impl Names<'_> {
    fn table(&self) -> &'static Table {
        let table = self.architecture.family.table();
        match table.renamed {
            Some(renamed) if self.architecture.renamed_lm => renamed,
            _ => table,
        }
    }

    pub(crate) fn meaning(&self, name: &str) -> Meaning {
        let name = modern(name);
        let name = name.as_str();
        if !self.prefix.is_empty() {
            return match name.strip_prefix(self.prefix) {
                Some(base) => self.base(base),
                None => self.head(name),
            };
        }
        // Without prefix, heads and base model share one level.
        match self.head(name) {
            Meaning::Unknown => self.base(name),
            known => known,
        }
    }

    fn base(&self, name: &str) -> Meaning {
        let table = self.table();
        if table.base_buffers.contains(&name) {
            return Meaning::Ignore(IgnoreReason::Buffer);
        }
        if let Some(rest) = name.strip_prefix(table.layers) {
            return self.layer(rest).unwrap_or(Meaning::Unknown);
        }
        if let Some((parameter, _)) = table.tables.iter().find(|(_, stored)| *stored == name) {
            return match (parameter, self.architecture.positions) {
                (
                    Parameter::PositionEmbeddings,
                    Positions::RelativeKey
                    | Positions::RelativeKeyQuery
                    | Positions::Rotary(_)
                    | Positions::Nowhere,
                ) => Meaning::Ignore(IgnoreReason::UnusedPositions),
                (Parameter::SegmentEmbeddings, _)
                    if !matches!(self.architecture.segments, Segments::Table(_)) =>
                {
                    Meaning::Unknown
                }
                (Parameter::RelativeEmbeddings, _) if self.architecture.disentangled.is_none() => {
                    Meaning::Unknown
                }
                _ => Meaning::Use(*parameter),
            };
        }
        let parameter = table
            .base_stems
            .iter()
            .find_map(|(make, stem)| Some(make(affine(name, stem)?)));
        match parameter {
            None => Meaning::Unknown,
            Some(Parameter::EmbeddingNorm(_)) if !self.architecture.embedding_norm => {
                Meaning::Unknown
            }
            Some(Parameter::RelativeNorm(_))
                if !self.architecture.disentangled.is_some_and(|of| of.normed) =>
            {
                Meaning::Unknown
            }
            Some(Parameter::Pooler(_)) if !self.reads_base_pooler() => {
                Meaning::Ignore(IgnoreReason::UnusedPooler)
            }
            Some(parameter) => Meaning::Use(parameter),
        }
    }

    /// `rest` follows the start of a block's names.
    fn layer(&self, rest: &str) -> Option<Meaning> {
        let table = self.table();
        let (block, rest) = block_and_rest(table, self.architecture, rest)?;
        let index = (self.architecture.own_layers())
            .find(|layer| self.architecture.block(*layer) == block)?;
        if table.layer_buffers.contains(&rest) {
            return Some(Meaning::Ignore(IgnoreReason::Buffer));
        }
        let parameter = if affine(rest, DISTANCE) == Some(Affine::Weight) {
            if !self.architecture.positions.is_relative() {
                return None;
            }
            LayerParameter::DistanceEmbedding
        } else {
            table
                .layer_stems
                .iter()
                .find_map(|(make, stem)| Some(make(affine(rest, stem)?)))?
        };
        let distances = self.architecture.disentangled.filter(|of| !of.shared);
        let absent = match parameter {
            LayerParameter::DistanceQuery(_) => !distances.is_some_and(|of| of.queries),
            LayerParameter::DistanceKey(_) => !distances.is_some_and(|of| of.keys),
            LayerParameter::QueryNorm(affine) | LayerParameter::KeyNorm(affine) => {
                affine == Affine::Bias || !self.architecture.query_key_norm
            }
            _ => false,
        };
        if absent {
            return None;
        }
        Some(Meaning::Use(Parameter::Layer(index, parameter)))
    }

    fn head(&self, name: &str) -> Meaning {
        let table = self.table();
        let head = &self.architecture.head;
        let classifier = matches!(head, TaskHead::SequenceClassification { .. });
        let masked_lm = matches!(head, TaskHead::MaskedLm | TaskHead::PreTraining);
        let lm = masked_lm || matches!(head, TaskHead::CausalLm);
        let next_sentence = matches!(head, TaskHead::NextSentence | TaskHead::PreTraining);
        let token_stem = table.token_stem(head);
        if let Some(affine) = token_stem.and_then(|stem| affine(name, stem)) {
            return Meaning::Use(Parameter::TokenScores(affine));
        }
        let if_used = |used: bool, meaning: Meaning| {
            if used {
                meaning
            } else {
                Meaning::Ignore(IgnoreReason::OtherTask)
            }
        };
        // A stem may name the parts of several heads; one of them is opened.
        let mut of_another = false;
        for (make, stem) in table.head_stems {
            let Some(affine) = affine(name, stem) else {
                continue;
            };
            let parameter = make(affine);
            let used = match parameter {
                Parameter::Classifier(Affine::Bias) if !self.architecture.classifier_bias => {
                    return Meaning::Unknown;
                }
                Parameter::Classifier(_) | Parameter::Pooler(_) | Parameter::PoolerNorm(_) => {
                    classifier
                }
                Parameter::NextSentence(_) => next_sentence,
                Parameter::TokenTransform(_) => self.architecture.token_transform.is_some(),
                Parameter::TokenNorm(_) => {
                    (self.architecture.token_transform).is_some_and(|transform| transform.norm)
                }
                _ => masked_lm,
            };
            if used {
                return Meaning::Use(parameter);
            }
            of_another = true;
        }
        if of_another {
            return Meaning::Ignore(IgnoreReason::OtherTask);
        }
        let decoder = affine(name, table.decoder);
        let bias = table.decoder_bias == Some(name) || decoder == Some(Affine::Bias);
        if bias && masked_lm && !self.architecture.lm_bias {
            return Meaning::Unknown;
        }
        if table.decoder_bias == Some(name) {
            return if_used(masked_lm, Meaning::Use(Parameter::LmDecoder(Affine::Bias)));
        }
        match decoder {
            Some(Affine::Bias) if table.decoder_bias.is_none() => {
                let bias = Meaning::Use(Parameter::LmDecoder(Affine::Bias));
                return if self.architecture.lm_bias {
                    if_used(masked_lm, bias)
                } else {
                    Meaning::Unknown
                };
            }
            Some(affine) => return if_used(lm, Meaning::TiedDecoder(affine)),
            None => {}
        }
        // A token classifier's `classifier.weight` is another task's head only while no sequence
        // classifier was asked for; then it is simply out of place.
        let other = table.other_heads.iter().find(|o| name.starts_with(**o));
        match other {
            Some(other) if !classifier || *other != "classifier." => {
                Meaning::Ignore(IgnoreReason::OtherTask)
            }
            // Without a head, nothing beside the base model is read.
            _ if !self.prefix.is_empty() && *head == TaskHead::None => {
                Meaning::Ignore(IgnoreReason::OtherTask)
            }
            _ => Meaning::Unknown,
        }
    }

    /// Whether the opened head reads the base model's own pooler, not one of the head's.
    pub(crate) fn reads_base_pooler(&self) -> bool {
        let classifier_has_one = find(self.table().head_stems, Parameter::Pooler(Affine::Weight));
        match &self.architecture.head {
            TaskHead::MaskedLm
            | TaskHead::CausalLm
            | TaskHead::TokenClassification { .. }
            | TaskHead::QuestionAnswering
            | TaskHead::ReplacedTokens => false,
            TaskHead::SequenceClassification { .. } => classifier_has_one.is_none(),
            TaskHead::None | TaskHead::NextSentence | TaskHead::PreTraining => true,
        }
    }

    /// Whether a tensor's name belongs to the base model, not to a task head.
    pub(crate) fn in_base(&self, name: &str) -> bool {
        let table = self.table();
        (!self.prefix.is_empty() && name.starts_with(self.prefix))
            || name.starts_with(table.layers)
            || table.tables.iter().any(|(_, stored)| *stored == name)
            || table
                .base_stems
                .iter()
                .any(|(_, stem)| name.starts_with(stem))
    }

    /// The shape that the file holds for a parameter of this canonical shape.
    pub(crate) fn stored_shape(&self, parameter: Parameter, canonical: &[usize]) -> Vec<usize> {
        let mut shape = canonical.to_vec();
        if self.table().transposed && parameter.is_block_map() {
            shape.reverse();
        }
        shape
    }

    /// The names of the constants of one block.
    pub(crate) fn buffers_of(&self, layer: usize) -> impl Iterator<Item = String> {
        let (table, block) = (self.table(), self.architecture.block(layer));
        let prefix = self.prefix;
        let names = table.layer_buffers.iter();
        names.map(move |name| format!("{prefix}{}{block}.{name}", table.layers))
    }

    /// The name under which this checkpoint would hold `parameter`.
    pub(crate) fn name_of(&self, parameter: Parameter) -> String {
        let table = self.table();
        let prefix = self.prefix;
        if let Parameter::Layer(index, parameter) = parameter {
            return match table.layer_stem(parameter) {
                Some((stem, affine)) => {
                    let block = self.architecture.block(index);
                    let block = match (table.inner, self.architecture.shared_layers) {
                        (Some(between), Some(SharedLayers { inner, .. })) => {
                            format!("{}.{between}{}", block / inner, block % inner)
                        }
                        _ => block.to_string(),
                    };
                    format!("{prefix}{}{block}.{stem}{}", table.layers, suffix(affine))
                }
                None => Parameter::Layer(index, parameter).to_string(),
            };
        }
        if let Some((_, name)) = table.tables.iter().find(|(of, _)| *of == parameter) {
            return format!("{prefix}{name}");
        }
        if let Parameter::LmDecoder(affine) = parameter {
            return match (affine, table.decoder_bias) {
                (Affine::Bias, Some(name)) => name.to_owned(),
                _ => format!("{}{}", table.decoder, suffix(affine)),
            };
        }
        if let (Parameter::TokenScores(affine), Some(stem)) =
            (parameter, table.token_stem(&self.architecture.head))
        {
            return format!("{stem}{}", suffix(affine));
        }
        let in_head = !matches!(parameter, Parameter::Pooler(_)) || !self.reads_base_pooler();
        if in_head && let Some((stem, affine)) = find(table.head_stems, parameter) {
            return format!("{stem}{}", suffix(affine));
        }
        match find(table.base_stems, parameter) {
            Some((stem, affine)) => format!("{prefix}{stem}{}", suffix(affine)),
            None => parameter.to_string(),
        }
    }
}

impl Family {
    /// The numbers of layers among the names, or of groups of layers and of the blocks within them, as often as they occur.
    pub(crate) fn layers<'n>(
        self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> impl Iterator<Item = (usize, Option<usize>)> {
        let table = self.table();
        names.into_iter().filter_map(|name| {
            let mut prefixes = [Some(table.prefix), table.other_prefix]
                .into_iter()
                .flatten();
            let base = prefixes.find_map(|prefix| name.strip_prefix(prefix));
            let base = base.unwrap_or(name);
            let (number, rest) = base.strip_prefix(table.layers)?.split_once('.')?;
            let inner = table.inner.and_then(|between| {
                let rest = rest.strip_prefix(between)?;
                rest.split('.').next()?.parse().ok()
            });
            Some((number.parse().ok()?, inner))
        })
    }
}

/// The number of a block in the files, and the rest of its tensor's name.
fn block_and_rest<'n>(
    table: &Table,
    architecture: &Architecture,
    name: &'n str,
) -> Option<(usize, &'n str)> {
    let number = |name: &'n str, below: usize| -> Option<(usize, &'n str)> {
        let (digits, rest) = name.split_once('.')?;
        let index: usize = digits.parse().ok()?;
        // `01` or `+1` would make a second name for the same layer.
        (index.to_string() == digits && index < below).then_some((index, rest))
    };
    match (table.inner, architecture.shared_layers) {
        (Some(between), Some(shared)) => {
            let (group, rest) = number(name, shared.groups)?;
            let (inner, rest) = number(rest.strip_prefix(between)?, shared.inner)?;
            Some((group * shared.inner + inner, rest))
        }
        _ => number(name, architecture.num_layers),
    }
}

fn affine(name: &str, stem: &str) -> Option<Affine> {
    match name.strip_prefix(stem)? {
        "weight" => Some(Affine::Weight),
        "bias" => Some(Affine::Bias),
        _ => None,
    }
}

fn suffix(affine: Affine) -> &'static str {
    match affine {
        Affine::Weight => "weight",
        Affine::Bias => "bias",
    }
}

/// Checkpoints converted from TensorFlow call a norm's scale `gamma` and its shift `beta`.
fn modern(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("LayerNorm.gamma") {
        format!("{stem}LayerNorm.weight")
    } else if let Some(stem) = name.strip_suffix("LayerNorm.beta") {
        format!("{stem}LayerNorm.bias")
    } else {
        name.to_owned()
    }
}
