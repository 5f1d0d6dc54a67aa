use super::*;

/// A product by one of the units, the software model of tiles among them.
type By = (
    &'static str,
    fn(Map<'_>, MatrixMut<'_, f32>, Matrix<'_, f32>),
);

fn units() -> Vec<By> {
    let mut units: Vec<By> = vec![
        ("portable", |map, to, rows| {
            map.run(&mut portable::Portable, to, rows);
        }),
        #[cfg(target_arch = "x86_64")]
        ("tiles in software", |map, to, rows| {
            map.run(&mut tiles::ByTiles(tiles::Software::new()), to, rows);
        }),
    ];
    #[cfg(target_arch = "x86_64")]
    if dots::Dots::find().is_some() {
        units.push(("dots", |map, to, rows| {
            map.run(&mut dots::Dots::find().unwrap(), to, rows);
        }));
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if tiles::Amx::begin().is_some() {
        units.push(("tiles", |map, to, rows| {
            map.run(&mut tiles::ByTiles(tiles::Amx::begin().unwrap()), to, rows);
        }));
    }
    units
}

/// Small whole numbers, which bf16 holds: sums of their products are exact in whatever order.
fn whole(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 + seed) % 17) as f32 - 8.0)
        .collect()
}

/// Between -1 and 1, all bits in use.
fn fine(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            state.cast_signed() as f32 / i32::MAX as f32
        })
        .collect()
}

/// `[rows, inputs] · weightᵀ` of some outputs, or `[rows, outputs] · weight`, in f64.
fn definition(
    rows: Matrix<'_, f32>,
    weight: Matrix<'_, f32>,
    outputs: Range<usize>,
    side: Side,
) -> Vec<f64> {
    let at = |o: usize, i: usize| f64::from(weight.row(outputs.start + o)[i]);
    let width = match side {
        Side::Outputs => outputs.len(),
        Side::Inputs => weight.cols(),
    };
    let mut sums = Vec::new();
    for row in 0..rows.rows() {
        for j in 0..width {
            let terms = rows.row(row).iter().enumerate();
            let terms = terms.map(|(p, x)| match side {
                Side::Outputs => f64::from(*x) * at(j, p),
                Side::Inputs => f64::from(*x) * at(p, j),
            });
            sums.push(terms.sum());
        }
    }
    sums
}

/// Every unit, side and edge: whole numbers come out exactly, and what lies between rows is left alone.
#[test]
fn products_follow_the_definition() {
    // `[rows, inputs, outputs]`, and which outputs.
    let shapes = [
        (1, 1, 1, 0..1),
        (2, 16, 16, 0..16),
        (5, 17, 15, 3..15),
        (6, 64, 64, 0..64),
        (7, 33, 65, 1..65),
        (33, 32, 31, 0..30),
        (13, 512, 63, 0..63),
        (12, 513, 80, 7..78),
        (50, 1100, 130, 0..130),
        (3, 130, 1100, 0..1100),
        (3, 8, 5, 2..2),
        (0, 8, 5, 0..5),
    ];
    for (height, inputs, outputs, some) in shapes {
        let numbers = whole(outputs * (inputs + 1), 5);
        let weight = Matrix::strided(&numbers, outputs, inputs, inputs + 1);
        for precision in [Precision::Bf16, Precision::Split] {
            let parts = Parts::new(weight, precision).unwrap();
            let view = parts.outputs(some.clone());
            for side in [Side::Outputs, Side::Inputs] {
                let (terms, width) = match side {
                    Side::Outputs => (inputs, some.len()),
                    Side::Inputs => (some.len(), inputs),
                };
                let x = whole(height * (terms + 3), 1);
                let x = Matrix::strided(&x, height, terms, terms + 3);
                let bias = whole(width, 3);
                let expected = definition(x, weight, some.clone(), side);
                for start in [&bias[..], &[]] {
                    for (name, by) in units() {
                        let stride = width + 2;
                        let mut got = vec![-77.0; height * stride];
                        let map = Map {
                            weight: &view,
                            side,
                            width,
                            start,
                        };
                        by(map, MatrixMut::strided(&mut got, height, width, stride), x);
                        for (place, got) in got.iter().enumerate() {
                            let (i, j) = (place / stride, place % stride);
                            let expected = if j < width {
                                expected[i * width + j] as f32 + start.get(j).unwrap_or(&0.0)
                            } else {
                                -77.0
                            };
                            let shape = (height, inputs, outputs);
                            assert_eq!(*got, expected, "{name} {shape:?} {side:?} at {i}, {j}");
                        }
                    }
                }
            }
        }
    }
}

