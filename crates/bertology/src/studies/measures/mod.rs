//! How much heads, neurons and layers matter, beyond what one gradient tells.
//!
//! [`Measure`](crate::compress::Measure) has the formulas that read one gradient of each example. Those here read many, or none:
//!
//! - [`integrated`](fn@integrated): gradients along the way from no unit to all, of heads and neurons.
//! - [`norms`](fn@norms): how long the gradients of queries, keys and values are, of heads.
//! - [`shapley`](fn@shapley): what a head adds to those that are there already, over all orders.
//!
//! What the loss loses without a head is [ablation](crate::ablation); factors of heads by gradient descent are `bertology-train`'s
//! (`gates`), which follow [`slopes`](fn@slopes).

mod integrated;
mod norms;
mod shapley;
mod slopes;

pub use integrated::integrated;
pub use norms::{Norms, NormsState, norms};
pub use shapley::{Shapley, ShapleyState, shapley};
pub use slopes::slopes;
