//! What goes by numbers and rows.

use bertology_device::{Activate, Columns, Device, Host, Wgpu};
use bertology_kernels::Activation;

use crate::numbers::{EXACT, FUNCTIONS, SUMS, card, compare, random};

/// Lengths at which workgroups end, and around them.
const LENGTHS: [usize; 7] = [0, 1, 3, 255, 256, 257, 70_001];

fn all<D: Device<f32>>(device: &D, buffer: &D::Buffer, len: usize) -> Vec<f32> {
    device.read(buffer, 0..len).unwrap()
}

fn elements<D: Device<f32>>(device: &D, len: usize) -> Vec<f32> {
    let mut out = device.upload(&random(1, len + 3)).unwrap();
    let x = device.upload(&random(2, len)).unwrap();
    device.add(&mut out, &x, len);
    device.multiply(&mut out, &x, len);
    device.scale(&mut out, -0.75, len);
    let mut filled = device.zeros(len).unwrap();
    device.fill(&mut filled, 1.5);
    device.add(&mut out, &filled, len);
    all(device, &out, len + 3)
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn elements_one_by_one() {
    for len in LENGTHS {
        compare!(EXACT, elements(len));
    }
}

fn losses<D: Device<f32>>(device: &D, rows: usize, columns: usize) -> Vec<f32> {
    let scaled: Vec<f32> = random(1, rows * columns).iter().map(|z| 9.0 * z).collect();
    let mut logits = device.upload(&scaled).unwrap();
    let mut losses = device.zeros(rows + 1).unwrap();
    let weights = device.upload(&random(2, rows)).unwrap();
    let labels: Vec<u32> = (0..rows).map(|row| (row * 7 % columns) as u32).collect();
    let labels = device.indices(&labels).unwrap();
    device.cross_entropy(&mut logits, &mut losses, &labels, &weights, [rows, columns]);
    let mut found = all(device, &losses, rows + 1);
    found.extend(all(device, &logits, rows * columns));
    found
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn losses_of_classes() {
    for (rows, columns) in [(0, 3), (1, 1), (3, 2), (5, 127), (2, 129), (7, 4001)] {
        compare!(FUNCTIONS, losses(rows, columns));
    }
}

/// A logit that is infinite or no number is told by the loss of its row, and of no other.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn losses_of_what_is_no_number() {
    for strange in [f32::NAN, f32::INFINITY] {
        let mut logits = random(3, 3 * 150);
        logits[150 + 140] = strange;
        let card = card();
        let mut logits = card.upload(&logits).unwrap();
        let mut losses = card.zeros(3).unwrap();
        let labels = card.indices(&[0, 1, 2]).unwrap();
        let weights = card.upload(&[1.0; 3]).unwrap();
        card.cross_entropy(&mut logits, &mut losses, &labels, &weights, [3, 150]);
        let found: Vec<bool> = all(card, &losses, 3)
            .iter()
            .map(|x| x.is_finite())
            .collect();
        assert_eq!(found, [true, false, true], "{strange}");
    }
}

fn by_rows_and_columns<D: Device<f32>>(device: &D, rows: usize, width: usize) -> Vec<f32> {
    let mut out = device.upload(&random(1, rows * width)).unwrap();
    let of_rows = device.upload(&random(2, rows)).unwrap();
    let of_columns = device.upload(&random(3, width)).unwrap();
    if width > 0 {
        device.scale_rows(&mut out, &of_rows, rows, width);
    }
    device.scale_columns(&mut out, &of_columns, rows, width);
    all(device, &out, rows * width)
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn rows_and_columns() {
    for (rows, width) in [(0, 5), (1, 1), (7, 33), (300, 17), (4, 0)] {
        compare!(EXACT, by_rows_and_columns(rows, width));
    }
}

fn copied<D: Device<f32>>(device: &D, rows: usize, width: usize) -> Vec<f32> {
    let (to, from) = (width + 5, width + 2);
    let mut out = device.upload(&random(1, (rows + 1) * to)).unwrap();
    let x = device.upload(&random(2, (rows + 1) * from)).unwrap();
    let columns = |first, stride| Columns {
        first,
        stride,
        width,
    };
    device.copy(&mut out, columns(3, to), &x, columns(1, from), rows);
    all(device, &out, (rows + 1) * to)
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn columns_of_rows() {
    for (rows, width) in [(0, 4), (1, 1), (9, 31), (130, 64), (5, 0)] {
        compare!(EXACT, copied(rows, width));
    }
}

fn gathered<D: Device<f32>>(device: &D, width: usize) -> Vec<f32> {
    let table = device.upload(&random(1, 11 * width)).unwrap();
    let rows = device.indices(&[3, 10, u32::MAX, 0, 3, 7]).unwrap();
    let mut out = device.upload(&random(2, 6 * width)).unwrap();
    device.gather(&mut out, &table, &rows, width, true);
    let mut plain = device.upload(&random(3, 6 * width)).unwrap();
    device.gather(&mut plain, &table, &rows, width, false);
    let mut spread = device.upload(&random(4, 9 * width)).unwrap();
    let places = device.indices(&[8, 0, 5, 3, 1, 4]).unwrap();
    device.scatter(&mut spread, &out, &places, width);
    let mut values = all(device, &out, 6 * width);
    values.extend(all(device, &plain, 6 * width));
    values.extend(all(device, &spread, 9 * width));
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn gather_and_scatter() {
    for width in [1, 32, 77, 300] {
        compare!(EXACT, gathered(width));
    }
}

/// What is neither a number nor finite is moved as it is, and tells where it lies.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn what_is_no_number_is_moved() {
    let values = [f32::NEG_INFINITY, f32::NAN, 1e-40, f32::INFINITY];
    let x = card().upload(&values).unwrap();
    let mut out = card().zeros(4).unwrap();
    card().copy(&mut out, Columns::all(4), &x, Columns::all(4), 1);
    let moved = all(card(), &out, 4);
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&moved), bits(&values));
}

fn linear_maps<D: Device<f32>>(device: &D, size: [usize; 3], biased: bool) -> Vec<f32> {
    let [rows, inputs, outputs] = size;
    let x = device.upload(&random(1, rows * inputs)).unwrap();
    // More rows than are used.
    let weight = device.upload(&random(2, (outputs + 2) * inputs)).unwrap();
    let bias = device.upload(&random(3, outputs + 2)).unwrap();
    let mut y = device.upload(&random(4, rows * outputs)).unwrap();
    device.linear(&mut y, &x, &weight, biased.then_some(&bias), size);
    let mut dx = device.upload(&random(5, rows * inputs)).unwrap();
    device.linear_backward(&mut dx, &y, &weight, size);
    let mut values = all(device, &y, rows * outputs);
    values.extend(all(device, &dx, rows * inputs));
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn products_with_weights() {
    let sizes = [
        [1, 1, 1],
        [1, 768, 2],
        [3, 5, 130],
        [16, 16, 16],
        [32, 33, 31],
        [63, 64, 65],
        [64, 128, 64],
        [65, 15, 64],
        [130, 77, 201],
        [33, 300, 33],
    ];
    for size in sizes {
        compare!(SUMS, linear_maps(size, false));
        compare!(SUMS, linear_maps(size, true));
    }
    compare!(EXACT, linear_maps([0, 8, 8], true));
    compare!(EXACT, linear_maps([8, 8, 0], true));
}

/// Against sums in f64: a card is no worse than the processor's f32, but for twice its luck.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn products_are_as_good_as_the_processors() {
    fn product<D: Device<f32>>(device: &D, size: [usize; 3]) -> Vec<f32> {
        let [rows, inputs, outputs] = size;
        let x = device.upload(&random(1, rows * inputs)).unwrap();
        let weight = device.upload(&random(2, outputs * inputs)).unwrap();
        let mut y = device.zeros(rows * outputs).unwrap();
        device.linear(&mut y, &x, &weight, None, size);
        all(device, &y, rows * outputs)
    }
    for size in [[53, 768, 70], [40, 3072, 64]] {
        let [rows, inputs, outputs] = size;
        let wide = |seed, len| {
            random(seed, len)
                .into_iter()
                .map(f64::from)
                .collect::<Vec<_>>()
        };
        let (x, weight) = (wide(1, rows * inputs), wide(2, outputs * inputs));
        let mut exact = vec![0.0_f64; rows * outputs];
        Device::<f64>::linear(&Host::new(), &mut exact, &x, &weight, None, size);
        let error = |values: &[f32]| {
            let squares = values
                .iter()
                .zip(&exact)
                .map(|(a, b)| (f64::from(*a) - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let (host, card) = (
            error(&product(&Host::new(), size)),
            error(&product(card(), size)),
        );
        assert!(card < 2.0 * host, "{size:?}: {card} and {host}");
    }
}

fn norms<D: Device<f32>>(device: &D, rows: usize, width: usize, centred: bool) -> Vec<f32> {
    let weight = device.upload(&random(1, width)).unwrap();
    let bias = device.upload(&random(2, width)).unwrap();
    let moved: Vec<f32> = random(3, rows * width)
        .iter()
        .map(|x| 3.0 * x + 2.0)
        .collect();
    let mut hat = device.upload(&moved).unwrap();
    let mut y = device.zeros(rows * width).unwrap();
    let mut rstd = device.zeros(rows).unwrap();
    let size = [rows, width];
    device.norm(
        &mut y, &mut hat, &mut rstd, &weight, &bias, size, 1e-5, centred,
    );
    let mut d = device.upload(&random(4, rows * width)).unwrap();
    device.norm_backward(&mut d, &hat, &rstd, &weight, size, centred);
    let mut values = all(device, &y, rows * width);
    values.extend(all(device, &hat, rows * width));
    values.extend(all(device, &rstd, rows));
    values.extend(all(device, &d, rows * width));
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn norms_and_back() {
    for (rows, width) in [
        (0, 8),
        (1, 3),
        (5, 32),
        (7, 127),
        (9, 128),
        (3, 129),
        (4, 768),
    ] {
        for centred in [true, false] {
            compare!(SUMS, norms(rows, width, centred));
        }
    }
}

/// A row with a number that is none, or so large that its square is infinite, becomes no number throughout; its neighbour
/// stays.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn a_norm_of_what_is_no_number() {
    fn strange<D: Device<f32>>(device: &D, value: f32) -> Vec<f32> {
        let mut x = random(1, 2 * 40);
        x[7] = value;
        let mut hat = device.upload(&x).unwrap();
        let ones = device.upload(&[1.0; 40]).unwrap();
        let mut y = device.zeros(80).unwrap();
        let mut rstd = device.zeros(2).unwrap();
        device.norm(
            &mut y,
            &mut hat,
            &mut rstd,
            &ones,
            &ones,
            [2, 40],
            1e-12,
            true,
        );
        all(device, &y, 80)
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        compare!(SUMS, strange(value));
        assert!(strange(card(), value)[..40].iter().all(|y| y.is_nan()));
    }
}

const ACTIVATIONS: [Activation; 6] = [
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Relu,
    Activation::Silu,
    Activation::QuickGelu,
    Activation::Tanh,
];

fn activated<D: Device<f32>>(device: &D, pre: &[f32], inner: usize, by: Activate) -> Vec<f32> {
    let wide = inner << usize::from(by.gated);
    let rows = pre.len() / wide;
    let pre = device.upload(&pre[..rows * wide]).unwrap();
    let d = device.upload(&random(2, rows * inner)).unwrap();
    let mut out = device.zeros(rows * inner).unwrap();
    device.activate(&mut out, &pre, rows, by);
    let mut d_pre = device.upload(&random(3, rows * wide)).unwrap();
    device.activate_backward(&mut d_pre, &d, &pre, rows, by);
    let mut values = all(device, &out, rows * inner);
    values.extend(all(device, &d_pre, rows * wide));
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn activations_and_back() {
    // Small, so that what is near 0 is judged by its own size; and what decides at the ends.
    for spread in [1e-3, 1.0, 8.0] {
        let pre: Vec<f32> = random(1, 3000).iter().map(|x| spread * x).collect();
        for function in ACTIVATIONS {
            for gated in [false, true] {
                let inner = 37;
                let by = Activate {
                    function,
                    inner,
                    gated,
                };
                compare!(FUNCTIONS, activated(&pre, inner, by));
            }
        }
    }
    let nothing = Activate {
        function: Activation::Gelu,
        inner: 0,
        gated: true,
    };
    let mut out = card().zeros(0).unwrap();
    card().activate(&mut out, &card().zeros(0).unwrap(), 5, nothing);
}

/// Where e^x is 0 or infinite.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn activations_far_out() {
    let pre = [
        0.0,
        -0.0,
        1e-30,
        -1e-30,
        20.0,
        -20.0,
        60.0,
        -60.0,
        100.0,
        -100.0,
        1e4,
        -1e4,
        f32::NAN,
    ];
    for function in ACTIVATIONS {
        let by = Activate {
            function,
            inner: 1,
            gated: false,
        };
        compare!(FUNCTIONS, activated(&pre, 1, by));
        let values = activated(card(), &pre, 1, by);
        assert!(values[pre.len() - 1].is_nan(), "{function:?}");
        assert!(values[..pre.len() - 1].iter().all(|y| y.is_finite()));
    }
}

/// The error function to the accuracy that its form has, judged by `libm` in f64: GELU of x is x times half of 1 + erf.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn gelu_is_as_exact_as_its_numbers() {
    let x: Vec<f32> = (-4000..4000).map(|i| i as f32 * 1e-3).collect();
    let pre = card().upload(&x).unwrap();
    let mut out = card().zeros(x.len()).unwrap();
    let by = Activate {
        function: Activation::Gelu,
        inner: 1,
        gated: false,
    };
    card().activate(&mut out, &pre, x.len(), by);
    let slack = 5e-7; // four roundings near 1, times x of up to 4
    for (x, y) in x.iter().zip(all(card(), &out, x.len())) {
        let x = f64::from(*x);
        let expected = gelu(x);
        assert!(
            (f64::from(y) - expected).abs() < slack * x.abs().max(1.0),
            "{x}: {y}"
        );
    }
}

fn gelu(x: f64) -> f64 {
    let mut y = [0.0];
    Activation::Gelu.forward(&mut y, &[x]);
    y[0]
}

/// Buffers that went back to the pool come as zeros, and what is written into them does not reach what was asked for before.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn memory_that_is_used_again() {
    let device = card();
    for round in 0..50 {
        let len = 1000 + round % 3;
        let x = device.upload(&vec![round as f32; len]).unwrap();
        let mut sum = device.zeros(len).unwrap();
        assert_eq!(all(device, &sum, 1), [0.0]);
        device.add(&mut sum, &x, len);
        drop(x);
        // The same memory, while the addition waits.
        let other = device.upload(&vec![-1.0; len]).unwrap();
        device.add(&mut sum, &other, len);
        let expected = vec![round as f32 - 1.0; len];
        assert_eq!(all(device, &sum, len), expected);
    }
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn writing_waits_for_what_was_asked_before() {
    let device = card();
    let mut x = device.upload(&[1.0; 100]).unwrap();
    let mut sum = device.zeros(100).unwrap();
    device.add(&mut sum, &x, 100);
    device.write(&mut x, 10, &[5.0; 80]).unwrap();
    device.add(&mut sum, &x, 100);
    let values = all(device, &sum, 100);
    assert_eq!(values[..10], [2.0; 10]);
    assert_eq!(values[10..90], [6.0; 80]);
    assert_eq!(device.read(&sum, 89..91).unwrap(), [6.0, 2.0]);
    assert!(device.read(&sum, 100..100).unwrap().is_empty());
}

/// More operations than a batch has, and more numbers than are carried at once.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn many_operations_and_many_numbers() {
    let device = card();
    let x = device.upload(&[1.0; 3]).unwrap();
    let mut sum = device.zeros(3).unwrap();
    for _ in 0..1500 {
        device.add(&mut sum, &x, 3);
    }
    assert_eq!(all(device, &sum, 3), [1500.0; 3]);
    let len = (40 << 20) / 4 + 5;
    let numbers: Vec<f32> = (0..len).map(|at| (at % 65_521) as f32).collect();
    let mut big = device.upload(&numbers).unwrap();
    device.scale(&mut big, 2.0, len);
    let read = device.read(&big, 0..len).unwrap();
    assert!(read.iter().zip(&numbers).all(|(a, b)| *a == 2.0 * b));
}

/// Threads that use one card do not meet in its memory or its batches.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn several_threads_on_one_card() {
    let work = |seed: u64| {
        let device = card();
        for round in 0..40 {
            let len = 700 + (seed as usize + round) % 3;
            let mut x = device.upload(&random(seed, len)).unwrap();
            let ones = device.upload(&vec![1.0; len]).unwrap();
            device.add(&mut x, &ones, len);
            device.scale(&mut x, 2.0, len);
            let expected: Vec<f32> = random(seed, len).iter().map(|x| (x + 1.0) * 2.0).collect();
            assert_eq!(all(device, &x, len), expected);
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || work(seed));
        }
    });
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn what_is_carried_is_counted() {
    let device = Wgpu::open(bertology_device::wgpu::Which::Best).unwrap();
    let mut x = device.upload(&[1.0; 10]).unwrap();
    assert_eq!(device.carried(), 40);
    device.write(&mut x, 0, &[2.0; 3]).unwrap();
    device.indices(&[1, 2]).unwrap();
    assert_eq!(device.carried(), 60);
    device.scale(&mut x, 2.0, 10);
    device.fill(&mut x, 2.0);
    device.read(&x, 0..5).unwrap();
    assert_eq!(device.carried(), 80);
}
