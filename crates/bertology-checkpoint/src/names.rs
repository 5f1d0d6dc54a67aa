//! What the tensor names of BERT and RoBERTa files mean, and the shapes that the config asks for.

use std::collections::BTreeSet;
use std::fmt;

use crate::arch::{Architecture, Family, Positions, TaskHead};
use crate::parameter::{Affine, LayerParameter, Parameter};

/// Why a tensor of the file takes no part in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// A constant that the engine computes itself: `position_ids`, `token_type_ids`.
    Buffer,
    /// It belongs to a task head other than the one opened.
    OtherTask,
    /// The encoder's pooler, which the opened head does not read.
    UnusedPooler,
    /// The table of absolute positions of a model with relative positions.
    UnusedPositions,
    /// A copy of the tensor to which it is tied.
    TiedCopy,
    /// An output layer of its own where the config ties it to the word embeddings; left out because
    /// unexpected tensors were allowed.
    OverriddenByTie,
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffer => "a constant that is computed, not stored",
            Self::OtherTask => "belongs to another task's head",
            Self::UnusedPooler => "this task does not read the encoder's pooler",
            Self::UnusedPositions => "relative positions replace the position table",
            Self::TiedCopy => "equal to the tensor that it is tied to",
            Self::OverriddenByTie => "config.json ties it to the word embeddings",
        })
    }
}

/// What a name in the file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Use(Parameter),
    /// A masked-LM decoder's weight or bias stored beside the tensor that it is tied to.
    TiedDecoder(Affine),
    Ignore(IgnoreReason),
    Unknown,
}

/// The table of one checkpoint: family, head and whether its encoder names carry the prefix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) architecture: &'a Architecture,
    pub(crate) prefixed: bool,
}

