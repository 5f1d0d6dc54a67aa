//! A transformer as data: every fact in which the supported families differ.
//!
//! The engine matches on these enums and never on a model's name. A new family is a new value of
//! [`Architecture`], a table of tensor names and a golden test.

use std::collections::{BTreeMap, BTreeSet};

pub use crate::distances::{Disentangled, ScoreBias};

/// The family that `model_type` in `config.json` names. Only the tables of tensor names and
/// printed text read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `model_type: "bert"`.
    Bert,
    /// `model_type: "bert"` with code of its own: JinaBERT, of the jina-embeddings-v2.
    JinaBert,
    /// `model_type: "roberta"`.
    Roberta,
    /// `model_type: "xlm-roberta"`: RoBERTa with another vocabulary.
    XlmRoberta,
    /// `model_type: "camembert"`: RoBERTa with another vocabulary.
    Camembert,
    /// `model_type: "distilbert"`.
    DistilBert,
    /// `model_type: "electra"`: discriminators and generators.
    Electra,
    /// `model_type: "mpnet"`.
    MpNet,
    /// `model_type: "modernbert"`.
    ModernBert,
    /// `model_type: "albert"`.
    Albert,
    /// `model_type: "esm"`: ESM-2 and ESM-1b, of proteins.
    Esm,
    /// `model_type: "esmc"`: ESM Cambrian, of proteins.
    Esmc,
    /// `model_type: "eurobert"`.
    EuroBert,
    /// `model_type: "nomic_bert"`.
    NomicBert,
    /// `model_type: "gte"`.
    Gte,
    /// `model_type: "new"`: GTE as the code that came with its first files calls it.
    GteNew,
    /// `model_type: "deberta-v2"`: DeBERTa of versions 2 and 3, mDeBERTa.
    DebertaV2,
    /// `model_type: "openai-gpt"`, the first GPT.
    OpenAiGpt,
    /// `model_type: "gpt2"`: GPT-2 of every size, DistilGPT-2.
    Gpt2,
}

/// Where a block's two norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlacement {
    /// After the residual is added: `h = norm(x + attention(x))`, `y = norm(h + mlp(h))`.
    Post,
    /// Before attention and feed-forward, on a residual stream that no norm touches, which a final
    /// norm brings to scale: `h = x + attention(norm(x))`, `y = h + mlp(norm(h))`.
    Pre,
}

/// What a norm brings rows to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Mean 0 and variance 1 (`torch.nn.LayerNorm`).
    Layer,
    /// A mean of squares of 1, whatever the mean (`torch.nn.RMSNorm`; Zhang and Sennrich 2019).
    RootMeanSquare,
}

/// What segment ids (`token_type_ids`) add to the embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments {
    /// Nothing: the family has no segments.
    None,
    /// A row of a table with so many rows (`type_vocab_size`); segment 0 where none is given.
    Table(usize),
    /// A row of the *token* table, and nothing where none is given (GPT, GPT-2).
    Words,
}

/// What attention scores are multiplied by before the softmax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreScale {
    /// `1 / √head_dim` (`scale_attn_weights`).
    pub by_head_dim: bool,
    /// `1 / (layer + 1)`, the layer zero-based (`scale_attn_by_inverse_layer_idx`).
    pub by_layer: bool,
    /// So many products are summed: `1 / √terms` besides (DeBERTa; 1 in all other families).
    pub terms: usize,
}

impl ScoreScale {
    /// The factor in a layer (zero-based).
    #[must_use]
    pub fn factor(self, head_dim: usize, layer: usize) -> f64 {
        let by_head_dim = if self.by_head_dim {
            1.0 / (head_dim.saturating_mul(self.terms) as f64).sqrt()
        } else {
            1.0
        };
        if self.by_layer {
            by_head_dim / (layer + 1) as f64
        } else {
            by_head_dim
        }
    }
}

/// What the hidden state of each token goes through before its scores: a dense layer, an activation, and in some families a
/// norm (ELECTRA's discriminator, ModernBERT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTransform {
    /// Behind the dense layer.
    pub activation: Activation,
    /// Whether the dense layer adds a bias.
    pub bias: bool,
    /// Whether a norm follows the activation.
    pub norm: bool,
}

