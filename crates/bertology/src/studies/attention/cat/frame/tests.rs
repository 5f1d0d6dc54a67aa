//! The specification's two toys, `def f(x): return x` and `def f(a, b): return a + b`.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::input::snippet::LeafTokens;

const AST: [[u16; 8]; 8] = [
    [0, 2, 3, 3, 3, 2, 4, 4],
    [2, 0, 3, 3, 3, 2, 4, 4],
    [3, 3, 0, 2, 2, 3, 5, 5],
    [3, 3, 2, 0, 2, 3, 5, 5],
    [3, 3, 2, 2, 0, 3, 5, 5],
    [2, 2, 3, 3, 3, 0, 4, 4],
    [4, 4, 5, 5, 5, 4, 0, 2],
    [4, 4, 5, 5, 5, 4, 2, 0],
];
const CHAIN: [[u16; 8]; 8] = [
    [0, 1, 2, 3, 3, 2, 3, 4],
    [1, 0, 1, 2, 3, 2, 3, 4],
    [2, 1, 0, 1, 2, 3, 4, 5],
    [3, 2, 1, 0, 1, 2, 3, 4],
    [3, 3, 2, 1, 0, 1, 2, 3],
    [2, 2, 3, 2, 1, 0, 1, 2],
    [3, 3, 4, 3, 2, 1, 0, 1],
    [4, 4, 5, 4, 3, 2, 1, 0],
];
const FLOW: [[u16; 8]; 8] = [
    [0, 1, 2, 3, 3, 2, 3, 4],
    [1, 0, 1, 2, 3, 2, 3, 3],
    [2, 1, 0, 1, 2, 3, 3, 2],
    [3, 2, 1, 0, 1, 2, 2, 1],
    [3, 3, 2, 1, 0, 1, 2, 2],
    [2, 2, 3, 2, 1, 0, 1, 2],
    [3, 3, 3, 2, 2, 1, 0, 1],
    [4, 3, 2, 1, 2, 2, 1, 0],
];

fn item(distances: &[[u16; 8]; 8]) -> SnippetItem {
    let mut tokens = LeafTokens::default();
    (0..8).for_each(|at| tokens.push([at]));
    SnippetItem {
        kinds: vec!["leaf".into(); 8],
        tokens,
        distances: distances.concat(),
        tree: AST.concat(),
        ..SnippetItem::default()
    }
}

fn rules() -> Rules {
    Rules {
        quantile: Quantile::THIRD_QUARTILE,
        choice: Choice::Quantile,
        causal: false,
        permutations: 50,
        seed: 1,
    }
}

fn get(values: &Values, measure: Measure) -> Option<f64> {
    let value = values[measure as usize];
    value.is_finite().then_some(value)
}

fn frame(distances: &[[u16; 8]; 8]) -> Frame {
    Frame::new(&item(distances), None, rules())
}

fn planted(distances: &[[u16; 8]; 8]) -> Vec<f32> {
    distances
        .concat()
        .iter()
        .map(|d| 1.0 / (1.0 + f32::from(*d)))
        .collect()
}

fn neighbours() -> Vec<f32> {
    (0..64_usize)
        .map(|at| {
            if (at / 8).abs_diff(at % 8) == 1 {
                1.0
            } else {
                0.0
            }
        })
        .collect()
}

fn offset() -> Vec<f32> {
    (0..64_usize)
        .map(|at| 1.0 / (1.0 + (at / 8).abs_diff(at % 8) as f32))
        .collect()
}

fn counts(frame: &Frame, of: &Compared, attention: &[f32]) -> [u64; 4] {
    let o = frame.overlap(attention, of, &mut Room::default());
    [o.attended, o.near, o.both, o.either()]
}

