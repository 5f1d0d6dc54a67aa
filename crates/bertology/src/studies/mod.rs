//! What does it mean?

pub mod ablation;
pub mod attention;
pub mod attribution;
pub mod chance;
pub mod compress;
pub mod curve;
pub mod dynamics;
pub mod evaluate;
pub mod extract;
pub mod importance;
pub mod judge;
pub mod left_out;
pub mod masking;
pub mod measures;
pub mod metric;
pub mod normalize;
pub mod paired;
pub mod predict;
pub mod proportion;
pub mod pruning;
pub mod student;
pub mod timing;
pub mod vocabulary;

mod ratio;
mod resample;
