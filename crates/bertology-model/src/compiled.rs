//! The passes, compiled here once for the type that all studies compute in.
//!
//! Generic code is compiled in every crate that calls it, with that crate's optimisation. The engine is
//! large and must be fast, so its `f32` form is compiled in this crate, and callers only link to it.

use bertology_checkpoint::Checkpoint;

use crate::model::Normal;
use crate::{
    Error, Gradients, Half, HeadId, Intervention, Model, Observer, PackedBatch, PassOptions,
    PassOutput, Removal, Sequence, SequenceOutput, TrainingOptions, TrainingWorkspace, Workspace,
};

/// A floating-point type that the engine computes in: `f32` or `f64`.
pub trait Real: bertology_kernels::Real + Passes {}

impl<R: Passes> Real for R {}

/// The entries of the engine for one type.
pub trait Passes: bertology_kernels::Real {
    /// [`Model::from_checkpoint`].
    fn read(checkpoint: &Checkpoint, normal: Option<Normal<'_>>) -> Result<Model<Self>, Error>;

    /// [`Model::run_with`].
    fn pass(
        model: &Model<Self>,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<Self>,
        observers: &mut [&mut dyn Observer<Self>],
        interventions: &mut [&mut dyn Intervention<Self>],
    ) -> Result<PassOutput<Self>, Error>;

    /// [`Model::add_gradients`].
    fn learn(
        model: &Model<Self>,
        sequences: &[Sequence],
        options: &TrainingOptions<'_>,
        workspace: &mut TrainingWorkspace<Self>,
        gradients: &mut Gradients<Self>,
    ) -> Result<Vec<SequenceOutput<Self>>, Error>;

    /// [`Model::stream`].
    fn begin(
        model: &Model<Self>,
        batch: &PackedBatch,
        workspace: &mut Workspace<Self>,
    ) -> Result<Vec<Self>, Error>;

    /// [`Model::attention_half`].
    fn attend(
        model: &Model<Self>,
        layer: usize,
        batch: &PackedBatch,
        stream: &[Self],
        workspace: &mut Workspace<Self>,
    ) -> Result<Half<Self>, Error>;

    /// [`Model::mlp_half`].
    fn feed_forward(
        model: &Model<Self>,
        layer: usize,
        batch: &PackedBatch,
        attention: Half<Self>,
        workspace: &mut Workspace<Self>,
    ) -> Result<(Half<Self>, Vec<Self>), Error>;

    /// [`Model::run_without_each`] and [`Model::run_with_each_alone`].
    fn in_turn(
        model: &Model<Self>,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<Self>,
        removal: fn(HeadId) -> Removal,
        heads: &[HeadId],
        each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<Self>>),
    ) -> Result<(), Error>;
}

macro_rules! passes {
    ($real:ty $(, $attribute:meta)?) => {
        impl Passes for $real {
            $(#[$attribute])?
            fn read(
                checkpoint: &Checkpoint,
                normal: Option<Normal<'_>>,
            ) -> Result<Model<Self>, Error> {
                Model::read(checkpoint, normal)
            }

            $(#[$attribute])?
            fn pass(
                model: &Model<Self>,
                batch: &PackedBatch,
                options: &PassOptions<'_>,
                workspace: &mut Workspace<Self>,
                observers: &mut [&mut dyn Observer<Self>],
                interventions: &mut [&mut dyn Intervention<Self>],
            ) -> Result<PassOutput<Self>, Error> {
                model.pass(batch, options, workspace, observers, interventions)
            }

            $(#[$attribute])?
            fn learn(
                model: &Model<Self>,
                sequences: &[Sequence],
                options: &TrainingOptions<'_>,
                workspace: &mut TrainingWorkspace<Self>,
                gradients: &mut Gradients<Self>,
            ) -> Result<Vec<SequenceOutput<Self>>, Error> {
                model.learn(sequences, options, workspace, gradients)
            }

            $(#[$attribute])?
            fn begin(
                model: &Model<Self>,
                batch: &PackedBatch,
                workspace: &mut Workspace<Self>,
            ) -> Result<Vec<Self>, Error> {
                model.begin(batch, workspace)
            }

            $(#[$attribute])?
            fn attend(
                model: &Model<Self>,
                layer: usize,
                batch: &PackedBatch,
                stream: &[Self],
                workspace: &mut Workspace<Self>,
            ) -> Result<Half<Self>, Error> {
                model.attend(layer, batch, stream, workspace)
            }

            $(#[$attribute])?
            fn feed_forward(
                model: &Model<Self>,
                layer: usize,
                batch: &PackedBatch,
                attention: Half<Self>,
                workspace: &mut Workspace<Self>,
            ) -> Result<(Half<Self>, Vec<Self>), Error> {
                model.feed_forward(layer, batch, attention, workspace)
            }

            $(#[$attribute])?
            fn in_turn(
                model: &Model<Self>,
                batch: &PackedBatch,
                options: &PassOptions<'_>,
                workspace: &mut Workspace<Self>,
                removal: fn(HeadId) -> Removal,
                heads: &[HeadId],
                each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<Self>>),
            ) -> Result<(), Error> {
                model.in_turn(batch, options, workspace, removal, heads, each)
            }
        }
    };
}

passes!(f32);
// Only checks of gradients compute in f64; who does not run them need not compile it.
passes!(f64, inline);
