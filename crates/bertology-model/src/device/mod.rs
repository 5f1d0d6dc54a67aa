//! Passes on another device: the sites, masks and results of [`crate::pass`], computed by the operations of a
//! [`Device`](bertology_device::Device).
//!
//! A block is computed operation by operation over the whole batch, attention for as many sequences and heads at once as maps have
//! room for. Values come back only where someone looks, one transfer a layer and site, and observers get them in the order in
//! which the engine's own pass gives them; whoever changes values gets them before anyone else sees them, and they go up again.
//! The heads of tasks, which read few rows, are computed here, but for the losses of language models.

use std::fmt;
use std::sync::Arc;

use bertology_device::{Info, Reduce};
use bertology_kernels::{Precision, Real};

use crate::objective::Parts;
use crate::taps::Taps;
use crate::{Error, HeadId, Model, PackedBatch, PassOptions, PassOutput, Removal, SequenceOutput};

mod attention;
mod attention_backward;
mod block;
mod groups;
mod pass;
mod reduce;
mod turns;
mod watch;
mod weights;
mod words;

use pass::DevicePass;
use weights::Weights;

/// What a pass was asked for, after it has been checked.
pub(crate) struct Asked<'a, R> {
    pub(crate) model: &'a Model<R>,
    pub(crate) batch: &'a PackedBatch,
    pub(crate) options: &'a PassOptions<'a>,
    pub(crate) targets: Option<&'a [Parts<'a>]>,
    pub(crate) backward: bool,
    /// Whether nobody sees the heads of tasks.
    pub(crate) headless: bool,
}

/// What runs passes on a device, whichever.
pub(crate) trait Runner<R: Real>: fmt::Debug + Send + Sync {
    fn pass(
        &self,
        asked: &Asked<'_, R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<PassOutput<R>, Error>;

    /// The batch without each of `heads`, which are there, each once and in order.
    fn turns(
        &self,
        asked: &Asked<'_, R>,
        removal: fn(HeadId) -> Removal,
        heads: &[HeadId],
        each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
    ) -> Result<(), Error>;

    fn info(&self) -> &Info;

    /// Bytes carried to the device and back so far.
    fn carried(&self) -> u64;
}

/// A device and the weights that lie on it.
#[derive(Debug)]
struct OnDevice<R: Real, D: Reduce<R>> {
    device: D,
    weights: Weights<R, D::Buffer>,
}

impl<R: Real, D: Reduce<R>> Runner<R> for OnDevice<R, D> {
    fn pass(
        &self,
        asked: &Asked<'_, R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<PassOutput<R>, Error> {
        let mut pass = DevicePass::new(&self.device, &self.weights, asked)?;
        pass.prepare(taps)?;
        pass.run(asked, taps)
    }

    fn turns(
        &self,
        asked: &Asked<'_, R>,
        removal: fn(HeadId) -> Removal,
        heads: &[HeadId],
        each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
    ) -> Result<(), Error> {
        turns::run(&self.device, &self.weights, asked, removal, heads, each)
    }

    fn info(&self) -> &Info {
        self.device.info()
    }

    fn carried(&self) -> u64 {
        self.device.carried()
    }
}

impl<R: Real> Model<R> {
    /// The device on which passes run; nothing where that is the processor.
    #[must_use]
    pub fn device(&self) -> Option<&Info> {
        self.placed.runner.as_ref().map(|runner| runner.info())
    }
}

impl<R: crate::Real> Model<R> {
    /// The model with its passes ([`Model::run`], [`Model::run_with`], [`Model::run_without_each`], [`Model::run_with_each_alone`])
    /// on a device. Models made of it without some of the heads run there, too. What is computed half a block at a time, and
    /// training, stays on the processor.
    ///
    /// # Numerics
    /// Values are those of the processor to 2e-5 of their site's scale, gradients to 1e-4.
    ///
    /// # Errors
    /// [`Error::DevicePrecision`]: the model computes in another precision than `R`'s own.
    pub fn on_device<D: Reduce<R> + 'static>(mut self, device: D) -> Result<Self, Error>
    where
        D::Buffer: 'static,
    {
        if self.precision != Precision::F32 {
            return Err(Error::DevicePrecision {
                precision: self.precision,
                device: device.info().name.clone(),
            });
        }
        self.placed.runner = Some(Arc::new(OnDevice {
            device,
            weights: Weights::new(),
        }));
        Ok(self)
    }

    /// Bytes that were carried to the device and back so far, weights included; 0 on the processor.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.placed
            .runner
            .as_ref()
            .map_or(0, |runner| runner.carried())
    }
}
