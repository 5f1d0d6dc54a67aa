//! Every input through the model, what it contributes into a study.

pub mod survey;
pub(crate) mod sweep;
