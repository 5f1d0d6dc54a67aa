//! Tables of maps.

use bertology_device::{Columns, Device, Host, PARTNERS, Reduce, Shape, Sight, UNIT};

use crate::attention::{TOKENS, shape, sights, some_heads};
use crate::numbers::{EXACT, SUMS, assert_close, card, compare, random};

/// Attention over these keys.
fn probs<D: Device<f32>>(device: &D, shape: &Shape, sight: Sight) -> D::Buffer {
    let table = device.shape(shape).unwrap();
    let scores = random(1, shape.map_numbers());
    let scores: Vec<f32> = scores.iter().map(|x| 60.0 * x).collect();
    let mut map = device.upload(&scores).unwrap();
    device.softmax(&table, &mut map, sight);
    map
}

fn columns(width: usize) -> Columns {
    Columns {
        first: 2,
        stride: width + 3,
        width,
    }
}

/// A table with something in it, and how many numbers it has.
fn table_of<D: Device<f32>>(device: &D, shape: &Shape, to: Columns) -> (D::Buffer, usize) {
    let numbers = TOKENS * shape.slots.len() * to.stride;
    (device.upload(&random(2, numbers)).unwrap(), numbers)
}

fn row_entropies<D: Reduce<f32>>(
    device: &D,
    shape: &Shape,
    sight: Sight,
    smoothing: f64,
) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let map = probs(device, shape, sight);
    // With the smoothing two columns.
    let to = columns(1 + usize::from(smoothing > 0.0));
    let (mut out, numbers) = table_of(device, shape, to);
    device.row_entropies(&table, (&mut out, to), &map, smoothing, sight);
    device.read(&out, 0..numbers).unwrap()
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn entropies_of_rows() {
    for sight in sights() {
        for smoothing in [0.0, 0.001] {
            compare!(SUMS, row_entropies(&some_heads(8), sight, smoothing));
            compare!(EXACT, row_entropies(&shape(8, &[]), sight, smoothing));
        }
    }
    // Each of 32 queries sees all 32 keys alike: ln 32.
    let shape = Shape::new(std::iter::once(0..32), vec![0], 1, 32, 0);
    let table = card().shape(&shape).unwrap();
    let alike = card().upload(&[1.0 / 32.0; 1024]).unwrap();
    let mut out = card().zeros(32).unwrap();
    card().row_entropies(
        &table,
        (&mut out, Columns::all(1)),
        &alike,
        0.0,
        Sight::default(),
    );
    assert_close(
        "uniform",
        &[32.0_f32.ln(); 32],
        &card().read(&out, 0..32).unwrap(),
        SUMS,
    );
}

