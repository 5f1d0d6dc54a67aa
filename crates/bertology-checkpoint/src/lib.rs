//! What lies in a model folder: `config.json`, tensors and their names, read and written.

pub mod arch;
pub mod parameter;

pub use arch::{Activation, Architecture, Family, PositionIds, Positions, Problem, TaskHead};
pub use parameter::{Affine, LayerParameter, Parameter};
