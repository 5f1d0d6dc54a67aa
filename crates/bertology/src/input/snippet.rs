//! What the study knows of a function, whatever language and tokenizer it came through.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How attention between tokens becomes attention between leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeafMean {
    /// The mean over the tokens of both leaves: the paper.
    #[default]
    MeanMean,
    /// The mean over the tokens that look, the sum over those that are looked at: weight is kept.
    MeanSum,
}

/// The tokens of every leaf that has any, in the order of the leaves. With shared tokens leaves may overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeafTokens {
    /// Where those of each leaf end in `tokens`.
    ends: Vec<u32>,
    /// Positions in the sequence.
    tokens: Vec<u32>,
}

impl LeafTokens {
    /// One more leaf.
    pub fn push(&mut self, tokens: impl IntoIterator<Item = usize>) {
        self.tokens.extend(tokens.into_iter().map(|at| at as u32));
        self.ends.push(self.tokens.len() as u32);
    }

    /// How many leaves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no leaf.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The tokens of a leaf.
    #[must_use]
    pub fn of(&self, leaf: usize) -> &[u32] {
        let start = leaf.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start as usize..self.ends[leaf] as usize]
    }

    /// Adds the attention between leaves to `sums`, `[leaves, leaves]`, of one map, `[tokens, tokens]`. What rests on
    /// special tokens and on tokens of no leaf is left out, and nothing is scaled to make up for it.
    pub(crate) fn add(
        &self,
        sums: &mut [f64],
        map: bertology_model::Matrix<'_, f32>,
        how: LeafMean,
        room: &mut Vec<f64>,
    ) {
        let n = self.len();
        if n == 0 {
            return;
        }
        room.clear();
        room.resize(n, 0.0);
        for (query, row) in sums.chunks_exact_mut(n).enumerate() {
            let tokens = self.of(query);
            let share = (tokens.len() as f64).recip();
            room.fill(0.0);
            for token in tokens {
                let weights = map.row(*token as usize);
                for (key, sum) in room.iter_mut().enumerate() {
                    let of_leaf = self.of(key).iter();
                    *sum += of_leaf
                        .map(|at| f64::from(weights[*at as usize]))
                        .sum::<f64>();
                }
            }
            for (key, (cell, sum)) in row.iter_mut().zip(room.iter()).enumerate() {
                *cell += match how {
                    LeafMean::MeanMean => sum * share / self.of(key).len() as f64,
                    LeafMean::MeanSum => sum * share,
                };
            }
        }
    }
}

/// A function as the study sees it. Matrices are `[leaves, leaves]` of the aligned leaves, row by row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnippetItem {
    /// Its number in the input, from 0.
    pub index: u64,
    /// Its line in the file, from 1.
    pub line: u64,
    /// What it is called, where that is known.
    pub name: String,
    /// The name of its language.
    pub language: String,
    /// The grammar's kind of every leaf.
    pub kinds: Vec<String>,
    /// The tokens of every leaf.
    pub tokens: LeafTokens,
    /// Distances in the graph that is asked for.
    pub distances: Vec<u16>,
    /// Distances in the bare tree.
    pub tree: Vec<u16>,
    /// Distances in trees that are not this function's, in the order of [`Stranger::ALL`]; empty where there is none.
    pub strangers: [Vec<u16>; 4],
    /// Tokens that were cut off.
    pub cut: usize,
    /// What became of tokens and leaves.
    pub alignment: AlignmentCounts,
}

/// A tree that is not the function's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// Leaves merged two by two at random.
    Random,
    /// Another function's, its first leaves.
    Other,
    /// Every leaf beside all that follow.
    RightBranching,
    /// Halves of halves.
    Balanced,
}

impl Stranger {
    /// All, in order.
    pub const ALL: [Self; 4] = [
        Self::Random,
        Self::Other,
        Self::RightBranching,
        Self::Balanced,
    ];
}

/// Tokens and leaves by what the alignment made of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlignmentCounts {
    /// Tokens that are not special.
    pub tokens: u64,
    /// Of these, tokens with characters of no leaf.
    pub in_no_leaf: u64,
    /// Tokens with characters of several leaves.
    pub in_several: u64,
    /// Leaves that the model sees.
    pub leaves: u64,
    /// Leaves with a token that another leaf has, too.
    pub sharing: u64,
    /// Leaves without any token.
    pub without_tokens: u64,
    /// Leaves behind the end of what the model reads.
    pub beyond: u64,
}

impl std::ops::AddAssign for AlignmentCounts {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.in_no_leaf += other.in_no_leaf;
        self.in_several += other.in_several;
        self.leaves += other.leaves;
        self.sharing += other.sharing;
        self.without_tokens += other.without_tokens;
        self.beyond += other.beyond;
    }
}

impl SnippetItem {
    /// Leaves that take part.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.tokens.len()
    }

    /// Refuses parts that do not fit together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let n = self.leaves();
        let fits = self.kinds.len() == n
            && self.distances.len() == n * n
            && self.tree.len() == n * n
            && self
                .strangers
                .iter()
                .all(|of| of.is_empty() || of.len() == n * n);
        if fits {
            Ok(())
        } else {
            Err(Error::Option {
                option: "a snippet",
                value: format!("{n} leaves"),
                reason: "its kinds and matrices are those of as many leaves",
            })
        }
    }
}
