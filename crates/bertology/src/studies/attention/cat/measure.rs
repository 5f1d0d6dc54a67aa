//! What is measured of a snippet, and what it is measured against.

use serde::{Deserialize, Serialize};

/// A number that a snippet has for every layer.
///
/// All Jaccard indices compare attention above its quantile with distances below theirs; what is changed in controls is
/// one of the two matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Measure {
    /// The CAT-score: all cells, the graph that was asked for.
    Cat,
    /// Without the diagonal.
    OffDiagonal,
    /// Between leaves of the frequent kinds alone.
    Frequent,
    /// Against distances in the bare tree.
    Tree,
    /// `(J - J₀) / (J* - J₀)`.
    Adjusted,
    /// J₀, what masks of these sizes give by chance.
    Chance,
    /// J*, the most that masks of these sizes can give.
    Ceiling,
    /// Share of cells with high attention.
    Attended,
    /// Share of cells with small distance.
    Near,
    /// Cells with both.
    Both,
    /// Cells with either.
    Either,
    /// Spearman's ρ of attention and closeness, off the diagonal.
    Rho,
    /// The same with |i-j| held fast.
    PartialRho,
    /// The same within cells of equal |i-j|, weighted by their number.
    StratifiedRho,
    /// ρ with closeness in the bare tree.
    TreeRho,
    /// The same with |i-j| held fast.
    TreePartialRho,
    /// ρ of closeness and -|i-j|: what position alone gives.
    OffsetRho,
    /// Control: attention 1/(1 + |i-j|).
    Offset,
    /// Control: every cell has the snippet's mean attention over cells of its signed offset.
    MeanByOffset,
    /// Control: leaves permuted, mean over the permutations.
    Permuted,
    /// Control: each row's cells off the diagonal shuffled.
    Shuffled,
    /// Control: every row is the mean row.
    Columns,
    /// Control: the exact mean over all masks of as many cells.
    Noise,
    /// Against distances |i-j|.
    Linear,
    /// Against distances in a random tree.
    RandomTree,
    /// Against another function's distances.
    OtherTree,
    /// Against a tree that branches to the right.
    RightBranching,
    /// Against a balanced tree.
    Balanced,
}

impl Measure {
    /// All, in the order of every table.
    pub const ALL: [Self; 28] = [
        Self::Cat,
        Self::OffDiagonal,
        Self::Frequent,
        Self::Tree,
        Self::Adjusted,
        Self::Chance,
        Self::Ceiling,
        Self::Attended,
        Self::Near,
        Self::Both,
        Self::Either,
        Self::Rho,
        Self::PartialRho,
        Self::StratifiedRho,
        Self::TreeRho,
        Self::TreePartialRho,
        Self::OffsetRho,
        Self::Offset,
        Self::MeanByOffset,
        Self::Permuted,
        Self::Shuffled,
        Self::Columns,
        Self::Noise,
        Self::Linear,
        Self::RandomTree,
        Self::OtherTree,
        Self::RightBranching,
        Self::Balanced,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cat => "cat",
            Self::OffDiagonal => "off_diagonal",
            Self::Frequent => "frequent",
            Self::Tree => "tree",
            Self::Adjusted => "adjusted",
            Self::Chance => "chance",
            Self::Ceiling => "ceiling",
            Self::Attended => "attended",
            Self::Near => "near",
            Self::Both => "both",
            Self::Either => "either",
            Self::Rho => "rho",
            Self::PartialRho => "partial_rho",
            Self::StratifiedRho => "stratified_rho",
            Self::TreeRho => "tree_rho",
            Self::TreePartialRho => "tree_partial_rho",
            Self::OffsetRho => "offset_rho",
            Self::Offset => "offset",
            Self::MeanByOffset => "mean_by_offset",
            Self::Permuted => "permuted",
            Self::Shuffled => "shuffled",
            Self::Columns => "columns",
            Self::Noise => "noise",
            Self::Linear => "linear",
            Self::RandomTree => "random_tree",
            Self::OtherTree => "other_tree",
            Self::RightBranching => "right_branching",
            Self::Balanced => "balanced",
        }
    }

    /// The controls that know positions and no structure: only a layer that beats all of them attends to structure.
    pub const POSITIONAL: [Self; 3] = [Self::Offset, Self::MeanByOffset, Self::Linear];
}

/// What a snippet has in a layer, in the order of [`Measure::ALL`]; not a number where one is not defined.
pub(crate) type Values = [f64; Measure::ALL.len()];

/// A number that a snippet has for every head.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct HeadValues {
    /// J; nothing for a head whose cells are all of one height and none near.
    pub(crate) cat: Option<f64>,
    /// J off the diagonal.
    pub(crate) off_diagonal: Option<f64>,
    /// `(J - J₀) / (J* - J₀)`.
    pub(crate) adjusted: Option<f64>,
    /// Spearman's ρ of attention and closeness.
    pub(crate) rho: Option<f64>,
    /// The same with |i-j| held fast.
    pub(crate) partial_rho: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_in_the_order_of_the_table() {
        for (at, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(at, measure as usize);
            let named = serde_json::to_value(measure).unwrap();
            assert_eq!(named, measure.name());
        }
    }
}
