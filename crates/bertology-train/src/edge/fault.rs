//! What edge probing refuses, with the evidence.

use bertology::Kind;

/// Why a split or a store cannot be probed, or a training cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Values that are no states.
    #[error("{found} values are no states of {layers} layers of {hidden} numbers each")]
    States {
        /// Of a piece.
        layers: usize,
        /// Of a layer.
        hidden: usize,
        /// Values that were given.
        found: usize,
    },
    /// A piece that is not stored.
    #[error("piece {piece} was asked for where {pieces} are stored")]
    Piece {
        /// From 0.
        piece: u32,
        /// Stored ones.
        pieces: usize,
    },
    /// Neither one nor two spans a target.
    #[error("a target has one or two spans, not {roles}")]
    Roles {
        /// What was asked for.
        roles: usize,
    },
    /// A task without labels, or with more than can be numbered.
    #[error("a task has between 1 and 65,535 labels, not {classes}")]
    Classes {
        /// What was asked for.
        classes: usize,
    },
    /// A second span where the task has one, or none where it has two.
    #[error(
        "target {target} has {} second span, and the task's targets have {}",
        if *expected { "no" } else { "a" },
        if *expected { "two spans each" } else { "one span each" }
    )]
    SecondSpan {
        /// From 0.
        target: usize,
        /// Whether there has to be one.
        expected: bool,
    },
    /// A span without pieces.
    #[error("target {target}: the span {start}..{end} holds no piece")]
    Span {
        /// From 0.
        target: usize,
        /// First piece.
        start: u32,
        /// Behind the last piece.
        end: u32,
    },
    /// A label that is no class.
    #[error("target {target} has label {label} where there are {classes}")]
    Label {
        /// From 0.
        target: usize,
        /// From 0.
        label: u16,
        /// Labels that there are.
        classes: usize,
    },
    /// A span beyond what is stored.
    #[error(
        "target {target}: the span {start}..{end} ends beyond the {pieces} pieces that are stored"
    )]
    Beyond {
        /// From 0.
        target: usize,
        /// First piece.
        start: u32,
        /// Behind the last piece.
        end: u32,
        /// Stored ones.
        pieces: usize,
    },
    /// More targets than can be numbered.
    #[error("target {target}: a split holds fewer than 2³² targets and labels")]
    TooMany {
        /// From 0.
        target: usize,
    },
    /// Nothing to train on or to score.
    #[error("the split has no target")]
    NoTargets,
    /// A layer that the states do not have.
    #[error("layer {layer} was asked for where the highest is {}", layers.saturating_sub(1))]
    Layer {
        /// From 0, the embeddings.
        layer: usize,
        /// Layers that there are.
        layers: usize,
    },
    /// A training that diverged, or states that are no numbers.
    #[error(
        "the probe up to layer {layer}, seed {seed}: the loss of step {step} is {loss}, or its gradient is no finite \
         number; the states hold such values, or the learning rate is too high"
    )]
    NotFinite {
        /// The highest layer it reads.
        layer: usize,
        /// Its seed.
        seed: u64,
        /// From 0.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// Softmax where a target of the training has no label or several.
    #[error("target {target} of the training has {labels} labels; a softmax wants exactly one")]
    ManyLabels {
        /// From 0.
        target: usize,
        /// How many.
        labels: usize,
    },
    /// Splits of different tasks.
    #[error("the splits are of different tasks: {train} and {other} {what}")]
    Splits {
        /// `spans a target` or `labels`.
        what: &'static str,
        /// Of the training split.
        train: usize,
        /// Of the other.
        other: usize,
    },
    /// A state that is not this training's.
    #[error("the state of the training {what}")]
    State {
        /// What is wrong with it.
        what: String,
    },
    /// The user asked to stop.
    #[error("interrupted after {validations} validations")]
    Interrupted {
        /// That were finished.
        validations: usize,
    },
    /// A size or a probability that is none.
    #[error("{value} cannot be the {what} of a probe")]
    Design {
        /// Which.
        what: &'static str,
        /// What was asked for.
        value: f64,
    },
}

impl Fault {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            // Those who make splits and stores from files have checked them.
            Self::States { .. }
            | Self::Piece { .. }
            | Self::Roles { .. }
            | Self::SecondSpan { .. }
            | Self::Span { .. }
            | Self::Label { .. }
            | Self::Splits { .. }
            | Self::Beyond { .. } => Kind::Internal,
            Self::NotFinite { .. } => Kind::Numeric,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::Classes { .. }
            | Self::TooMany { .. }
            | Self::NoTargets
            | Self::ManyLabels { .. }
            | Self::State { .. }
            | Self::Layer { .. }
            | Self::Design { .. } => Kind::Input,
        }
    }
}