impl Names<'_> {
    pub(crate) fn prefix(family: Family) -> &'static str {
        match family {
            Family::Bert => "bert.",
            Family::Roberta => "roberta.",
        }
    }

    pub(crate) fn meaning(&self, name: &str) -> Meaning {
        let prefix = Self::prefix(self.architecture.family);
        let name = modern(name);
        let name = name.as_str();
        match (name.strip_prefix(prefix), self.prefixed) {
            (Some(base), _) => self.encoder(base),
            (None, true) => self.head(name),
            // Without prefix, heads and encoder share one level.
            (None, false) => match self.head(name) {
                Meaning::Unknown => self.encoder(name),
                known => known,
            },
        }
    }

    fn encoder(&self, name: &str) -> Meaning {
        if matches!(
            name,
            "embeddings.position_ids" | "embeddings.token_type_ids"
        ) {
            return Meaning::Ignore(IgnoreReason::Buffer);
        }
        if let Some(rest) = name.strip_prefix("encoder.layer.") {
            return layer(rest).map_or(Meaning::Unknown, |(index, parameter)| {
                let relative = self.architecture.positions != Positions::Absolute;
                if index >= self.architecture.num_layers
                    || (parameter == LayerParameter::DistanceEmbedding && !relative)
                {
                    Meaning::Unknown
                } else {
                    Meaning::Use(Parameter::Layer(index, parameter))
                }
            });
        }
        if let Some(affine) = affine(name, "pooler.dense.") {
            return if self.reads_encoder_pooler() {
                Meaning::Use(Parameter::Pooler(affine))
            } else {
                Meaning::Ignore(IgnoreReason::UnusedPooler)
            };
        }
        match name {
            "embeddings.word_embeddings.weight" => Meaning::Use(Parameter::WordEmbeddings),
            "embeddings.position_embeddings.weight" => match self.architecture.positions {
                Positions::Absolute => Meaning::Use(Parameter::PositionEmbeddings),
                Positions::RelativeKey | Positions::RelativeKeyQuery => {
                    Meaning::Ignore(IgnoreReason::UnusedPositions)
                }
            },
            "embeddings.token_type_embeddings.weight" => Meaning::Use(Parameter::SegmentEmbeddings),
            _ => affine(name, "embeddings.LayerNorm.").map_or(Meaning::Unknown, |affine| {
                Meaning::Use(Parameter::EmbeddingNorm(affine))
            }),
        }
    }

    fn head(&self, name: &str) -> Meaning {
        let head = &self.architecture.head;
        let classifier = matches!(head, TaskHead::SequenceClassification { .. });
        let masked_lm = matches!(head, TaskHead::MaskedLm | TaskHead::PreTraining);
        let next_sentence = matches!(head, TaskHead::NextSentence | TaskHead::PreTraining);
        let if_used = |used: bool, meaning: Meaning| {
            if used {
                meaning
            } else {
                Meaning::Ignore(IgnoreReason::OtherTask)
            }
        };
        for (parameter, stem) in head_stems(self.architecture.family) {
            let Some(affine) = affine(name, stem) else {
                continue;
            };
            let used = match parameter(affine) {
                Parameter::Classifier(_) | Parameter::Pooler(_) => classifier,
                Parameter::NextSentence(_) => next_sentence,
                _ => masked_lm,
            };
            return if_used(used, Meaning::Use(parameter(affine)));
        }
        let (bias, decoder, others): (_, _, &[&str]) = match self.architecture.family {
            Family::Bert => (
                "cls.predictions.bias",
                "cls.predictions.decoder.",
                &["qa_outputs."],
            ),
            Family::Roberta => (
                "lm_head.bias",
                "lm_head.decoder.",
                &["qa_outputs.", "classifier."],
            ),
        };
        if name == bias {
            return if_used(masked_lm, Meaning::Use(Parameter::LmDecoder(Affine::Bias)));
        }
        if let Some(affine) = affine(name, decoder) {
            return if_used(masked_lm, Meaning::TiedDecoder(affine));
        }
        // A RoBERTa token classifier's `classifier.weight` is another task's head only while no
        // sequence classifier was asked for; then it is simply out of place.
        if others.iter().any(|other| name.starts_with(other)) && !classifier {
            return Meaning::Ignore(IgnoreReason::OtherTask);
        }
        if name.starts_with("qa_outputs.") {
            return Meaning::Ignore(IgnoreReason::OtherTask);
        }
        Meaning::Unknown
    }

    fn reads_encoder_pooler(&self) -> bool {
        match (&self.architecture.head, self.architecture.family) {
            (TaskHead::MaskedLm, _)
            | (TaskHead::SequenceClassification { .. }, Family::Roberta) => false,
            (TaskHead::None | TaskHead::NextSentence | TaskHead::PreTraining, _)
            | (TaskHead::SequenceClassification { .. }, Family::Bert) => true,
        }
    }

    /// The name under which this checkpoint would hold `parameter`.
    pub(crate) fn name_of(&self, parameter: Parameter) -> String {
        let prefix = if self.prefixed {
            Self::prefix(self.architecture.family)
        } else {
            ""
        };
        let family = self.architecture.family;
        for (make, stem) in head_stems(family) {
            for affine in [Affine::Weight, Affine::Bias] {
                let is_encoder_pooler =
                    matches!(parameter, Parameter::Pooler(_)) && self.reads_encoder_pooler();
                if make(affine) == parameter && !is_encoder_pooler {
                    return format!("{stem}{}", suffix(affine));
                }
            }
        }
        match parameter {
            Parameter::WordEmbeddings => format!("{prefix}embeddings.word_embeddings.weight"),
            Parameter::PositionEmbeddings => {
                format!("{prefix}embeddings.position_embeddings.weight")
            }
            Parameter::SegmentEmbeddings => {
                format!("{prefix}embeddings.token_type_embeddings.weight")
            }
            Parameter::EmbeddingNorm(affine) => {
                format!("{prefix}embeddings.LayerNorm.{}", suffix(affine))
            }
            Parameter::Pooler(affine) => format!("{prefix}pooler.dense.{}", suffix(affine)),
            Parameter::LmDecoder(affine) => match (family, affine) {
                (Family::Bert, Affine::Weight) => "cls.predictions.decoder.weight".into(),
                (Family::Bert, Affine::Bias) => "cls.predictions.bias".into(),
                (Family::Roberta, Affine::Weight) => "lm_head.decoder.weight".into(),
                (Family::Roberta, Affine::Bias) => "lm_head.bias".into(),
            },
            Parameter::Layer(index, parameter) => {
                let (stem, affine) = layer_stem(parameter);
                format!("{prefix}encoder.layer.{index}.{stem}{}", suffix(affine))
            }
            // All of these are in `head_stems` of the families that have them.
            Parameter::Classifier(_)
            | Parameter::LmTransform(_)
            | Parameter::LmNorm(_)
            | Parameter::NextSentence(_) => parameter.to_string(),
        }
    }
}

type Stem = (fn(Affine) -> Parameter, &'static str);

/// Affine maps and norms of the task heads.
fn head_stems(family: Family) -> &'static [Stem] {
    match family {
        Family::Bert => &[
            (Parameter::Classifier, "classifier."),
            (Parameter::LmTransform, "cls.predictions.transform.dense."),
            (Parameter::LmNorm, "cls.predictions.transform.LayerNorm."),
            (Parameter::NextSentence, "cls.seq_relationship."),
        ],
        Family::Roberta => &[
            (Parameter::Pooler, "classifier.dense."),
            (Parameter::Classifier, "classifier.out_proj."),
            (Parameter::LmTransform, "lm_head.dense."),
            (Parameter::LmNorm, "lm_head.layer_norm."),
        ],
    }
}

