//! What programs are told: every parameter is a word of 32 bits.

use std::ops::Range;

use bertology_kernels::Activation;

use super::memory::Table;
use crate::device::Activate;
use crate::{HeadMatrix, Shape, Sight};

/// A number as a program is told it.
///
/// # Panics
/// If it does not fit 32 bits: no buffer is as long, and what is beyond a buffer is a fault of the caller.
#[track_caller]
pub(super) fn word(number: usize) -> u32 {
    u32::try_from(number).expect("no buffer is as long")
}

impl Table {
    pub(super) fn heads(&self) -> usize {
        self.shape.slots.len()
    }

    /// What every program by sequences and heads is told first.
    pub(super) fn parameters(&self, tiles: usize) -> Vec<u32> {
        let shape = &self.shape;
        let told = [
            shape.sequences.len(),
            shape.slots.len(),
            shape.dim,
            shape.tokens().start,
            shape.tokens().len(),
            shape.longest,
            shape.distances,
            tiles,
        ];
        told.map(word).to_vec()
    }
}

/// How a program is told what a query sees, and what to put where there is nothing to see.
pub(super) fn sight_words(sight: Sight, value: f32) -> [u32; 3] {
    let (mode, reach) = match sight.reach {
        Some(reach) => (2, u32::try_from(reach).unwrap_or(u32::MAX)),
        None => (u32::from(sight.causal), 0),
    };
    [mode, reach, value.to_bits()]
}

pub(super) fn matrix_words(matrix: HeadMatrix) -> [u32; 4] {
    match matrix {
        HeadMatrix::Tokens { first, stride } => [0, word(first), word(stride), 1],
        HeadMatrix::Map => [1, 0, 0, 0],
        HeadMatrix::Spread => [2, 0, 0, 0],
        HeadMatrix::Distances {
            first,
            stride,
            by_head,
        } => [3, word(first), word(stride), u32::from(by_head)],
    }
}

fn function(activation: Activation) -> u32 {
    match activation {
        Activation::Gelu => 0,
        Activation::GeluTanh => 1,
        Activation::Relu => 2,
        Activation::Silu => 3,
        Activation::QuickGelu => 4,
        Activation::Tanh => 5,
    }
}

/// The words that a shape takes: see `kernels/shape.wgsl`.
pub(super) fn table_words(shape: &Shape, tokens: &Range<usize>) -> Option<Vec<u32>> {
    let mut words = Vec::new();
    for (sequence, place) in shape.sequences.iter().enumerate() {
        let spread = shape.spread(sequence, 0);
        for number in [place.token, place.tokens, place.map, spread] {
            words.push(u32::try_from(number).ok()?);
        }
    }
    for slot in &shape.slots {
        words.push(u32::try_from(*slot).ok()?);
    }
    let first = words.len();
    words.resize(first + tokens.len(), u32::MAX);
    for (sequence, place) in (0..).zip(&shape.sequences) {
        words[first + place.token - tokens.start..][..place.tokens].fill(sequence);
    }
    Some(words)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the purpose"
)]
pub(super) fn norm_words([rows, width]: [usize; 2], epsilon: f64, centred: bool) -> [u32; 6] {
    let inverse = (1.0 / width as f64) as f32;
    let of_mean = if centred { inverse } else { 0.0 };
    [
        word(rows),
        word(width),
        inverse.to_bits(),
        of_mean.to_bits(),
        (epsilon as f32).to_bits(),
        f32::NAN.to_bits(),
    ]
}

pub(super) fn activate_words(len: usize, by: Activate) -> [u32; 4] {
    [
        word(len),
        word(by.inner),
        u32::from(by.gated),
        function(by.function),
    ]
}
