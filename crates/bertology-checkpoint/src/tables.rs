//! The tensor names of every family, as tables.

use crate::arch::{Family, TaskHead};
use crate::parameter::{Affine, LayerParameter, Parameter};

/// A stem that `weight` or `bias` completes, and the parameter that it names.
type Stem<P> = (fn(Affine) -> P, &'static str);

/// What the files of one family call their tensors.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the names of the base model start with in the file of a model with a task head.
    pub(crate) prefix: &'static str,
    /// The names of files whose masked-LM head is called otherwise.
    pub(crate) renamed: Option<&'static Table>,
    /// What they start with in files of another code for the same model.
    pub(crate) other_prefix: Option<&'static str>,
    /// Start of a block's names; its number and a dot follow.
    pub(crate) layers: &'static str,
    /// What follows the number of a group of layers, before the number of a block within it, where blocks come in groups.
    pub(crate) inner: Option<&'static str>,
    /// The rest of a block's names.
    pub(crate) layer_stems: &'static [Stem<LayerParameter>],
    /// Tensors of a block that are computed, not stored.
    pub(crate) layer_buffers: &'static [&'static str],
    /// Tables outside the blocks, by their whole names.
    pub(crate) tables: &'static [(Parameter, &'static str)],
    /// Affine maps and norms of the base model outside the blocks.
    pub(crate) base_stems: &'static [Stem<Parameter>],
    /// Tensors of the base model that are computed, not stored.
    pub(crate) base_buffers: &'static [&'static str],
    /// Affine maps and norms of the task heads, outside the base model.
    pub(crate) head_stems: &'static [Stem<Parameter>],
    /// The language model's output layer, tied to the word embeddings unless the config says
    /// otherwise.
    pub(crate) decoder: &'static str,
    /// The output layer's bias, stored under its own name.
    pub(crate) decoder_bias: Option<&'static str>,
    /// What gives each token the scores of its classes.
    pub(crate) tags: &'static str,
    /// What gives each token the scores of an answer's start and end.
    pub(crate) answers: &'static str,
    /// Beginnings of the names of other task heads.
    pub(crate) other_heads: &'static [&'static str],
    /// Whether the first map of a gated feed-forward block, in one tensor, has what multiplies before what is activated.
    pub(crate) gate_first: bool,
    /// Whether the linear maps inside the blocks are stored as `[in, out]` (`Conv1D`).
    pub(crate) transposed: bool,
}

impl Family {
    /// The family's names.
    pub(crate) fn table(self) -> &'static Table {
        match self {
            Self::Bert => &BERT,
            Self::JinaBert => &JINA_BERT,
            Self::Roberta | Self::XlmRoberta | Self::Camembert => &ROBERTA,
            Self::Electra => &ELECTRA,
            Self::DistilBert => &DISTILBERT,
            Self::MpNet => &MPNET,
            Self::ModernBert => &MODERNBERT,
            Self::Albert => &ALBERT,
            Self::Esm => &ESM,
            Self::EuroBert => &EUROBERT,
            Self::Esmc => &ESMC,
            Self::NomicBert => &NOMIC_BERT,
            Self::Gte => &GTE,
            Self::GteNew => &GTE_NEW,
            Self::DebertaV2 => &DEBERTA_V2,
            Self::OpenAiGpt => &OPENAI_GPT,
            Self::Gpt2 => &GPT2,
        }
    }
}

