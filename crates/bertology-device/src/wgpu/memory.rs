//! The buffers of a card, and those that were given back.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use wgpu::{BufferDescriptor, BufferUsages, ErrorFilter};

use super::stream::Card;
use super::wait::now;
use crate::{Error, Shape};

/// Free buffers that are kept whatever is in use.
const KEPT: u64 = 64 << 20;

/// Words in the memory of a card, which go back to it when they are dropped.
#[derive(Debug)]
pub(super) struct Words {
    card: Arc<Card>,
    /// Present until it is dropped.
    raw: Option<wgpu::Buffer>,
    bytes: u64,
    len: usize,
    /// The batch of commands in which it was last used by whom had it before; none had a new one.
    before: Option<u64>,
}

impl Words {
    pub(super) fn raw(&self) -> &wgpu::Buffer {
        self.raw
            .as_ref()
            .unwrap_or_else(|| unreachable!("only dropping takes it"))
    }

    /// Words that it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that an operation may see: a binding is never empty.
    pub(super) fn visible(&self) -> u64 {
        (self.len.max(1) * 4) as u64
    }

    /// Whether they lie on this card.
    pub(super) fn on(&self, card: &Card) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.card), card)
    }

    pub(super) fn before(&self) -> Option<u64> {
        self.before
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.card.give_back(raw, self.bytes);
        }
    }
}

/// Numbers on a card.
#[derive(Debug)]
pub struct Buffer(pub(super) Words);

/// Places of rows on a card.
#[derive(Debug)]
pub struct Indices(pub(super) Words);

/// A [`Shape`] as a card reads it.
#[derive(Debug)]
pub struct Table {
    pub(super) words: Words,
    pub(super) shape: Shape,
    /// Numbers of the maps of one head of all sequences.
    pub(super) squares: u64,
}

/// Buffers that are free, the one that is so for longest first.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: VecDeque<Free>,
    /// Bytes of them.
    idle: u64,
    /// Bytes of all buffers, the free ones included.
    all: u64,
}

#[derive(Debug)]
struct Free {
    raw: wgpu::Buffer,
    bytes: u64,
    batch: u64,
}

impl Pool {
    fn take(&mut self, bytes: u64) -> Option<Free> {
        let at = self.free.iter().rposition(|free| free.bytes == bytes)?;
        let free = self.free.remove(at)?;
        self.idle -= bytes;
        Some(free)
    }

    /// Lets go of the oldest, until no more than so many bytes are free.
    fn shrink(&mut self, most: u64) {
        while self.idle > most
            && let Some(free) = self.free.pop_front()
        {
            self.idle -= free.bytes;
            self.all -= free.bytes;
        }
    }
}

/// Bytes of the buffer that holds so many words: sizes that differ little have one in common, an eighth above at most.
fn class(len: usize, limit: u64) -> u64 {
    let bytes = (len as u64).max(1) * 4;
    if bytes <= 4096 {
        return bytes.next_power_of_two().max(256).min(limit.max(bytes));
    }
    let step = bytes.next_power_of_two() / 16;
    bytes.next_multiple_of(step).min(limit.max(bytes))
}

impl Card {
    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer with whatever is in it.
    pub(super) fn allocate(self: &Arc<Self>, len: usize) -> Result<Words, Error> {
        self.faults.alive()?;
        let needed = (len as u64).saturating_mul(4);
        if needed > self.info.largest_buffer {
            return Err(Error::TooLarge {
                device: self.info.name.clone(),
                needed,
                limit: self.info.largest_buffer,
            });
        }
        let bytes = class(len, self.info.largest_buffer);
        let words = |raw, before| Words {
            card: Arc::clone(self),
            raw: Some(raw),
            bytes,
            len,
            before,
        };
        if let Some(free) = self.pool().take(bytes) {
            return Ok(words(free.raw, Some(free.batch)));
        }
        match self.create(bytes) {
            // What is free may be what is wanting.
            Err(Error::OutOfMemory { .. }) => {
                self.release();
                self.create(bytes)
            }
            made => made,
        }
        .map(|raw| words(raw, None))
    }

    /// Frees what nobody has.
    fn release(&self) {
        self.finish();
        self.pool().shrink(0);
        self.poll(None);
    }

    fn create(&self, bytes: u64) -> Result<wgpu::Buffer, Error> {
        let refused = || Error::OutOfMemory {
            device: self.info.name.clone(),
            needed: bytes,
        };
        if self.pool().all.saturating_add(bytes) > self.memory {
            return Err(refused());
        }
        self.faults.expect(bytes);
        let scope = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let raw = self.device.create_buffer(&BufferDescriptor {
            label: None,
            size: bytes,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if now(scope.pop()).is_some() {
            return Err(refused());
        }
        self.faults.alive()?;
        self.pool().all += bytes;
        Ok(raw)
    }

    fn give_back(&self, raw: wgpu::Buffer, bytes: u64) {
        let batch = self.batch.load(Ordering::Acquire);
        let mut pool = self.pool();
        pool.free.push_back(Free { raw, bytes, batch });
        pool.idle += bytes;
        let most = (pool.all - pool.idle).max(KEPT);
        pool.shrink(most);
    }
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn a_class_holds_its_sizes_and_little_more() {
        let limit = 1 << 30;
        for len in [0, 1, 63, 64, 65, 1000, 1025, 5000, 123_457, 1 << 28] {
            let bytes = class(len, limit);
            assert!(bytes >= (len as u64).max(1) * 4, "{len}");
            assert!(bytes.is_multiple_of(4), "{len}");
            assert!(len <= 1024 || bytes * 8 <= len as u64 * 4 * 9, "{len}");
            assert!(bytes <= limit, "{len}");
        }
        assert_eq!(class(1000, 4000), 4000);
    }
}