/// Errors by the largest entry of the result, as in *Leveraging the bfloat16 Artificial Intelligence Datatype For
/// Higher-Precision Computations* (Henry et al. 2019): judged in f64.
#[test]
fn errors_are_those_of_the_precision() {
    let (height, inputs, outputs) = (40, 768, 96);
    let (x, w) = (fine(height * inputs, 3), fine(outputs * inputs, 8));
    let (x, weight) = (
        Matrix::new(&x, height, inputs),
        Matrix::new(&w, outputs, inputs),
    );
    let exact = definition(x, weight, 0..outputs, Side::Outputs);
    let largest = exact.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    for (precision, least, most) in [
        (Precision::Split, 1e-8, 6e-6),
        (Precision::Bf16, 5e-4, 1e-2),
    ] {
        let parts = Parts::new(weight, precision).unwrap();
        for (name, by) in units() {
            let mut got = vec![0.0; height * outputs];
            let map = Map {
                weight: &parts.all(),
                side: Side::Outputs,
                width: outputs,
                start: &[],
            };
            by(map, MatrixMut::new(&mut got, height, outputs), x);
            let errors = got
                .iter()
                .zip(&exact)
                .map(|(a, b)| (f64::from(*a) - b).abs());
            let error = errors.fold(0.0, f64::max) / largest;
            assert!(
                (least..most).contains(&error),
                "{name} {precision}: {error:e}"
            );
        }
    }
}

/// A row is the same to the bit whatever rows are computed with it, on however many threads.
#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let (height, inputs, outputs) = (197, 700, 90);
    let (x, w) = (fine(height * inputs, 3), fine(outputs * inputs, 8));
    let x = Matrix::new(&x, height, inputs);
    for precision in [Precision::Bf16, Precision::Split] {
        let parts = Parts::new(Matrix::new(&w, outputs, inputs), precision).unwrap();
        let product = |rows: Range<usize>, threads| {
            let mut out = vec![0.0; rows.len() * outputs];
            let to = MatrixMut::new(&mut out, rows.len(), outputs);
            parts
                .all()
                .linear_into(to, x.slice_rows(rows), &[], threads);
            out
        };
        let all = product(0..height, 1);
        assert_eq!(product(0..height, 3), all);
        for rows in [0..1, 3..8, 100..197] {
            let part = &all[rows.start * outputs..rows.end * outputs];
            assert_eq!(product(rows, 1), part);
        }
    }
}

/// What the vectors of bf16 compute is what is computed without them, to the bit.
#[test]
#[cfg(target_arch = "x86_64")]
fn dots_are_the_portable_sums_where_the_processor_has_them() {
    let Some(mut dots) = dots::Dots::find() else {
        return;
    };
    let (height, inputs, outputs) = (31, 600, 130);
    let (x, w) = (fine(height * inputs, 5), fine(outputs * inputs, 6));
    let parts = Parts::new(Matrix::new(&w, outputs, inputs), Precision::Split).unwrap();
    let map = Map {
        weight: &parts.all(),
        side: Side::Outputs,
        width: outputs,
        start: &[],
    };
    let (mut by_dots, mut portable) = (vec![0.0; height * outputs], vec![0.0; height * outputs]);
    let x = Matrix::new(&x, height, inputs);
    map.run(&mut dots, MatrixMut::new(&mut by_dots, height, outputs), x);
    let to = MatrixMut::new(&mut portable, height, outputs);
    map.run(&mut portable::Portable, to, x);
    assert_eq!(by_dots, portable);
}

/// Twelve products of tiles want eight loads, not twenty-four.
#[test]
#[cfg(target_arch = "x86_64")]
fn loaded_tiles_are_used_again() {
    let (x, w) = (fine(32 * 64, 5), fine(32 * 64, 6));
    let parts = Parts::new(Matrix::new(&w, 32, 64), Precision::Split).unwrap();
    let map = Map {
        weight: &parts.all(),
        side: Side::Outputs,
        width: 32,
        start: &[],
    };
    let mut unit = tiles::ByTiles(tiles::Software::new());
    let mut out = vec![0.0; 32 * 32];
    let to = MatrixMut::new(&mut out, 32, 32);
    map.run(&mut unit, to, Matrix::new(&x, 32, 64));
    assert_eq!((unit.0.products, unit.0.loads), (2 * 12, 2 * 8));
}