impl Table {
    /// What the names of the base model start with in a file of these names; nothing where there is no prefix.
    pub(crate) fn prefix_in(&self, names: &[&str]) -> &'static str {
        let of = |prefix: &&str| names.iter().any(|name| name.starts_with(*prefix));
        let known = [Some(self.prefix), self.other_prefix];
        known.into_iter().flatten().find(of).unwrap_or_default()
    }

    /// The stem of what gives each token its scores under this head.
    pub(crate) fn token_stem(&self, head: &TaskHead) -> Option<&'static str> {
        match head {
            TaskHead::TokenClassification { .. } => Some(self.tags),
            TaskHead::QuestionAnswering => Some(self.answers),
            TaskHead::ReplacedTokens => Some("discriminator_predictions.dense_prediction."),
            _ => None,
        }
    }

    /// The stem of a block's parameter; `distance_embedding` exists in BERT and RoBERTa only.
    pub(crate) fn layer_stem(&self, parameter: LayerParameter) -> Option<(&'static str, Affine)> {
        if parameter == LayerParameter::DistanceEmbedding {
            return Some((DISTANCE, Affine::Weight));
        }
        find(self.layer_stems, parameter)
    }

    /// Whether a block holds queries, keys and values in one tensor.
    pub(crate) fn fused(&self) -> bool {
        self.layer_stem(LayerParameter::QueryKeyValue(Affine::Weight))
            .is_some()
    }

    /// Whether a block holds the halves of its first feed-forward map in two tensors.
    pub(crate) fn parted(&self) -> bool {
        self.layer_stem(LayerParameter::MlpGate(Affine::Weight))
            .is_some()
    }
}

/// The stem in `stems` that makes `parameter`.
pub(crate) fn find<P: PartialEq>(
    stems: &[Stem<P>],
    parameter: P,
) -> Option<(&'static str, Affine)> {
    stems.iter().find_map(|(make, stem)| {
        [Affine::Weight, Affine::Bias]
            .into_iter()
            .find(|affine| make(*affine) == parameter)
            .map(|affine| (*stem, affine))
    })
}

/// The table of relative distances of one block.
pub(crate) const DISTANCE: &str = "attention.self.distance_embedding.";

const BERT: Table = Table {
    prefix: "bert.",
    renamed: None,
    other_prefix: None,
    layers: "encoder.layer.",
    inner: None,
    layer_stems: &[
        (LayerParameter::Query, "attention.self.query."),
        (LayerParameter::Key, "attention.self.key."),
        (LayerParameter::Value, "attention.self.value."),
        (LayerParameter::AttentionOutput, "attention.output.dense."),
        (LayerParameter::AttentionNorm, "attention.output.LayerNorm."),
        (LayerParameter::MlpIn, "intermediate.dense."),
        (LayerParameter::MlpOut, "output.dense."),
        (LayerParameter::MlpNorm, "output.LayerNorm."),
    ],
    layer_buffers: &[],
    tables: &[
        (
            Parameter::WordEmbeddings,
            "embeddings.word_embeddings.weight",
        ),
        (
            Parameter::PositionEmbeddings,
            "embeddings.position_embeddings.weight",
        ),
        (
            Parameter::SegmentEmbeddings,
            "embeddings.token_type_embeddings.weight",
        ),
    ],
    base_stems: &[
        (Parameter::EmbeddingNorm, "embeddings.LayerNorm."),
        (Parameter::Pooler, "pooler.dense."),
    ],
    base_buffers: &["embeddings.position_ids", "embeddings.token_type_ids"],
    head_stems: &[
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "cls.predictions.transform.dense."),
        (Parameter::LmNorm, "cls.predictions.transform.LayerNorm."),
        (Parameter::NextSentence, "cls.seq_relationship."),
    ],
    decoder: "cls.predictions.decoder.",
    decoder_bias: Some("cls.predictions.bias"),
    tags: "classifier.",
    answers: "qa_outputs.",
    other_heads: &["qa_outputs."],
    gate_first: false,
    transposed: false,
};

const JINA_BERT: Table = Table {
    layer_stems: &[
        (LayerParameter::Query, "attention.self.query."),
        (LayerParameter::Key, "attention.self.key."),
        (LayerParameter::Value, "attention.self.value."),
        (LayerParameter::AttentionOutput, "attention.output.dense."),
        (LayerParameter::AttentionNorm, "attention.output.LayerNorm."),
        (LayerParameter::MlpIn, "mlp.gated_layers."),
        (LayerParameter::MlpOut, "mlp.wo."),
        (LayerParameter::MlpNorm, "mlp.layernorm."),
    ],
    ..BERT
};

