//! Is each fused kernel faster than the same thing put together from plain passes?
//!
//! `cargo bench -p bertology-kernels`; every group has `fused` and `composed` on the same data, sized as in
//! BERT-base (hidden 768, feed-forward 3072, 512 tokens). Times are per call on one thread.

#![allow(
    clippy::wildcard_imports,
    reason = "a module is a group of two benchmarks, not a name space"
)]

use bertology_kernels::divergence::add_divergences;
use bertology_kernels::norm::{layer_norm, layer_norm_backward};
use bertology_kernels::product::linear;
use bertology_kernels::softmax::{
    entropy, log_sum_exp, softmax_rows, softmax_rows_backward, softmax_seen,
};
use bertology_kernels::strongest::Strongest;
use bertology_kernels::{Activation, Matrix};
use divan::{Bencher, black_box};

const TOKENS: usize = 512;
const HIDDEN: usize = 768;
const INNER: usize = 3072;

fn main() {
    divan::main();
}

fn ramp(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919) % 1013) as f32 / 500.0 - 1.0)
        .collect()
}

/// A linear map on few and on many tokens; `composed` is the library's product with the bias in place first.
mod linear_with_bias {
    use super::*;

    const ROWS: [usize; 3] = [16, 64, TOKENS];

    #[divan::bench(args = ROWS)]
    fn fused(bencher: Bencher<'_, '_>, rows: usize) {
        let (x, w, b) = (ramp(rows * HIDDEN), ramp(HIDDEN * HIDDEN), ramp(HIDDEN));
        let mut y = vec![0.0; rows * HIDDEN];
        bencher.bench_local(|| {
            let input = Matrix::new(black_box(&x), rows, HIDDEN);
            linear(&mut y, input, Matrix::new(&w, HIDDEN, HIDDEN), &b, 1);
        });
    }

    #[divan::bench(args = ROWS)]
    #[allow(unsafe_code, reason = "the product crate takes raw pointers")]
    fn composed(bencher: Bencher<'_, '_>, rows: usize) {
        let (x, w, b) = (ramp(rows * HIDDEN), ramp(HIDDEN * HIDDEN), ramp(HIDDEN));
        let mut y = vec![0.0; rows * HIDDEN];
        bencher.bench_local(|| {
            for row in y.chunks_exact_mut(HIDDEN) {
                row.copy_from_slice(&b);
            }
            let (n, stride) = (HIDDEN, HIDDEN.cast_signed());
            let (to, x, w) = (y.as_mut_ptr(), black_box(&x).as_ptr(), w.as_ptr());
            let product = gemm_f32::gemm::f32::get_gemm_fn();
            let one_thread = gemm_common::Parallelism::None;
            // SAFETY: the three arrays are as large as the shapes say, and `y` is nobody else's.
            unsafe {
                product(
                    n, rows, HIDDEN, to, stride, 1, true, w, 1, stride, x, stride, 1, 1.0, 1.0,
                    false, false, false, one_thread,
                );
            }
        });
    }
}

/// A sentence of 24 words.
mod strongest_partners {
    use super::*;

    const WORDS: usize = 24;

