//! Trees that know nothing of a program: what a score over its own tree must beat.

use crate::distance::Distances;
use crate::graph::Graph;
use crate::sample::Python;

/// A binary tree over leaves in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Neighbours are put together in random order: each of the n - 1 gaps between leaves is closed at a time of its
    /// own, all orders alike.
    Random {
        /// Decides the order.
        seed: u64,
    },
    /// Every node has a leaf and the rest of the text.
    RightBranching,
    /// Every node divides its leaves into halves, the first one the larger.
    Balanced,
}

impl Graph {
    /// The same leaves, chain and flow over another tree: as many leaves, none of the program's structure.
    #[must_use]
    pub fn with_tree(&self, shape: Shape) -> Self {
        let leaves = self.num_leaves();
        if leaves == 0 {
            return self.over(vec![0], Vec::new());
        }
        // The time at which the gap behind each leaf is closed; the tree's root closes the last one.
        let times: Vec<u64> = match shape {
            Shape::Random { seed } => random_order(leaves - 1, seed),
            Shape::RightBranching => (1..leaves as u64).rev().collect(),
            Shape::Balanced => Vec::new(),
        };
        let halves = shape == Shape::Balanced;
        let last_closed = LastClosed::new(&times);
        let (mut parents, mut places) = (Vec::new(), Vec::with_capacity(leaves));
        // Ranges of leaves with the node above; the stack gives them in preorder.
        let mut open = vec![(0, leaves, 0_u32)];
        while let Some((from, to, parent)) = open.pop() {
            let node = parents.len() as u32;
            parents.push(parent);
            if to - from == 1 {
                places.push(node);
                continue;
            }
            let middle = match halves {
                true => from + (to - from).div_ceil(2),
                false => last_closed.between(from, to - 1) + 1,
            };
            open.push((middle, to, node));
            open.push((from, middle, node));
        }
        self.over(parents, places)
    }
}

/// Numbers 0..count in an order of Fisher and Yates.
fn random_order(count: usize, seed: u64) -> Vec<u64> {
    let mut python = Python::new(seed);
    let mut order: Vec<u64> = (0..count as u64).collect();
    for at in (1..count).rev() {
        order.swap(at, python.below(at as u64 + 1) as usize);
    }
    order
}

/// Answers where the largest of a range is, from tables of ranges whose length is a power of two.
struct LastClosed<'a> {
    times: &'a [u64],
    tables: Vec<Vec<usize>>,
}

impl<'a> LastClosed<'a> {
    fn new(times: &'a [u64]) -> Self {
        let mut tables = vec![(0..times.len()).collect::<Vec<usize>>()];
        let mut width = 1;
        while 2 * width <= times.len() {
            let last = tables.last().map_or(&[][..], Vec::as_slice);
            let pairs = last.iter().zip(last.iter().skip(width));
            let next = pairs.map(|(a, b)| if times[*a] >= times[*b] { *a } else { *b });
            let next = next.collect();
            tables.push(next);
            width *= 2;
        }
        Self { times, tables }
    }

    /// Of a range that is not empty.
    fn between(&self, from: usize, to: usize) -> usize {
        let level = (to - from).ilog2() as usize;
        let (a, b) = (
            self.tables[level][from],
            self.tables[level][to - (1 << level)],
        );
        if self.times[a] >= self.times[b] { a } else { b }
    }
}

impl Distances {
    /// `|i - j|`: what the order of the leaves alone gives.
    ///
    /// # Panics
    ///
    /// If there are more than 65,536 leaves.
    #[must_use]
    pub fn offsets(size: usize) -> Self {
        assert!(size <= 1 << 16, "{size} leaves are too many");
        let cells =
            (0..size).flat_map(|row| (0..size).map(move |column| row.abs_diff(column) as u16));
        Self::new(size, cells.collect())
    }

    /// Those of the first `size` leaves, to stand in for another program's; nothing if there are fewer.
    #[must_use]
    pub fn truncated(&self, size: usize) -> Option<Self> {
        let leaves: Vec<usize> = (0..size).collect();
        (size <= self.size()).then(|| self.of(&leaves))
    }
}
