//! What became of the inputs.

use serde::{Deserialize, Serialize};

/// What was cut to fit the maximum length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// Examples (for language models: documents) that were cut.
    pub examples: u64,
    /// Tokens cut from them.
    pub tokens: u64,
}

/// What became of the documents of a language model's data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCounts {
    /// Documents read.
    pub documents: u64,
    /// Documents skipped because they have no token to predict: too short, or special tokens only.
    pub without_targets: u64,
    /// Documents that were cut to the maximum length.
    pub cut: u64,
    /// Tokens cut from them.
    pub tokens_cut: u64,
    /// Documents read through more than one window.
    pub windowed: u64,
    /// Windows put through the model; each is an example.
    pub windows: u64,
    /// Windows skipped because every token that counts there is a special one.
    pub windows_without_targets: u64,
    /// Tokens predicted.
    pub targets: u64,
}
