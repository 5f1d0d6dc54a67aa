//! Canonical names of a transformer's parameters, whatever the file calls them.

use std::fmt;

/// The two tensors of an affine map or of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Affine {
    /// `[out, in]` of a linear map; `[width]` of a norm; `[rows, width]` of a table.
    Weight,
    /// `[out]` of a linear map; `[width]` of a norm.
    Bias,
}

/// A parameter that every block has. `W` stands for `remaining heads × head_dim`, `D` for the
/// hidden size, `I` for the feed-forward width, `P` for the rows of the position table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerParameter {
    /// `[W, D]`, `[W]`; head-major rows.
    Query(Affine),
    /// `[W, D]`, `[W]`; head-major rows.
    Key(Affine),
    /// `[W, D]`, `[W]`; head-major rows.
    Value(Affine),
    /// `[3W, D]`, `[3W]`: queries, keys and values in one tensor, each head-major (GPT, GPT-2).
    QueryKeyValue(Affine),
    /// `[D]`: the norm of the queries of all heads together (ESM-C); it has no bias.
    QueryNorm(Affine),
    /// `[D]`: that of the keys.
    KeyNorm(Affine),
    /// `[2P - 1, head_dim]`, shared by the heads of the layer; relative positions only.
    DistanceEmbedding,
    /// `[W, D]`, `[W]`: to queries of distances, where these have maps of their own (DeBERTa); head-major rows.
    DistanceQuery(Affine),
    /// `[W, D]`, `[W]`: to keys of distances.
    DistanceKey(Affine),
    /// `[kW, D]`, `[kW]`: both, or the one of them that there is, in one tensor.
    DistanceMaps(Affine),
    /// `[D, W]`, `[D]`; head-major columns.
    AttentionOutput(Affine),
    /// `[D]`, `[D]`.
    AttentionNorm(Affine),
    /// `[I, D]`, `[I]`; `[2I, D]`, `[2I]` where the block is gated: first what is activated, then the gate.
    MlpIn(Affine),
    /// `[I, D]`, `[I]`: the first half of [`LayerParameter::MlpIn`], in files that have its halves apart.
    MlpActivated(Affine),
    /// `[I, D]`, `[I]`: its second half.
    MlpGate(Affine),
    /// `[D, I]`, `[D]`.
    MlpOut(Affine),
    /// `[D]`, `[D]`.
    MlpNorm(Affine),
}

impl LayerParameter {
    /// Whether it makes queries, or keys, and nothing else.
    pub(crate) fn is_query_or_key(self) -> bool {
        matches!(self, Self::Query(_) | Self::Key(_))
    }
}

/// One parameter tensor of the canonical layout: linear maps are `[out, in]`, norms are named by
/// where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parameter {
    /// `[vocab_size, E]`; `E` is the embedding size, `D` in all families but ELECTRA and ALBERT.
    WordEmbeddings,
    /// `[max_positions, E]`.
    PositionEmbeddings,
    /// `[rows of the segment table, E]`.
    SegmentEmbeddings,
    /// `[E]`, `[E]`.
    EmbeddingNorm(Affine),
    /// `[D, E]`, `[D]`: from embeddings to the residual stream, where `E` is not `D` (ELECTRA), and always in ALBERT.
    EmbeddingProjection(Affine),
    /// `[32, heads]`, of the unpruned model's heads: what the distance from query to key adds to a head's scores, in every
    /// layer (MPNet).
    RelativeAttentionBias,
    /// `[rows, D]`: what distances are, in every layer (DeBERTa; [`Disentangled::row`](crate::Disentangled::row)).
    RelativeEmbeddings,
    /// `[D]`, `[D]`: of the rows of that table.
    RelativeNorm(Affine),
    /// A block's parameter; the layer is zero-based. Of layers that have their weights in common it is that of the first.
    Layer(usize, LayerParameter),
    /// `[D]`, `[D]`: after the last block (pre-norm families).
    FinalNorm(Affine),
    /// `[1, layers · heads]`, `[1]`, of the unpruned model's heads, layer by layer: the regression over their attention that
    /// says which residues touch (ESM).
    ContactHead(Affine),
    /// `[D, D]`, `[D]`: BERT's pooler, or the dense layer of a classifier (RoBERTa, DistilBERT, ELECTRA, MPNet, ESM, EuroBERT).
    Pooler(Affine),
    /// `[D]`, `[D]`: behind the pooler (ModernBERT).
    PoolerNorm(Affine),
    /// `[num_labels, D]`, `[num_labels]`.
    Classifier(Affine),
    /// `[E, D]`, `[E]`: the dense layer before a masked-LM decoder.
    LmTransform(Affine),
    /// `[E]`, `[E]`.
    LmNorm(Affine),
    /// `[vocab_size, E]` (absent where tied to the word embeddings), `[vocab_size]` (masked LMs only).
    LmDecoder(Affine),
    /// `[2, D]`, `[2]`.
    NextSentence(Affine),
    /// `[D, D]`, `[D]`: the dense layer before the scores of tokens (ELECTRA's discriminator, ModernBERT).
    TokenTransform(Affine),
    /// `[D]`, `[D]`: behind that layer's activation (ModernBERT).
    TokenNorm(Affine),
    /// `[k, D]`, `[k]`: the k logits of each token ([`TaskHead::token_scores`](crate::TaskHead::token_scores)).
    TokenScores(Affine),
}

