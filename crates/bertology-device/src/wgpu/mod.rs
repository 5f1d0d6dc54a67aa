//! A graphics card as a device, by way of Vulkan, Metal or DX12.
//!
//! Commands are recorded, and handed over in batches; programs are compiled when they are first asked for. The memory of what
//! is dropped is used again.
//!
//! # Numerics
//! In `f32`, without atomics and with sums in one order, so that the same batch gives the same bits on one card. Products add
//! their terms sixteen at a time, in order; norms, softmax and sums over tokens by trees. Exponential, tangent and error function
//! are our own, for the shading language promises little: they are as exact as those of the processor.

mod adapter;
mod faults;
mod kernel;
mod memory;
mod operations;
mod reduce;
mod stream;
mod told;
mod wait;

use std::sync::Arc;

pub use self::memory::{Buffer, Indices, Table};
use self::stream::Card;
use crate::{Error, Info};

/// Which card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which<'a> {
    /// The first of [`Wgpu::list`].
    #[default]
    Best,
    /// By its place there.
    Number(usize),
    /// The first whose name has this in it, in letters of either case.
    Name(&'a str),
}

/// What a card is used for at most, below what it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one buffer.
    pub largest_buffer: u64,
    /// Bytes of all buffers together.
    pub memory: u64,
}

impl Default for Bounds {
    /// None.
    fn default() -> Self {
        Self {
            largest_buffer: u64::MAX,
            memory: u64::MAX,
        }
    }
}

/// A graphics card, or a program that acts as one. A clone is the same card, opened once: its programs are compiled once, and
/// buffers of one are buffers of the other.
#[derive(Debug, Clone)]
pub struct Wgpu {
    card: Arc<Card>,
}

impl Wgpu {
    /// The cards that there are: those with memory of their own, those in a processor, others, and programs that act as one.
    #[must_use]
    pub fn list() -> Vec<Info> {
        adapter::list()
    }

    /// Opens a card.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: there is none, none is the one asked for, or it cannot do what is needed.
    pub fn open(which: Which<'_>) -> Result<Self, Error> {
        Self::open_within(which, Bounds::default())
    }

    /// Opens a card and uses no more of it than this.
    ///
    /// # Errors
    /// As [`Wgpu::open`].
    pub fn open_within(which: Which<'_>, bounds: Bounds) -> Result<Self, Error> {
        let card = adapter::open(which, bounds)?;
        Ok(Self {
            card: Arc::new(card),
        })
    }

    /// Gives up the card as if it had been pulled out: whatever is asked of it from now on ends in [`Error::Lost`].
    pub fn abandon(&self) {
        self.card.device.destroy();
        self.card.poll(None);
    }
}