type LayerStem = (fn(Affine) -> LayerParameter, &'static str);

const LAYER_STEMS: [LayerStem; 8] = [
    (LayerParameter::Query, "attention.self.query."),
    (LayerParameter::Key, "attention.self.key."),
    (LayerParameter::Value, "attention.self.value."),
    (LayerParameter::AttentionOutput, "attention.output.dense."),
    (LayerParameter::AttentionNorm, "attention.output.LayerNorm."),
    (LayerParameter::MlpIn, "intermediate.dense."),
    (LayerParameter::MlpOut, "output.dense."),
    (LayerParameter::MlpNorm, "output.LayerNorm."),
];

const DISTANCE: &str = "attention.self.distance_embedding.";

fn layer_stem(parameter: LayerParameter) -> (&'static str, Affine) {
    for (make, stem) in LAYER_STEMS {
        for affine in [Affine::Weight, Affine::Bias] {
            if make(affine) == parameter {
                return (stem, affine);
            }
        }
    }
    (DISTANCE, Affine::Weight)
}

fn layer(rest: &str) -> Option<(usize, LayerParameter)> {
    let (digits, rest) = rest.split_once('.')?;
    let index: usize = digits.parse().ok()?;
    // `01` or `+1` would make a second name for the same layer.
    if index.to_string() != digits {
        return None;
    }
    if affine(rest, DISTANCE) == Some(Affine::Weight) {
        return Some((index, LayerParameter::DistanceEmbedding));
    }
    LAYER_STEMS
        .iter()
        .find_map(|(make, stem)| Some((index, make(affine(rest, stem)?))))
}

/// One more than the highest layer number among the names.
pub(crate) fn layer_count<'n>(names: impl IntoIterator<Item = &'n str>) -> usize {
    names
        .into_iter()
        .filter_map(|name| {
            let (_, rest) = name.split_once("encoder.layer.")?;
            rest.split('.')
                .next()?
                .parse::<usize>()
                .ok()?
                .checked_add(1)
        })
        .max()
        .unwrap_or(0)
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

/// Every parameter that the architecture reads, with its shape. The masked-LM decoder's weight is
/// absent: whether it has its own depends on the tie, which [`Architecture`] does not know.
pub(crate) fn expected(architecture: &Architecture) -> Vec<(Parameter, Vec<usize>)> {
    let width = architecture.hidden_size;
    let inner = architecture.intermediate_size;
    let mut list = vec![(
        Parameter::WordEmbeddings,
        vec![architecture.vocab_size, width],
    )];
    if architecture.positions == Positions::Absolute {
        list.push((
            Parameter::PositionEmbeddings,
            vec![architecture.max_positions, width],
        ));
    }
    list.push((
        Parameter::SegmentEmbeddings,
        vec![architecture.num_segments, width],
    ));
    affine_map(&mut list, Parameter::EmbeddingNorm, vec![width], width);
    for index in 0..architecture.num_layers {
        let pruned = architecture
            .pruned_heads
            .get(&index)
            .map_or(0, BTreeSet::len);
        let heads = architecture.num_heads.saturating_sub(pruned) * architecture.head_dim();
        let mut add = |make: fn(Affine) -> LayerParameter, weight: Vec<usize>, bias: usize| {
            list.push((Parameter::Layer(index, make(Affine::Weight)), weight));
            list.push((Parameter::Layer(index, make(Affine::Bias)), vec![bias]));
        };
        add(LayerParameter::Query, vec![heads, width], heads);
        add(LayerParameter::Key, vec![heads, width], heads);
        add(LayerParameter::Value, vec![heads, width], heads);
        add(LayerParameter::AttentionOutput, vec![width, heads], width);
        add(LayerParameter::AttentionNorm, vec![width], width);
        add(LayerParameter::MlpIn, vec![inner, width], inner);
        add(LayerParameter::MlpOut, vec![width, inner], width);
        add(LayerParameter::MlpNorm, vec![width], width);
        if architecture.positions != Positions::Absolute {
            let rows = (2 * architecture.max_positions).saturating_sub(1);
            list.push((
                Parameter::Layer(index, LayerParameter::DistanceEmbedding),
                vec![rows, architecture.head_dim()],
            ));
        }
    }
    if architecture.pooler {
        affine_map(&mut list, Parameter::Pooler, vec![width, width], width);
    }
    if let TaskHead::SequenceClassification { num_labels, .. } = architecture.head {
        affine_map(
            &mut list,
            Parameter::Classifier,
            vec![num_labels, width],
            num_labels,
        );
    }
    if matches!(
        architecture.head,
        TaskHead::MaskedLm | TaskHead::PreTraining
    ) {
        affine_map(&mut list, Parameter::LmTransform, vec![width, width], width);
        affine_map(&mut list, Parameter::LmNorm, vec![width], width);
        list.push((
            Parameter::LmDecoder(Affine::Bias),
            vec![architecture.vocab_size],
        ));
    }
    if matches!(
        architecture.head,
        TaskHead::NextSentence | TaskHead::PreTraining
    ) {
        affine_map(&mut list, Parameter::NextSentence, vec![2, width], 2);
    }
    list
}

fn affine_map(
    list: &mut Vec<(Parameter, Vec<usize>)>,
    make: fn(Affine) -> Parameter,
    weight: Vec<usize>,
    bias: usize,
) {
    list.push((make(Affine::Weight), weight));
    list.push((make(Affine::Bias), vec![bias]));
}
