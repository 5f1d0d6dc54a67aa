//! How fast are the products of a transformer's block on this machine, with nothing around them?
//! `peak --hidden H --inner I [--rows 1024] [--threads N] [--seconds 0.5] [--others true]`.
//!
//! Measures the four products of a block (queries, keys and values in one; output; up; down) on `rows`
//! tokens in both layouts, `x · wᵀ` of the forward and `dy · w` of the backward pass. Every thread has
//! activations of its own and works on its own, as the engine does; all read the same weights. Prints one
//! JSON object: GFLOP/s of all threads together, of fused multiply-adds on registers (which no product in f32 can pass),
//! of each product and weighted by their FLOPs; with `--others true` also the forward product by the `gemm` crate, and both in
//! the other precisions, whose FLOPs are counted as if they were in f32.
//! `benches/peers/compare.py` divides what a pass reaches by it; `benches/peers/products.py` has PyTorch's beside it.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use bertology_kernels::parts::Parts;
use bertology_kernels::product::{linear, linear_backward_input};
use bertology_kernels::{Matrix, MatrixMut, Precision};
use gemm_common::Parallelism;
use pulp::{Arch, Simd, WithSimd};

/// A linear map of the block: its name and weight `[outputs, inputs]`.
struct Map {
    name: &'static str,
    outputs: usize,
    inputs: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Forward,
    Backward,
}

/// Who computes it.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Engine(Precision),
    /// The `gemm` crate, which adds no bias: it has less to do.
    Library,
}

/// What one thread did: products finished, and how long they took.
struct Done {
    products: usize,
    time: Duration,
}

/// Numbers without special cases (subnormals, zeros) that could be faster or slower.
fn values(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.001)
        .collect()
}

/// One thread's share: one product to warm up, then as many as fit into `span`.
#[allow(
    clippy::too_many_arguments,
    reason = "one call site, all of one measurement"
)]
fn work(
    map: &Map,
    weight: &[f32],
    parts: Option<&Parts>,
    layout: Layout,
    by: By,
    rows: usize,
    go: &Barrier,
    span: Duration,
) -> Done {
    let (from, to) = match layout {
        Layout::Forward => (map.inputs, map.outputs),
        Layout::Backward => (map.outputs, map.inputs),
    };
    let (x, mut y) = (values(rows * from), vec![0.0; rows * to]);
    let bias = vec![0.5; to];
    let mut product = || {
        let weight = Matrix::new(weight, map.outputs, map.inputs);
        let x = Matrix::new(std::hint::black_box(&x), rows, from);
        let all = parts.map(Parts::all);
        match (layout, all) {
            (Layout::Forward, _) if by == By::Library => by_library(&mut y, x, map, weight),
            (Layout::Forward, None) => linear(&mut y, x, weight, &bias, 1),
            (Layout::Backward, None) => linear_backward_input(&mut y, x, weight, 1),
            (Layout::Forward, Some(all)) => {
                all.linear_into(MatrixMut::new(&mut y, rows, to), x, &bias, 1);
            }
            (Layout::Backward, Some(all)) => all.linear_backward_input(&mut y, x, 1),
        }
        std::hint::black_box(&mut y);
    };
    product();
    go.wait();
    let start = Instant::now();
    let mut products = 0;
    while products == 0 || start.elapsed() < span {
        product();
        products += 1;
    }
    Done {
        products,
        time: start.elapsed(),
    }
}

/// `y = x · weightᵀ` by the library, which is asked for the transpose: it likes columns that lie together.
#[allow(unsafe_code, reason = "the product crate takes raw pointers")]
fn by_library(y: &mut [f32], x: Matrix<'_, f32>, map: &Map, weight: Matrix<'_, f32>) {
    let (m, k, n) = (map.outputs, map.inputs, x.rows());
    assert!(y.len() == m * n && x.cols() == k);
    let one_thread = Parallelism::None;
    let (x, weight) = (x.row(0).as_ptr(), weight.row(0).as_ptr());
    let (inputs, outputs) = (k.cast_signed(), m.cast_signed());
    // SAFETY: the three arrays are as large as the shapes say, and `y` is nobody else's.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            m,
            n,
            k,
            y.as_mut_ptr(),
            outputs,
            1,
            false,
            weight,
            1,
            inputs,
            x,
            inputs,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            one_thread,
        );
    }
}

