//! Planted maps whose scores are known.
#![allow(clippy::unwrap_used)]

use bertology_model::{Matrix, Pass, Tap};

use super::super::frame::CURVE;
use super::super::{CatScores, LeafTokens};
use super::*;

const LEAVES: usize = 16;
const PLACES: [usize; LEAVES] = [0, 7, 3, 12, 9, 1, 14, 5, 10, 2, 15, 8, 4, 13, 6, 11];

/// Every leaf has two tokens but the first, which has one, behind a special token. Distances are those of a ring on
/// which the leaves lie in an order of their own: position says nothing of them.
fn item(index: u64) -> SnippetItem {
    let mut tokens = LeafTokens::default();
    tokens.push([1]);
    (1..LEAVES).for_each(|at| tokens.push([2 * at, 2 * at + 1]));
    let cells = || (0..LEAVES * LEAVES).map(|at| (at / LEAVES, at % LEAVES));
    let ring = |i: usize, j: usize| {
        let apart = PLACES[i].abs_diff(PLACES[j]);
        apart.min(LEAVES - apart) as u16
    };
    let line = |i: usize, j: usize| i.abs_diff(j) as u16;
    SnippetItem {
        index,
        language: "toy".into(),
        kinds: (0..LEAVES)
            .map(|at| if at % 4 == 0 { "name" } else { "sign" }.into())
            .collect(),
        tokens,
        distances: cells().map(|(i, j)| ring(i, j)).collect(),
        tree: cells().map(|(i, j)| 2 * ring(i, j)).collect(),
        strangers: [
            cells().map(|(i, j)| line(i, j)).collect(),
            Vec::new(),
            Vec::new(),
            Vec::new(),
        ],
        ..SnippetItem::default()
    }
}

fn lens(options: CatOptions) -> CatLens {
    CatLens {
        options,
        causal: false,
        layers: 2,
        heads: 2,
    }
}

fn options() -> CatOptions {
    CatOptions {
        resamples: 50,
        permutations: 39,
        frequent: [("toy".to_owned(), ["sign".to_owned()].into())].into(),
        ..CatOptions::default()
    }
}

/// Layer 0 follows the distances, layer 1 is noise; its second head is pruned away.
fn see(lens: &CatLens, item: &SnippetItem) -> CatPart {
    let tokens = 2 * LEAVES;
    let mut part = lens.begin(item, &Sequence::new(vec![0; tokens])).unwrap();
    let mut draws = crate::random::Draws::of([item.index]);
    for (layer, head) in [(0, 0), (0, 1), (1, 0)] {
        let cell = |at: usize| {
            let (i, j) = (at / tokens / 2, at % tokens / 2);
            let planted = (-f32::from(item.distances[i * LEAVES + j])).exp();
            if layer == 0 {
                planted
            } else {
                draws.unit() as f32
            }
        };
        let map: Vec<f32> = (0..tokens * tokens).map(cell).collect();
        let event = Event {
            pass: Pass::Forward,
            tap: Tap::Layer(layer, LayerSite::AttentionProbs),
            sequence: 0,
            head: Some(head),
            value: Matrix::new(&map, tokens, tokens),
        };
        lens.see(item, &mut part, &event);
    }
    lens.close(item, &mut part).unwrap();
    part
}

fn state(options: &CatOptions) -> CatState {
    let heads =
        HeadTable::from_values(2, 2, vec![0.0; 4]).restricted(|id| (id.layer, id.head) != (1, 1));
    CatState {
        sums: Sums::new(size(&heads, options)),
        heads,
        causal: false,
        options: options.clone(),
        counts: SequenceCounts::default(),
        alignment: AlignmentCounts::default(),
    }
}

fn studied(indices: Range<u64>) -> CatState {
    let lens = lens(options());
    let mut state = state(&options());
    for index in indices {
        let item = item(index);
        let part = see(&lens, &item);
        state
            .add(Fate::Studied(Contribution {
                item: &item,
                part,
                tokens: 2 * LEAVES,
            }))
            .unwrap();
    }
    state
}

