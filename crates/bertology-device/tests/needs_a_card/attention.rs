//! What goes by sequences and heads.

use bertology_device::{Device, Factor, HeadMatrix, Host, Shape, Sight, Spread};

use crate::numbers::{EXACT, SUMS, assert_close, card, compare, random};

/// Tokens of the batch; those of the shapes are some of them.
pub(crate) const TOKENS: usize = 160;
/// Slots for heads in a row.
const SLOTS: usize = 6;
const DISTANCES: usize = 9;

/// Sequences of different lengths, one of a single token, from the fourth token of the batch on; heads with gaps between them.
pub(crate) fn shape(dim: usize, slots: &[usize]) -> Shape {
    let lengths = [5, 1, 37, 100, 2];
    let mut first = 3;
    let ranges = lengths.map(|len| {
        first += len;
        first - len..first
    });
    Shape::new(ranges.into_iter(), slots.to_vec(), dim, 103, DISTANCES)
}

pub(crate) fn some_heads(dim: usize) -> Shape {
    shape(dim, &[0, 2, 3, 5])
}

/// Numbers of all that a matrix may lie in.
fn numbers(shape: &Shape, matrix: HeadMatrix) -> usize {
    match matrix {
        HeadMatrix::Tokens { stride, .. } => TOKENS * stride,
        HeadMatrix::Map => shape.map_numbers(),
        HeadMatrix::Spread => shape.spread_numbers(),
        HeadMatrix::Distances { stride, .. } => (DISTANCES + 1) * stride,
    }
}

fn tokens(dim: usize, part: usize) -> HeadMatrix {
    // Queries, keys and values beside each other.
    HeadMatrix::Tokens {
        first: part * SLOTS * dim,
        stride: 3 * SLOTS * dim,
    }
}

fn product<D: Device<f32>>(
    device: &D,
    shape: &Shape,
    out: HeadMatrix,
    a: Factor,
    b: Factor,
    accumulate: bool,
) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let upload = |seed, matrix| {
        device
            .upload(&random(seed, numbers(shape, matrix)))
            .unwrap()
    };
    let (left, right) = (upload(1, a.matrix), upload(2, b.matrix));
    let mut result = upload(3, out);
    device.products(
        &table,
        (&mut result, out),
        (&left, a),
        (&right, b),
        0.37,
        accumulate,
    );
    device.read(&result, 0..numbers(shape, out)).unwrap()
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn products_of_heads() {
    for dim in [1, 7, 33, 64] {
        let shape = &some_heads(dim);
        let (map, spread) = (HeadMatrix::Map, HeadMatrix::Spread);
        let distances = |by_head| HeadMatrix::Distances {
            first: 2,
            stride: SLOTS * dim + 1,
            by_head,
        };
        let (q, k) = (tokens(dim, 0), tokens(dim, 1));
        for accumulate in [false, true] {
            compare!(
                SUMS,
                product(shape, map, q.plain(), k.transposed(), accumulate)
            );
            compare!(SUMS, product(shape, q, map.plain(), k.plain(), accumulate));
            compare!(
                SUMS,
                product(shape, q, map.transposed(), k.plain(), accumulate)
            );
            for by_head in [false, true] {
                let far = distances(by_head);
                compare!(
                    SUMS,
                    product(shape, spread, q.plain(), far.transposed(), accumulate)
                );
                compare!(
                    SUMS,
                    product(shape, k, spread.plain(), far.plain(), accumulate)
                );
            }
        }
    }
}

/// Nothing to do is nothing done.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn no_heads_at_all() {
    let shape = &shape(8, &[]);
    let q = tokens(8, 0);
    compare!(
        EXACT,
        product(shape, q, HeadMatrix::Map.plain(), q.plain(), true)
    );
    compare!(EXACT, maps(shape, Sight::default()));
    compare!(EXACT, by_tokens(shape));
}

pub(crate) fn sights() -> [Sight; 5] {
    let reach = |reach| Sight {
        causal: false,
        reach: Some(reach),
    };
    let causal = Sight {
        causal: true,
        reach: None,
    };
    [
        Sight::default(),
        causal,
        reach(0),
        reach(6),
        reach(usize::MAX),
    ]
}

fn maps<D: Device<f32>>(device: &D, shape: &Shape, sight: Sight) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let len = shape.map_numbers();
    let scores: Vec<f32> = random(1, len).iter().map(|x| 20.0 * x).collect();
    let mut map = device.upload(&scores).unwrap();
    let by_offset = random(2, shape.slots.len() * (2 * shape.longest - 1));
    let by_offset = device.upload(&by_offset).unwrap();
    device.add_by_offset(&table, &mut map, &by_offset);
    device.hide(&table, &mut map, sight);
    let mut values = device.read(&map, 0..len).unwrap();
    device.softmax(&table, &mut map, sight);
    values.extend(device.read(&map, 0..len).unwrap());
    let mut d = device.upload(&random(3, len)).unwrap();
    device.softmax_backward(&table, &mut d, &map);
    values.extend(device.read(&d, 0..len).unwrap());
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn scores_and_probabilities() {
    let shape = &some_heads(8);
    for sight in sights() {
        // Scores of size 20, probabilities of size 1: each judged on its own.
        let (expected, got) = (maps(&Host::new(), shape, sight), maps(card(), shape, sight));
        let parts = expected.chunks(shape.map_numbers());
        for (part, (expected, got)) in parts.zip(got.chunks(shape.map_numbers())).enumerate() {
            assert_close(&format!("{sight:?} {part}"), expected, got, SUMS);
        }
        compare!(SUMS, maps(shape, sight));
    }
}