/// The position that a sequence classifier reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The first token.
    First,
    /// The mean of all tokens.
    Mean,
    /// Every token: the mean is taken of what the pooler makes of each (EuroBERT's `late`, which takes it of the logits; that
    /// is the same, as these are an affine map of what is pooled).
    MeanOfPooled,
    /// The last token that is not the padding token (`pad_token_id`); the last of all where the
    /// config names no padding token, the first where every token is one
    /// (`GPT2ForSequenceClassification`).
    Last,
}

/// How a token's place in the sequence enters the model (`position_embedding_type`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Positions {
    /// A learned embedding per position, added to the token embedding.
    Absolute,
    /// `query · E[query - key + P - 1]` is added to each score before scaling
    /// (Shaw et al. 2018; transformers' `relative_key`).
    RelativeKey,
    /// As [`Positions::RelativeKey`] plus `key · E[query - key + P - 1]`
    /// (Huang et al. 2020; transformers' `relative_key_query`).
    RelativeKeyQuery,
    /// Queries and keys are turned by angles that grow with the position.
    Rotary(Rotary),
    /// Not at all, but for what [`Architecture::disentangled`] and [`Architecture::score_bias`] say.
    Nowhere,
}

impl Positions {
    /// Whether a table of distances takes part in the scores.
    #[must_use]
    pub fn is_relative(self) -> bool {
        matches!(self, Self::RelativeKey | Self::RelativeKeyQuery)
    }

    /// Whether it is all the same which position a token is said to have.
    #[must_use]
    pub fn ignores_ids(self) -> bool {
        self.is_relative() || self == Self::Nowhere
    }
}

/// How queries and keys are turned (RoPE; Su et al. 2021). Numbers `i` and `i + width / 2` of a head are the coordinates of
/// a point that is turned by `position · base^(-2i / width)`, as in GPT-NeoX.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotary {
    /// How many numbers of a head are turned, from its first on; even.
    pub width: usize,
    /// The base in layers that see everything.
    pub base: f64,
    /// The base in layers that see a window.
    pub window_base: f64,
    /// What all angles are divided by besides; 1 in most families (GTE's `ntk`, a part of what brings it to longer texts).
    pub slowdown: f64,
}

/// A mask is a row of zeros among the embeddings of a text, and the other rows are brought to the scale that they had in
/// training, where so many were masked: each is multiplied by [`TokenDropout::factor`] (ESM's `token_dropout`; Rives et al.
/// 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDropout {
    /// The id of the mask (`mask_token_id`).
    pub mask_id: u32,
}

impl TokenDropout {
    /// The share of tokens that were no masks in training, a constant of transformers' class.
    pub const KEPT: f64 = 1.0 - 0.15 * 0.8;

    /// What the embeddings of the words of one text are multiplied by, those of its masks aside, which are zeros: the share
    /// kept in training over the share kept here. Infinite where every token is a mask.
    #[must_use]
    pub fn factor(self, ids: &[u32]) -> f64 {
        let masks = ids.iter().filter(|id| **id == self.mask_id).count();
        Self::KEPT / (1.0 - masks as f64 / ids.len() as f64)
    }
}

/// Layers that have their weights in common (ALBERT; Lan et al. 2020). A group of them follows the other; within a group
/// `inner` blocks are taken by turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedLayers {
    /// Groups, each of as many layers (`num_hidden_groups`).
    pub groups: usize,
    /// Blocks of a group (`inner_group_num`), 1 in all published models. transformers has one hidden state for each time
    /// that all of them have been run; here each is a layer.
    pub inner: usize,
}

impl SharedLayers {
    /// Blocks that have weights of their own.
    #[must_use]
    pub fn blocks(self) -> usize {
        self.groups.saturating_mul(self.inner)
    }
}

/// Layers in which a query sees only keys that are near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Every so many layers, from layer 0 on, everything is seen.
    pub global_every: usize,
    /// Elsewhere keys up to so many tokens to either side.
    pub reach: usize,
}

/// What stands between the two maps of the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// `f(x)`.
    Plain,
    /// `f(a) · b`, `a` and `b` the halves of what the first map gives, which is twice as wide (GeGLU, SwiGLU; Shazeer 2020).
    Gated,
}