#[test]
fn the_first_toy_on_the_chain() {
    let frame = frame(&CHAIN);
    let whole = |attention: &[f32]| counts(&frame, &frame.whole, attention);
    assert_eq!(whole(&planted(&CHAIN)), [8, 8, 8, 8]);
    // Its neighbours exactly, and not one cell of those that are near: the diagonal is nearer.
    assert_eq!(whole(&neighbours()), [14, 8, 0, 22]);
    let far: Vec<f32> = CHAIN.concat().iter().map(|d| f32::from(*d)).collect();
    let [_, _, both, either] = whole(&far);
    assert_eq!((both, either), (0, 18));
    let off = |attention: &[f32]| counts(&frame, &frame.off, attention);
    assert_eq!(off(&neighbours()), [14, 14, 14, 14]);
    assert_eq!(off(&planted(&CHAIN)), [14, 14, 14, 14]);
}

#[test]
fn the_first_toy_on_the_tree_and_with_the_flow() {
    let tree = frame(&AST);
    assert_eq!(tree.whole.near.ones(), 8);
    let off = |attention: &[f32]| counts(&tree, &tree.off, attention);
    let [_, near, both, either] = off(&planted(&AST));
    assert_eq!((near, both, either), (14, 14, 14));
    for attention in [neighbours(), offset()] {
        let [_, _, both, either] = off(&attention);
        assert_eq!((both, either), (8, 20));
    }
    // The bound is the least distance, nothing is near, and nothing planted is above its quantile.
    let flow = frame(&FLOW);
    assert_eq!(counts(&flow, &flow.off, &planted(&FLOW)), [0, 0, 0, 0]);
    let found = flow.layer(&planted(&FLOW), 0, &mut Room::default());
    assert_eq!(get(&found.values, Measure::OffDiagonal), None);
    assert_eq!(get(&found.values, Measure::Cat), Some(1.0));
}

/// Any falling function of distance has J = 1; a rising function of attention changes nothing.
#[test]
fn only_the_order_of_attention_counts() {
    let frame = frame(&FLOW);
    let mut draws = Draws::of([3]);
    for round in 0..200 {
        let mut falling: Vec<f32> = (0..9).map(|_| draws.unit() as f32).collect();
        falling.sort_by(|a, b| b.total_cmp(a));
        falling.dedup();
        let planted: Vec<f32> = FLOW
            .concat()
            .iter()
            .map(|d| falling[usize::from(*d)])
            .collect();
        let room = &mut Room::default();
        assert_eq!(frame.jaccard(&planted, &frame.whole, room), Some(1.0));
        let any: Vec<f32> = (0..64)
            .map(|_| draws.below(if round % 2 == 0 { 6 } else { 9999 }) as f32)
            .collect();
        let risen: Vec<f32> = any.iter().map(|value| (value / 1e4).exp()).collect();
        let overlap = |values: &[f32]| counts(&frame, &frame.whole, values);
        assert_eq!(overlap(&any), overlap(&risen));
    }
}

/// 1 where all is planted, and less once leaves are permuted; the mean over many permutations of noise is the exact one.
#[test]
fn permutations_know_nothing_of_the_tree() {
    let rules = Rules {
        permutations: 4000,
        ..rules()
    };
    let frame = Frame::new(&item(&CHAIN), None, rules);
    let found = frame.layer(&planted(&AST), 0, &mut Room::default()).values;
    // The diagonal stays on the diagonal, which is what is near here.
    assert_eq!(get(&found, Measure::Permuted), get(&found, Measure::Cat));
    let mut draws = Draws::of([4]);
    let noise: Vec<f32> = (0..64).map(|_| draws.unit() as f32).collect();
    let high = frame.high(
        &noise,
        &frame.off,
        Quantile::THIRD_QUARTILE,
        &mut Room::default(),
    );
    let exact = Overlap::new(&high, &frame.off.near, 56)
        .mean_of_noise()
        .unwrap();
    let mut sum = 0.0;
    for round in 0..4000_u64 {
        let order = permutation(8, Draws::of([7, round]));
        let moved = frame.off.places.iter().map(|at| {
            let (i, j) = (*at as usize / 8, *at as usize % 8);
            CHAIN[order[i] as usize][order[j] as usize] < frame.off.low
        });
        let moved: Vec<bool> = moved.collect();
        sum += Overlap::new(&high, &Mask::of(moved.into_iter()), 56)
            .jaccard()
            .unwrap();
    }
    let mean = sum / 4000.0;
    assert!((mean - exact).abs() < 0.01, "{mean} {exact}");
}

