use super::slices::CHOICES;
use super::*;
use crate::MatrixMut;

fn levels() -> Vec<Level> {
    let avx512 = V4::try_new().map(Level::Avx512);
    let avx2 = V3::try_new().map(Level::Avx2);
    avx512.into_iter().chain(avx2).collect()
}

/// Small whole numbers: sums of their products are exact in f32, in whatever order.
fn whole(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919 + seed) % 17) as f32 - 8.0)
        .collect()
}

/// Judge: the definition in whole numbers, where every order of summation gives the same.
#[test]
fn products_follow_the_definition() {
    let shapes = [
        (1, 1, 1),
        (2, 16, 16),
        (5, 17, 15),
        (6, 40, 64),
        (7, 33, 65),
        (13, 512, 63),
        (12, 513, 80),
        (100, 1100, 130),
    ];
    for level in levels() {
        for (m, k, n) in shapes {
            // Wider than the matrices, so that what lies between their rows is seen to be left alone.
            let (a_stride, b_stride, stride) = (k + 3, k + 1, n + 2);
            let (a, b) = (whole(m * a_stride, 1), whole(n * b_stride, 5));
            let (bias, before) = (whole(n, 3), whole(m * stride, 2));
            for (start, threads, slice) in [
                (Start::Nothing, 1, CHOICES[0]),
                (Start::Held, 1, CHOICES[1]),
                (Start::Row(&bias[..]), 2, CHOICES[2]),
            ] {
                let mut got = before.clone();
                let sum = Sum {
                    dst: MatrixMut::strided(&mut got, m, n, stride),
                    start,
                    scale: 0.5,
                    a: Matrix::strided(&a, m, k, a_stride),
                    b: Matrix::strided(&b, n, k, b_stride).transposed(),
                };
                split(sum, level, &Slices::of(slice), threads);
                for (place, got) in got.iter().enumerate() {
                    let (i, j) = (place / stride, place % stride);
                    if j >= n {
                        assert_eq!(*got, before[place], "between rows");
                        continue;
                    }
                    let terms = (0..k).map(|p| a[i * a_stride + p] * b[j * b_stride + p]);
                    let from = match start {
                        Start::Nothing => 0.0,
                        Start::Held => before[place],
                        Start::Row(bias) => bias[j],
                    };
                    let expected = from + 0.5 * terms.sum::<f32>();
                    assert_eq!(*got, expected, "{level:?} [{m}, {k}, {n}] at {i}, {j}");
                }
            }
        }
    }
}

/// A row of the result is the same to the bit whatever rows are computed with it, on however many threads, in whatever
/// slices.
#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let (m, k, n) = (397, 700, 90);
    let a: Vec<f32> = whole(m * k, 4).iter().map(|x| x / 7.0).collect();
    let b: Vec<f32> = whole(n * k, 9).iter().map(|x| x / 3.0).collect();
    for level in levels() {
        let product = |rows: std::ops::Range<usize>, slice, threads| {
            let slices = &Slices::of(slice);
            let mut out = vec![0.0; rows.len() * n];
            let sum = Sum {
                dst: MatrixMut::new(&mut out, rows.len(), n),
                start: Start::Nothing,
                scale: 1.0,
                a: Matrix::new(&a, m, k).slice_rows(rows),
                b: Matrix::new(&b, n, k).transposed(),
            };
            split(sum, level, slices, threads);
            out
        };
        let all = product(0..m, CHOICES[0], 1);
        for slice in CHOICES {
            assert_eq!(product(0..m, slice, 4), all);
        }
        for rows in [0..1, 3..8, 100..397] {
            let part = &all[rows.start * n..rows.end * n];
            assert_eq!(product(rows, CHOICES[2], 1), part);
        }
    }
}