/// What a query does not see may be anything; what it sees must be numbers, or its probabilities are none.
#[test]
#[ignore = "tools/device/check.sh runs it"]
fn scores_that_are_no_numbers() {
    fn odd<D: Device<f32>>(device: &D) -> Vec<f32> {
        let shape = Shape::new(std::iter::once(0..3), vec![0], 1, 3, 0);
        let table = device.shape(&shape).unwrap();
        let scores = [
            1.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            -3e38,
            f32::NAN,
            2.0,
            f32::NAN,
            1.0,
        ];
        let mut map = device.upload(&scores).unwrap();
        let sight = Sight {
            causal: true,
            reach: None,
        };
        device.softmax(&table, &mut map, sight);
        device.read(&map, 0..9).unwrap()
    }
    compare!(SUMS, odd());
    let got = odd(card());
    assert_eq!(got[..6], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert!(got[6..].iter().all(|p| p.is_nan()));
}

fn spreads<D: Device<f32>>(device: &D, shape: &Shape, by_key: bool) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let offsets = 2 * shape.longest - 1;
    // Neither in order nor each as often as the other.
    let columns: Vec<u32> = (0..offsets)
        .map(|at| (at * at % DISTANCES) as u32)
        .collect();
    let columns = &device.indices(&columns).unwrap();
    let by = || Spread { columns, by_key };
    let mut map = device.upload(&random(1, shape.map_numbers())).unwrap();
    let mut spread = device.upload(&random(2, shape.spread_numbers())).unwrap();
    device.add_spread(&table, &mut map, &spread, by());
    device.sum_spread(&table, &mut spread, &map, by());
    let mut values = device.read(&map, 0..shape.map_numbers()).unwrap();
    values.extend(device.read(&spread, 0..shape.spread_numbers()).unwrap());
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn distances() {
    for by_key in [false, true] {
        // The sums go in the same order, too.
        compare!(EXACT, spreads(&some_heads(8), by_key));
    }
}

fn turned<D: Device<f32>>(device: &D, shape: &Shape, back: bool) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let half = shape.dim / 2;
    let matrix = tokens(shape.dim, 1);
    let mut x = device.upload(&random(1, numbers(shape, matrix))).unwrap();
    let angle = |at: usize| (at / half) as f32 * 0.3 + (at % half) as f32;
    let cosines: Vec<f32> = (0..200 * half).map(|at| angle(at).cos()).collect();
    let sines: Vec<f32> = (0..200 * half).map(|at| angle(at).sin()).collect();
    let cosines = device.upload(&cosines).unwrap();
    let sines = device.upload(&sines).unwrap();
    let positions: Vec<u32> = (0..TOKENS as u32).map(|token| token * 7 % 200).collect();
    let positions = device.indices(&positions).unwrap();
    device.turn(
        &table,
        (&mut x, matrix),
        [&cosines, &sines],
        &positions,
        half,
        back,
    );
    device.read(&x, 0..numbers(shape, matrix)).unwrap()
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn turns_by_position() {
    for back in [false, true] {
        compare!(SUMS, turned(&some_heads(10), back));
        // Of seven numbers only six are turned.
        compare!(SUMS, turned(&some_heads(7), back));
    }
}

fn by_tokens<D: Device<f32>>(device: &D, shape: &Shape) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let width = SLOTS * shape.dim;
    let (heads, sequences) = (shape.slots.len(), shape.sequences.len());
    let mut x = device.upload(&random(1, TOKENS * width)).unwrap();
    let y = device.upload(&random(2, TOKENS * width)).unwrap();
    let factors = device.upload(&random(3, sequences * heads)).unwrap();
    device.scale_heads(&table, &mut x, width, &factors);
    let mut dots = device.upload(&random(4, TOKENS * heads)).unwrap();
    device.head_dots(&table, &mut dots, &x, &y, width);
    let mut sums = device.upload(&random(5, 11 + sequences * heads)).unwrap();
    device.sum_tokens(&table, &mut sums, 11, &dots);
    let mut values = device.read(&x, 0..TOKENS * width).unwrap();
    values.extend(device.read(&dots, 0..TOKENS * heads).unwrap());
    values.extend(device.read(&sums, 0..11 + sequences * heads).unwrap());
    values
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn factors_and_sums_of_heads() {
    for dim in [1, 7, 64] {
        compare!(SUMS, by_tokens(&some_heads(dim)));
    }
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn what_is_not_finite_is_flagged() {
    fn flags<D: Device<f32>>(device: &D, value: f32) -> Vec<f32> {
        let shape = some_heads(3);
        let table = device.shape(&shape).unwrap();
        let width = 11;
        let mut x = random(1, TOKENS * width);
        // Before the first sequence; the last number of the third; the first of the last.
        for place in [2 * width, 46 * width - 1, 146 * width] {
            x[place] = value;
        }
        let x = device.upload(&x).unwrap();
        let mut flags = device.upload(&random(2, 9)).unwrap();
        device.flag_nonfinite(&table, &mut flags, 2, &x, width);
        device.read(&flags, 0..9).unwrap()
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        compare!(EXACT, flags(value));
        assert_eq!(flags(card(), value)[2..7], [0.0, 0.0, 1.0, 0.0, 1.0]);
    }
    compare!(EXACT, flags(f32::MAX));
}