fn class_sums<D: Reduce<f32>>(
    device: &D,
    shape: &Shape,
    sight: Sight,
    how: [bool; 2],
    width: usize,
) -> Vec<f32> {
    let [times, absolute] = how;
    let table = device.shape(shape).unwrap();
    let map = device.upload(&random(3, shape.map_numbers())).unwrap();
    let other = device.upload(&random(4, shape.map_numbers())).unwrap();
    // Some in none, some in several.
    let classes: Vec<u32> = (0..TOKENS as u32).map(|at| at * at % 13).collect();
    let classes = device.indices(&classes).unwrap();
    let to = columns(width);
    let (mut out, numbers) = table_of(device, shape, to);
    device.class_sums(
        &table,
        (&mut out, to),
        (&map, times.then_some(&other)),
        &classes,
        sight,
        absolute,
    );
    device.read(&out, 0..numbers).unwrap()
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn sums_of_classes() {
    for sight in sights() {
        for how in [[false, false], [false, true], [true, false], [true, true]] {
            compare!(SUMS, class_sums(&some_heads(8), sight, how, 4));
        }
        compare!(SUMS, class_sums(&some_heads(8), sight, [false; 2], 0));
    }
}

fn neighbours<D: Reduce<f32>>(device: &D, shape: &Shape) -> Vec<f32> {
    let table = device.shape(shape).unwrap();
    let map = device.upload(&random(3, shape.map_numbers())).unwrap();
    let (mut out, numbers) = table_of(device, shape, columns(3));
    device.neighbours(&table, (&mut out, columns(3)), &map);
    device.read(&out, 0..numbers).unwrap()
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn attention_to_neighbours() {
    compare!(EXACT, neighbours(&some_heads(8)));
    compare!(EXACT, neighbours(&shape(8, &[])));
}

fn sum_rows<D: Reduce<f32>>(device: &D, shape: &Shape, size: [usize; 2]) -> Vec<f32> {
    let [classes, columns] = size;
    let table = device.shape(shape).unwrap();
    let rows = TOKENS * shape.slots.len() * columns;
    let rows = device.upload(&random(3, rows)).unwrap();
    let of: Vec<u32> = (0..TOKENS as u32).map(|at| at * at % 13).collect();
    let of = device.indices(&of).unwrap();
    let numbers = shape.sequences.len() * shape.slots.len() * classes * columns;
    let mut out = device.upload(&random(2, numbers + 1)).unwrap();
    device.sum_rows(&table, &mut out, &rows, &of, size);
    device.read(&out, 0..numbers + 1).unwrap()
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn sums_of_rows() {
    for size in [[3, 5], [1, 1], [4, 2]] {
        compare!(SUMS, sum_rows(&some_heads(8), size));
        compare!(EXACT, sum_rows(&shape(8, &[]), size));
    }
}

/// Units of a shape: of one or two tokens, one without any, two that share theirs; the first token of a sequence is in none.
fn units(tokens: &Shape) -> (Shape, Vec<u32>) {
    let (mut ranges, mut described) = (Vec::new(), Vec::new());
    for place in &tokens.sequences {
        let first = described.len() / UNIT;
        let mut from = 1;
        let mut class = 0;
        while from < place.tokens as u32 {
            let to = (from + 1 + class % 2).min(place.tokens as u32);
            let end = if class % 7 == 3 { from } else { to };
            // Those that look may be the first of them alone.
            let queries = if class % 3 == 0 {
                from..end.min(from + 1)
            } else {
                from..end
            };
            for _ in 0..1 + u32::from(class % 5 == 4) {
                described.extend([queries.start, queries.end, from, end, class, class % 2]);
            }
            from = to;
            class += 1;
        }
        ranges.push(first..described.len() / UNIT);
    }
    let longest = ranges.iter().map(ExactSizeIterator::len).max();
    let shape = Shape::new(
        ranges.into_iter(),
        tokens.slots.clone(),
        1,
        longest.unwrap_or(1),
        0,
    );
    (shape, described)
}

/// What is made of units, and of their partners.
fn partners<D: Reduce<f32>>(device: &D, tokens: &Shape, equal: bool) -> Vec<f32> {
    let (units, described) = units(tokens);
    let described = device.indices(&described).unwrap();
    let (on_units, on_tokens) = (device.shape(&units).unwrap(), device.shape(tokens).unwrap());
    let map = if equal {
        // Quarters: sums are exact, and many are equal.
        let some = random(5, tokens.map_numbers());
        let quarters: Vec<f32> = some.iter().map(|x| (4.0 * x).floor() / 4.0).collect();
        device.upload(&quarters).unwrap()
    } else {
        probs(device, tokens, Sight::default())
    };
    let mut folded = device.upload(&random(6, units.map_numbers())).unwrap();
    device.fold(&on_units, &mut folded, &on_tokens, &map, &described);
    let rows = units.tokens().end * units.slots.len();
    let mut out = device.zeros(rows * PARTNERS).unwrap();
    device.strongest(&on_units, &mut out, &folded, &described);
    let mut found = device.read(&folded, 0..units.map_numbers()).unwrap();
    found.extend(device.read(&out, 0..rows * PARTNERS).unwrap());
    found
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn partners_of_units() {
    compare!(EXACT, partners(&some_heads(8), true));
    compare!(SUMS, partners(&some_heads(8), false));
    compare!(EXACT, partners(&shape(8, &[]), true));
    // A sequence of which no token is a unit.
    let alone = Shape::new([3..4, 4..9].into_iter(), vec![0, 1], 1, 5, 0);
    compare!(EXACT, partners(&alone, true));
}

/// Rows of two layers, kept one after the other, and how far their maps are apart.
fn divergences<D: Reduce<f32>>(device: &D, smoothing: f64, sight: Sight) -> Vec<f32> {
    let n = 150;
    let shape = Shape::new(std::iter::once(5..5 + n), vec![0, 1, 3], 1, n, 0);
    let table = device.shape(&shape).unwrap();
    let map = probs(device, &shape, sight);
    let mut far = device.upload(&random(7, shape.map_numbers())).unwrap();
    device.softmax(&table, &mut far, sight);
    let rows: Vec<u32> = (0..n as u32).filter(|row| row % 3 != 1).collect();
    let cells = rows.len() * n;
    let rows = device.indices(&rows).unwrap();
    // One map more, of zeros.
    let mut kept = device.zeros(7 * cells).unwrap();
    device.keep_rows(&table, (&mut kept, 0), &map, &rows, smoothing, sight);
    device.keep_rows(
        &table,
        (&mut kept, 3 * cells),
        &far,
        &rows,
        smoothing,
        sight,
    );
    let mut out = device.zeros(21).unwrap();
    device.divergences(&mut out, &kept, [7, cells]);
    let mut found = device.read(&out, 0..21).unwrap();
    // Beside what is summed, what is kept.
    found.extend(device.read(&kept, 0..7 * cells).unwrap());
    found
}

#[test]
#[ignore = "tools/device/check.sh runs it"]
fn divergences_of_maps() {
    for sight in [
        Sight::default(),
        Sight {
            causal: true,
            reach: None,
        },
    ] {
        for smoothing in [0.0, 0.001] {
            compare!(SUMS, divergences(smoothing, sight));
        }
    }
    // Two that have nothing in common are ln 2 apart, row by row; a map and itself are not.
    for apart in [two_maps(&Host::new()), two_maps(card())] {
        assert_close(
            "far and near",
            &[2.0 * 2.0_f32.ln(), 0.0, 2.0 * 2.0_f32.ln()],
            &apart,
            SUMS,
        );
        assert_eq!(apart[1], 0.0);
    }
}

fn two_maps<D: Reduce<f32>>(device: &D) -> Vec<f32> {
    let maps = [
        [1.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 1.0, 0.0],
        [1.0, 0.0, 0.0, 1.0],
    ]
    .concat();
    let maps = device.upload(&maps).unwrap();
    let mut out = device.zeros(3).unwrap();
    device.divergences(&mut out, &maps, [3, 4]);
    let found = device.read(&out, 0..3).unwrap();
    // (0, 1), (0, 2), (1, 2).
    found
}
