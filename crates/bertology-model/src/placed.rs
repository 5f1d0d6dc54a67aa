//! Where a model's passes run.

#[cfg(feature = "device")]
use std::sync::Arc;

#[cfg(feature = "device")]
use crate::device::Runner;
use crate::{Error, Model};

/// A device, or the processor.
pub(crate) struct Placed<R> {
    #[cfg(feature = "device")]
    pub(crate) runner: Option<Arc<dyn Runner<R>>>,
    #[cfg(not(feature = "device"))]
    processor: std::marker::PhantomData<R>,
}

impl<R> Placed<R> {
    pub(crate) fn on_processor() -> Self {
        Self {
            #[cfg(feature = "device")]
            runner: None,
            #[cfg(not(feature = "device"))]
            processor: std::marker::PhantomData,
        }
    }
}

impl<R> Clone for Placed<R> {
    fn clone(&self) -> Self {
        Self {
            #[cfg(feature = "device")]
            runner: self.runner.clone(),
            #[cfg(not(feature = "device"))]
            processor: std::marker::PhantomData,
        }
    }
}

impl<R> std::fmt::Debug for Placed<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Placed")
    }
}

impl<R: crate::Real> Model<R> {
    /// The model with its passes where those of `other` run, whose device then holds what both have in common once: for one that
    /// was opened from what `other` was written to.
    ///
    /// # Errors
    /// `other` is on a device, and this model computes in another precision than f32.
    pub fn placed_as(mut self, other: &Self) -> Result<Self, Error> {
        #[cfg(feature = "device")]
        if let Some(device) = other.device()
            && self.precision != bertology_kernels::Precision::F32
        {
            return Err(Error::DevicePrecision {
                precision: self.precision,
                device: device.name.clone(),
            });
        }
        self.placed = other.placed.clone();
        Ok(self)
    }
}
