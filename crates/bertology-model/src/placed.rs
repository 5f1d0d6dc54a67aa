//! Where a model's passes run.

#[cfg(feature = "device")]
use std::sync::Arc;

#[cfg(feature = "device")]
use crate::device::Runner;

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