const ROBERTA: Table = Table {
    prefix: "roberta.",
    head_stems: &[
        (Parameter::Pooler, "classifier.dense."),
        (Parameter::Classifier, "classifier.out_proj."),
        (Parameter::LmTransform, "lm_head.dense."),
        (Parameter::LmNorm, "lm_head.layer_norm."),
    ],
    decoder: "lm_head.decoder.",
    decoder_bias: Some("lm_head.bias"),
    other_heads: &["qa_outputs.", "classifier."],
    ..BERT
};

const DISTILBERT: Table = Table {
    prefix: "distilbert.",
    layers: "transformer.layer.",
    layer_stems: &[
        (LayerParameter::Query, "attention.q_lin."),
        (LayerParameter::Key, "attention.k_lin."),
        (LayerParameter::Value, "attention.v_lin."),
        (LayerParameter::AttentionOutput, "attention.out_lin."),
        (LayerParameter::AttentionNorm, "sa_layer_norm."),
        (LayerParameter::MlpIn, "ffn.lin1."),
        (LayerParameter::MlpOut, "ffn.lin2."),
        (LayerParameter::MlpNorm, "output_layer_norm."),
    ],
    base_stems: &[(Parameter::EmbeddingNorm, "embeddings.LayerNorm.")],
    head_stems: &[
        (Parameter::Pooler, "pre_classifier."),
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "vocab_transform."),
        (Parameter::LmNorm, "vocab_layer_norm."),
    ],
    decoder: "vocab_projector.",
    decoder_bias: Some("vocab_projector.bias"),
    ..BERT
};

const ELECTRA: Table = Table {
    prefix: "electra.",
    base_stems: &[
        (Parameter::EmbeddingNorm, "embeddings.LayerNorm."),
        (Parameter::EmbeddingProjection, "embeddings_project."),
    ],
    head_stems: &[
        (Parameter::Pooler, "classifier.dense."),
        (Parameter::Classifier, "classifier.out_proj."),
        (Parameter::LmTransform, "generator_predictions.dense."),
        (Parameter::LmNorm, "generator_predictions.LayerNorm."),
        (
            Parameter::TokenTransform,
            "discriminator_predictions.dense.",
        ),
    ],
    decoder: "generator_lm_head.",
    decoder_bias: Some("generator_lm_head.bias"),
    other_heads: &["qa_outputs.", "classifier.", "discriminator_predictions."],
    ..BERT
};

const MPNET: Table = Table {
    prefix: "mpnet.",
    layer_stems: &[
        (LayerParameter::Query, "attention.attn.q."),
        (LayerParameter::Key, "attention.attn.k."),
        (LayerParameter::Value, "attention.attn.v."),
        (LayerParameter::AttentionOutput, "attention.attn.o."),
        (LayerParameter::AttentionNorm, "attention.LayerNorm."),
        (LayerParameter::MlpIn, "intermediate.dense."),
        (LayerParameter::MlpOut, "output.dense."),
        (LayerParameter::MlpNorm, "output.LayerNorm."),
    ],
    tables: &[
        (
            Parameter::WordEmbeddings,
            "embeddings.word_embeddings.weight",
        ),
        (
            Parameter::PositionEmbeddings,
            "embeddings.position_embeddings.weight",
        ),
        (
            Parameter::RelativeAttentionBias,
            "encoder.relative_attention_bias.weight",
        ),
    ],
    ..ROBERTA
};

