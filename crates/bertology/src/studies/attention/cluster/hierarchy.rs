//! Clusters of things whose distances are known: average linkage, cut where the silhouette is best.

use kodama::{Method, linkage};
use serde::{Deserialize, Serialize};

use super::distances::Distances;
use crate::Error;

/// The most clusters that are tried where their number is not given.
pub const MOST_CLUSTERS: usize = 20;

/// How many clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterCount {
    /// The number of 2 to [`MOST_CLUSTERS`] whose mean [silhouette](silhouettes) is highest, of equals the
    /// smallest; a single cluster if none is above 0.
    #[default]
    Auto,
    /// So many.
    Exactly(usize),
}

/// Two clusters become one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// The clusters: a number below the number of things is that thing alone, one above is the result of an
    /// earlier merge, counted on from there. Ascending.
    pub clusters: [usize; 2],
    /// The mean distance of their members.
    pub distance: f64,
    /// Members of the result.
    pub size: usize,
}

/// All merges from single things to one cluster, by distance.
#[derive(Debug, Clone, PartialEq)]
pub struct Dendrogram {
    count: usize,
    merges: Vec<Merge>,
}

impl Dendrogram {
    /// Agglomerative clustering with average linkage: at each step the two clusters merge whose members are
    /// nearest to each other in the mean.
    #[must_use]
    pub fn new(distances: &Distances) -> Self {
        let count = distances.count();
        let found = linkage(&mut distances.triangle(), count, Method::Average);
        let merges = found.steps().iter().map(|step| Merge {
            clusters: [step.cluster1, step.cluster2],
            distance: step.dissimilarity,
            size: step.size,
        });
        Self {
            count,
            merges: merges.collect(),
        }
    }

    /// The merges in their order, one fewer than things.
    #[must_use]
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The cluster of each thing when so many clusters are left. Clusters are numbered from the largest to
    /// the smallest, of equal ones that with the first thing before.
    ///
    /// # Errors
    /// [`Error::Option`] for no cluster, or more than there are things.
    pub fn cut(&self, clusters: usize) -> Result<Vec<usize>, Error> {
        if clusters == 0 || clusters > self.count {
            return Err(Error::Option {
                option: "the number of clusters",
                value: clusters.to_string(),
                reason: "it must be at least 1 and at most the number of heads",
            });
        }
        let mut members: Vec<Vec<usize>> = (0..self.count).map(|at| vec![at]).collect();
        for merge in &self.merges[..self.count - clusters] {
            let [a, b] = merge.clusters.map(|at| std::mem::take(&mut members[at]));
            members.push([a, b].concat());
        }
        members.retain(|members| !members.is_empty());
        members
            .iter_mut()
            .for_each(|members| members.sort_unstable());
        members.sort_by_key(|members| (std::cmp::Reverse(members.len()), members.first().copied()));
        let mut labels = vec![0; self.count];
        for (label, members) in members.iter().enumerate() {
            members.iter().for_each(|at| labels[*at] = label);
        }
        Ok(labels)
    }
}

/// How well each thing sits in its cluster (Rousseeuw 1987): `(b - a) / max(a, b)` with `a` the mean distance
/// to the others of its cluster and `b` that to the members of the nearest other cluster. From -1 to 1; 0 for
/// a thing that is alone, for things all in one place and where there is one cluster only.
///
/// # Panics
/// If there are not as many labels as things.
#[track_caller]
#[must_use]
pub fn silhouettes(distances: &Distances, labels: &[usize]) -> Vec<f64> {
    assert_eq!(labels.len(), distances.count());
    let clusters = labels.iter().max().map_or(0, |last| last + 1);
    let mut sizes = vec![0_usize; clusters];
    labels.iter().for_each(|label| sizes[*label] += 1);
    let mut sums = vec![0.0; clusters];
    let silhouette = |(at, own): (usize, &usize)| {
        sums.fill(0.0);
        for (label, distance) in labels.iter().zip(distances.row(at)) {
            sums[*label] += distance;
        }
        let others = sums.iter().zip(&sizes).enumerate();
        let near = others
            .filter(|(label, (_, size))| label != own && **size > 0)
            .map(|(_, (sum, size))| sum / *size as f64)
            .fold(f64::INFINITY, f64::min);
        if sizes[*own] < 2 || near.is_infinite() {
            return 0.0;
        }
        let inside = sums[*own] / (sizes[*own] - 1) as f64;
        let larger = near.max(inside);
        if larger > 0.0 {
            (near - inside) / larger
        } else {
            0.0
        }
    };
    labels.iter().enumerate().map(silhouette).collect()
}