/// FLOP/s of all threads together.
fn rate(map: &Map, layout: Layout, by: By, rows: usize, threads: usize, span: Duration) -> f64 {
    let weight = values(map.outputs * map.inputs);
    let parts = match by {
        By::Engine(precision) => {
            Parts::new(Matrix::new(&weight, map.outputs, map.inputs), precision)
        }
        By::Library => None,
    };
    let go = Barrier::new(threads);
    let flops = flops(map, rows);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| work(map, &weight, parts.as_ref(), layout, by, rows, &go, span))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                let done = worker
                    .join()
                    .expect("a product of fitting shapes cannot fail");
                done.products as f64 * flops / done.time.as_secs_f64()
            })
            .sum()
    })
}

/// Fused multiply-adds on registers alone, [`SUMS`] independent ones at a time.
struct MultiplyAdds;

/// More than any processor has multiply-adds in flight, fewer than AVX2 has registers.
const SUMS: usize = 12;
const ROUNDS: usize = 100_000;

impl WithSimd for MultiplyAdds {
    type Output = f64;

    /// FLOPs of a call.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let a = std::hint::black_box(simd.splat_f32s(0.5));
        let b = std::hint::black_box(simd.splat_f32s(0.25));
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(a, b, *sum);
            }
        }
        std::hint::black_box(sums);
        (2 * SUMS * ROUNDS * S::F32_LANES) as f64
    }
}

/// FLOP/s of all threads together.
fn multiply_adds(threads: usize, span: Duration) -> f64 {
    let thread = || {
        let arch = Arch::new();
        arch.dispatch(MultiplyAdds);
        let (start, mut flops) = (Instant::now(), 0.0);
        while start.elapsed() < span {
            flops += arch.dispatch(MultiplyAdds);
        }
        flops / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("nothing in it can fail"))
            .sum()
    })
}

fn flops(map: &Map, rows: usize) -> f64 {
    2.0 * rows as f64 * map.outputs as f64 * map.inputs as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut hidden, mut inner, mut rows, mut seconds) = (0, 0, 1024, 0.5_f64);
    let mut threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut others = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--hidden" => hidden = value.parse()?,
            "--inner" => inner = value.parse()?,
            "--rows" => rows = value.parse()?,
            "--threads" => threads = value.parse()?,
            "--seconds" => seconds = value.parse()?,
            "--others" => others = value.parse()?,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    if hidden == 0 || inner == 0 || rows == 0 || threads == 0 {
        return Err(
            "usage: peak --hidden H --inner I [--rows N] [--threads N] [--seconds S] [--others true]".into(),
        );
    }
    let span = Duration::try_from_secs_f64(seconds)?;
    let map = |name, outputs, inputs| Map {
        name,
        outputs,
        inputs,
    };
    let maps = [
        map("qkv", 3 * hidden, hidden),
        map("output", hidden, hidden),
        map("up", inner, hidden),
        map("down", hidden, inner),
    ];
    let total: f64 = maps.iter().map(|map| flops(map, rows)).sum();
    let adds = multiply_adds(threads, span) / 1e9;
    let mut fields = vec![format!("\"multiply_adds\": {adds:.2}")];
    let mut times = Vec::new();
    let f32 = By::Engine(Precision::F32);
    let (split, bf16) = (By::Engine(Precision::Split), By::Engine(Precision::Bf16));
    for (name, layout, by) in [
        ("forward", Layout::Forward, f32),
        ("backward", Layout::Backward, f32),
        ("library_forward", Layout::Forward, By::Library),
        ("split_forward", Layout::Forward, split),
        ("split_backward", Layout::Backward, split),
        ("bf16_forward", Layout::Forward, bf16),
        ("bf16_backward", Layout::Backward, bf16),
    ] {
        if by != f32 && !others {
            continue;
        }
        let mut time = 0.0;
        for map in &maps {
            let rate = rate(map, layout, by, rows, threads, span);
            time += flops(map, rows) / rate;
            fields.push(format!("\"{name}_{}\": {:.2}", map.name, rate / 1e9));
        }
        fields.push(format!("\"{name}\": {:.2}", total / time / 1e9));
        if by == f32 {
            times.push(time);
        }
    }
    let both = 2.0 * total / times.iter().sum::<f64>() / 1e9;
    println!(
        "{{\"unit\": \"GFLOP/s\", \"rows\": {rows}, \"threads\": {threads}, {}, \"both\": {both:.2}}}",
        fields.join(", ")
    );
    Ok(())
}
