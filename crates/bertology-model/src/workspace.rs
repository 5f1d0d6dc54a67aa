//! Memory of a pass, reused from batch to batch.

use bertology_kernels::Real;

/// Buffers that one thread needs to run passes. Reuse it: its memory grows to the largest batch
/// seen and stays.
///
/// # Cost
/// Per packed token about `4 · hidden + intermediate` numbers in all, and for a backward pass
/// `3W + W + 2 · hidden + intermediate` more for every layer (`W` the width of its heads).
#[derive(Debug, Default)]
pub struct Workspace<R> {
    pub(crate) layers: Vec<LayerTrace<R>>,
    pub(crate) scratch: Scratch<R>,
    pub(crate) hidden: Vec<R>,
    pub(crate) last: FinalTrace<R>,
    pub(crate) embedding: EmbeddingTrace<R>,
}

/// What training needs of the embeddings.
#[derive(Debug, Default)]
pub(crate) struct EmbeddingTrace<R> {
    /// `[tokens, embedding size]`: the sum of the rows; where there is a norm, normalised.
    pub(crate) hat: Vec<R>,
    /// `[tokens]`, where there is a norm
    pub(crate) rstd: Vec<R>,
    /// `[tokens, embedding size]`: input of the map to the hidden size, where there is one
    pub(crate) narrow: Vec<R>,
}

/// What the backward pass of the final norm needs.
#[derive(Debug, Default)]
pub(crate) struct FinalTrace<R> {
    /// `[tokens, hidden]`: normalised input.
    pub(crate) hat: Vec<R>,
    /// `[tokens]`
    pub(crate) rstd: Vec<R>,
}

/// What the backward pass of a norm of queries or keys needs.
#[derive(Debug, Default)]
pub(crate) struct NormTrace<R> {
    /// `[tokens, W]`: normalised input.
    pub(crate) hat: Vec<R>,
    /// `[tokens]`
    pub(crate) rstd: Vec<R>,
}

/// What the backward pass of one block needs from its forward pass.
#[derive(Debug, Default)]
pub(crate) struct LayerTrace<R> {
    /// `[tokens, hidden]`: what the block read, where no norm stands before its attention, and only for training.
    pub(crate) input: Vec<R>,
    /// `[tokens, 3W]`: queries, keys, values.
    pub(crate) qkv: Vec<R>,
    /// What the norms of queries and of keys have made, where there are such.
    pub(crate) normed: [NormTrace<R>; 2],
    /// `[rows, kW]`: queries and keys of the distances that a batch has, or empty.
    pub(crate) distances: Vec<R>,
    /// `[tokens, W]`: head outputs before the head mask.
    pub(crate) context: Vec<R>,
    /// `[tokens, hidden]`: normalised input of the attention norm.
    pub(crate) attention_hat: Vec<R>,
    /// `[tokens]`
    pub(crate) attention_rstd: Vec<R>,
    /// `[tokens, intermediate]`: input of the activation; `[tokens, 2 · intermediate]`, the gate behind it, where there is one.
    pub(crate) mlp_pre: Vec<R>,
    /// `[tokens, intermediate]`: the neurons before their mask, only where its gradient is looked at.
    pub(crate) neurons: Vec<R>,
    /// `[tokens, hidden]`: normalised input of the feed-forward norm.
    pub(crate) mlp_hat: Vec<R>,
    /// `[tokens]`
    pub(crate) mlp_rstd: Vec<R>,
}

/// Buffers whose content does not outlive a step.
#[derive(Debug, Default)]
pub(crate) struct Scratch<R> {
    /// `[tokens, hidden]`
    pub(crate) hidden: Vec<R>,
    /// `[tokens, hidden]`: what a pre-norm block adds to the residual stream
    pub(crate) update: Vec<R>,
    /// `[tokens, intermediate]`
    pub(crate) inner: Vec<R>,
    /// `[tokens, 2 · intermediate]`: gradient of what the first map of a gated block gives
    pub(crate) gated: Vec<R>,
    /// `[rows, W]`
    pub(crate) heads: Vec<R>,
    /// `[rows, W]`: gradient of the queries, where not all are read
    pub(crate) query: Vec<R>,
    /// `[tokens, 3W]`
    pub(crate) qkv: Vec<R>,
    /// `[query, key]` of one head
    pub(crate) scores: Vec<R>,
    /// `[query, key]` of one head
    pub(crate) score_gradient: Vec<R>,
    /// `[query, key]` of one head, where some are dropped
    pub(crate) dropped: Vec<R>,
    /// `[n, 2n - 1]` of one head, relative positions only; of distances that share rows less
    pub(crate) relative: Vec<R>,
    /// `[rows, hidden]`: what the distances of a batch are
    pub(crate) distances: Vec<R>,
    /// `[n, hidden]` or `[n, 1]` of one head, where an observer asks
    pub(crate) tap: Vec<R>,
}

impl<R: Real> Workspace<R> {
    /// Without any memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Makes `buffer` exactly `len` long; what it holds is to be overwritten.
pub(crate) fn sized<R: Real>(buffer: &mut Vec<R>, len: usize) -> &mut [R] {
    if buffer.len() < len {
        buffer.resize(len, R::ZERO);
    } else {
        buffer.truncate(len);
    }
    buffer
}
