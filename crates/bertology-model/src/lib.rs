//! One transformer engine with taps on every head.
//!
//! | module | question |
//! | --- | --- |
//! | [`model`] | which weights, and how are heads taken out of them? |
//! | [`batch`] | which tokens? Sequences end to end, no padding |
//! | [`mask`] | which heads, and how strongly? |
//! | [`taps`] | who wants to see what? |
//! | [`reduction`] | what is made of maps where they lie? |
//! | [`intervention`] | who changes what? |
//! | [`objective`] | which loss? |
//! | [`pass`] | one forward and, where asked, one backward pass |
//! | `ablation` | and without each head in turn, or with it alone? [`Model::run_without_each`], [`Model::run_with_each_alone`] |
//! | `training` | what would lower the loss, weight by weight? [`Model::add_gradients`] |
//! | `steps` | half a block at a time? [`Model::attention_half`], [`Model::mlp_half`] |
//! | `contacts` | which residues touch? [`Model::contacts`] |
//! | [`parameters`] | which weights are there, under which names? |
//! | `device` | and on a graphics card? [`Model::on_device`] (feature `device`) |
//! | `untrained` | and before any training? [`Model::untrained`] |
//! | [`parallel`] | many batches on all cores, results in input order |
//!
//! Layers and heads are zero-based everywhere, and a head always bears the number that it has in
//! the unpruned model.

pub mod batch;
pub mod error;
pub mod intervention;
pub mod mask;
pub mod model;
pub mod objective;
pub mod parallel;
pub mod parameters;
pub mod pass;
mod positions;
pub mod reduction;
pub mod taps;

mod ablation;
mod attention;
mod attention_rows;
mod attention_tiles;
mod block;
mod compiled;
mod contacts;
#[cfg(feature = "device")]
mod device;
mod distances;
mod dropout;
mod embedding;
mod feed_forward;
mod gradients;
mod linear;
mod lm_head;
mod placed;
mod query_key;
mod record;
mod rotary;
mod rows;
mod seen;
mod steps;
mod task_head;
mod training;
mod untrained;
mod workspace;

pub use ablation::Removal;
pub use batch::{PackedBatch, Sequence};
#[cfg(feature = "device")]
pub use bertology_device;
pub use bertology_kernels as kernels;
pub use bertology_kernels::{Matrix, MatrixMut};
pub use compiled::Real;
pub use contacts::Contacts;
pub use error::Error;
pub use gradients::Gradients;
pub use intervention::{Intervention, Place, Replaced, Replacements};
pub use mask::{HeadId, HeadMask, Masking, NeuronMask};
pub use model::Model;
pub use objective::Target;
pub use parameters::{Layout, ParameterPlace};
pub use pass::{PassOptions, PassOutput, SequenceOutput};
pub use steps::{Half, OutputMap};
pub use taps::{
    Capture, Captured, Event, Interests, LayerSite, ModelSite, Observer, Pass, Site, Tap,
};
pub use training::{TaughtStates, TrainingOptions, TrainingWorkspace};
pub use workspace::Workspace;
