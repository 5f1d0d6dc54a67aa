//! What the engine refuses, with the evidence.

use bertology_error::Kind;
use bertology_kernels::Precision;

use crate::Removal;
use crate::intervention::Place;
use crate::mask::HeadId;

/// Why a model could not be built or a pass could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] bertology_checkpoint::Error),
    /// The device on which passes run.
    #[cfg(feature = "device")]
    #[error(transparent)]
    Device(#[from] bertology_device::Error),
    /// A parameter that the architecture needs is not in the checkpoint.
    #[error("the checkpoint has no {parameter}, which this architecture needs")]
    MissingParameter {
        /// Canonical name.
        parameter: String,
    },
    /// A parameter has another shape than the architecture says.
    #[error("{parameter} has {found} elements, the architecture says {expected}")]
    ParameterShape {
        /// Canonical name.
        parameter: String,
        /// Elements found.
        found: usize,
        /// Elements that the architecture says.
        expected: usize,
    },
    /// Gradients of another model.
    #[error(
        "there are {found} gradients, the model has {parameters} weights; make them for this model"
    )]
    GradientCount {
        /// Numbers that there are.
        found: usize,
        /// Weights of the model.
        parameters: usize,
    },
    /// Hidden states of a teacher that do not fit the batch or the model.
    #[error("the teacher's hidden states have {found} {what}, {expected} are needed")]
    TaughtStates {
        /// What there is too little or too much of.
        what: &'static str,
        /// So many there are.
        found: usize,
        /// So many are needed.
        expected: usize,
    },
    /// A probability of dropout with which nothing is left.
    #[error("config.json drops values with probability {rate}; training needs one below 1")]
    DropoutRate {
        /// The probability.
        rate: f64,
    },
    /// A loss that is no number.
    #[error(
        "the loss of sequence {sequence} of the batch is not a finite number; a lower learning rate or clipped gradients \
         keep training from going astray"
    )]
    LossNotFinite {
        /// Place in the batch, zero-based.
        sequence: usize,
    },
    /// The system gives no threads.
    #[error("{threads} threads could not be started: {reason}; ask for fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        reason: String,
    },
    /// Devices compute in the model's own numbers.
    #[cfg(feature = "device")]
    #[error("{device} computes in f32; {precision} is a precision of the processor")]
    DevicePrecision {
        /// The precision asked for.
        precision: Precision,
        /// The device.
        device: String,
    },
    /// A model that does not compute in `f32` cannot do so in another precision.
    #[error("a model in f64 has no precision {precision}; open it in f32")]
    Precision {
        /// The one asked for.
        precision: Precision,
    },
    /// A sequence without tokens.
    #[error("sequence {sequence} of the batch has no tokens; give it at least the special tokens")]
    EmptySequence {
        /// Place in the batch, zero-based.
        sequence: usize,
    },
    /// A sequence longer than the position table.
    #[error(
        "sequence {sequence} of the batch has {tokens} tokens, the model has positions for {limit}; \
         truncate it to {limit}"
    )]
    SequenceTooLong {
        /// Place in the batch, zero-based.
        sequence: usize,
        /// Its tokens.
        tokens: usize,
        /// Tokens that the position table admits.
        limit: usize,
    },
    /// A token or segment id beyond its table.
    #[error(
        "sequence {sequence} has {what} id {id} at position {position}, the model's table has \
         {rows} rows; is this the model's own tokenizer?"
    )]
    IdOutOfRange {
        /// Place in the batch, zero-based.
        sequence: usize,
        /// `token`, `segment` or `position`.
        what: &'static str,
        /// Place in the sequence, zero-based.
        position: usize,
        /// The id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// Segment ids that do not match the tokens one to one.
    #[error("sequence {sequence} has {tokens} tokens but {segments} segment ids")]
    SegmentCount {
        /// Place in the batch, zero-based.
        sequence: usize,
        /// Tokens.
        tokens: usize,
        /// Segment ids.
        segments: usize,
    },
    /// Position ids that do not match the tokens one to one.
    #[error("sequence {sequence} has {tokens} tokens but {positions} position ids")]
    PositionCount {
        /// Place in the batch, zero-based.
        sequence: usize,
        /// Tokens.
        tokens: usize,
        /// Position ids.
        positions: usize,
    },
    /// Position ids for a model that has no table of them.
    #[error(
        "sequence {sequence} comes with position ids, but this model has relative positions only; \
         leave them out"
    )]
    PositionsUnused {
        /// Place in the batch, zero-based.
        sequence: usize,
    },
    /// A head mask of the wrong shape.
    #[error(
        "the head mask is [{found_layers}, {found_heads}], the model has [{layers}, {heads}] \
         (layers, heads)"
    )]
    MaskShape {
        /// Layers of the mask.
        found_layers: usize,
        /// Heads per layer of the mask.
        found_heads: usize,
        /// Layers of the model.
        layers: usize,
        /// Heads per layer of the unpruned model.
        heads: usize,
    },
    /// A mask value that is not a finite number.
    #[error("the head mask holds {value} at {head}; use 1 to keep a head and 0 to mask it")]
    MaskValue {
        /// Where.
        head: HeadId,
        /// What.
        value: f64,
    },
    /// A neuron mask of another model.
    #[error(
        "the neuron mask is [{found_layers}, {found_neurons}] and the model has {layers} layers of {neurons} neurons; give a \
         factor for each"
    )]
    NeuronMaskShape {
        /// Of the mask.
        found_layers: usize,
        /// Of the mask.
        found_neurons: usize,
        /// Of the model.
        layers: usize,
        /// Of a layer of the model.
        neurons: usize,
    },
    /// A factor that is not a finite number.
    #[error(
        "the neuron mask holds {value} at neuron {neuron} of layer {layer}; use 1 to keep a neuron and 0 to mask it"
    )]
    NeuronMaskValue {
        /// Where, zero-based.
        layer: usize,
        /// Where, zero-based.
        neuron: usize,
        /// What.
        value: f64,
    },
    /// A factor other than 0 for a neuron that is gone.
    #[error(
        "the neuron mask keeps neuron {neuron} of layer {layer}, which has {there} neurons left, numbered from 0; give 0 for \
         what is beyond"
    )]
    NeuronPruned {
        /// Where, zero-based.
        layer: usize,
        /// Where, zero-based.
        neuron: usize,
        /// Neurons that the layer has.
        there: usize,
    },
    /// Not one mask per sequence.
    #[error("{masks} head masks for {sequences} sequences; give one per sequence")]
    MaskCount {
        /// Masks given.
        masks: usize,
        /// Sequences of the batch.
        sequences: usize,
    },
    /// A mask that wants a head that was pruned away.
    #[error("{head} is pruned away in this model, so a mask cannot keep it; set it to 0")]
    HeadPruned {
        /// The head.
        head: HeadId,
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
    /// Not one target per sequence.
    #[error("{targets} targets for {sequences} sequences; give one per sequence")]
    TargetCount {
        /// Targets given.
        targets: usize,
        /// Sequences of the batch.
        sequences: usize,
    },
    /// A target that the model's head has no loss for.
    #[error("sequence {sequence}: a {target} target needs a {needs}; this model has {head}")]
    TargetKind {
        /// Place in the batch, zero-based.
        sequence: usize,
        /// Kind of target given.
        target: &'static str,
        /// The head that such a target needs.
        needs: &'static str,
        /// The head that the model has.
        head: &'static str,
    },
    /// A label beyond the logits, or a target of the wrong length.
    #[error("sequence {sequence}: {what} is {found}, the model admits {limit}")]
    TargetRange {
        /// Place in the batch, zero-based.
        sequence: usize,
        /// What is out of range.
        what: &'static str,
        /// What was given.
        found: usize,
        /// What is possible.
        limit: usize,
    },
    /// Gradients where heads are left out one by one.
    #[error(
        "gradients are not computed where heads are left out in turn; run the model without that head"
    )]
    NoGradients,
    /// A backward pass without a loss.
    #[error("gradients need a loss: give one target per sequence")]
    NoTargets,
    /// An observer asked for a site that does not exist in that direction or in this model.
    #[error("{site} cannot be observed {direction}: {reason}")]
    NoSuchSite {
        /// The site.
        site: String,
        /// `forward` or `backward`.
        direction: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// An intervention wants a site at which nothing can be changed.
    #[error("{site} cannot be changed: {reason}")]
    NoIntervention {
        /// The site.
        site: String,
        /// Why not.
        reason: &'static str,
    },
    /// A replacement for a sequence that the batch does not have.
    #[error(
        "a replacement is meant for sequence {sequence}, the batch has {sequences} (zero-based)"
    )]
    NoSuchSequence {
        /// The sequence.
        sequence: usize,
        /// Sequences of the batch.
        sequences: usize,
    },
    /// A replacement for the values of a head that was pruned away.
    #[error("{head} is pruned away in this model, so it can neither be replaced nor left out")]
    HeadGone {
        /// The head.
        head: HeadId,
    },
    /// A replacement of another shape than the value.
    #[error("the replacement at {place:?} does not have the value's shape [{rows}, {cols}]")]
    ReplacementShape {
        /// Where.
        place: Place,
        /// Rows of the value there.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// Contacts of a model that has no regression for them.
    #[error(
        "this model has no contact head, a regression over the attention of its heads; ESM-2's checkpoints have one, at \
         esm.contact_head.regression"
    )]
    NoContactHead,
    /// A pass for its observers alone that should give results, too.
    #[error(
        "a pass for observers alone gives no losses and no logits; leave out the targets, or observed_only"
    )]
    ObservedOnly,
    /// A value that is NaN or infinite, or a hidden state so large that its norm is.
    #[error(
        "the {} at {place}{} is not a finite number (NaN or infinity): the weights hold such values, or \
         values so large that the arithmetic overflows, and nothing computed from them can be trusted",
        if *gradient { "gradient" } else { "value" },
        without.map_or_else(String::new, |removal| format!(" {removal}"))
    )]
    NotFinite {
        /// Where it was met first, on the way up or back.
        place: Place,
        /// Whether it is the gradient there.
        gradient: bool,
        /// What was left out.
        without: Option<Removal>,
    },
    /// An observer, or whoever raised the signal, ended the pass.
    #[error("an observer or a signal stopped the pass")]
    Stopped,
}

