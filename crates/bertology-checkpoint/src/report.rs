//! Where every tensor of a checkpoint went.

use std::path::PathBuf;

use safetensors::Dtype;
use serde::Serialize;

use crate::names::IgnoreReason;
use crate::parameter::{LayerParameter, Parameter};
use crate::tensors::Tensor;

/// Every tensor of the files and every parameter of the model, each in exactly one list.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Tensors that the model reads.
    pub used: Vec<TensorInfo>,
    /// Tensors known to have no part in it.
    pub ignored: Vec<Ignored>,
    /// Parameters that no tensor provides.
    pub missing: Vec<MissingTensor>,
    /// Parameters of a task head that no tensor provides and that begin anew ([`Checkpoint::open_to_train`](
    /// crate::Checkpoint::open_to_train)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<MissingTensor>,
    /// Tensors that nothing explains.
    pub unexpected: Vec<TensorInfo>,
    /// Sizes of the tensors used, by part of the model.
    pub parts: Parts,
    /// What every name in the files begins with and no name here does: `module.` of
    /// `DistributedDataParallel`, `_orig_mod.` of `torch.compile`, or both; mostly empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wrapper: String,
}

/// A tensor of a file.
#[derive(Debug, Clone, Serialize)]
pub struct TensorInfo {
    /// Name in the file.
    pub name: String,
    /// The weights file.
    pub file: PathBuf,
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    pub(crate) fn of(tensor: &Tensor) -> Self {
        Self {
            name: tensor.name().to_owned(),
            file: tensor.file().to_path_buf(),
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
        }
    }
}

/// A tensor that is left out, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Ignored {
    /// The tensor.
    #[serde(flatten)]
    pub tensor: TensorInfo,
    /// Why it takes no part.
    pub reason: IgnoreReason,
}

/// A parameter without a tensor.
#[derive(Debug, Clone, Serialize)]
pub struct MissingTensor {
    /// The name under which this checkpoint would hold it.
    pub name: String,
    /// The shape that the config asks for.
    pub shape: Vec<usize>,
}

/// Number of parameters and their bytes in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Numbers.
    pub parameters: u64,
    /// Bytes that they take in the file's type.
    pub bytes: u64,
}

/// Sizes by part of the model. A tensor shared by two parts counts once, in the embeddings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Token, position and segment tables, and what leads from them to the hidden size.
    pub embeddings: Size,
    /// Query, key, value and output projections, tables of relative distances and of what they add to scores, and their
    /// maps.
    pub attention: Size,
    /// Both maps of the feed-forward blocks.
    pub feed_forward: Size,
    /// Norms of the embeddings and of the blocks, and the final norm.
    pub norms: Size,
    /// BERT's pooler.
    pub pooler: Size,
    /// Everything on top, RoBERTa's classifier with its dense layer included.
    pub task_head: Size,
}

impl Parts {
    /// The whole model.
    #[must_use]
    pub fn total(&self) -> Size {
        [
            self.embeddings,
            self.attention,
            self.feed_forward,
            self.norms,
            self.pooler,
            self.task_head,
        ]
        .into_iter()
        .fold(Size::default(), |sum, part| Size {
            parameters: sum.parameters + part.parameters,
            bytes: sum.bytes + part.bytes,
        })
    }

    /// `dense_is_head`: the pooler's tensors belong to the task head (RoBERTa's classifier).
    pub(crate) fn add(&mut self, parameter: Parameter, tensor: &Tensor, dense_is_head: bool) {
        let part = match parameter {
            Parameter::WordEmbeddings
            | Parameter::PositionEmbeddings
            | Parameter::SegmentEmbeddings
            | Parameter::EmbeddingProjection(_) => &mut self.embeddings,
            Parameter::RelativeAttentionBias | Parameter::RelativeEmbeddings => &mut self.attention,
            Parameter::EmbeddingNorm(_) | Parameter::RelativeNorm(_) | Parameter::FinalNorm(_) => {
                &mut self.norms
            }
            Parameter::Layer(_, parameter) => match parameter {
                LayerParameter::Query(_)
                | LayerParameter::Key(_)
                | LayerParameter::Value(_)
                | LayerParameter::QueryKeyValue(_)
                | LayerParameter::DistanceEmbedding
                | LayerParameter::DistanceQuery(_)
                | LayerParameter::DistanceKey(_)
                | LayerParameter::DistanceMaps(_)
                | LayerParameter::AttentionOutput(_) => &mut self.attention,
                LayerParameter::MlpIn(_)
                | LayerParameter::MlpActivated(_)
                | LayerParameter::MlpGate(_)
                | LayerParameter::MlpOut(_) => &mut self.feed_forward,
                LayerParameter::QueryNorm(_)
                | LayerParameter::KeyNorm(_)
                | LayerParameter::AttentionNorm(_)
                | LayerParameter::MlpNorm(_) => &mut self.norms,
            },
            Parameter::Pooler(_) if !dense_is_head => &mut self.pooler,
            Parameter::Pooler(_)
            | Parameter::PoolerNorm(_)
            | Parameter::ContactHead(_)
            | Parameter::Classifier(_)
            | Parameter::LmTransform(_)
            | Parameter::LmNorm(_)
            | Parameter::LmDecoder(_)
            | Parameter::NextSentence(_)
            | Parameter::TokenTransform(_)
            | Parameter::TokenNorm(_)
            | Parameter::TokenScores(_) => &mut self.task_head,
        };
        part.parameters += tensor.len() as u64;
        part.bytes += tensor.bytes().len() as u64;
    }
}
