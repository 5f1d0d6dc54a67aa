//! Dropout of a training: a function of seed, layer, step and place, so that a probe has the same masks whatever is
//! trained beside it, and whether it was interrupted.

use bertology::random::{Draws, mixed};
use bertology_kernels::Real;
use bertology_kernels::dropout::Dropout;

use super::design::Shape;
use super::pass::Masks;

/// The masks of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepMasks {
    input: (Dropout, u64),
    units: (Dropout, u64),
}

impl StepMasks {
    pub(crate) fn new(shape: &Shape, seed: u64, step: u64) -> Self {
        let key = |which| Draws::of([seed, shape.reading.top() as u64, step, which]).bits();
        Self {
            input: (Dropout::new(shape.design.input_dropout), key(0)),
            units: (Dropout::new(shape.design.unit_dropout), key(1)),
        }
    }
}

impl<T: Real> Masks<T> for StepMasks {
    fn input(&self, piece: u64, row: &mut [T]) {
        let (dropout, key) = self.input;
        dropout.apply(row, mixed(key ^ mixed(piece)));
    }

    fn units(&self, target: u32, row: &mut [T]) {
        let (dropout, key) = self.units;
        dropout.apply(row, mixed(key ^ u64::from(target)));
    }
}
