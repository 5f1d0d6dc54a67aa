//! Products of bf16 pairs by vectors (AVX512-BF16).

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use std::mem::transmute;

use super::{Factors, Unit};

/// Of a processor that has them: made by [`Dots::find`] only.
pub(super) struct Dots(());

const LANES: usize = 16;
/// Vectors of a panel's width: with 6 rows the sums take 24 of the 32 registers.
const VECTORS: usize = 4;
const ROWS: usize = 6;
const WIDTH: usize = VECTORS * LANES;

impl Dots {
    pub(super) fn find() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
        there.then_some(Self(()))
    }
}

impl Unit for Dots {
    const ROWS: usize = ROWS;
    const WIDTH: usize = WIDTH;

    #[allow(unsafe_code, reason = "instructions that not every processor has")]
    fn tile(&mut self, factors: &Factors<'_>, _: usize, out: &mut [f32]) {
        // SAFETY: `find` saw that the processor has them.
        unsafe { tile(factors, out) }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(unsafe_code, reason = "vectors are loaded from and stored to slices")]
fn tile(factors: &Factors<'_>, out: &mut [f32]) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for [rows, panel] in factors.products() {
        let row = |r: usize| &rows[r * factors.stride..][..factors.pairs];
        let rows: [&[u32]; ROWS] = std::array::from_fn(row);
        let (panel, _) = panel.as_chunks::<WIDTH>();
        for (p, line) in panel[..factors.pairs].iter().enumerate() {
            // SAFETY: a line has four vectors.
            let line: [__m512bh; VECTORS] = std::array::from_fn(|v| unsafe {
                transmute::<__m512i, __m512bh>(_mm512_loadu_si512(
                    line[v * LANES..].as_ptr().cast(),
                ))
            });
            for r in 0..ROWS {
                let pair = _mm512_set1_epi32(rows[r][p].cast_signed());
                // SAFETY: both are vectors of 32 bf16 numbers.
                let pair = unsafe { transmute::<__m512i, __m512bh>(pair) };
                for v in 0..VECTORS {
                    sums[r][v] = _mm512_dpbf16_ps(sums[r][v], pair, line[v]);
                }
            }
        }
    }
    let (out, _) = out.as_chunks_mut::<LANES>();
    for (r, out) in out.chunks_exact_mut(VECTORS).enumerate() {
        for (v, out) in out.iter_mut().enumerate() {
            // SAFETY: a chunk is a vector.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums[r][v]) };
        }
    }
}