#[test]
fn a_planted_layer_is_found_and_noise_is_not() {
    let state = studied(0..40);
    let CatScores {
        snippets,
        layers,
        heads,
        kinds,
        ..
    } = state.finish().unwrap();
    assert_eq!(snippets, 40);
    let [planted, noise] = &layers[..] else {
        panic!("two layers")
    };
    let value = |of: &super::super::LayerScores, measure| of.mean(measure).unwrap().value;
    for measure in [
        Measure::Cat,
        Measure::OffDiagonal,
        Measure::Frequent,
        Measure::Tree,
        Measure::Adjusted,
    ] {
        assert_eq!(value(planted, measure), 1.0, "{measure:?}");
    }
    assert!((value(planted, Measure::Rho) - 1.0).abs() < 1e-12);
    assert_eq!(planted.micro, Some(1.0));
    assert!(value(planted, Measure::Linear) < 0.8 && value(planted, Measure::Offset) < 0.8);
    assert!(planted.attends_to_structure());
    assert!(!noise.attends_to_structure());
    let mean = noise.mean(Measure::Cat).unwrap();
    let expected = value(noise, Measure::Noise);
    assert!(
        (mean.value - expected).abs() < 3.5 * mean.standard_error.unwrap(),
        "{mean:?} {expected}"
    );
    // In a twentieth of the cells there is no room for the diagonal: nothing is near, nothing stands out.
    let [rest @ .., last] = &planted.curve[..] else {
        panic!("a curve")
    };
    assert!(rest.iter().all(|j| *j == Some(1.0)) && last.is_none());
    assert_eq!(planted.curve.len(), CURVE.len());
    assert_eq!(
        planted.mean(Measure::RandomTree).map(|m| m.value),
        planted.mean(Measure::Linear).map(|m| m.value)
    );
    assert_eq!(planted.mean(Measure::OtherTree), None);
    let id = |layer, head| bertology_model::HeadId { layer, head };
    assert_eq!(heads.cat.get(id(0, 1)), Some(1.0));
    assert_eq!(heads.cat.get(id(1, 1)), None);
    // 1 in 40, the least that 39 permutations can tell.
    assert_eq!(heads.p_value.get(id(0, 0)), Some(0.025));
    assert!(heads.p_value.get(id(1, 0)).unwrap() > 0.05);
    let [first, second] = &kinds[..] else {
        panic!("two kinds")
    };
    assert_eq!(
        (&*first.kind, first.leaves, &*second.kind, second.snippets),
        ("sign", 480, "name", 40)
    );
    assert_eq!(first.cells + second.cells, 40 * 2 * 256);
}

#[test]
fn halves_merge_into_the_whole() {
    let whole = studied(0..8);
    let mut half = studied(0..3);
    let rest = studied(3..8);
    half.merge(rest).unwrap();
    assert_eq!(half.counts, whole.counts);
    assert_eq!(half.sums.kinds, whole.sums.kinds);
    for (a, b) in half.sums.measures.iter().zip(&whole.sums.measures) {
        assert!(a.count == b.count && (a.sum - b.sum).abs() < 1e-9);
    }
    half.agrees(&state(&options())).unwrap();
    let text = serde_json::to_string(&half).unwrap();
    let mut back: CatState = serde_json::from_str(&text).unwrap();
    assert_eq!(back, half);
    back.sums.measures[0].sum = 99.0;
    let error = back.agrees(&state(&options())).unwrap_err();
    assert!(matches!(error, Error::StateImpossible { .. }), "{error:?}");
    let other = CatOptions {
        seed: 1,
        ..options()
    };
    assert!(matches!(
        half.agrees(&state(&other)),
        Err(Error::StateMismatch { .. })
    ));
}

/// A leaf of one token and one of two: means over blocks, what rests elsewhere is not made up for.
#[test]
fn attention_between_leaves_is_a_mean_of_blocks() {
    let mut tokens = LeafTokens::default();
    tokens.push([1]);
    tokens.push([2, 3]);
    let map = [
        [0.1, 0.2, 0.3, 0.4],
        [0.4, 0.3, 0.2, 0.1],
        [0.2, 0.2, 0.2, 0.4],
        [0.5, 0.1, 0.2, 0.2],
    ];
    let map = map.concat();
    let leaves = |how| {
        let mut sums = vec![0.0; 4];
        tokens.add(&mut sums, Matrix::new(&map, 4, 4), how, &mut Vec::new());
        sums
    };
    let close = |found: Vec<f64>, expected: [f64; 4]| {
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-7),
            "{found:?}"
        );
    };
    close(leaves(LeafMean::MeanMean), [0.3, 0.15, 0.15, 0.25]);
    close(leaves(LeafMean::MeanSum), [0.3, 0.3, 0.15, 0.5]);
    let lens = lens(CatOptions {
        renormalise: true,
        ..options()
    });
    let rows = lens.rounded(&leaves(LeafMean::MeanSum), 1.0, 2);
    assert!(
        rows.chunks(2)
            .all(|row| (row[0] + row[1] - 1.0).abs() < 1e-6),
        "{rows:?}"
    );
}
