//! A program's tree over its tokens, and how far these are from each other.

use std::fmt::Write;

use super::measure::{fitted, width};
use super::palette::Paint;
use super::svg::{Anchor, Mark, Style, Svg};
use super::{Figure, SMALL, TEXT};
use crate::csv;

/// The most leaves that are drawn: what is beyond would be a picture of some metres.
pub const MOST_LEAVES: usize = 200;

/// The most levels that are drawn.
pub const MOST_LEVELS: usize = 200;

const COLUMN: f64 = 17.0;
const LEVEL: f64 = 22.0;
const LABEL: f64 = 120.0;

/// A node above leaves.
#[derive(Debug, Clone)]
pub struct CodeNode {
    /// Its kind.
    pub kind: String,
    /// The place of its parent in the list; nothing for the root.
    pub parent: Option<usize>,
    /// Edges to the root.
    pub depth: usize,
    /// Its first leaf.
    pub first: usize,
    /// Its last leaf.
    pub last: usize,
}

/// A leaf.
#[derive(Debug, Clone)]
pub struct CodeLeaf {
    /// What it says.
    pub text: String,
    /// Its kind.
    pub kind: String,
    /// The place of its parent in the list of nodes.
    pub parent: usize,
}

/// What is drawn: a tree, edges between leaves, distances.
#[derive(Debug, Clone)]
pub struct CodeTree {
    /// What it is of.
    pub title: String,
    /// Nodes above leaves, parents first.
    pub nodes: Vec<CodeNode>,
    /// Leaves in their order.
    pub leaves: Vec<CodeLeaf>,
    /// Whether each leaf is joined to the next.
    pub chain: bool,
    /// Pairs of leaves that are joined for having the same name.
    pub flow: Vec<(usize, usize)>,
    /// Distances in edges, `[leaf, leaf]`, row by row.
    pub distances: Vec<u16>,
}

impl CodeTree {
    /// The tree above its leaves, and below them the matrix of their distances in the same columns.
    ///
    /// # Panics
    ///
    /// If a node, leaf or distance is spoken of that is not there.
    #[must_use]
    pub fn draw(&self) -> Figure {
        let count = self.leaves.len();
        let levels = self
            .nodes
            .iter()
            .map(|node| node.depth + 1)
            .max()
            .unwrap_or(0);
        let (left, top) = (LABEL + 20.0, 14.0);
        let below = top + levels as f64 * LEVEL + LEVEL;
        let arcs = self
            .flow
            .iter()
            .map(|(a, b)| arc(*a, *b))
            .fold(10.0, f64::max);
        // The words end where the matrix begins.
        let words = self.leaves.iter().map(|leaf| width(&leaf.text, SMALL));
        let room = words.fold(20.0, f64::max).min(LABEL - 16.0) + 14.0;
        let matrix = below + 18.0 + arcs + room;
        let size = count as f64 * COLUMN;
        let most = self.distances.iter().copied().max().unwrap_or(0);
        let said = format!("Edges between two tokens: 0 (dark) to {most} (light)");
        let wide = size.max(width(&said, TEXT));
        let mut svg = Svg::new(left + wide + 24.0, matrix + size + 44.0);
        self.tree(&mut svg, [left, top, below]);
        self.joins(&mut svg, left, below + 6.0);
        self.words(&mut svg, left, matrix);
        for (row, of_row) in self.distances.chunks(count.max(1)).enumerate() {
            for (column, distance) in of_row.iter().enumerate() {
                let share = f64::from(*distance) / f64::from(most.max(1));
                let mark = self.mark(row, column, *distance);
                let place = [
                    left + column as f64 * COLUMN,
                    matrix + row as f64 * COLUMN,
                    COLUMN - 0.5,
                    COLUMN - 0.5,
                ];
                // Near is dark.
                svg.rect(
                    place,
                    0.0,
                    Style::fill(Paint::magnitude(1.0 - share)),
                    Some(&mark),
                );
            }
        }
        let at = [left, matrix + size + 24.0];
        svg.text(at, TEXT, Paint::Muted, Anchor::Start, &said);
        Figure::new(&["from", "from text", "to", "to text", "distance"], svg).named(
            "tree",
            self.title.clone(),
            "The tree above its tokens, the edges between tokens, and how many edges lie between any two.",
        )
    }

    fn mark(&self, row: usize, column: usize, distance: u16) -> Mark {
        let (from, to) = (&self.leaves[row].text, &self.leaves[column].text);
        let (row, column) = (row.to_string(), column.to_string());
        Mark {
            says: format!("{row} {from} to {column} {to}: {distance}"),
            row: csv::line(
                [&row, from, &column, to, &distance.to_string()].map(|text| text.as_str()),
            ),
            head: None,
        }
    }

