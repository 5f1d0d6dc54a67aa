//! How many edges lie between two leaves.

use crate::error::CodeError;
use crate::graph::{Graph, GraphKind};

/// The most rows of a matrix: 4,096, which take 32 MiB.
pub const MAX_ROWS: usize = 1 << 12;

/// The most nodes that the searches from all leaves may come by: a few seconds' work.
const MAX_VISITS: u64 = 1 << 29;

/// Distances between leaves.
///
/// # Shapes
///
/// `[leaf, leaf]`, symmetric, 0 on the diagonal.
///
/// # Units
///
/// Edges.
///
/// # Cost
///
/// Two bytes for each pair: 128 KiB for 256 leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distances {
    size: usize,
    values: Vec<u16>,
}

impl Distances {
    /// From all values, row by row.
    ///
    /// # Panics
    ///
    /// If these are not `size` times `size`.
    #[must_use]
    pub fn new(size: usize, values: Vec<u16>) -> Self {
        assert_eq!(
            values.len(),
            size * size,
            "a matrix of {size} rows has {} values",
            size * size
        );
        Self { size, values }
    }

    /// How many leaves it is about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// All values, row by row.
    #[must_use]
    pub fn values(&self) -> &[u16] {
        &self.values
    }

    /// The distances of one leaf.
    ///
    /// # Panics
    ///
    /// If there is no such leaf.
    #[must_use]
    pub fn row(&self, leaf: usize) -> &[u16] {
        &self.values[leaf * self.size..(leaf + 1) * self.size]
    }

    /// The distance of two leaves.
    ///
    /// # Panics
    ///
    /// If there is no such leaf.
    #[must_use]
    pub fn get(&self, from: usize, to: usize) -> u16 {
        self.row(from)[to]
    }

    /// The largest distance, 0 of nothing.
    #[must_use]
    pub fn most(&self) -> u16 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    /// The sum of all cells.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.values.iter().map(|value| u64::from(*value)).sum()
    }

    /// The rows and columns of some leaves, in the order given.
    ///
    /// # Panics
    ///
    /// If there is no such leaf.
    #[must_use]
    pub fn of(&self, leaves: &[usize]) -> Self {
        let cells = leaves.iter().flat_map(|row| {
            let row = self.row(*row);
            leaves.iter().map(move |column| row[*column])
        });
        Self::new(leaves.len(), cells.collect())
    }

    fn set(&mut self, row: usize, column: usize, value: u16) {
        self.values[row * self.size + column] = value;
    }

    fn zero(size: usize) -> Self {
        Self::new(size, vec![0; size * size])
    }
}

impl Graph {
    /// Distances between some of its leaves, by number, ascending. All others remain on the paths.
    ///
    /// # Errors
    ///
    /// [`CodeError::TooManyRows`], [`CodeError::NoSuchLeaf`], [`CodeError::TooFar`], and [`CodeError::TooMuchWork`] for
    /// a search through a very large graph.
    ///
    /// # Panics
    ///
    /// If the leaves are not ascending.
    ///
    /// # Cost
    ///
    /// Of a tree of N nodes O(N + n²) for n leaves, else O(n·N).
    pub fn distances(&self, leaves: &[usize]) -> Result<Distances, CodeError> {
        match self.kind() {
            GraphKind::Ast => self.distances_by_depth(leaves),
            GraphKind::Chain | GraphKind::ChainFlow => self.distances_by_search(leaves),
        }
    }

    /// Distances in the tree alone, whatever the kind: `depth_i + depth_j - 2 min_(i <= k < j) g_k`, where `g_k` is the
    /// depth of the deepest common ancestor of the leaves k and k + 1.
    ///
    /// # Errors
    ///
    /// As [`Graph::distances`].
    ///
    /// # Panics
    ///
    /// As [`Graph::distances`].
    pub fn distances_by_depth(&self, leaves: &[usize]) -> Result<Distances, CodeError> {
        let nodes = self.nodes_of(leaves)?;
        let common: Vec<u32> = nodes
            .windows(2)
            .map(|pair| {
                // On the way from one leaf to a later one the text leaves every subtree that does not hold both.
                let between = pair[0] as usize + 1..=pair[1] as usize;
                let above = self.depths[between].iter().map(|depth| depth - 1);
                above.min().unwrap_or(0)
            })
            .collect();
        let mut all = Distances::zero(nodes.len());
        for (row, from) in nodes.iter().enumerate() {
            let mut lowest = u32::MAX;
            for (column, to) in nodes.iter().enumerate().skip(row + 1) {
                lowest = lowest.min(common[column - 1]);
                let depth = |node: u32| u64::from(self.depths[node as usize]);
                let distance = fits(depth(*from) + depth(*to) - 2 * u64::from(lowest))?;
                all.set(row, column, distance);
                all.set(column, row, distance);
            }
        }
        Ok(all)
    }

    /// Distances by a breadth-first search from every leaf, which ends when it has come to all others.
    ///
    /// # Errors
    ///
    /// As [`Graph::distances`].
    ///
    /// # Panics
    ///
    /// As [`Graph::distances`].
    pub fn distances_by_search(&self, leaves: &[usize]) -> Result<Distances, CodeError> {
        let nodes = self.nodes_of(leaves)?;
        if nodes.len() as u64 * self.num_nodes() as u64 > MAX_VISITS {
            return Err(CodeError::TooMuchWork {
                rows: nodes.len(),
                nodes: self.num_nodes(),
            });
        }
        const NONE: u32 = u32::MAX;
        let mut column_of = vec![NONE; self.num_nodes()];
        for (column, node) in nodes.iter().enumerate() {
            column_of[*node as usize] = column as u32;
        }
        let mut all = Distances::zero(nodes.len());
        // The row whose search saw a node last, from 1.
        let mut seen = vec![0_u32; self.num_nodes()];
        let (mut edge, mut next) = (Vec::new(), Vec::new());
        for (row, from) in nodes.iter().enumerate() {
            let stamp = row as u32 + 1;
            seen[*from as usize] = stamp;
            edge.clear();
            edge.push(*from);
            let (mut left, mut distance) = (nodes.len() - 1, 0_u64);
            while left > 0 && !edge.is_empty() {
                distance += 1;
                next.clear();
                for node in &edge {
                    for to in self.neighbours(*node) {
                        let seen = &mut seen[*to as usize];
                        if *seen == stamp {
                            continue;
                        }
                        *seen = stamp;
                        next.push(*to);
                        let column = column_of[*to as usize];
                        if column != NONE {
                            all.set(row, column as usize, fits(distance)?);
                            left -= 1;
                        }
                    }
                }
                std::mem::swap(&mut edge, &mut next);
            }
        }
        Ok(all)
    }

    fn nodes_of(&self, leaves: &[usize]) -> Result<Vec<u32>, CodeError> {
        if leaves.len() > MAX_ROWS {
            return Err(CodeError::TooManyRows {
                rows: leaves.len(),
                limit: MAX_ROWS,
            });
        }
        assert!(
            leaves.is_sorted_by(|a, b| a < b),
            "leaves are given in ascending order"
        );
        let node = |leaf: &usize| {
            let found = self.leaves.get(*leaf).copied();
            found.ok_or(CodeError::NoSuchLeaf {
                leaf: *leaf,
                leaves: self.leaves.len(),
            })
        };
        leaves.iter().map(node).collect()
    }
}

fn fits(distance: u64) -> Result<u16, CodeError> {
    u16::try_from(distance).map_err(|_| CodeError::TooFar {
        distance,
        limit: u64::from(u16::MAX),
    })
}
