//! Dense arithmetic for transformers: matrix products, norms, activations, attention, each with its backward pass.