impl Error {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Checkpoint(error) => error.kind(),
            #[cfg(feature = "device")]
            Self::Device(error) => error.kind(),
            #[cfg(feature = "device")]
            Self::DevicePrecision { .. } => Kind::Input,
            Self::MissingParameter { .. } | Self::ParameterShape { .. } | Self::Threads { .. } => {
                Kind::Environment
            }
            Self::NotFinite { .. } | Self::LossNotFinite { .. } => Kind::Numeric,
            Self::Stopped => Kind::Interrupted,
            Self::EmptySequence { .. }
            | Self::Precision { .. }
            | Self::SequenceTooLong { .. }
            | Self::IdOutOfRange { .. }
            | Self::SegmentCount { .. }
            | Self::PositionCount { .. }
            | Self::PositionsUnused { .. }
            | Self::MaskShape { .. }
            | Self::MaskValue { .. }
            | Self::NeuronMaskShape { .. }
            | Self::NeuronMaskValue { .. }
            | Self::NeuronPruned { .. }
            | Self::MaskCount { .. }
            | Self::HeadPruned { .. }
            | Self::NoSuchHead { .. }
            | Self::TargetCount { .. }
            | Self::GradientCount { .. }
            | Self::TaughtStates { .. }
            | Self::DropoutRate { .. }
            | Self::TargetKind { .. }
            | Self::TargetRange { .. }
            | Self::NoGradients
            | Self::NoTargets
            | Self::NoSuchSite { .. }
            | Self::NoIntervention { .. }
            | Self::NoSuchSequence { .. }
            | Self::HeadGone { .. }
            | Self::ReplacementShape { .. }
            | Self::NoContactHead
            | Self::ObservedOnly => Kind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_error_keeps_its_kind() {
        let path = std::path::PathBuf::from("model");
        let folder = bertology_checkpoint::Error::NoWeights { path };
        assert_eq!(Error::from(folder).kind(), Kind::Environment);
        let mask = bertology_checkpoint::Error::MaskSize {
            found: 3,
            layers: 2,
            heads: 2,
        };
        assert_eq!(Error::from(mask).kind(), Kind::Input);
    }

    #[test]
    fn a_pass_is_wrong_by_its_input_or_stopped() {
        assert_eq!(Error::NoTargets.kind(), Kind::Input);
        assert_eq!(Error::Stopped.kind(), Kind::Interrupted);
        let parameter = "pooler.dense.weight".to_owned();
        let missing = Error::MissingParameter { parameter };
        assert_eq!(missing.kind(), Kind::Environment);
    }
}
