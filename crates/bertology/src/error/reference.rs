//! Why a reference file cannot be compared with a model.

use std::fmt;
use std::path::PathBuf;

use bertology_error::Kind;
use serde::Serialize;

/// A place in a tensor, in the numbers of the reference file: zero-based, padding counted. What the
/// tensor has no axis for is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Row of the batch.
    pub sequence: Option<usize>,
    /// Layer, where the tensor holds several.
    pub layer: Option<usize>,
    /// Head, as numbered before any pruning.
    pub head: Option<usize>,
    /// Position of the token; the query's in attention.
    pub position: Option<usize>,
    /// Position of the key, in attention.
    pub key: Option<usize>,
    /// Column: hidden unit, part of a head, label or vocabulary entry.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = if self.key.is_some() {
            "query"
        } else {
            "position"
        };
        let parts = [
            ("sequence", self.sequence),
            ("layer", self.layer),
            ("head", self.head),
            (position, self.position),
            ("key", self.key),
            ("column", self.column),
        ];
        let mut separator = "";
        for (name, index) in parts {
            if let Some(index) = index {
                write!(f, "{separator}{name} {index}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() {
            f.write_str("the only entry")?;
        }
        Ok(())
    }
}

/// Why a reference file cannot be compared. Each message says what to change in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not in the safetensors format.
    #[error("{} is not a safetensors file: {source}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: safetensors::SafeTensorError,
    },
    /// Tensors whose names mean nothing here.
    #[error(
        "the reference holds {}, which cannot be understood; rename or leave out what is not one of \
         input_ids, attention_mask, token_type_ids, position_ids, head_mask, labels, targets, \
         next_sentence_label, start_positions, end_positions, hidden_states.N, attentions.N, attention_probs.N, \
         attention_scores.N, query.N, key.N, value.N, rotated_query.N, rotated_key.N, head_output.N, attention_output.N, \
         mlp_inner.N, mlp_output.N, last_residual, pooled, logits, seq_relationship_logits, loss, \
         mask_grad, or grad. followed by one of these", names.join(", ")
    )]
    UnknownTensors {
        /// Their names.
        names: Vec<String>,
    },
    /// The number in a tensor's name is beyond the model.
    #[error("{name}: the model has {layers} layers, so that the last number possible is {last}")]
    NoSuchLayer {
        /// The tensor.
        name: String,
        /// Layers of the model.
        layers: usize,
        /// The highest number that the name admits.
        last: usize,
    },
    /// An input without which nothing can be run.
    #[error("the reference has no {name}; {reason}")]
    MissingInput {
        /// The input.
        name: &'static str,
        /// What it is needed for.
        reason: &'static str,
    },
    /// A tensor of another element type than its name wants.
    #[error("{name} holds {found}, but {needs}")]
    ElementType {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
        /// What is needed, and how to get it.
        needs: &'static str,
    },
    /// A tensor of another shape than the model and the inputs say.
    #[error("{name} has the shape {found:?}; {needs}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits, and what to do.
        needs: String,
    },
    /// An input with a value that cannot be used.
    #[error("{name}, sequence {sequence}: {reason}")]
    Input {
        /// The tensor.
        name: String,
        /// The sequence, zero-based.
        sequence: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A result that this model does not compute.
    #[error("{name} cannot be compared: {reason}")]
    NotComputed {
        /// The tensor.
        name: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A reference value that is infinite or not a number.
    #[error(
        "{name} holds {value} at {place}, with which nothing can be compared; the reference itself \
         went wrong there"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Where.
        place: Box<Place>,
        /// The value.
        value: f64,
    },
    /// A reference tensor of zeros where the model has other values.
    #[error(
        "{name} is all zeros where it would be compared, as a tensor that was never filled is; \
         write it again or leave it out"
    )]
    AllZero {
        /// The tensor.
        name: String,
    },
    /// Not one result in the file.
    #[error("nothing was compared: {reason}")]
    NothingToCompare {
        /// Why, and what to do.
        reason: String,
    },
}

impl ReferenceError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { .. } | Self::NotSafetensors { .. } => Kind::Environment,
            Self::UnknownTensors { .. }
            | Self::NoSuchLayer { .. }
            | Self::MissingInput { .. }
            | Self::ElementType { .. }
            | Self::Shape { .. }
            | Self::Input { .. }
            | Self::NotComputed { .. }
            | Self::NotFinite { .. }
            | Self::AllZero { .. }
            | Self::NothingToCompare { .. } => Kind::Input,
        }
    }
}