const MODERNBERT: Table = Table {
    prefix: "model.",
    layers: "layers.",
    layer_stems: &[
        (LayerParameter::QueryKeyValue, "attn.Wqkv."),
        (LayerParameter::AttentionOutput, "attn.Wo."),
        (LayerParameter::AttentionNorm, "attn_norm."),
        (LayerParameter::MlpIn, "mlp.Wi."),
        (LayerParameter::MlpOut, "mlp.Wo."),
        (LayerParameter::MlpNorm, "mlp_norm."),
    ],
    tables: &[(
        Parameter::WordEmbeddings,
        "embeddings.tok_embeddings.weight",
    )],
    base_stems: &[
        (Parameter::EmbeddingNorm, "embeddings.norm."),
        (Parameter::FinalNorm, "final_norm."),
    ],
    base_buffers: &[],
    head_stems: &[
        (Parameter::Pooler, "head.dense."),
        (Parameter::PoolerNorm, "head.norm."),
        (Parameter::LmTransform, "head.dense."),
        (Parameter::LmNorm, "head.norm."),
        (Parameter::TokenTransform, "head.dense."),
        (Parameter::TokenNorm, "head.norm."),
        (Parameter::Classifier, "classifier."),
    ],
    decoder: "decoder.",
    decoder_bias: Some("decoder.bias"),
    answers: "classifier.",
    other_heads: &[],
    ..BERT
};

const ALBERT: Table = Table {
    prefix: "albert.",
    layers: "encoder.albert_layer_groups.",
    inner: Some("albert_layers."),
    layer_stems: &[
        (LayerParameter::Query, "attention.query."),
        (LayerParameter::Key, "attention.key."),
        (LayerParameter::Value, "attention.value."),
        (LayerParameter::AttentionOutput, "attention.dense."),
        (LayerParameter::AttentionNorm, "attention.LayerNorm."),
        (LayerParameter::MlpIn, "ffn."),
        (LayerParameter::MlpOut, "ffn_output."),
        (LayerParameter::MlpNorm, "full_layer_layer_norm."),
    ],
    base_stems: &[
        (Parameter::EmbeddingNorm, "embeddings.LayerNorm."),
        (
            Parameter::EmbeddingProjection,
            "encoder.embedding_hidden_mapping_in.",
        ),
        (Parameter::Pooler, "pooler."),
    ],
    head_stems: &[
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "predictions.dense."),
        (Parameter::LmNorm, "predictions.LayerNorm."),
        (Parameter::NextSentence, "sop_classifier.classifier."),
    ],
    decoder: "predictions.decoder.",
    decoder_bias: Some("predictions.bias"),
    ..BERT
};

const ESM: Table = Table {
    prefix: "esm.",
    layer_stems: &[
        (LayerParameter::Query, "attention.self.query."),
        (LayerParameter::Key, "attention.self.key."),
        (LayerParameter::Value, "attention.self.value."),
        (LayerParameter::AttentionOutput, "attention.output.dense."),
        (LayerParameter::AttentionNorm, "attention.LayerNorm."),
        (LayerParameter::MlpIn, "intermediate.dense."),
        (LayerParameter::MlpOut, "output.dense."),
        (LayerParameter::MlpNorm, "LayerNorm."),
    ],
    layer_buffers: &["attention.self.rotary_embeddings.inv_freq"],
    tables: &[
        (
            Parameter::WordEmbeddings,
            "embeddings.word_embeddings.weight",
        ),
        (
            Parameter::PositionEmbeddings,
            "embeddings.position_embeddings.weight",
        ),
    ],
    base_stems: &[
        (Parameter::EmbeddingNorm, "embeddings.layer_norm."),
        (Parameter::FinalNorm, "encoder.emb_layer_norm_after."),
        (Parameter::Pooler, "pooler.dense."),
        (Parameter::ContactHead, "contact_head.regression."),
    ],
    ..ROBERTA
};

