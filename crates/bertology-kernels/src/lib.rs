//! Dense arithmetic for transformers: matrix products, norms, activations, softmax and their
//! backward passes.
//!
//! Everything here works on plain row-major slices and knows no transformer. Functions are generic
//! over [`Real`]: `f32` is what models run in, `f64` is what finite-difference tests run in.
//!
//! | module | question |
//! | --- | --- |
//! | [`real`] | which number types, and their elementary functions |
//! | [`matrix`] | views on strided matrices |
//! | [`product`] | their product, linear maps |
//! | [`precision`] | how exactly linear maps are computed |
//! | [`parts`] | linear maps by bf16 parts of both factors |
//! | [`elementwise`] | activations, additions and reductions |
//! | [`mixing`] | weighted sums of a few rows, and their gradients |
//! | [`dropout`] | masks that are a function of a key and a place |
//! | [`adam`] | one step of Adam |
//! | [`norm`] | layer norm and its backward pass |
//! | [`softmax`] | softmax rows, its backward pass, entropy |
//! | [`divergence`] | Jensen-Shannon divergence of all pairs of maps |
//! | [`strongest`] | the greatest weight of every row and column |
//!
//! Processor features (AVX2, AVX-512, NEON) are chosen at run time; one binary serves all.

pub mod adam;
pub mod divergence;
pub mod dropout;
pub mod elementwise;
pub mod matrix;
pub mod mixing;
pub mod norm;
#[cfg(target_arch = "x86_64")]
mod panels;
pub mod parts;
pub mod precision;
pub mod product;
pub mod real;
pub mod softmax;
pub mod strongest;

pub use elementwise::Activation;
pub use matrix::{Matrix, MatrixMut};
pub use precision::Precision;
pub use product::Product;
pub use real::Real;

/// A closure to be compiled for the best instruction set of this processor.
///
/// Calling it as `FnMut` matters: a call as `FnOnce` goes through a function of its own, which would be
/// compiled for the oldest processor, and there a fused multiply-add is a library call.
struct Vectorized<F>(F);

impl<R, F: FnMut() -> R> pulp::WithSimd for Vectorized<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(mut self, _: S) -> R {
        (self.0)()
    }
}

/// Evaluates an expression compiled for the best instruction set of this processor. All that it calls
/// must be `#[inline(always)]`.
macro_rules! vectorized {
    ($body:expr) => {
        pulp::Arch::new().dispatch($crate::Vectorized(
            #[inline(always)]
            || $body,
        ))
    };
}
pub(crate) use vectorized;
