#![allow(clippy::unwrap_used)]

use super::*;

fn ranges(all: &[(usize, usize)]) -> Vec<Range<usize>> {
    all.iter().map(|(start, end)| *start..*end).collect()
}

/// The specification's `def f(x):\n    return x\n`, as a byte-level tokenizer cuts it: `):` lies on two leaves, five
/// tokens on none.
#[test]
fn tokens_belong_to_the_leaves_whose_bytes_they_have() {
    let text = "def f(x):\n    return x\n";
    let leaves = ranges(&[
        (0, 3),
        (4, 5),
        (5, 6),
        (6, 7),
        (7, 8),
        (8, 9),
        (14, 20),
        (21, 22),
    ]);
    let cut = [
        (0, 3),
        (3, 5),
        (5, 6),
        (6, 7),
        (7, 9),
        (9, 10),
        (10, 11),
        (11, 12),
        (12, 13),
        (13, 20),
        (20, 22),
        (22, 23),
    ];
    let places: Vec<_> = ranges(&cut)
        .into_iter()
        .map(|place| trimmed(text, place))
        .collect();
    let special = vec![false; places.len()];
    let (of_leaves, counts) = assign(&places, &special, &leaves, SharedTokens::Share);
    assert_eq!(of_leaves, [[0], [1], [2], [3], [4], [4], [9], [10]]);
    assert_eq!(
        (counts.tokens, counts.in_no_leaf, counts.in_several),
        (12, 5, 1)
    );
    assert_eq!((counts.leaves, counts.sharing), (8, 2));
    for (shared, expected) in [
        (SharedTokens::First, [vec![4], vec![]]),
        (SharedTokens::MaxOverlap, [vec![4], vec![]]),
        (SharedTokens::Drop, [vec![], vec![]]),
    ] {
        let (of_leaves, _) = assign(&places, &special, &leaves, shared);
        assert_eq!(of_leaves[4..6], expected, "{shared:?}");
    }
}

/// The tokens of one character of several bytes all have its whole range; places may overlap.
#[test]
fn characters_in_several_tokens_are_in_the_leaf_each_time() {
    let text = "x = 变 + ééa";
    let leaves = ranges(&[(0, 1), (2, 3), (4, 7), (8, 9), (10, 15)]);
    let places = ranges(&[
        (0, 1),
        (2, 3),
        (4, 7),
        (4, 7),
        (4, 7),
        (8, 9),
        (10, 12),
        (10, 12),
        (12, 15),
    ]);
    let places: Vec<_> = places
        .into_iter()
        .map(|place| trimmed(text, place))
        .collect();
    let (of_leaves, counts) = assign(&places, &[false; 9], &leaves, SharedTokens::Share);
    assert_eq!(
        of_leaves,
        [vec![0], vec![1], vec![2, 3, 4], vec![5], vec![6, 7, 8]]
    );
    assert_eq!((counts.in_no_leaf, counts.in_several), (0, 0));
}

#[test]
fn most_of_a_token_decides() {
    let leaves = ranges(&[(0, 1), (1, 4), (4, 5)]);
    let places = ranges(&[(0, 5), (0, 2)]);
    let special = [false, true];
    let (of_leaves, counts) = assign(&places, &special, &leaves, SharedTokens::MaxOverlap);
    assert_eq!(of_leaves, [vec![], vec![0], vec![]]);
    assert_eq!((counts.tokens, counts.sharing), (1, 3));
}

#[test]
fn blanks_are_trimmed_by_bytes() {
    assert_eq!(trimmed("a  变 \n", 1..8), 3..6);
    assert_eq!(trimmed("   ", 0..3), 3..3);
    assert_eq!(trimmed("ab", 0..0), 0..0);
}