const EUROBERT: Table = Table {
    prefix: "model.",
    layers: "layers.",
    layer_stems: &[
        (LayerParameter::Query, "self_attn.q_proj."),
        (LayerParameter::Key, "self_attn.k_proj."),
        (LayerParameter::QueryNorm, "self_attn.q_norm."),
        (LayerParameter::KeyNorm, "self_attn.k_norm."),
        (LayerParameter::Value, "self_attn.v_proj."),
        (LayerParameter::AttentionOutput, "self_attn.o_proj."),
        (LayerParameter::AttentionNorm, "input_layernorm."),
        (LayerParameter::MlpActivated, "mlp.gate_proj."),
        (LayerParameter::MlpGate, "mlp.up_proj."),
        (LayerParameter::MlpOut, "mlp.down_proj."),
        (LayerParameter::MlpNorm, "post_attention_layernorm."),
    ],
    layer_buffers: &["self_attn.rotary_emb.inv_freq"],
    tables: &[(Parameter::WordEmbeddings, "embed_tokens.weight")],
    base_stems: &[(Parameter::FinalNorm, "norm.")],
    base_buffers: &["rotary_emb.inv_freq"],
    head_stems: &[
        (Parameter::Pooler, "dense."),
        (Parameter::Classifier, "classifier."),
    ],
    decoder: "lm_head.",
    decoder_bias: None,
    other_heads: &["classifier.", "qa_outputs."],
    ..BERT
};

const ESMC: Table = Table {
    prefix: "esmc.",
    head_stems: &[
        (Parameter::Pooler, "classifier.dense."),
        (Parameter::Classifier, "classifier.out_proj."),
        (Parameter::LmTransform, "lm_head.dense."),
        (Parameter::LmNorm, "lm_head.layer_norm."),
    ],
    decoder: "lm_head.decoder.",
    tags: "score.",
    other_heads: &["classifier.", "score."],
    ..EUROBERT
};

/// The code that came with the first files has another prefix.
const NOMIC_BERT: Table = Table {
    prefix: "nomic_bert.",
    other_prefix: Some("bert."),
    layers: "encoder.layers.",
    layer_stems: &[
        (LayerParameter::QueryKeyValue, "attn.Wqkv."),
        (LayerParameter::AttentionOutput, "attn.out_proj."),
        (LayerParameter::AttentionNorm, "norm1."),
        (LayerParameter::MlpActivated, "mlp.fc12."),
        (LayerParameter::MlpGate, "mlp.fc11."),
        (LayerParameter::MlpOut, "mlp.fc2."),
        (LayerParameter::MlpNorm, "norm2."),
    ],
    layer_buffers: &["attn.rotary_emb.inv_freq", "attn.norm_factor"],
    tables: &[
        (
            Parameter::WordEmbeddings,
            "embeddings.word_embeddings.weight",
        ),
        (
            Parameter::SegmentEmbeddings,
            "embeddings.token_type_embeddings.weight",
        ),
    ],
    base_stems: &[
        (Parameter::EmbeddingNorm, "emb_ln."),
        (Parameter::Pooler, "pooler.dense."),
    ],
    head_stems: &[
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "cls.predictions.transform.dense."),
        (Parameter::LmNorm, "cls.predictions.transform.layer_norm."),
    ],
    ..BERT
};

/// transformers writes the names of the first files.
const GTE: Table = Table {
    prefix: "gte.",
    other_prefix: Some("new."),
    layer_stems: &[
        (LayerParameter::QueryKeyValue, "attention.qkv_proj."),
        (LayerParameter::AttentionOutput, "attention.o_proj."),
        (LayerParameter::AttentionNorm, "attn_ln."),
        (LayerParameter::MlpIn, "mlp.up_gate_proj."),
        (LayerParameter::MlpOut, "mlp.down_proj."),
        (LayerParameter::MlpNorm, "mlp_ln."),
    ],
    tables: NOMIC_BERT.tables,
    base_buffers: &["rotary_emb.inv_freq", "embeddings.rotary_emb.inv_freq"],
    head_stems: &[
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "lm_head.dense."),
        (Parameter::LmNorm, "lm_head.norm."),
    ],
    decoder: "lm_head.decoder.",
    decoder_bias: None,
    gate_first: true,
    ..BERT
};

const GTE_NEW: Table = Table {
    prefix: "new.",
    other_prefix: Some("gte."),
    ..GTE
};

