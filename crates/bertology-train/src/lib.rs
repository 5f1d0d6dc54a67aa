//! What can be learnt from what transformers compute: an optimiser, and probes for dependency heads.
//!
//! Clark, Khandelwal, Levy and Manning (2019, section 5.2) ask how much of a sentence's dependency tree all
//! heads of a model hold together. For every word a probe gives a distribution over its candidate heads, ROOT
//! and the words of the sentence; the model stays as it is.
//!
//! | module | question |
//! | --- | --- |
//! | [`experiment`] | from two treebanks to a table of scores |
//! | `sentences` | sentences with their attention, from the model or from disk |
//! | `features` | what does a probe see of a sentence? |
//! | [`probe`] | which distribution, which loss, which gradient |
//! | [`optim`] | from a gradient to a step |
//! | `vectors` | word vectors from a file |
//! | `archive` | how is a training that is not over kept on disk? |
//! | `cache` | maps on disk, so that the model need not be asked again |
//! | `shards` | and in which files? |
//! | `handover` | what did the model give, a batch at a time? |
//! | [`edge`] | what can be told from spans of hidden states, layer by layer |
//! | [`finetune`] | and by the model itself, all of it, for a task |
//! | [`gates`] | which heads can be closed while the weights stay as they are |
//! | [`relations`] | which units are related, told from the attention of all heads together |
//! | [`score`] | how often is the head right, and how sure is that? |
//!
//! Gradients are written by hand over row-major slices, generic over f32 and f64: central differences judge the
//! code that runs. First values come from a generator of our own.

pub mod edge;
pub mod experiment;
pub mod finetune;
pub mod gates;
pub mod optim;
pub mod probe;
pub mod relations;
pub mod score;

mod archive;
mod cache;
mod error;
mod features;
mod handover;
mod random;
mod sentences;
mod shards;
mod vectors;

pub use cache::{CACHE_FILE_PREFIX, MapCache, Precision};
pub use error::Error;
pub use features::{Example, Features, Layout};
pub use optim::{Adam, Optimizer, Schedule};
pub use probe::{Alignment, Kind, Parameter, Probe, Shape};
pub use score::Uas;
pub use sentences::{Account, Sentence, Sentences};
pub use vectors::{Vectors, WordVectors};
