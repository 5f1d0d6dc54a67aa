//! Which sequences and heads a device computes the attention of together, and where their matrices lie.

use std::ops::Range;

/// Where one sequence lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequencePlace {
    /// Its first token among those of the batch.
    pub token: usize,
    /// Its number of tokens.
    pub tokens: usize,
    /// Where the maps of its heads begin in a buffer of maps, which follow each other, `[query, key]` each.
    pub map: usize,
}

/// Some sequences that lie side by side, and some heads of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// At least one, ascending.
    pub sequences: Vec<SequencePlace>,
    /// Where each head's columns begin among those of all heads, counted in heads.
    pub slots: Vec<usize>,
    /// Numbers of a head's query.
    pub dim: usize,
    /// Tokens of the longest sequence of the batch: arrays over distances have `2 · longest - 1` entries.
    pub longest: usize,
    /// Distances that queries or keys meet, or 0: the width of a [`HeadMatrix::Spread`].
    pub distances: usize,
}

impl Shape {
    /// Of sequences that lie at these places of the batch.
    #[must_use]
    pub fn new(
        sequences: impl Iterator<Item = Range<usize>>,
        slots: Vec<usize>,
        dim: usize,
        longest: usize,
        distances: usize,
    ) -> Self {
        let mut map = 0;
        let sequences = sequences
            .map(|range| {
                let place = SequencePlace {
                    token: range.start,
                    tokens: range.len(),
                    map,
                };
                map += slots.len() * range.len() * range.len();
                place
            })
            .collect();
        Self {
            sequences,
            slots,
            dim,
            longest,
            distances,
        }
    }

    /// The tokens of these sequences, counted in the batch.
    #[must_use]
    pub fn tokens(&self) -> Range<usize> {
        let first = self.sequences.first().map_or(0, |place| place.token);
        let end = self
            .sequences
            .last()
            .map_or(0, |place| place.token + place.tokens);
        first..end
    }

    /// Numbers of the maps of all sequences and heads.
    #[must_use]
    pub fn map_numbers(&self) -> usize {
        self.sequences.last().map_or(0, |place| {
            place.map + self.slots.len() * place.tokens * place.tokens
        })
    }

    /// Numbers of a [`HeadMatrix::Spread`] of all sequences and heads.
    #[must_use]
    pub fn spread_numbers(&self) -> usize {
        self.tokens().len() * self.slots.len() * self.distances
    }

    /// Where a head's matrix of a sequence begins in a [`HeadMatrix::Spread`].
    #[must_use]
    pub fn spread(&self, sequence: usize, head: usize) -> usize {
        let place = self.sequences[sequence];
        let before = place.token - self.sequences[0].token;
        (before * self.slots.len() + head * place.tokens) * self.distances
    }
}

/// Where the matrix of a head in a sequence lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadMatrix {
    /// `[n, dim]`: rows of packed tokens, `stride` numbers each, the columns of all heads from `first` on.
    Tokens {
        /// Column of the first head.
        first: usize,
        /// Numbers of a row.
        stride: usize,
    },
    /// `[query, key]`: see [`SequencePlace::map`].
    Map,
    /// `[n, distances]` of a sequence and head, behind each other.
    Spread,
    /// `[distances, dim]`: rows that all sequences have in common.
    Distances {
        /// Where the first row begins.
        first: usize,
        /// Numbers of a row.
        stride: usize,
        /// Whether heads have columns of their own, as in [`HeadMatrix::Tokens`], or all have the same.
        by_head: bool,
    },
}

impl HeadMatrix {
    /// As a factor of a product.
    #[must_use]
    pub fn plain(self) -> Factor {
        Factor {
            matrix: self,
            transposed: false,
        }
    }

    /// Turned round, as a factor of a product.
    #[must_use]
    pub fn transposed(self) -> Factor {
        Factor {
            matrix: self,
            transposed: true,
        }
    }

    /// Where the matrix of one head begins, and its rows, columns and the numbers from row to row.
    #[must_use]
    pub fn place(self, shape: &Shape, sequence: usize, head: usize) -> [usize; 4] {
        let place = shape.sequences[sequence];
        let (n, dim) = (place.tokens, shape.dim);
        let column = shape.slots[head] * dim;
        match self {
            Self::Tokens { first, stride } => {
                [place.token * stride + first + column, n, dim, stride]
            }
            Self::Map => [place.map + head * n * n, n, n, n],
            Self::Spread => {
                let width = shape.distances;
                [shape.spread(sequence, head), n, width, width]
            }
            Self::Distances {
                first,
                stride,
                by_head,
            } => {
                let column = if by_head { column } else { 0 };
                [first + column, shape.distances, dim, stride]
            }
        }
    }
}

/// A factor of a product, one matrix a sequence and head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    /// Where it lies.
    pub matrix: HeadMatrix,
    /// Whether rows and columns change places.
    pub transposed: bool,
}

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sight {
    /// None that stand behind it.
    pub causal: bool,
    /// None further away.
    pub reach: Option<usize>,
}

impl Sight {
    /// The keys, of `n`, that one query sees.
    #[must_use]
    pub fn of(self, query: usize, n: usize) -> Range<usize> {
        match self.reach {
            Some(reach) => bertology_kernels::softmax::band(query, reach, n),
            None if self.causal => 0..query + 1,
            None => 0..n,
        }
    }
}
