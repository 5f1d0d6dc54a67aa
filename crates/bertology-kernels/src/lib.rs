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

/// Runs `body` compiled for the best instruction set of this processor.
///
/// `body` and all that it calls must be inlinable; that is how the compiler gets to vectorise it.
#[inline]
pub(crate) fn dispatch<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}