/// Which row of the position table a token reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionIds {
    /// 0, 1, 2, … whatever the tokens are.
    FromZero,
    /// RoBERTa: `pad_id + 1, pad_id + 2, …` over tokens other than `pad_id`; a `pad_id` token
    /// inside the text reads row `pad_id` and is not counted
    /// (`create_position_ids_from_input_ids`).
    AfterPadding {
        /// The padding token's id.
        pad_id: u32,
    },
}

/// Element-wise function inside the feed-forward block (`hidden_act`, `activation_function`, `afn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · ½ (1 + erf(x / √2))`.
    Gelu,
    /// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`: `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`: `silu`, `swish`.
    Silu,
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `tanh x`.
    Tanh,
}

/// What the checkpoint computes on top of the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskHead {
    /// Hidden states only (`BertModel`, `RobertaModel`).
    None,
    /// One vector of logits per sequence, from the position that [`Architecture::pooling`] names
    /// (`*ForSequenceClassification`).
    SequenceClassification {
        /// Number of logits.
        num_labels: usize,
        /// What the logits mean, hence which loss applies.
        problem: Problem,
    },
    /// Logits over the vocabulary at every position (`*ForMaskedLM`).
    MaskedLm,
    /// Logits over the vocabulary at every position, for the token that follows (`*LMHeadModel`).
    CausalLm,
    /// Two logits per sequence: is the second segment the continuation of the first
    /// (`BertForNextSentencePrediction`).
    NextSentence,
    /// Both of the above (`BertForPreTraining`). ALBERT's two logits say whether the segments stand in their order: 0 they do,
    /// 1 they change places (`AlbertForPreTraining`).
    PreTraining,
    /// One vector of logits per token (`*ForTokenClassification`).
    TokenClassification {
        /// Number of logits.
        num_labels: usize,
    },
    /// Two logits per token: does the answer start here, does it end here
    /// (`*ForQuestionAnswering`).
    QuestionAnswering,
    /// One logit per token: was it put in the place of another (`ElectraForPreTraining`).
    ReplacedTokens,
}

impl TaskHead {
    /// The head in words that fit after "has" in a message.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match self {
            Self::None => "no task head",
            Self::SequenceClassification { problem, .. } => match problem {
                Problem::SingleLabel => "a single-label classifier",
                Problem::Regression => "a regression head",
                Problem::MultiLabel => "a multi-label classifier",
            },
            Self::MaskedLm => "a masked-LM head",
            Self::CausalLm => "a causal-LM head",
            Self::NextSentence => "a next-sentence head",
            Self::PreTraining => "masked-LM and next-sentence heads",
            Self::TokenClassification { .. } => "a token classifier",
            Self::QuestionAnswering => "a question-answering head",
            Self::ReplacedTokens => "a replaced-token head",
        }
    }

    /// Logits at each position of a head that scores tokens one by one, without a vocabulary.
    #[must_use]
    pub fn token_scores(&self) -> Option<usize> {
        match self {
            Self::TokenClassification { num_labels } => Some(*num_labels),
            Self::QuestionAnswering => Some(2),
            Self::ReplacedTokens => Some(1),
            _ => None,
        }
    }
}

/// The loss of a sequence classifier (`problem_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Softmax cross-entropy over the labels.
    SingleLabel,
    /// Mean squared error on the logits.
    Regression,
    /// Independent binary cross-entropy per label.
    MultiLabel,
}

/// With which probability training sets a value to zero, at every place where a family does so. Nothing but training
/// reads it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DropoutRates {
    /// Of the embeddings, behind their norm.
    pub embeddings: f64,
    /// Of the attention probabilities.
    pub attention_probs: f64,
    /// Of the rows of distances, in every layer anew ([`Architecture::disentangled`]).
    pub distances: f64,
    /// Of what attention adds to the residual stream.
    pub attention_output: f64,
    /// Of what the second map of the feed-forward block reads.
    pub mlp_inner: f64,
    /// Of what the feed-forward block adds to it.
    pub mlp_output: f64,
    /// Of the hidden state that a task head reads.
    pub head_input: f64,
    /// Of what a classifier's last map reads, behind its dense layer.
    pub classifier: f64,
}