    fn weights() -> Vec<f64> {
        ramp(WORDS * WORDS).into_iter().map(f64::from).collect()
    }

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let weights = weights();
        let mut found = Strongest::default();
        bencher.bench_local(|| {
            let rows = black_box(&weights).chunks_exact(WORDS);
            let rows: Vec<&[f64]> = rows.collect();
            found.find(WORDS, |i, row| row.copy_from_slice(rows[i]));
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let weights = weights();
        let greatest = |of: &dyn Fn(usize) -> f64| {
            let better = |best: (f64, usize), j| {
                let weight = of(j);
                if weight > best.0 { (weight, j) } else { best }
            };
            (0..WORDS).fold((0.0, usize::MAX), better).1
        };
        bencher.bench_local(|| {
            let weights = black_box(&weights);
            let at = |i: usize, j: usize| weights[i * WORDS + j];
            let found = (0..WORDS).map(|i| {
                [
                    greatest(&|j| at(i, j)),
                    greatest(&|j| at(j, i)),
                    greatest(&|j| at(i, j) + at(j, i)),
                ]
            });
            found.collect::<Vec<_>>()
        });
    }
}

mod layer_norm_forward {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let (w, b) = (ramp(HIDDEN), ramp(HIDDEN));
        let (mut y, mut rstd) = (ramp(TOKENS * HIDDEN), vec![0.0; TOKENS]);
        let mut x = ramp(TOKENS * HIDDEN);
        bencher
            .bench_local(|| layer_norm(&mut y, black_box(&mut x), &mut rstd, &w, &b, 1e-12, true));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let (w, b) = (ramp(HIDDEN), ramp(HIDDEN));
        let (mut y, x) = (ramp(TOKENS * HIDDEN), ramp(TOKENS * HIDDEN));
        bencher.bench_local(|| {
            for (row, out) in black_box(&x).chunks(HIDDEN).zip(y.chunks_mut(HIDDEN)) {
                let mean = row.iter().sum::<f32>() / HIDDEN as f32;
                let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>();
                let rstd = 1.0 / (variance / HIDDEN as f32 + 1e-12).sqrt();
                for i in 0..HIDDEN {
                    out[i] = (row[i] - mean) * rstd * w[i] + b[i];
                }
            }
        });
    }
}

mod layer_norm_gradient {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let (w, hat, rstd) = (ramp(HIDDEN), ramp(TOKENS * HIDDEN), ramp(TOKENS));
        let mut dy = ramp(TOKENS * HIDDEN);
        bencher.bench_local(|| layer_norm_backward(black_box(&mut dy), &hat, &rstd, &w, true));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let (w, hat, rstd) = (ramp(HIDDEN), ramp(TOKENS * HIDDEN), ramp(TOKENS));
        let mut dy = ramp(TOKENS * HIDDEN);
        bencher.bench_local(|| {
            let rows = dy.chunks_mut(HIDDEN).zip(hat.chunks(HIDDEN)).zip(&rstd);
            for ((d, hat), rstd) in rows {
                let g: Vec<f32> = d.iter().zip(&w).map(|(d, w)| d * w).collect();
                let mean = g.iter().sum::<f32>() / HIDDEN as f32;
                let along = g.iter().zip(hat).map(|(g, h)| g * h).sum::<f32>() / HIDDEN as f32;
                for i in 0..HIDDEN {
                    d[i] = rstd * (g[i] - mean - hat[i] * along);
                }
            }
        });
    }
}

mod gelu {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let (x, mut y) = (ramp(TOKENS * INNER), vec![0.0; TOKENS * INNER]);
        bencher.bench_local(|| Activation::Gelu.forward(&mut y, black_box(&x)));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let (x, mut y) = (ramp(TOKENS * INNER), vec![0.0; TOKENS * INNER]);
        bencher.bench_local(|| {
            for (y, x) in y.iter_mut().zip(black_box(&x)) {
                let erf = libm::erff(x * std::f32::consts::FRAC_1_SQRT_2);
                *y = 0.5 * x * (1.0 + erf);
            }
        });
    }
}

mod gelu_gradient {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let (x, mut d) = (ramp(TOKENS * INNER), ramp(TOKENS * INNER));
        bencher.bench_local(|| Activation::Gelu.backward(&mut d, black_box(&x)));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let (x, mut d) = (ramp(TOKENS * INNER), ramp(TOKENS * INNER));
        bencher.bench_local(|| {
            for (d, x) in d.iter_mut().zip(black_box(&x)) {
                let cdf = 0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2));
                *d *= cdf + x * 0.398_942_3 * (-0.5 * x * x).exp();
            }
        });
    }
}

