//! One model: opened, asked about a few texts, changed on the way, compared with transformers.
//!
//! What the engine is made of ([`bertology_model`]) is re-exported here.

pub mod device;
pub mod experiment;
pub mod loaded;
pub mod verify;

pub use bertology_model::*;
