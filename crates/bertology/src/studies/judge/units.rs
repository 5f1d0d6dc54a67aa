//! What goes, one by one.

use serde::{Deserialize, Serialize};

use crate::compress::{Groups, Kind, PerUnit};

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Units {
    /// Heads; every layer keeps its best one.
    Heads,
    /// Neurons of the feed-forward blocks; every layer keeps its best one.
    Neurons,
    /// Whole layers: all heads and neurons of each; one stays.
    Layers,
}

impl Units {
    /// How many there are.
    #[must_use]
    pub fn count(self, groups: &Groups) -> usize {
        let counts = groups.counts();
        let of = |kind: Kind| counts.iter().skip(kind.group(0)).step_by(2).sum();
        match self {
            Self::Heads => of(Kind::Heads),
            Self::Neurons => of(Kind::Neurons),
            Self::Layers => groups.layers(),
        }
    }

    /// Of numbers of all heads and neurons, layer by layer, those of these units; of layers there are none among them.
    #[must_use]
    pub fn of<T: Clone>(self, all: &PerUnit<T>) -> Vec<T> {
        let kind = match self {
            Self::Heads => Kind::Heads,
            Self::Neurons => Kind::Neurons,
            Self::Layers => return Vec::new(),
        };
        all.iter()
            .skip(kind.group(0))
            .step_by(2)
            .flatten()
            .cloned()
            .collect()
    }

    /// Which heads and neurons stay if so many units do: those with the highest scores, of equal ones the earlier. A layer whose
    /// heads or neurons would all go keeps the best of them, in place of others.
    ///
    /// `scores` are in the order of layers, and of units in them.
    ///
    /// # Panics
    /// If there is not a score for each unit.
    #[must_use]
    pub fn keep(self, groups: &Groups, scores: &[f64], stay: usize) -> PerUnit<bool> {
        assert_eq!(scores.len(), self.count(groups));
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        let layers = self.layers(groups);
        let mut kept = vec![false; scores.len()];
        let mut left = stay.max(self.least(groups));
        // First the best of every layer, then the best of all.
        if self != Self::Layers {
            let mut seen = vec![false; groups.layers()];
            for unit in &order {
                if !std::mem::replace(&mut seen[layers[*unit]], true) {
                    kept[*unit] = true;
                    left = left.saturating_sub(1);
                }
            }
        }
        for unit in order {
            if left > 0 && !kept[unit] {
                kept[unit] = true;
                left -= 1;
            }
        }
        let mut of_units = kept.into_iter();
        groups
            .iter()
            .zip(groups.counts())
            .map(|((layer, kind), count)| match (self, kind) {
                (Self::Heads, Kind::Heads) | (Self::Neurons, Kind::Neurons) => {
                    of_units.by_ref().take(count).collect()
                }
                (Self::Layers, Kind::Heads) => {
                    let stays = of_units.as_slice()[layer];
                    vec![stays; count]
                }
                (Self::Layers, Kind::Neurons) => vec![of_units.as_slice()[layer]; count],
                _ => vec![true; count],
            })
            .collect()
    }

    /// The fewest that can stay.
    #[must_use]
    pub fn least(self, groups: &Groups) -> usize {
        let counts = groups.counts();
        let full = |kind: Kind| {
            let of = counts.iter().skip(kind.group(0)).step_by(2);
            of.filter(|count| **count > 0).count()
        };
        match self {
            Self::Heads => full(Kind::Heads),
            Self::Neurons => full(Kind::Neurons),
            Self::Layers => 1,
        }
    }

    /// The layer of each unit.
    fn layers(self, groups: &Groups) -> Vec<usize> {
        let of = groups.iter().zip(groups.counts());
        of.flat_map(|((layer, kind), count)| {
            let units = match (self, kind) {
                (Self::Heads, Kind::Heads) | (Self::Neurons, Kind::Neurons) => count,
                (Self::Layers, Kind::Heads) => 1,
                _ => 0,
            };
            vec![layer; units]
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_stay_and_one_of_every_layer() {
        let groups = Groups::for_tests(&[(3, 2), (2, 2)]);
        let scores = [0.9, 0.8, 0.7, 0.1, 0.2];
        let heads = |stay| {
            let keep = Units::Heads.keep(&groups, &scores, stay);
            (keep[0].clone(), keep[2].clone())
        };
        let (yes, no) = (true, false);
        assert_eq!(heads(3), (vec![yes, yes, no], vec![no, yes]));
        assert_eq!(heads(5), (vec![yes; 3], vec![yes; 2]));
        assert_eq!(heads(0), (vec![yes, no, no], vec![no, yes]));
        // Others stay whole.
        assert_eq!(Units::Heads.keep(&groups, &scores, 2)[1], [yes, yes]);
        let neurons = Units::Neurons.keep(&groups, &[0.3, 0.3, 0.1, 0.2], 2);
        assert_eq!((&neurons[1], &neurons[3]), (&vec![yes, no], &vec![no, yes]));
        let layers = Units::Layers.keep(&groups, &[0.1, 0.5], 1);
        assert_eq!(layers[0], [no; 3]);
        assert_eq!(layers[1], [no; 2]);
        assert_eq!((&layers[2], &layers[3]), (&vec![yes; 2], &vec![yes; 2]));
        assert_eq!(Units::Layers.keep(&groups, &[0.1, 0.5], 0), layers);
    }

    #[test]
    fn scores_are_those_of_their_units() {
        let all = vec![vec![1, 2], vec![3], vec![4], vec![5, 6]];
        assert_eq!(Units::Heads.of(&all), [1, 2, 4]);
        assert_eq!(Units::Neurons.of(&all), [3, 5, 6]);
    }
}
