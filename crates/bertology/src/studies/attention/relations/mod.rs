//! Does attention follow a relation between units: words, tokens, residues of a protein?
//!
//! Any labelled pairs are held against the maps of all heads ([`Relations`]), and against a regression over all of them
//! ([`HeadRegression`]). For every head, label and range of distances:
//!
//! | measure | what it says | what it would be if attention knew only distances |
//! | --- | --- | --- |
//! | share | of all attention between units, the part that goes along related pairs (Vig and Belinkov 2019, section 4.2; with a least weight, the part of the entries above it, as Vig et al. 2021, section 3.2) | the same with the mean over the unrelated pairs of the same text and distance in the place of each related pair |
//! | precision | of the pairs with the most attention in a text, the part that is related, as many as are related or as a share of the units (Rao et al. 2021, section 3); the mean over texts | – |
//! | accuracy | how often the unit that another attends to most is related to it, in both directions (Clark et al. 2019, section 4.2) | how often unrelated units of the same text attend most to the unit at that distance |
//! | matched AUC | how often a related pair has more attention than an unrelated one of the same text and distance, ties being half | 1/2 |
//!
//! Attention to and from special tokens takes no part, nor do pairs with units that have no token. Where several pairs have
//! the same attention at the edge of the strongest, precision is its expectation over their orders. Layers and heads are
//! zero-based.

mod frame;
mod gather;
mod judge;
mod lens;
mod regression;
mod study;
mod sums;

use serde::{Deserialize, Serialize};

use crate::Error;
pub use crate::input::relations::{
    Related, RelationItem, RelationOptions, RelationPassages, RelationSource,
};
use crate::input::words::RowMode;
pub use gather::{Gather, GatherLens, Gathered, GatheredPart};
pub use judge::{CUTS, Cut};
pub use lens::{RelationLens, RelationPart};
pub use regression::{HeadRegression, LabelWeights};
pub use study::{HeadFound, RelationExample, RelationTally, Relations};
pub use sums::{Mean, Scored, Share};

/// Distances between units, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distances {
    /// What tables call it.
    pub name: String,
    /// At least so many units apart.
    pub least: usize,
    /// At most; none: however far.
    pub most: Option<usize>,
}

impl Distances {
    /// All pairs of different units.
    #[must_use]
    pub fn all() -> Self {
        Self {
            name: "all".to_owned(),
            least: 1,
            most: None,
        }
    }

    /// Short, medium and long range, as contacts of proteins are judged by: 6 to 11, 12 to 23, 24 and more residues apart.
    #[must_use]
    pub fn of_contacts() -> Vec<Self> {
        let range = |name: &str, least, most| Self {
            name: name.to_owned(),
            least,
            most,
        };
        vec![
            range("short", 6, Some(11)),
            range("medium", 12, Some(23)),
            range("long", 24, None),
        ]
    }

    pub(crate) fn holds(&self, from: usize, to: usize) -> bool {
        let distance = from.abs_diff(to);
        distance >= self.least && self.most.is_none_or(|most| distance <= most)
    }
}

/// What is made of the maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelationSettings {
    /// What the attention from a unit of several tokens is.
    pub rows: RowMode,
    /// Pairs have no direction: attention both ways is added.
    pub symmetric: bool,
    /// From each value, what the sums of its row and its column explain is taken off (average product correction, Dunn et al.
    /// 2008): `a_ij − a_i· a_·j / a_··`. Shares are of attention as it is.
    pub apc: bool,
    /// 0: shares are of attention. Above: shares are of entries with at least so much attention.
    pub least_attention: f64,
    /// Which pairs are judged, one table each.
    pub distances: Vec<Distances>,
}

impl Default for RelationSettings {
    fn default() -> Self {
        Self {
            rows: RowMode::Mean,
            symmetric: false,
            apc: false,
            least_attention: 0.0,
            distances: vec![Distances::all()],
        }
    }
}

impl RelationSettings {
    /// For contacts of proteins: without direction, corrected, by the three ranges.
    #[must_use]
    pub fn of_contacts() -> Self {
        Self {
            symmetric: true,
            apc: true,
            distances: Distances::of_contacts(),
            ..Self::default()
        }
    }

    /// # Errors
    /// A least attention that no attention reaches or every one, no range, a range without a distance.
    pub fn check(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.least_attention) {
            return Err(Error::Option {
                option: "the least attention",
                value: self.least_attention.to_string(),
                reason: "attention is between 0 and 1; give 0 for shares of attention itself",
            });
        }
        let empty = |range: &Distances| {
            range.least == 0 || range.most.is_some_and(|most| most < range.least)
        };
        if let Some(range) = self.distances.iter().find(|range| empty(range)) {
            return Err(Error::Option {
                option: "the distances",
                value: range.name.clone(),
                reason: "they begin at 1 and end where they begin or behind",
            });
        }
        if self.distances.is_empty() {
            return Err(Error::Option {
                option: "the distances",
                value: String::new(),
                reason: "there is none; give at least one range",
            });
        }
        Ok(())
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        let ranges = self.distances.iter().map(|range| {
            let most = range.most.map_or(String::new(), |most| most.to_string());
            format!("{} {}-{most}", range.name, range.least)
        });
        format!(
            "{} direction{}, rows by {:?}, attention from {}, distances {}",
            if self.symmetric { "without" } else { "with" },
            if self.apc { ", corrected" } else { "" },
            self.rows,
            self.least_attention,
            ranges.collect::<Vec<_>>().join(" ")
        )
    }

    /// Whether a pair takes part in any range.
    pub(crate) fn hold(&self, from: usize, to: usize) -> bool {
        self.distances.iter().any(|range| range.holds(from, to))
    }
}
