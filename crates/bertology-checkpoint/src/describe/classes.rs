//! The config classes of transformers, as tables.

use crate::arch::{Activation, Family};

/// A config class of transformers: what it calls the sizes, and its defaults.
pub(super) struct ConfigClass {
    pub(super) model_type: &'static str,
    /// What the names of the family's model classes start with.
    pub(super) class_prefix: &'static str,
    /// A token sees only itself and what stands before it.
    pub(super) causal: bool,
    pub(super) hidden_size: &'static [&'static str],
    pub(super) default_hidden_size: usize,
    /// The default of `embedding_size`, where the class has tables of another width than the hidden size.
    pub(super) embedding_size: Option<usize>,
    pub(super) num_layers: &'static [&'static str],
    pub(super) num_heads: &'static [&'static str],
    pub(super) default_heads: usize,
    pub(super) max_positions: &'static [&'static str],
    /// Width of the feed-forward block; where it is not given, the default or 4 · hidden size.
    pub(super) intermediate_size: (&'static [&'static str], Option<usize>),
    pub(super) activation: (&'static str, Activation),
    /// Its key, where the class reads one.
    pub(super) norm_epsilon: (Option<&'static str>, f64),
    pub(super) vocab_size: usize,
    pub(super) default_layers: usize,
    pub(super) default_max_positions: usize,
    /// The padding token of a config that does not speak of one.
    pub(super) pad_id: Option<u32>,
    /// Positions are counted from the padding token's id on.
    pub(super) counts_from_padding: bool,
}

const BERT: ConfigClass = ConfigClass {
    model_type: "bert",
    class_prefix: "Bert",
    causal: false,
    hidden_size: &["hidden_size"],
    default_hidden_size: 768,
    embedding_size: None,
    num_layers: &["num_hidden_layers"],
    num_heads: &["num_attention_heads"],
    default_heads: 12,
    max_positions: &["max_position_embeddings"],
    intermediate_size: (&["intermediate_size"], Some(3072)),
    activation: ("hidden_act", Activation::Gelu),
    norm_epsilon: (Some("layer_norm_eps"), 1e-12),
    vocab_size: 30_522,
    default_layers: 12,
    default_max_positions: 512,
    pad_id: Some(0),
    counts_from_padding: false,
};

/// Not among [`FAMILIES`]: only its tensors tell it from BERT.
const JINA_BERT: ConfigClass = ConfigClass {
    class_prefix: "JinaBert",
    ..BERT
};

const ROBERTA: ConfigClass = ConfigClass {
    model_type: "roberta",
    class_prefix: "Roberta",
    vocab_size: 50_265,
    pad_id: Some(1),
    counts_from_padding: true,
    ..BERT
};

/// The classes of both families have BERT's defaults and RoBERTa's padding.
const XLM_ROBERTA: ConfigClass = ConfigClass {
    model_type: "xlm-roberta",
    class_prefix: "XLMRoberta",
    vocab_size: 30_522,
    ..ROBERTA
};

const CAMEMBERT: ConfigClass = ConfigClass {
    model_type: "camembert",
    class_prefix: "Camembert",
    ..XLM_ROBERTA
};

const ELECTRA: ConfigClass = ConfigClass {
    model_type: "electra",
    class_prefix: "Electra",
    embedding_size: Some(128),
    default_hidden_size: 256,
    default_heads: 4,
    intermediate_size: (&["intermediate_size"], Some(1024)),
    ..BERT
};

const DISTILBERT: ConfigClass = ConfigClass {
    model_type: "distilbert",
    class_prefix: "DistilBert",
    hidden_size: &["dim", "hidden_size"],
    num_layers: &["n_layers", "num_hidden_layers"],
    num_heads: &["n_heads", "num_attention_heads"],
    intermediate_size: (&["hidden_dim"], Some(3072)),
    activation: ("activation", Activation::Gelu),
    norm_epsilon: (None, 1e-12),
    default_layers: 6,
    ..BERT
};

const MPNET: ConfigClass = ConfigClass {
    model_type: "mpnet",
    class_prefix: "MPNet",
    vocab_size: 30_527,
    ..ROBERTA
};

const MODERNBERT: ConfigClass = ConfigClass {
    model_type: "modernbert",
    class_prefix: "ModernBert",
    intermediate_size: (&["intermediate_size"], Some(1152)),
    activation: ("hidden_activation", Activation::Gelu),
    norm_epsilon: (Some("norm_eps"), 1e-5),
    vocab_size: 50_368,
    default_layers: 22,
    default_max_positions: 8192,
    pad_id: Some(50_283),
    ..BERT
};

const ALBERT: ConfigClass = ConfigClass {
    model_type: "albert",
    class_prefix: "Albert",
    embedding_size: Some(128),
    default_hidden_size: 4096,
    default_heads: 64,
    intermediate_size: (&["intermediate_size"], Some(16_384)),
    activation: ("hidden_act", Activation::GeluTanh),
    vocab_size: 30_000,
    ..BERT
};

/// Where positions are rotary, the padding token has nothing to do with them.
const ESM: ConfigClass = ConfigClass {
    model_type: "esm",
    class_prefix: "Esm",
    vocab_size: 33,
    default_max_positions: 1026,
    pad_id: None,
    counts_from_padding: true,
    ..BERT
};

const EUROBERT: ConfigClass = ConfigClass {
    model_type: "eurobert",
    class_prefix: "EuroBert",
    activation: ("hidden_act", Activation::Silu),
    norm_epsilon: (Some("rms_norm_eps"), 1e-5),
    vocab_size: 128_256,
    default_max_positions: 8192,
    pad_id: Some(128_001),
    ..BERT
};

/// Its norms have the epsilon of PyTorch.
const ESMC: ConfigClass = ConfigClass {
    model_type: "esmc",
    class_prefix: "Esmc",
    default_hidden_size: 2560,
    default_heads: 40,
    default_layers: 80,
    intermediate_size: (&["intermediate_size"], Some(6912)),
    activation: ("hidden_act", Activation::Silu),
    norm_epsilon: (None, 1e-5),
    vocab_size: 64,
    default_max_positions: 2048,
    pad_id: Some(1),
    ..BERT
};

const DEBERTA_V2: ConfigClass = ConfigClass {
    model_type: "deberta-v2",
    class_prefix: "DebertaV2",
    default_hidden_size: 1536,
    default_heads: 24,
    default_layers: 24,
    intermediate_size: (&["intermediate_size"], Some(6144)),
    norm_epsilon: (Some("layer_norm_eps"), 1e-7),
    vocab_size: 128_100,
    ..BERT
};

/// The code that came with the first files has GPT-2's names for the sizes.
const NOMIC_BERT: ConfigClass = ConfigClass {
    model_type: "nomic_bert",
    class_prefix: "NomicBert",
    hidden_size: &["n_embd", "hidden_size"],
    num_layers: &["n_layer", "num_hidden_layers"],
    num_heads: &["n_head", "num_attention_heads"],
    intermediate_size: (&["n_inner", "intermediate_size"], Some(3072)),
    activation: ("hidden_act", Activation::Silu),
    vocab_size: 30_528,
    default_max_positions: 2048,
    ..BERT
};

const GTE: ConfigClass = ConfigClass {
    model_type: "gte",
    class_prefix: "Gte",
    vocab_size: 250_048,
    default_max_positions: 8192,
    pad_id: Some(1),
    ..BERT
};

const GTE_NEW: ConfigClass = ConfigClass {
    model_type: "new",
    class_prefix: "New",
    vocab_size: 30_528,
    default_max_positions: 2048,
    pad_id: None,
    ..BERT
};

/// The generic names are aliases of the old ones (`attribute_map`).
const GPT2: ConfigClass = ConfigClass {
    model_type: "gpt2",
    class_prefix: "GPT2",
    causal: true,
    hidden_size: &["n_embd", "hidden_size"],
    num_layers: &["n_layer", "num_hidden_layers"],
    num_heads: &["n_head", "num_attention_heads"],
    max_positions: &["n_positions", "max_position_embeddings"],
    intermediate_size: (&["n_inner"], None),
    activation: ("activation_function", Activation::GeluTanh),
    norm_epsilon: (Some("layer_norm_epsilon"), 1e-5),
    vocab_size: 50_257,
    default_layers: 12,
    default_max_positions: 1024,
    pad_id: None,
    ..BERT
};

const OPENAI_GPT: ConfigClass = ConfigClass {
    model_type: "openai-gpt",
    class_prefix: "OpenAIGPT",
    intermediate_size: (&[], None),
    activation: ("afn", Activation::GeluTanh),
    vocab_size: 40_478,
    default_max_positions: 512,
    ..GPT2
};

pub(super) const FAMILIES: [Family; 18] = [
    Family::Bert,
    Family::Roberta,
    Family::XlmRoberta,
    Family::Camembert,
    Family::Electra,
    Family::DistilBert,
    Family::MpNet,
    Family::ModernBert,
    Family::Albert,
    Family::Esm,
    Family::Esmc,
    Family::EuroBert,
    Family::NomicBert,
    Family::Gte,
    Family::GteNew,
    Family::DebertaV2,
    Family::OpenAiGpt,
    Family::Gpt2,
];

impl Family {
    /// What the config class calls the width of feed-forward blocks; nothing where it has no such key (GPT).
    pub(crate) fn width_keys(self) -> &'static [&'static str] {
        self.config().intermediate_size.0
    }

    pub(super) fn config(self) -> &'static ConfigClass {
        match self {
            Self::Bert => &BERT,
            Self::JinaBert => &JINA_BERT,
            Self::Roberta => &ROBERTA,
            Self::XlmRoberta => &XLM_ROBERTA,
            Self::Camembert => &CAMEMBERT,
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
