//! Trees with more edges: between tokens that follow each other, and between the places of one name.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::leaves::Leaf;
use crate::syntax::Syntax;

/// Which edges there are, all undirected and of length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum GraphKind {
    /// Those of the tree, from every node to its parent.
    #[serde(rename = "ast")]
    Ast,
    /// And from every leaf to the next.
    #[serde(rename = "chain")]
    Chain,
    /// And from every identifier to the one before with the same text, over the whole code, whatever its scope: the
    /// U-AST of Chen et al. 2022.
    #[default]
    #[serde(rename = "chain+flow")]
    ChainFlow,
}

impl GraphKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ast, Self::Chain, Self::ChainFlow];

    /// Its name: `ast`, `chain` or `chain+flow`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ast => "ast",
            Self::Chain => "chain",
            Self::ChainFlow => "chain+flow",
        }
    }
}

/// A tree and its leaves. What is dropped from the leaves remains on paths.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(crate) kind: GraphKind,
    /// The parent of every node; parents come first, and the root is its own.
    pub(crate) parents: Vec<u32>,
    /// Edges to the root.
    pub(crate) depths: Vec<u32>,
    /// The node of every leaf, ascending.
    pub(crate) leaves: Vec<u32>,
    /// Pairs of leaves that have the same text, the earlier one first.
    flow: Vec<(u32, u32)>,
    /// Where the neighbours of every node begin, and the neighbours.
    starts: Vec<u32>,
    neighbours: Vec<u32>,
}

impl Graph {
    /// The graph of a tree with these of its leaves, in the order of the text.
    #[must_use]
    pub fn new(syntax: &Syntax, text: &str, leaves: &[Leaf], kind: GraphKind) -> Self {
        let nodes = syntax.nodes();
        let mut flow = Vec::new();
        let mut before: HashMap<&str, u32> = HashMap::new();
        for (number, leaf) in leaves.iter().enumerate() {
            let is_flow = nodes
                .get(leaf.node as usize)
                .is_some_and(|node| syntax.is_flow(node));
            let Some(said) = text.get(leaf.range()).filter(|_| is_flow) else {
                continue;
            };
            if let Some(earlier) = before.insert(said, number as u32) {
                flow.push((earlier, number as u32));
            }
        }
        Self::of_parents(
            nodes.iter().map(|node| node.parent).collect(),
            leaves.iter().map(|leaf| leaf.node).collect(),
            flow,
            kind,
        )
    }

    /// A graph of any tree: the parent of every node, parents first (the root is its own), the nodes that are leaves,
    /// ascending, and pairs of leaves for data flow.
    ///
    /// # Panics
    ///
    /// If a parent comes behind its child, or there is no such node or leaf.
    #[must_use]
    pub fn of_parents(
        parents: Vec<u32>,
        leaves: Vec<u32>,
        flow: Vec<(u32, u32)>,
        kind: GraphKind,
    ) -> Self {
        let mut depths: Vec<u32> = Vec::with_capacity(parents.len());
        for (node, parent) in parents.iter().enumerate() {
            assert!(
                *parent as usize <= node && (node == 0 || (*parent as usize) < node),
                "the parent of node {node} is {parent}"
            );
            depths.push(if node == 0 {
                0
            } else {
                depths[*parent as usize] + 1
            });
        }
        assert!(
            leaves.is_sorted_by(|a, b| a < b)
                && leaves
                    .last()
                    .is_none_or(|last| (*last as usize) < parents.len()),
            "leaves are nodes, ascending"
        );
        let mut graph = Self {
            kind,
            parents,
            depths,
            leaves,
            flow,
            starts: Vec::new(),
            neighbours: Vec::new(),
        };
        graph.connect();
        graph
    }

    /// The same leaves with the same edges between them over another tree.
    pub(crate) fn over(&self, parents: Vec<u32>, leaves: Vec<u32>) -> Self {
        Self::of_parents(parents, leaves, self.flow.clone(), self.kind)
    }

    fn connect(&mut self) {
        let mut starts = vec![0_u32; self.parents.len() + 1];
        for (a, b) in self.edges() {
            starts[a as usize] += 1;
            starts[b as usize] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut neighbours = vec![0_u32; sum as usize];
        // Each place is counted down to the beginning of its node's neighbours.
        for (a, b) in self.edges() {
            for (from, to) in [(a, b), (b, a)] {
                let place = &mut starts[from as usize];
                *place -= 1;
                neighbours[*place as usize] = to;
            }
        }
        self.starts = starts;
        self.neighbours = neighbours;
    }

    /// Every edge once; one of data flow may be one of the chain as well.
    fn edges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let tree = self.parents.iter().enumerate().skip(1);
        let tree = tree.map(|(node, parent)| (*parent, node as u32));
        let chain = match self.kind {
            GraphKind::Ast => &[][..],
            GraphKind::Chain | GraphKind::ChainFlow => &self.leaves,
        };
        let chain = chain.windows(2).map(|pair| (pair[0], pair[1]));
        let flow = match self.kind {
            GraphKind::Ast | GraphKind::Chain => &[][..],
            GraphKind::ChainFlow => &self.flow,
        };
        let node = |leaf: u32| self.leaves[leaf as usize];
        let flow = flow.iter().map(move |(a, b)| (node(*a), node(*b)));
        tree.chain(chain).chain(flow)
    }

    pub(crate) fn neighbours(&self, node: u32) -> &[u32] {
        let at = node as usize;
        let (from, to) = (self.starts[at], self.starts[at + 1]);
        &self.neighbours[from as usize..to as usize]
    }

    /// Which edges it has.
    #[must_use]
    pub fn kind(&self) -> GraphKind {
        self.kind
    }

    /// How many nodes it has.
    #[must_use]
    pub fn num_nodes(&self) -> usize {
        self.parents.len()
    }

    /// How many leaves it has.
    #[must_use]
    pub fn num_leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Pairs of leaves with the same text, each with the one before, whether or not they are edges of this kind.
    #[must_use]
    pub fn flow(&self) -> &[(u32, u32)] {
        &self.flow
    }
}
