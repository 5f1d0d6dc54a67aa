//! Laws that hold for every program.

use std::ops::Range;

use bertology_code::{
    Code, Distances, Faulty, Graph, GraphKind, InputMode, LANGUAGES, Reading, Shape, Snippet,
    Strings, Tail,
};
use proptest::prelude::*;

use crate::languages::functions;

/// Any language, a part of the text of its file, and what is left out of that: mostly no program.
fn mutilated() -> impl Strategy<Value = Code> {
    let pieces = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0_usize..4,
    );
    pieces.prop_flat_map(|(language, function, cuts)| {
        let language = LANGUAGES[language.index(LANGUAGES.len())];
        let all = functions(language);
        let text = all[function.index(all.len())].text.clone();
        let ends = (any::<prop::sample::Index>(), 1_usize..30);
        prop::collection::vec(ends, cuts).prop_map(move |cuts| {
            let mut text: Vec<char> = text.chars().collect();
            for (from, count) in cuts {
                let from = from.index(text.len() + 1);
                text.drain(from..(from + count).min(text.len()));
            }
            Code::new(language, text.into_iter().collect::<String>())
        })
    })
}

fn reading() -> impl Strategy<Value = Reading> {
    const INPUTS: [InputMode; 3] = [InputMode::Joined, InputMode::Normalised, InputMode::Raw];
    const STRINGS: [Strings; 3] = [Strings::Collapse, Strings::Expand, Strings::Legacy];
    (
        prop::sample::select(&INPUTS[..]),
        prop::sample::select(&STRINGS[..]),
    )
        .prop_map(|(input, strings)| {
            Reading::of(input)
                .with_strings(strings)
                .with_faulty(Faulty::Keep)
        })
}

fn graphs(snippet: &Snippet) -> [Graph; 3] {
    let all: Vec<usize> = (0..snippet.leaves().len()).collect();
    GraphKind::ALL.map(|kind| snippet.graph(kind, Tail::Keep, &all))
}

fn check(graph: &[Graph; 3]) {
    let leaves: Vec<usize> = (0..graph[0].num_leaves()).collect();
    let found: Vec<Distances> = graph
        .iter()
        .map(|graph| graph.distances(&leaves).unwrap())
        .collect();
    let [ast, chain, flow] = &found[..] else {
        unreachable!()
    };
    assert_eq!(*ast, graph[0].distances_by_search(&leaves).unwrap());
    assert_eq!(*ast, graph[2].distances_by_depth(&leaves).unwrap());
    let size = leaves.len();
    for a in 0..size {
        for b in 0..size {
            let [in_tree, in_chain, in_flow] = [ast, chain, flow].map(|of| of.get(a, b));
            assert_eq!(in_tree == 0, a == b);
            assert!(a == b || in_tree >= 2);
            assert!(in_flow <= in_chain && in_chain <= in_tree);
            assert!(usize::from(in_chain) <= a.abs_diff(b));
            assert_eq!(in_chain == 1, a.abs_diff(b) == 1);
            for of in [ast, chain, flow] {
                assert_eq!(of.get(a, b), of.get(b, a));
            }
        }
    }
    for of in &found {
        // All triangles of a third of the leaves.
        let some: Vec<usize> = (0..size).step_by(3).collect();
        for (a, b, c) in some
            .iter()
            .flat_map(|a| some.iter().map(move |b| (a, b)))
            .flat_map(|(a, b)| some.iter().map(move |c| (*a, *b, *c)))
        {
            assert!(of.get(a, c) <= of.get(a, b) + of.get(b, c));
        }
    }
    // Some leaves alone have the distances that they have among all.
    let some: Vec<usize> = (0..size).filter(|leaf| leaf % 3 != 1).collect();
    for (graph, of) in graph.iter().zip(&found) {
        assert_eq!(graph.distances(&some).unwrap(), of.of(&some));
    }
}

#[test]
fn distances_of_every_function_of_every_language_obey_the_laws() {
    for language in LANGUAGES {
        for code in functions(language) {
            let found = Snippet::new(code, &Reading::default()).unwrap();
            check(&graphs(&found));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn distances_of_mutilated_programs_obey_the_laws(code in mutilated(), reading in reading()) {
        if let Ok(found) = Snippet::new(code, &reading) {
            check(&graphs(&found));
            let tree = Shape::Random { seed: 3 };
            check(&graphs(&found).map(|graph| graph.with_tree(tree)));
        }
    }

    #[test]
    fn distances_of_random_trees_obey_the_laws(draws in prop::collection::vec(any::<prop::sample::Index>(), 1..60)) {
        // Each node hangs on the rightmost path, so that numbers are a preorder.
        let (mut parents, mut path) = (vec![0_u32], vec![0_u32]);
        for draw in draws {
            path.truncate(draw.index(path.len()) + 1);
            let node = parents.len() as u32;
            parents.push(path[path.len() - 1]);
            path.push(node);
        }
        let is_leaf = |node: &u32| *node > 0 && !parents.iter().skip(1).any(|parent| parent == node);
        let leaves: Vec<u32> = (0..parents.len() as u32).filter(is_leaf).collect();
        let flow = match leaves.len() {
            0..3 => vec![],
            many => vec![(0, many as u32 - 1)],
        };
        let of = |kind| Graph::of_parents(parents.clone(), leaves.clone(), flow.clone(), kind);
        check(&GraphKind::ALL.map(of));
    }

    #[test]
    fn leaves_keep_their_order_and_their_texts(code in mutilated(), reading in reading()) {
        let Ok(found) = Snippet::new(code, &reading) else {
            return Ok(());
        };
        let mut end = 0;
        for (leaf, span) in found.spans().iter().enumerate() {
            let said = found.leaf_text(leaf);
            prop_assert!(!said.is_empty());
            if let Some(Range { start, end: behind }) = span.clone() {
                prop_assert!(start >= end);
                prop_assert_eq!(&found.model_text()[start..behind], said);
                end = behind;
            }
        }
    }
}
