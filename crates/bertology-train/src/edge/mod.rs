//! Edge probing: what can be told from spans of hidden states, layer by layer.
//!
//! Tenney, Xia, Chen, Wang, Poliak, McCoy, Kim, Van Durme, Bowman, Das and Pavlick 2019, *What do you learn from
//! context? Probing for sentence structure in contextualized word representations* (ICLR), and Tenney, Das and Pavlick 2019,
//! *BERT rediscovers the classical NLP pipeline* (ACL). A small classifier sees one or two spans of a sentence, through the
//! states of a model that stays as it is, and tells a label: a part of speech, a dependency, whether two
//! mentions are one entity. A probe for each layer l mixes the layers 0 to l; where its score rises with l, there the
//! information becomes available.
//!
//! | module | question |
//! | --- | --- |
//! | `source` | which states `[pieces, layers, hidden]`, which targets? |
//! | `pieces` | which positions do the targets of a file point at? |
//! | `states` | what does the model hold there, on disk? |
//! | `room` | how much disk will that take? |
//! | `standard` | the same states with layers of one length |
//! | `design` | what is a probe, and where do its numbers lie? |
//! | `batch` | which pieces and distinct spans do some sentences have? |
//! | `pass` | from states to logits, and the gradient on the way back |
//! | `masks` | dropout as a function of seed, layer, step and place |
//! | `settings` | how is a probe trained? two profiles, and every difference between them |
//! | `training` | one probe: a step, a validation, when it stops, whether it has converged |
//! | `march`, `suite` | all probes of a task at once, on some threads, with the same bits on any number |
//! | `saved` | a training on its way to disk and back |
//! | `tally` | which labels do logits give, and how often is that right? |
//! | [`strata`] | how far apart are the spans of a target, how high is its constituent? |
//! | [`summary`] | E_s, E_Δ, K(s), K(Δ), weights corrected for norms |
//! | [`chance`] | intervals over seeds and over sentences; can two tasks be ordered? |
//! | [`trace`] | at which layer does a single target come to its answer? |
//! | [`mdl`] | how many bits do the labels take? |
//! | [`control`] | what would a probe get that remembers texts, or that sees nothing? |
//!
//! # Where it departs from the papers' code
//! The code is jiant 1 (`edgeprobe`). [`DIFFERENCES`] lists what the profile `paper` has of it and `fast` has not. Of both:
//!
//! - States are computed once: the encoder's own dropout is off, which the code leaves on while probes are trained.
//! - The softmax over a span is that of the span; the code multiplies logits by a mask and adds 1e-13 to the sum.
//! - A label is given where its logit is not negative. That is `p ≥ ½`, without the rounding of p.
//! - A probe's gradient is clipped by itself.
//! - Sentences come in random order, not sorted by length: spans are ragged and nothing is padded.
//! - The vocabulary of labels is the training split's; a label that is not in it counts as missed ([`Target::unknown`]).
//! - Micro-averaged F1 over all labels decides about rates and stopping, as there; what is reported is up to the task.

pub mod chance;
pub mod control;
pub mod experiment;
pub mod mdl;
pub mod strata;
pub mod summary;
pub mod trace;

mod batch;
mod design;
mod fault;
mod march;
mod masks;
mod pass;
mod pieces;
mod room;
mod saved;
mod settings;
mod source;
mod stage;
mod standard;
mod states;
mod states_fault;
mod suite;
mod tally;
mod texts;
mod training;

#[cfg(test)]
mod tests;

use batch::Batch;

pub use batch::BatchSize;
pub use design::{Array, Classifier, Design, Output, Pooling, Reading};
pub use fault::Fault;
pub use pieces::{Gathered, Gathering, MOST_DROPPED, Pieces};
pub use room::Room;
pub use settings::{
    DIFFERENCES, Difference, FAST_EPOCHS, Interval, LossScale, PAPER_SMALL, Profile, SETTLED,
    Selection, Settings,
};
pub use source::{HeldStates, LayerStates, Split, Target};
pub use stage::Scored;
pub use standard::Standardized;
pub use states::{
    LastLayer, LayerZero, STATE_FILE_PREFIX, STATE_MANIFEST, StateOptions, StateStore,
};
pub use states_fault::StatesFault;
pub use suite::{Data, Look, Plan, Progress, Suite};
pub use tally::{Counts, Tally, f1};
pub use texts::Place;
pub use training::{Course, Stop, Validation};
