//! Trees that know nothing.

use bertology_code::{Distances, Graph, GraphKind, Shape, Tail};

use crate::{distances, snippet};

fn graph(leaves: usize, kind: GraphKind) -> Graph {
    // A root with all leaves below it.
    let parents = vec![0; leaves + 1];
    let flow = vec![(0, 2), (2, leaves as u32 - 1)];
    Graph::of_parents(parents, (1..=leaves as u32).collect(), flow, kind)
}

fn all(graph: &Graph) -> Distances {
    let leaves: Vec<usize> = (0..graph.num_leaves()).collect();
    graph.distances(&leaves).unwrap()
}

/// Worked out by hand.
#[test]
fn right_branching_and_balanced_trees_have_their_distances() {
    let of = |shape| all(&graph(4, GraphKind::Ast).with_tree(shape));
    #[rustfmt::skip]
    assert_eq!(of(Shape::RightBranching).values(), [
        0, 3, 4, 4,
        3, 0, 3, 3,
        4, 3, 0, 2,
        4, 3, 2, 0,
    ]);
    #[rustfmt::skip]
    assert_eq!(of(Shape::Balanced).values(), [
        0, 2, 4, 4,
        2, 0, 4, 4,
        4, 4, 0, 2,
        4, 4, 2, 0,
    ]);
    // Three and two: the first half is the larger.
    let five = all(&graph(5, GraphKind::Ast).with_tree(Shape::Balanced));
    assert_eq!(five.row(0), [0, 2, 3, 5, 5]);
    assert_eq!(five.row(4), [5, 5, 4, 2, 0]);
}

#[test]
fn binary_trees_have_one_node_less_than_leaves() {
    for leaves in [3, 4, 5, 17, 64, 333] {
        for shape in [
            Shape::Random { seed: 5 },
            Shape::RightBranching,
            Shape::Balanced,
        ] {
            let tree = graph(leaves, GraphKind::ChainFlow).with_tree(shape);
            assert_eq!(tree.num_nodes(), 2 * leaves - 1);
            assert_eq!(tree.num_leaves(), leaves);
            assert_eq!(tree.flow().len(), 2);
        }
    }
}

/// Of three leaves there are two trees, of four five; the order in which gaps close makes the balanced one of four twice
/// as likely as each of the others.
#[test]
fn random_trees_come_in_the_shares_of_the_orders_in_which_gaps_close() {
    let mut of_four = std::collections::BTreeMap::new();
    const DRAWN: u32 = 6000;
    for seed in 0..u64::from(DRAWN) {
        let tree = graph(4, GraphKind::Ast).with_tree(Shape::Random { seed });
        *of_four.entry(all(&tree).values().to_vec()).or_insert(0_u32) += 1;
    }
    assert_eq!(of_four.len(), 5);
    let balanced = all(&graph(4, GraphKind::Ast).with_tree(Shape::Balanced));
    for (values, count) in of_four {
        let share = if values == balanced.values() {
            2.0
        } else {
            1.0
        } / 6.0;
        let expected = f64::from(DRAWN) * share;
        // Five standard deviations.
        let most = 5.0 * (expected * (1.0 - share)).sqrt();
        assert!(
            (f64::from(count) - expected).abs() < most,
            "{count} of {expected}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_tree() {
    let of = |seed| all(&graph(40, GraphKind::Chain).with_tree(Shape::Random { seed }));
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

#[test]
fn edges_between_leaves_stay_over_another_tree() {
    let code = snippet("python", "def f(a, b):\n    return a + b\n");
    let every: Vec<usize> = (0..code.leaves().len()).collect();
    for kind in [GraphKind::Chain, GraphKind::ChainFlow] {
        let random = code
            .graph(kind, Tail::Keep, &every)
            .with_tree(Shape::Random { seed: 1 });
        let found = random.distances(&every).unwrap();
        assert!((1..every.len()).all(|leaf| found.get(leaf - 1, leaf) == 1));
        let flow = found.get(9, 3);
        assert_eq!(flow == 1, kind == GraphKind::ChainFlow, "{flow}");
    }
}

#[test]
fn offsets_and_other_programs_stand_in() {
    assert_eq!(Distances::offsets(3).values(), [0, 1, 2, 1, 0, 1, 2, 1, 0]);
    let other = distances(
        &snippet("python", "def f(x):\n    return x\n"),
        GraphKind::Ast,
    );
    let cut = other.truncated(3).unwrap();
    assert_eq!(cut.values(), [0, 2, 3, 2, 0, 3, 3, 3, 0]);
    assert_eq!(other.truncated(9), None);
    let none = snippet("python", "x").graph(GraphKind::Ast, Tail::Keep, &[0]);
    for shape in [
        Shape::Balanced,
        Shape::RightBranching,
        Shape::Random { seed: 0 },
    ] {
        assert_eq!(all(&none.with_tree(shape)).values(), [0]);
    }
}
