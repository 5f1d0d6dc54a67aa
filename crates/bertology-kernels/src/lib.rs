//! Dense arithmetic for transformers: matrix products, norms, activations, softmax and their
//! backward passes.
//!
//! Everything here works on plain row-major slices and knows no transformer. Functions are generic
//! over [`Real`]: `f32` is what models run in, `f64` is what finite-difference tests run in.
//!
//! | module | question |
//! | --- | --- |
//! | [`real`] | which number types, and their elementary functions |
//! | [`matrix`] | views on strided matrices and their product |
//! | [`elementwise`] | activations, additions and reductions |
//! | [`norm`] | layer norm and its backward pass |
//! | [`softmax`] | softmax rows, its backward pass, entropy |
//!
//! Processor features (AVX2, AVX-512, NEON) are chosen at run time; one binary serves all.

pub mod elementwise;
pub mod matrix;
pub mod norm;
pub mod real;
pub mod softmax;

pub use elementwise::Activation;
pub use matrix::{Matrix, MatrixMut, Product};
pub use real::Real;

/// Evaluates an expression compiled for the best instruction set of this processor.
///
/// All that it calls must be `#[inline(always)]`: code that stays a function of its own is compiled
/// for the oldest processor, and there a fused multiply-add is a library call.
macro_rules! vectorized {
    ($body:expr) => {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorized;
