//! What a comparison with a reference found.

use serde::Serialize;

use super::Place;

/// The largest error of a tensor, or of one head's part of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Worst {
    /// `|ours − theirs|`; infinite where ours is not a number.
    pub absolute: f64,
    /// `absolute` divided by the scale of the whole tensor.
    pub relative: f64,
    /// Where.
    pub place: Place,
    /// The model's value there.
    pub ours: f64,
    /// The reference's value there.
    pub theirs: f64,
}

/// The largest error of one head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeadError {
    /// Layer, zero-based.
    pub layer: usize,
    /// Head, as numbered before any pruning.
    pub head: usize,
    /// Its largest error.
    pub worst: Worst,
}

/// One tensor of the reference, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Its name in the file.
    pub name: String,
    /// The layer that it belongs to, zero-based; none for what lies around the layers.
    pub layer: Option<usize>,
    /// Numbers compared.
    pub compared: u64,
    /// Numbers at real tokens that were left out: scores that a causal model, or a window, never looks at, and
    /// heads that are masked to zero or gone.
    pub left_out: u64,
    /// The tensor's scale: the largest absolute value that the reference has where it was compared; at
    /// least 1 for logits and losses.
    pub scale: f64,
    /// Largest error relative to the scale that passes.
    pub tolerance: f64,
    /// Whether the largest error is within the tolerance.
    pub agrees: bool,
    /// The largest error.
    pub worst: Worst,
    /// The largest error of every head, at sites that are per head.
    pub heads: Vec<HeadError>,
}

/// A tensor of the reference that was not needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// Its name in the file.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A model compared with a reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Sequences of the batch.
    pub sequences: usize,
    /// Tokens that count.
    pub tokens: usize,
    /// Positions of padding, which were left out.
    pub padding: usize,
    /// Every result of the file, in the order of the computation: values from the embeddings up, then
    /// gradients from the logits down.
    pub comparisons: Vec<Comparison>,
    /// The inputs that were read, by their names in the file.
    pub inputs: Vec<String>,
    /// What was left aside.
    pub ignored: Vec<Ignored>,
}

impl Verification {
    /// Whether every tensor agrees.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.first_divergence().is_none()
    }

    /// The first tensor, in the order of the computation, that does not agree. What comes after it
    /// is computed from it, so this is where to look.
    #[must_use]
    pub fn first_divergence(&self) -> Option<&Comparison> {
        self.comparisons.iter().find(|c| !c.agrees)
    }
}