#[test]
fn attention_by_position_alone_leaves_nothing_to_the_partial_correlation() {
    let frame = frame(&FLOW);
    let found = frame.layer(&offset(), 0, &mut Room::default()).values;
    assert_eq!(get(&found, Measure::Cat), get(&found, Measure::Offset));
    assert_eq!(
        get(&found, Measure::Cat),
        get(&found, Measure::MeanByOffset)
    );
    assert_eq!(get(&found, Measure::PartialRho), None);
    assert_eq!(get(&found, Measure::StratifiedRho), None);
    let rho = get(&found, Measure::Rho).unwrap();
    assert!((rho - get(&found, Measure::OffsetRho).unwrap()).abs() < 1e-15);
    let planted = frame.layer(&planted(&FLOW), 0, &mut Room::default()).values;
    for measure in [Measure::Rho, Measure::PartialRho, Measure::StratifiedRho] {
        let value = get(&planted, measure).unwrap();
        assert!((value - 1.0).abs() < 1e-12, "{measure:?} {value}");
    }
}

#[test]
fn chosen_by_number_the_ceiling_is_one() {
    let rules = Rules {
        choice: Choice::Top,
        ..rules()
    };
    let frame = Frame::new(&item(&CHAIN), None, rules);
    let found = frame.layer(&neighbours(), 0, &mut Room::default()).values;
    assert_eq!(get(&found, Measure::Ceiling), Some(1.0));
    let near = frame.whole.near.ones() as f64 / 64.0;
    let chance = get(&found, Measure::Chance).unwrap();
    assert!((chance - near / (2.0 - near)).abs() < 1e-15);
}

#[test]
fn frequent_leaves_are_compared_among_themselves() {
    let mut frequent = [true; 8];
    frequent[3] = false;
    let frame = Frame::new(&item(&CHAIN), Some(&frequent), rules());
    let frequent = frame.frequent.as_ref().unwrap();
    assert_eq!(frequent.places.len(), 49);
    let found = frame
        .layer(&planted(&CHAIN), 0, &mut Room::default())
        .values;
    assert_eq!(get(&found, Measure::Frequent), Some(1.0));
}

#[test]
fn shuffled_rows_keep_their_values_and_the_diagonal() {
    let frame = frame(&CHAIN);
    let values: Vec<f32> = (0..64).map(|at| at as f32).collect();
    let shuffled = frame.shuffled(&values, 2);
    assert_ne!(shuffled, values);
    for i in 0..8 {
        assert_eq!(shuffled[i * 9], values[i * 9]);
        let mut row = shuffled[i * 8..][..8].to_vec();
        row.sort_by(f32::total_cmp);
        assert_eq!(row, values[i * 8..][..8]);
    }
}

/// Two leaves of kinds u and v: of u all four cells count, two of them high.
#[test]
fn cells_of_a_leaf_are_its_row_and_its_column() {
    let mut tokens = LeafTokens::default();
    (0..2).for_each(|at| tokens.push([at]));
    let two = SnippetItem {
        kinds: vec!["u".into(), "v".into()],
        tokens,
        distances: vec![0, 1, 1, 0],
        tree: vec![0, 2, 2, 0],
        ..SnippetItem::default()
    };
    let frame = Frame::new(&two, None, rules());
    let high = Mask::of([true, false, false, false].into_iter());
    assert_eq!(frame.seen_of_leaves(&high), [2, 0]);
    assert_eq!(frame.cells_of_leaves(), [4, 4]);
}

#[test]
fn one_leaf_has_no_score() {
    let mut tokens = LeafTokens::default();
    tokens.push([1]);
    let one = SnippetItem {
        kinds: vec!["leaf".into()],
        tokens,
        distances: vec![0],
        tree: vec![0],
        ..SnippetItem::default()
    };
    let found = Frame::new(&one, None, rules()).layer(&[0.5], 0, &mut Room::default());
    assert_eq!(get(&found.values, Measure::Cat), None);
    assert_eq!(get(&found.values, Measure::Rho), None);
}