/// Every fact about a model that changes what it computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Family, for names and printed text only.
    pub family: Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the rows of the embedding tables.
    pub embedding_size: usize,
    /// Whether an affine map leads from the sum of the rows to the residual stream: where their widths differ (ELECTRA), and
    /// in ALBERT always.
    pub embedding_projection: bool,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks that a token goes through.
    pub num_layers: usize,
    /// Which of them have their weights in common; nothing: none.
    pub shared_layers: Option<SharedLayers>,
    /// Heads per layer of the *unpruned* model; `head_dim = hidden_size / num_heads` always.
    pub num_heads: usize,
    /// Width of the feed-forward block: neurons per layer of the *unpruned* model.
    pub intermediate_size: usize,
    /// Neurons that a layer still has, where it has lost some (`intermediate_sizes`, a key of this library). Neurons, unlike
    /// heads, are numbered anew from 0. Layers that have all are absent.
    pub narrowed: BTreeMap<usize, usize>,
    /// Rows of the position table (`max_position_embeddings`).
    pub max_positions: usize,
    /// What segment ids add.
    pub segments: Segments,
    /// What masks do to the embeddings of a text's words, before positions and segments are added.
    pub token_dropout: Option<TokenDropout>,
    /// Whether the sum of the embeddings goes through a norm.
    pub embedding_norm: bool,
    /// Where the blocks' norms stand; [`NormPlacement::Pre`] comes with a final norm.
    pub norm: NormPlacement,
    /// Whether a token sees only itself and the tokens before it.
    pub causal: bool,
    /// What attention scores are multiplied by.
    pub score_scale: ScoreScale,
    /// What is added to them, once multiplied.
    pub score_bias: ScoreBias,
    /// The position that a sequence classifier reads.
    pub pooling: Pooling,
    /// How positions enter.
    pub positions: Positions,
    /// Whether queries and keys go through a norm each, without bias, over all heads of a layer together (ESM-C). A head's are then
    /// brought to scale by what all others have: one that is taken away is still computed as far as its queries and keys go.
    pub query_key_norm: bool,
    /// What distances have for queries and keys; nothing: none.
    pub disentangled: Option<Disentangled>,
    /// In which layers how much is seen; nothing: everything in all.
    pub windows: Option<Windows>,
    /// Which position a token has.
    pub position_ids: PositionIds,
    /// What stands between the maps of the feed-forward block.
    pub feed_forward: FeedForward,
    /// What norms do.
    pub norm_kind: NormKind,
    /// Whether norms add a bias.
    pub norm_bias: bool,
    /// Whether the norm behind the last block does.
    pub final_norm_bias: bool,
    /// What both halves of a block give is multiplied by it before it is added to the residual stream: `√(36 / layers)` in
    /// ESM-C, 1 in all other families.
    pub branch_scale: f64,
    /// Whether the maps of attention add a bias.
    pub attention_bias: bool,
    /// Whether the first map of the feed-forward block, or both halves of it, adds a bias.
    pub mlp_bias: bool,
    /// Whether its second map does.
    pub mlp_out_bias: bool,
    /// Whether the first block has a norm before its attention; ModernBERT's embeddings have had theirs.
    pub first_attention_norm: bool,
    /// The feed-forward activation.
    pub activation: Activation,
    /// Whether a masked-LM head has other names in the files than its family's had at first; its function is the same (DeBERTa,
    /// `legacy`).
    pub renamed_lm: bool,
    /// Whether a masked-LM head has a dense layer and a norm before its output layer; EuroBERT's is that layer alone.
    pub lm_transform: bool,
    /// The activation after the dense layer of a masked-LM head: BERT takes `hidden_act` there,
    /// RoBERTa and ELECTRA always the exact GELU. Read only where `head` has such a layer.
    pub lm_activation: Activation,
    /// Whether the dense layer of a masked-LM head adds a bias.
    pub lm_transform_bias: bool,
    /// Whether a masked-LM head adds a bias to its logits.
    pub lm_bias: bool,
    /// `layer_norm_eps`, `rms_norm_eps`.
    pub norm_epsilon: f64,
    /// The padding token's id, if the config names one.
    pub pad_id: Option<u32>,
    /// Task on top.
    pub head: TaskHead,
    /// Whether the classifier adds a bias to its logits.
    pub classifier_bias: bool,
    /// Whether the file has the encoder's pooler (`f(W h₀ + b)`). A classifier's own dense layer
    /// (RoBERTa, DistilBERT, ELECTRA, MPNet, ESM, EuroBERT) counts as its pooler here: same function, other tensor names.
    pub pooler: bool,
    /// The `f` of the pooler.
    pub pooler_activation: Activation,
    /// Whether the pooler adds a bias.
    pub head_bias: bool,
    /// Whether a norm follows the pooler (ModernBERT's classifiers).
    pub pooler_norm: bool,
    /// What tokens go through before they are scored one by one; nothing: only the map that gives the scores.
    pub token_transform: Option<TokenTransform>,
    /// Whether the file has a regression over the attention of all heads that says which residues touch (ESM).
    pub contact_head: bool,
    /// Label names by id, for classifiers of sequences and of tokens (`id2label`); `LABEL_0`… where the file has none.
    pub labels: Vec<String>,
    /// Heads that the file no longer holds, by layer, under their original numbers
    /// (`pruned_heads`). Layers without pruned heads are absent.
    pub pruned_heads: BTreeMap<usize, BTreeSet<usize>>,
    /// Heads that the file holds with nothing but zeros in it: pruning leaves one in a layer that lost all, and
    /// writes all so that are to keep their shape. They add nothing whatever the input, so models run without
    /// them. By layer; layers without such heads are absent.
    pub zeroed_heads: BTreeMap<usize, BTreeSet<usize>>,
    /// What training drops.
    pub dropout: DropoutRates,
}