/// Things shared out among clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Clusters {
    /// The cluster of each thing, see [`Dendrogram::cut`].
    pub labels: Vec<usize>,
    /// See [`silhouettes`].
    pub silhouettes: Vec<f64>,
    /// How many clusters there are.
    pub count: usize,
    /// Numbers of clusters that were tried, and the mean silhouette of each.
    pub tried: Vec<(usize, f64)>,
}

impl Clusters {
    /// By average linkage.
    ///
    /// # Errors
    /// As [`Dendrogram::cut`].
    pub fn new(distances: &Distances, count: ClusterCount) -> Result<Self, Error> {
        let dendrogram = Dendrogram::new(distances);
        let numbers = match count {
            ClusterCount::Exactly(count) => count..=count,
            // A silhouette needs two clusters, and one of them two members.
            ClusterCount::Auto => 2..=MOST_CLUSTERS.min(distances.count().saturating_sub(1)),
        };
        let mut best: Option<(f64, Self)> = None;
        let mut tried = Vec::new();
        for count in numbers {
            let found = Self::cut(distances, &dendrogram, count)?;
            let mean = found.mean_silhouette();
            tried.push((count, mean));
            if best.as_ref().is_none_or(|(highest, _)| mean > *highest) {
                best = Some((mean, found));
            }
        }
        let mut found = match best {
            Some((mean, found)) if mean > 0.0 || count != ClusterCount::Auto => found,
            _ => Self::cut(distances, &dendrogram, 1)?,
        };
        found.tried = tried;
        Ok(found)
    }

    fn cut(distances: &Distances, tree: &Dendrogram, count: usize) -> Result<Self, Error> {
        let labels = tree.cut(count)?;
        Ok(Self {
            silhouettes: silhouettes(distances, &labels),
            labels,
            count,
            tried: Vec::new(),
        })
    }

    /// Over all things; 0 where there are none.
    #[must_use]
    pub fn mean_silhouette(&self) -> f64 {
        let sum: f64 = self.silhouettes.iter().sum();
        sum / self.silhouettes.len().max(1) as f64
    }

    /// The things of each cluster, ascending.
    #[must_use]
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        for (at, label) in self.labels.iter().enumerate() {
            members[*label].push(at);
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_line(places: &[f64]) -> Distances {
        let values = places
            .iter()
            .flat_map(|p| places.iter().map(move |q| (p - q).abs()));
        Distances::new(places.len(), values.collect()).unwrap()
    }

    #[test]
    fn groups_are_found_and_numbered_by_size() {
        // Two, three, one.
        let distances = on_a_line(&[10.0, 0.0, 11.0, 1.0, 0.5, 50.0]);
        let found = Clusters::new(&distances, ClusterCount::Auto).unwrap();
        assert_eq!(found.labels, [1, 0, 1, 0, 0, 2]);
        assert_eq!(found.members(), [vec![1, 3, 4], vec![0, 2], vec![5]]);
        assert_eq!(found.count, 3);
        assert_eq!(found.tried.len(), 4);
        assert_eq!(found.silhouettes[5], 0.0);
        // Of 10: 1 to its own, (10 + 9 + 9.5) / 3 to the others.
        assert!((found.silhouettes[0] - (9.5 - 1.0) / 9.5).abs() < 1e-12);
        let two = Clusters::new(&distances, ClusterCount::Exactly(2)).unwrap();
        assert_eq!(two.labels, [0, 0, 0, 0, 0, 1]);
        let all = Clusters::new(&distances, ClusterCount::Exactly(6)).unwrap();
        assert_eq!(all.labels, [0, 1, 2, 3, 4, 5]);
        assert_eq!(all.mean_silhouette(), 0.0);
    }

    #[test]
    fn merges_are_those_of_the_mean_distance() {
        let tree = Dendrogram::new(&on_a_line(&[0.0, 1.0, 4.0]));
        let merges: Vec<_> = tree
            .merges()
            .iter()
            .map(|m| (m.clusters, m.distance, m.size))
            .collect();
        assert_eq!(merges, [([0, 1], 1.0, 2), ([2, 3], 3.5, 3)]);
        assert_eq!(tree.cut(1).unwrap(), [0, 0, 0]);
        for wrong in [0, 4] {
            assert!(tree.cut(wrong).is_err());
        }
    }

    #[test]
    fn few_things_and_things_in_one_place_are_one_cluster() {
        for places in [&[1.0][..], &[1.0, 2.0], &[1.0, 1.0, 1.0]] {
            let found = Clusters::new(&on_a_line(places), ClusterCount::Auto).unwrap();
            assert_eq!(found.labels, vec![0; places.len()]);
            assert_eq!(found.silhouettes, vec![0.0; places.len()]);
        }
    }
}