/// One head of 512 tokens.
mod softmax {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let x = ramp(TOKENS * TOKENS);
        let mut p = x.clone();
        bencher.bench_local(|| {
            p.copy_from_slice(black_box(&x));
            softmax_rows(&mut p, TOKENS);
        });
    }

    #[divan::bench]
    fn causal(bencher: Bencher<'_, '_>) {
        let x = ramp(TOKENS * TOKENS);
        let mut p = x.clone();
        bencher.bench_local(|| {
            p.copy_from_slice(black_box(&x));
            softmax_seen(&mut p, TOKENS, |query| 0..query + 1);
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let x = ramp(TOKENS * TOKENS);
        let mut p = x.clone();
        bencher.bench_local(|| {
            p.copy_from_slice(black_box(&x));
            for row in p.chunks_mut(TOKENS) {
                let max = row.iter().fold(f32::MIN, |m, v| m.max(*v));
                row.iter_mut().for_each(|v| *v = (*v - max).exp());
                let sum = row.iter().sum::<f32>();
                row.iter_mut().for_each(|v| *v /= sum);
            }
        });
    }
}

mod softmax_gradient {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let (p, mut d) = (ramp(TOKENS * TOKENS), ramp(TOKENS * TOKENS));
        bencher.bench_local(|| softmax_rows_backward(&mut d, black_box(&p), TOKENS));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let (p, mut d) = (ramp(TOKENS * TOKENS), ramp(TOKENS * TOKENS));
        bencher.bench_local(|| {
            for (d, p) in d.chunks_mut(TOKENS).zip(black_box(&p).chunks(TOKENS)) {
                let along = d.iter().zip(p).map(|(d, p)| d * p).sum::<f32>();
                for (d, p) in d.iter_mut().zip(p) {
                    *d = p * (*d - along);
                }
            }
        });
    }
}

mod entropy_of_a_row {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let p: Vec<f32> = ramp(TOKENS).iter().map(|v| (v + 1.1) / 600.0).collect();
        bencher.bench_local(|| entropy(black_box(&p)));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let p: Vec<f32> = ramp(TOKENS).iter().map(|v| (v + 1.1) / 600.0).collect();
        bencher.bench_local(|| black_box(&p).iter().map(|p| -p * p.ln()).sum::<f32>());
    }
}

/// All pairs of 72 heads (six layers of twelve) over the maps of 50 tokens: 6.4 million cells.
mod divergence_of_all_pairs {
    use super::*;

    const HEADS: usize = 72;
    const CELLS: usize = 50 * 50;

    fn maps() -> Vec<f32> {
        let weights = ramp(HEADS * CELLS);
        weights.iter().map(|v| (v + 1.1) / 60.0).collect()
    }

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let maps = maps();
        let mut sums = vec![0.0; HEADS * (HEADS - 1) / 2];
        bencher.bench_local(|| add_divergences(&mut sums, black_box(&maps), HEADS));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let maps = maps();
        let mut sums = vec![0.0; HEADS * (HEADS - 1) / 2];
        bencher.bench_local(|| {
            let maps: Vec<&[f32]> = black_box(&maps).chunks(CELLS).collect();
            let entropy = |p: f32| if p > 0.0 { -p * p.ln() } else { 0.0 };
            let own: Vec<f32> = maps
                .iter()
                .map(|map| map.iter().map(|p| entropy(*p)).sum())
                .collect();
            let mut at = 0;
            for a in 0..HEADS {
                for b in a + 1..HEADS {
                    let cells = maps[a].iter().zip(maps[b]);
                    let mixed: f32 = cells.map(|(p, q)| entropy(0.5 * (p + q))).sum();
                    sums[at] += f64::from(mixed - 0.5 * (own[a] + own[b]));
                    at += 1;
                }
            }
        });
    }
}

/// GPT-2's vocabulary.
mod log_sum_exp_of_logits {
    use super::*;

    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        let z = ramp(50_257);
        bencher.bench_local(|| log_sum_exp(black_box(&z)));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let z = ramp(50_257);
        bencher.bench_local(|| {
            let max = black_box(&z).iter().fold(f32::MIN, |m, v| m.max(*v));
            let sum: f64 = z.iter().map(|v| f64::from(v - max).exp()).sum();
            f64::from(max) + sum.ln()
        });
    }
}
