//! bf16 products as f32: what every processor can.

use super::{Factors, Unit};
use crate::vectorized;

pub(super) struct Portable;

const ROWS: usize = 4;
const WIDTH: usize = 16;

impl Unit for Portable {
    const ROWS: usize = ROWS;
    const WIDTH: usize = WIDTH;

    fn tile(&mut self, factors: &Factors<'_>, _: usize, out: &mut [f32]) {
        let mut sums = [[0.0; WIDTH]; ROWS];
        for [rows, panel] in factors.products() {
            let row = |r: usize| &rows[r * factors.stride..][..factors.pairs];
            let rows: [&[u32]; ROWS] = std::array::from_fn(row);
            let (panel, _) = panel.as_chunks::<WIDTH>();
            let panel = &panel[..factors.pairs];
            sums = vectorized!(add(sums, rows, panel));
        }
        out.copy_from_slice(sums.as_flattened());
    }
}

/// In the order of AVX512-BF16: the second of two terms first, each with one rounding.
#[inline(always)]
fn add(
    mut sums: [[f32; WIDTH]; ROWS],
    rows: [&[u32]; ROWS],
    panel: &[[u32; WIDTH]],
) -> [[f32; WIDTH]; ROWS] {
    const UPPER: u32 = 0xffff_0000;
    for (p, line) in panel.iter().enumerate() {
        let firsts = line.map(|pair| f32::from_bits(pair << 16));
        let seconds = line.map(|pair| f32::from_bits(pair & UPPER));
        for (sums, row) in sums.iter_mut().zip(rows) {
            let (first, second) = (f32::from_bits(row[p] << 16), f32::from_bits(row[p] & UPPER));
            for (sum, (a, b)) in sums.iter_mut().zip(firsts.iter().zip(&seconds)) {
                *sum = first.mul_add(*a, second.mul_add(*b, *sum));
            }
        }
    }
    sums
}