impl Architecture {
    /// Width of one head: `hidden_size / num_heads`, which pruning does not change.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// How far to either side a query sees in a layer (zero-based); nothing: without limit.
    #[must_use]
    pub fn reach(&self, layer: usize) -> Option<usize> {
        self.windows
            .filter(|windows| !layer.is_multiple_of(windows.global_every))
            .map(|windows| windows.reach)
    }

    /// The first layer (zero-based) with the weights of this one; the layer itself where none are shared.
    #[must_use]
    pub fn weights_of(&self, layer: usize) -> usize {
        let Some(shared) = self.shared_layers else {
            return layer;
        };
        let per_group = self.num_layers / shared.groups;
        let start = layer / per_group * per_group;
        start + (layer - start) % shared.inner
    }

    /// The layers that are the first with their weights, ascending: all where none are shared.
    pub fn own_layers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.num_layers).filter(|layer| self.weights_of(*layer) == *layer)
    }

    /// The number of a layer's weights in the files: of all blocks, group by group.
    pub(crate) fn block(&self, layer: usize) -> usize {
        let Some(shared) = self.shared_layers else {
            return layer;
        };
        let per_group = self.num_layers / shared.groups;
        layer / per_group * shared.inner + layer % per_group % shared.inner
    }

    /// Original numbers of the heads that layer `layer` still has, ascending.
    #[must_use]
    pub fn heads(&self, layer: usize) -> Vec<usize> {
        let pruned = self.pruned_heads.get(&layer);
        (0..self.num_heads)
            .filter(|head| pruned.is_none_or(|set| !set.contains(head)))
            .collect()
    }

    /// Neurons of the feed-forward block of a layer (zero-based).
    #[must_use]
    pub fn neurons(&self, layer: usize) -> usize {
        let narrowed = self.narrowed.get(&layer);
        narrowed.copied().unwrap_or(self.intermediate_size)
    }

    /// Original numbers of the heads that the file has room for, ascending: those of [`Architecture::heads`] and
    /// those of zeros. Other programs number them anew from 0.
    #[must_use]
    pub fn heads_in_file(&self, layer: usize) -> Vec<usize> {
        let (pruned, zeroed) = (self.pruned_heads.get(&layer), self.zeroed_heads.get(&layer));
        let gone = |head: &usize| {
            pruned.is_some_and(|set| set.contains(head))
                && !zeroed.is_some_and(|set| set.contains(head))
        };
        (0..self.num_heads).filter(|head| !gone(head)).collect()
    }

    /// The longest sequence in tokens that the position table admits.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        match self.position_ids {
            PositionIds::FromZero => self.max_positions,
            PositionIds::AfterPadding { pad_id } => {
                self.max_positions.saturating_sub(pad_id as usize + 1)
            }
        }
    }
}