    fn tree(&self, svg: &mut Svg, [left, top, below]: [f64; 3]) {
        let middle =
            |first: usize, last: usize| left + (first as f64 + last as f64 + 1.0) / 2.0 * COLUMN;
        let level = |depth: usize| top + depth as f64 * LEVEL;
        let at = |node: &CodeNode| [middle(node.first, node.last), level(node.depth)];
        let edge = Style::stroke(Paint::Axis, 0.8);
        for node in &self.nodes {
            if let Some(parent) = node.parent {
                let [x, y] = at(&self.nodes[parent]);
                let [to, down] = at(node);
                svg.line([x, y + 4.0], [to, down - 9.0], edge);
            }
        }
        for (number, leaf) in self.leaves.iter().enumerate() {
            let [x, y] = at(&self.nodes[leaf.parent]);
            svg.line([x, y + 4.0], [middle(number, number), below], edge);
        }
        for node in &self.nodes {
            // Lines that pass behind a name do not strike it out.
            let [x, y] = at(node);
            let room = ((node.last - node.first + 1) as f64 * COLUMN).max(3.0 * COLUMN);
            let said = fitted(&node.kind, SMALL, room);
            let wide = width(&said, SMALL) + 2.0;
            let behind = [x - wide / 2.0, y - 8.0, wide, 11.0];
            svg.rect(behind, 2.0, Style::fill(Paint::Surface), None);
            svg.text([x, y + 1.0], SMALL, Paint::Ink, Anchor::Middle, &said);
        }
    }

    fn joins(&self, svg: &mut Svg, left: f64, y: f64) {
        let x = |leaf: usize| left + (leaf as f64 + 0.5) * COLUMN;
        for leaf in 0..self.leaves.len() {
            if self.chain && leaf > 0 {
                svg.line(
                    [x(leaf - 1), y],
                    [x(leaf), y],
                    Style::stroke(Paint::Category(0), 1.4),
                );
            }
            svg.circle([x(leaf), y], 2.2, Style::fill(Paint::Ink), None);
        }
        for (a, b) in &self.flow {
            let (from, to, down) = (x(*a), x(*b), arc(*a, *b));
            let mut path = String::new();
            let _ = write!(
                path,
                "M{from:.1} {y:.1}C{from:.1} {:.1} {to:.1} {:.1} {to:.1} {y:.1}",
                y + down * 1.3,
                y + down * 1.3
            );
            svg.path(&path, Style::stroke(Paint::Warm, 1.2), None);
        }
    }

    fn words(&self, svg: &mut Svg, left: f64, matrix: f64) {
        for (number, leaf) in self.leaves.iter().enumerate() {
            let said = fitted(&leaf.text, SMALL, LABEL - 16.0);
            let x = left + (number as f64 + 0.5) * COLUMN + 3.5;
            svg.turned(
                [x, matrix - 8.0],
                SMALL,
                Paint::Ink,
                Anchor::Start,
                -90.0,
                &said,
            );
            let y = matrix + (number as f64 + 0.5) * COLUMN + 3.5;
            svg.text([left - 6.0, y], SMALL, Paint::Ink, Anchor::End, &said);
        }
    }
}

/// How far an arc between two leaves hangs down.
fn arc(a: usize, b: usize) -> f64 {
    (8.0 + a.abs_diff(b) as f64 * 1.6).min(60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> CodeTree {
        let leaf = |text: &str, parent| CodeLeaf {
            text: text.to_owned(),
            kind: "identifier".to_owned(),
            parent,
        };
        let node = |parent, depth, first, last| CodeNode {
            kind: "<kind>".to_owned(),
            parent,
            depth,
            first,
            last,
        };
        CodeTree {
            title: "f(x) & more".to_owned(),
            nodes: vec![node(None, 0, 0, 2), node(Some(0), 1, 1, 2)],
            leaves: vec![leaf("(", 0), leaf("(", 1), leaf("</text>", 1)],
            chain: true,
            flow: vec![(0, 2)],
            distances: vec![0, 1, 1, 1, 0, 1, 1, 1, 0],
        }
    }

    /// Every cell is a mark of its own, also where leaves have the same text; texts of others are escaped.
    #[test]
    fn a_tree_has_a_mark_for_every_pair_of_leaves() {
        let file = tree().draw().file();
        assert_eq!(file.matches("data-row=").count(), 9);
        assert_eq!(file.matches("data-row=\"0,(,1,(,1").count(), 1);
        assert_eq!(file.matches("data-row=\"1,(,0,(,1").count(), 1);
        assert!(
            file.contains("&lt;/text") && !file.contains("></text></text>"),
            "{file}"
        );
        assert!(file.contains("&lt;kind") && file.contains("f(x) &amp; more"));
        assert_eq!(file.matches("<path").count(), 1);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let none = CodeTree {
            nodes: vec![],
            leaves: vec![],
            flow: vec![],
            distances: vec![],
            ..tree()
        };
        assert!(none.draw().file().starts_with("<svg"));
    }
}
