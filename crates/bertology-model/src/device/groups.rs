//! Which sequences and heads have their attention computed together.

use std::ops::Range;

use bertology_device::{Error, Reduce, Shape};
use bertology_kernels::Real;

use crate::PackedBatch;

/// Sequences and heads whose maps are in one buffer.
pub(super) struct Group<S> {
    pub(super) sequences: Range<usize>,
    /// Places among the heads that are present.
    pub(super) heads: Range<usize>,
    pub(super) shape: Shape,
    pub(super) on: S,
}

/// The shapes of layers that have the same heads in the same slots.
pub(super) struct Shapes<S> {
    /// Of all sequences and heads; its maps are never computed.
    pub(super) all: S,
    pub(super) groups: Vec<Group<S>>,
}

/// What the shapes of all layers of a batch have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) dim: usize,
    pub(super) longest: usize,
    pub(super) distances: usize,
}

impl<S> Shapes<S> {
    pub(super) fn new<R: Real, D: Reduce<R, Shape = S>>(
        device: &D,
        batch: &PackedBatch,
        slots: Vec<usize>,
        extent: Extent,
    ) -> Result<Self, Error> {
        let limit = device.info().map_bytes as usize / size_of::<R>();
        let shape = |sequences: Range<usize>, heads: Range<usize>| {
            Shape::new(
                sequences.map(|sequence| batch.range(sequence)),
                slots[heads].to_vec(),
                extent.dim,
                extent.longest,
                extent.distances,
            )
        };
        let group = |sequences: Range<usize>, heads: Range<usize>| {
            let shape = shape(sequences.clone(), heads.clone());
            Ok(Group {
                on: device.shape(&shape)?,
                sequences,
                heads,
                shape,
            })
        };
        let per_head = |sequence: usize| {
            let n = batch.range(sequence).len();
            (n * n).max(n * extent.distances)
        };
        let heads = slots.len();
        let mut groups = Vec::new();
        let mut sequence = 0;
        while sequence < batch.len() && heads > 0 {
            let first = sequence;
            let mut numbers = 0;
            while sequence < batch.len() && numbers + heads * per_head(sequence) <= limit {
                numbers += heads * per_head(sequence);
                sequence += 1;
            }
            if sequence > first {
                groups.push(group(first..sequence, 0..heads)?);
                continue;
            }
            // One text alone is too much: some of its heads at a time.
            let fit = limit / per_head(sequence);
            if fit == 0 {
                return Err(Error::TooLarge {
                    device: device.info().name.clone(),
                    needed: (per_head(sequence) * size_of::<R>()) as u64,
                    limit: device.info().map_bytes,
                });
            }
            for from in (0..heads).step_by(fit) {
                groups.push(group(first..first + 1, from..heads.min(from + fit))?);
            }
            sequence += 1;
        }
        Ok(Self {
            all: device.shape(&shape(0..batch.len(), 0..heads))?,
            groups,
        })
    }
}
