//! The published toys, worked out by hand.

use bertology_code::{Docstrings, GraphKind, InputMode, Reading, Strings};

use crate::{distances, read, snippet, texts};

const TOY_1: &str = "def f(x):\n    return x\n";
const TOY_2: &str = "def f(a, b):\n    return a + b\n";

#[test]
fn the_first_toy_has_the_matrices_of_the_specification() {
    let toy = snippet("python", TOY_1);
    assert_eq!(texts(&toy), ["def", "f", "(", "x", ")", ":", "return", "x"]);
    assert_eq!(toy.syntax().nodes().len(), 13);
    #[rustfmt::skip]
    let expected = [
        (GraphKind::Ast, 190, [
            0, 2, 3, 3, 3, 2, 4, 4,
            2, 0, 3, 3, 3, 2, 4, 4,
            3, 3, 0, 2, 2, 3, 5, 5,
            3, 3, 2, 0, 2, 3, 5, 5,
            3, 3, 2, 2, 0, 3, 5, 5,
            2, 2, 3, 3, 3, 0, 4, 4,
            4, 4, 5, 5, 5, 4, 0, 2,
            4, 4, 5, 5, 5, 4, 2, 0,
        ]),
        (GraphKind::Chain, 136, [
            0, 1, 2, 3, 3, 2, 3, 4,
            1, 0, 1, 2, 3, 2, 3, 4,
            2, 1, 0, 1, 2, 3, 4, 5,
            3, 2, 1, 0, 1, 2, 3, 4,
            3, 3, 2, 1, 0, 1, 2, 3,
            2, 2, 3, 2, 1, 0, 1, 2,
            3, 3, 4, 3, 2, 1, 0, 1,
            4, 4, 5, 4, 3, 2, 1, 0,
        ]),
        (GraphKind::ChainFlow, 116, [
            0, 1, 2, 3, 3, 2, 3, 4,
            1, 0, 1, 2, 3, 2, 3, 3,
            2, 1, 0, 1, 2, 3, 3, 2,
            3, 2, 1, 0, 1, 2, 2, 1,
            3, 3, 2, 1, 0, 1, 2, 2,
            2, 2, 3, 2, 1, 0, 1, 2,
            3, 3, 3, 2, 2, 1, 0, 1,
            4, 3, 2, 1, 2, 2, 1, 0,
        ]),
    ];
    for (kind, sum, values) in expected {
        let found = distances(&toy, kind);
        assert_eq!(found.values(), values, "{}", kind.name());
        assert_eq!(found.sum(), sum);
    }
}

#[test]
fn the_second_toy_has_the_sums_and_rows_of_the_specification() {
    let toy = snippet("python", TOY_2);
    let of = |kind| distances(&toy, kind);
    let sums = GraphKind::ALL.map(|kind| of(kind).sum());
    assert_eq!(sums, [516, 416, 312]);
    assert_eq!(
        of(GraphKind::Chain).row(0),
        [0, 1, 2, 3, 3, 3, 3, 2, 3, 4, 5, 5]
    );
    assert_eq!(
        of(GraphKind::ChainFlow).row(11),
        [4, 4, 3, 3, 2, 1, 2, 3, 3, 2, 1, 0]
    );
}

/// The counts of cells under the first quartile, from which all scores of the toys follow.
#[test]
fn the_toys_have_as_many_near_cells_as_the_specification_counts() {
    let below = |text, kind, off_diagonal: bool| {
        let found = distances(&snippet("python", text), kind);
        let size = found.size();
        let cells = (0..size * size).filter(|cell| !off_diagonal || cell / size != cell % size);
        let mut cells: Vec<u16> = cells.map(|cell| found.values()[cell]).collect();
        cells.sort_unstable();
        // {D < v[⌈(N - 1) / 4⌉]}: the quantile without interpolation.
        let threshold = cells[(cells.len() - 1).div_ceil(4)];
        cells.partition_point(|value| *value < threshold)
    };
    assert_eq!(below(TOY_1, GraphKind::Chain, false), 8);
    assert_eq!(below(TOY_1, GraphKind::Chain, true), 14);
    assert_eq!(below(TOY_1, GraphKind::Ast, false), 8);
    assert_eq!(below(TOY_1, GraphKind::Ast, true), 14);
    assert_eq!(below(TOY_1, GraphKind::ChainFlow, true), 0);
    assert_eq!(below(TOY_2, GraphKind::Chain, false), 34);
    assert_eq!(below(TOY_2, GraphKind::ChainFlow, false), 12);
}

/// The paper's figure: the column of `def`, with a docstring that adds two quotation marks to the chain.
#[test]
fn the_first_column_of_the_published_figure_comes_out() {
    let code =
        "def write(self, data):\n    \"\"\"Write data.\"\"\"\n    self.tmpbuf.append(data)\n";
    let reading = Reading::of(InputMode::Raw)
        .with_strings(Strings::Legacy)
        .with_docstrings(Docstrings::Keep);
    let found = read("python", code, &reading).unwrap();
    let shown: Vec<usize> = (0..found.leaves().len())
        .filter(|leaf| found.leaves()[*leaf].kind != "\"")
        .collect();
    assert_eq!(shown.len(), 16);
    let column = distances(&found, GraphKind::ChainFlow).of(&shown);
    assert_eq!(
        column.row(0),
        [0, 1, 2, 3, 3, 3, 3, 2, 4, 5, 6, 6, 6, 5, 4, 5]
    );
}

/// A plot that is keyed by text shows the last `(` everywhere.
#[test]
fn repeated_leaves_have_rows_of_their_own() {
    let code = snippet("python", "f(g(x), g(y))\n");
    let parentheses: Vec<usize> = (0..code.leaves().len())
        .filter(|leaf| code.leaf_text(*leaf) == "(")
        .collect();
    assert_eq!(parentheses.len(), 3);
    let found = distances(&code, GraphKind::Chain);
    assert_ne!(found.row(parentheses[0]), found.row(parentheses[1]));
    for (a, b) in (0..found.size()).flat_map(|a| (0..a).map(move |b| (a, b))) {
        assert_eq!(found.get(a, b), found.get(b, a));
    }
}
