//! What an extraction refuses, with the evidence.

use std::fmt;
use std::path::PathBuf;

use bertology_error::Kind;
use bertology_model::HeadId;
use bertology_store::StoreError;

impl From<ExtractError> for crate::Error {
    fn from(error: ExtractError) -> Self {
        Self::Extract(Box::new(error))
    }
}

/// Bytes with a decimal unit.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = self.0 as f64;
        match self.0 {
            0..1_000_000 => write!(f, "{} bytes", self.0),
            1_000_000..1_000_000_000 => write!(f, "{:.1} MB", scaled / 1e6),
            _ => write!(f, "{:.2} GB", scaled / 1e9),
        }
    }
}

/// Why an extraction could not be planned or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// A shard could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Texts of which none has a token.
    #[error(
        "{}: no text has a token ({texts} read), so there is nothing to write; give at least one that is not empty",
        path.display()
    )]
    NoTokens {
        /// The file, or what stands in its place.
        path: PathBuf,
        /// Texts read.
        texts: u64,
    },
    /// Hidden states of a layer that does not exist.
    #[error(
        "there are no hidden states {layer}: the model has {layers} layers, so 0 (the embeddings) \
         to {layers} (behind the last layer) exist"
    )]
    NoSuchState {
        /// As asked for.
        layer: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// A layer that does not exist, where heads or neurons were asked for.
    #[error("there is no layer {layer}: the model has {layers} layers, numbered from 0")]
    NoSuchLayer {
        /// As asked for.
        layer: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// Not a choice of layers.
    #[error("`{text}` is not a choice of layers; write all, 3 or 0,4-6")]
    LayerSyntax {
        /// As given.
        text: String,
    },
    /// A head that the unpruned model does not have.
    #[error("{head} does not exist: the model has {layers} layers of {heads} heads, zero-based")]
    NoSuchHead {
        /// The head.
        head: HeadId,
        /// Layers of the model.
        layers: usize,
        /// Heads per layer of the unpruned model.
        heads: usize,
    },
    /// A head that was pruned away.
    #[error(
        "{head} is pruned away in this model, so it computes nothing; leave it out, or name the \
         layer to get the heads that are there"
    )]
    PrunedHead {
        /// The head.
        head: HeadId,
    },
    /// A site that has no value per head.
    #[error("{site} is not a value per head that the forward pass has")]
    NotPerHead {
        /// The site.
        site: String,
    },
    /// A selection without any head.
    #[error("{what}: every head of the chosen layers is pruned away; choose other layers")]
    NoHeads {
        /// The name of the site.
        what: &'static str,
    },
    /// Logits of a model without a task head.
    #[error("the model has {head}, so there are no logits; take a checkpoint with a task head")]
    NoLogits {
        /// What the model has.
        head: &'static str,
    },
    /// Gradients of nothing.
    #[error(
        "gradients are those of the chosen values, and none is chosen; add hidden states, \
         attentions or other values"
    )]
    NoValues,
    /// An objective that the model's head cannot have.
    #[error("the objective {objective} needs {needs}, and the model has {head}")]
    Objective {
        /// The objective.
        objective: String,
        /// What it needs.
        needs: &'static str,
        /// What the model has.
        head: &'static str,
    },
    /// Not an objective.
    #[error(
        "`{text}` is not an objective; write label, lm, mlm, class:2 for the loss of class 2, or logit:2 for its logit"
    )]
    ObjectiveSyntax {
        /// As given.
        text: String,
    },
    /// A class that the model does not have.
    #[error("there is no class {class}: the model has {classes}, numbered from 0")]
    NoSuchClass {
        /// As asked for.
        class: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// Maps cannot be pooled.
    #[error(
        "{what} are maps from token to token, which are not pooled by word; extract them by \
         themselves without pooling"
    )]
    PooledMaps {
        /// The name of the site.
        what: &'static str,
    },
    /// The disk is too small.
    #[error(
        "the results need about {}, and {} are free; choose fewer layers or heads, a narrower type \
         of numbers, or another disk", Size(*needed), Size(*available)
    )]
    NoRoom {
        /// Bytes to be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// Nobody can say how much room there is.
    #[error("cannot find out how much room there is: {source}")]
    Space {
        /// Why not.
        source: std::io::Error,
    },
    /// The library was built without Parquet.
    #[cfg(not(feature = "parquet"))]
    #[error("this program was built without Parquet; take the format safetensors or npz")]
    NoParquet,
    /// A finished shard has disappeared.
    #[error(
        "{} is missing, though the saved state says that it was finished; start again from the \
         beginning", path.display()
    )]
    MissingShard {
        /// The file.
        path: PathBuf,
    },
}

impl ExtractError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            #[cfg(not(feature = "parquet"))]
            Self::NoParquet => Kind::Input,
            Self::NoRoom { .. } | Self::Space { .. } | Self::MissingShard { .. } => {
                Kind::Environment
            }
            Self::NoSuchState { .. }
            | Self::NoSuchLayer { .. }
            | Self::LayerSyntax { .. }
            | Self::NoSuchHead { .. }
            | Self::PrunedHead { .. }
            | Self::NotPerHead { .. }
            | Self::NoHeads { .. }
            | Self::NoLogits { .. }
            | Self::NoValues
            | Self::NoTokens { .. }
            | Self::Objective { .. }
            | Self::ObjectiveSyntax { .. }
            | Self::NoSuchClass { .. }
            | Self::PooledMaps { .. } => Kind::Input,
        }
    }
}
