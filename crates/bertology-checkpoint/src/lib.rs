//! What lies in a model folder: `config.json`, tensors and their names, read and written.
//!
//! [`Checkpoint::open`] turns a folder into an [`Architecture`], the facts that change what the
//! model computes, and a [`Tensor`] for every [`Parameter`]. Every tensor of the files is accounted
//! for in a [`Report`]; what cannot be obeyed is an [`Error`]. [`write_pruned`] writes a smaller one.

pub mod arch;
mod checkpoint;
mod config;
mod cut;
mod describe;
mod distances;
mod dropout;
mod error;
mod expected;
mod heads;
mod json;
mod names;
mod new_head;
pub mod parameter;
mod prune;
mod report;
mod tables;
mod tensors;
mod trained;
mod vocabulary;
mod write;

pub use arch::{
    Activation, Architecture, Disentangled, DropoutRates, Family, FeedForward, NormKind,
    NormPlacement, Pooling, PositionIds, Positions, Problem, Rotary, ScoreBias, ScoreScale,
    Segments, SharedLayers, TaskHead, TokenDropout, TokenTransform, Windows,
};
pub use checkpoint::{Checkpoint, Inspection, OpenOptions, transpose};
pub use config::{Config, OpenAs};
pub use cut::Cut;
pub use error::Error;
pub use heads::HeadSet;
pub use names::IgnoreReason;
pub use new_head::NewHead;
pub use parameter::{Affine, LayerParameter, Parameter};
pub use prune::Export;
pub use report::{Ignored, MissingTensor, Parts, Report, Size, TensorInfo};
pub use safetensors::Dtype;
pub use tensors::{Tensor, rounded};
pub use trained::write_trained;
pub use vocabulary::TokenCut;
pub use write::{WriteOptions, WriteReport, cut_file_bytes, write_cut, write_pruned};