impl Parameter {
    /// Which part it is of a map or a norm outside the blocks.
    pub(crate) fn affine(self) -> Option<Affine> {
        match self {
            Self::EmbeddingNorm(affine)
            | Self::EmbeddingProjection(affine)
            | Self::RelativeNorm(affine)
            | Self::FinalNorm(affine)
            | Self::ContactHead(affine)
            | Self::Pooler(affine)
            | Self::PoolerNorm(affine)
            | Self::Classifier(affine)
            | Self::LmTransform(affine)
            | Self::LmNorm(affine)
            | Self::LmDecoder(affine)
            | Self::NextSentence(affine)
            | Self::TokenTransform(affine)
            | Self::TokenNorm(affine)
            | Self::TokenScores(affine) => Some(affine),
            Self::WordEmbeddings
            | Self::PositionEmbeddings
            | Self::SegmentEmbeddings
            | Self::RelativeAttentionBias
            | Self::RelativeEmbeddings
            | Self::Layer(..) => None,
        }
    }

    /// Whether it belongs to what stands on the encoder, BERT's pooler included.
    pub(crate) fn is_of_head(self) -> bool {
        matches!(
            self,
            Self::Pooler(_)
                | Self::PoolerNorm(_)
                | Self::Classifier(_)
                | Self::LmTransform(_)
                | Self::LmNorm(_)
                | Self::LmDecoder(_)
                | Self::NextSentence(_)
                | Self::TokenTransform(_)
                | Self::TokenNorm(_)
                | Self::TokenScores(_)
        )
    }

    /// Whether it is a part of the first map of a feed-forward block, both halves in one where that is gated.
    pub(crate) fn is_first_map(self) -> bool {
        matches!(self, Self::Layer(_, LayerParameter::MlpIn(_)))
    }

    /// Whether it is the weight of a linear map inside a block, which GPT files hold as `[in, out]`.
    pub(crate) fn is_block_map(self) -> bool {
        matches!(
            self,
            Self::Layer(
                _,
                LayerParameter::Query(Affine::Weight)
                    | LayerParameter::Key(Affine::Weight)
                    | LayerParameter::Value(Affine::Weight)
                    | LayerParameter::DistanceQuery(Affine::Weight)
                    | LayerParameter::DistanceKey(Affine::Weight)
                    | LayerParameter::DistanceMaps(Affine::Weight)
                    | LayerParameter::QueryKeyValue(Affine::Weight)
                    | LayerParameter::AttentionOutput(Affine::Weight)
                    | LayerParameter::MlpIn(Affine::Weight)
                    | LayerParameter::MlpActivated(Affine::Weight)
                    | LayerParameter::MlpGate(Affine::Weight)
                    | LayerParameter::MlpOut(Affine::Weight)
            )
        )
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