/// As the published files have it, which transformers reads where `legacy` is false.
const DEBERTA_V2_RENAMED: Table = Table {
    prefix: "deberta.",
    layer_stems: &[
        (LayerParameter::Query, "attention.self.query_proj."),
        (LayerParameter::Key, "attention.self.key_proj."),
        (LayerParameter::Value, "attention.self.value_proj."),
        (
            LayerParameter::DistanceQuery,
            "attention.self.pos_query_proj.",
        ),
        (LayerParameter::DistanceKey, "attention.self.pos_key_proj."),
        (LayerParameter::AttentionOutput, "attention.output.dense."),
        (LayerParameter::AttentionNorm, "attention.output.LayerNorm."),
        (LayerParameter::MlpIn, "intermediate.dense."),
        (LayerParameter::MlpOut, "output.dense."),
        (LayerParameter::MlpNorm, "output.LayerNorm."),
    ],
    tables: &[
        (
            Parameter::WordEmbeddings,
            "embeddings.word_embeddings.weight",
        ),
        (
            Parameter::PositionEmbeddings,
            "embeddings.position_embeddings.weight",
        ),
        (
            Parameter::SegmentEmbeddings,
            "embeddings.token_type_embeddings.weight",
        ),
        (
            Parameter::RelativeEmbeddings,
            "encoder.rel_embeddings.weight",
        ),
    ],
    base_stems: &[
        (Parameter::EmbeddingNorm, "embeddings.LayerNorm."),
        (Parameter::RelativeNorm, "encoder.LayerNorm."),
    ],
    head_stems: &[
        (Parameter::Pooler, "pooler.dense."),
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "lm_predictions.lm_head.dense."),
        (Parameter::LmNorm, "lm_predictions.lm_head.LayerNorm."),
    ],
    // There is no such layer: the words themselves are.
    decoder: "lm_predictions.lm_head.decoder.",
    decoder_bias: Some("lm_predictions.lm_head.bias"),
    other_heads: &["qa_outputs.", "classifier.", "cls.", "mask_predictions."],
    ..BERT
};

const DEBERTA_V2: Table = Table {
    renamed: Some(&DEBERTA_V2_RENAMED),
    head_stems: &[
        (Parameter::Pooler, "pooler.dense."),
        (Parameter::Classifier, "classifier."),
        (Parameter::LmTransform, "cls.predictions.transform.dense."),
        (Parameter::LmNorm, "cls.predictions.transform.LayerNorm."),
    ],
    decoder: BERT.decoder,
    decoder_bias: BERT.decoder_bias,
    other_heads: &[
        "qa_outputs.",
        "classifier.",
        "lm_predictions.",
        "mask_predictions.",
    ],
    ..DEBERTA_V2_RENAMED
};

const GPT2: Table = Table {
    prefix: "transformer.",
    renamed: None,
    other_prefix: None,
    layers: "h.",
    inner: None,
    layer_stems: &[
        (LayerParameter::QueryKeyValue, "attn.c_attn."),
        (LayerParameter::AttentionOutput, "attn.c_proj."),
        (LayerParameter::AttentionNorm, "ln_1."),
        (LayerParameter::MlpIn, "mlp.c_fc."),
        (LayerParameter::MlpOut, "mlp.c_proj."),
        (LayerParameter::MlpNorm, "ln_2."),
    ],
    layer_buffers: &["attn.bias", "attn.masked_bias"],
    tables: &[
        (Parameter::WordEmbeddings, "wte.weight"),
        (Parameter::PositionEmbeddings, "wpe.weight"),
    ],
    base_stems: &[(Parameter::FinalNorm, "ln_f.")],
    base_buffers: &[],
    head_stems: &[(Parameter::Classifier, "score.")],
    decoder: "lm_head.",
    decoder_bias: None,
    tags: "classifier.",
    answers: "qa_outputs.",
    other_heads: &["multiple_choice_head.", "qa_outputs.", "classifier."],
    gate_first: false,
    transposed: true,
};

const OPENAI_GPT: Table = Table {
    tables: &[
        (Parameter::WordEmbeddings, "tokens_embed.weight"),
        (Parameter::PositionEmbeddings, "positions_embed.weight"),
    ],
    base_stems: &[],
    base_buffers: &["position_ids"],
    ..GPT2
};
