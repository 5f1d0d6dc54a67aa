//! What `bertology cluster` writes.

use serde_json::Value;

use crate::read::{Run, RunError, Rows};
use crate::registry::{File, Kind, file, rows};
use crate::results::{TextCounts, document, results_of};
use crate::table::{Row as _, of_head, row};

/// Distances between heads.
pub const DISTANCES: &str = "head_distances.npy";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        DISTANCES,
        Kind::Array {
            axes: &["head", "head"],
            dtype: "<f8",
        },
        &["cluster"],
        "divergence of the attention of two heads, summed over tokens, nats; heads in the order of `clusters.csv`",
    ),
    file(
        ClusterRow::FILE,
        rows::<ClusterRow>(""),
        &["cluster"],
        "clusters of heads and their places on a map",
    ),
];

row! {
    /// A head on the map of heads that look at the same things.
    struct ClusterRow in "clusters.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// From 0.
        cluster: usize,
        /// On the map; only distances mean something.
        x: f64,
        /// On the map.
        y: f64,
        /// 1 well inside its cluster, below 0 nearer to another.
        silhouette: f64,
    }
}

of_head!(ClusterRow);

impl Rows<ClusterRow> {
    /// The table of a run; nothing if its file is not there. Clusters are counted from 0, and there are no more
    /// of them than heads: whoever makes room for each can rely on it.
    ///
    /// # Errors
    /// As [`Run::rows`], and a number of a cluster that is not below the number of rows.
    pub fn of_clusters(run: &Run) -> Result<Option<Self>, RunError> {
        let Some(rows) = run.rows::<ClusterRow>()? else {
            return Ok(None);
        };
        let count = rows.all.len();
        match rows.all.iter().position(|row| row.cluster >= count) {
            None => Ok(Some(rows)),
            Some(at) => Err(RunError::Field {
                path: run.folder().join(ClusterRow::FILE),
                row: at + 1,
                column: "cluster".into(),
                found: rows.all[at].cluster.to_string(),
                expected: "a cluster, of which there are no more than heads",
            }),
        }
    }
}

results_of! {
    ClusterResults: "cluster"
}

document! {
    /// Of `bertology cluster`.
    struct ClusterResults {
        /// What was read.
        counts: Option<TextCounts>,
        /// In the order of `head_distances.npy`.
        heads: Vec<String>,
        /// Compared.
        tokens: u64,
        /// Rows of attention compared.
        rows: u64,
        /// How divergences become distances.
        distance: String,
        /// Of the heads in the plane.
        map: Option<MapOfHeads>,
        /// Heads of each cluster.
        clusters: Vec<Vec<String>>,
        /// Over all heads.
        mean_silhouette: Option<f64>,
        /// Numbers of clusters that were tried.
        tried: Vec<ClusterTrial>,
    }

    /// How well distances fit in a plane.
    struct MapOfHeads {
        /// Squared differences, summed.
        stress: Option<f64>,
        /// The same as a share; 0 is a perfect map.
        relative_stress: Option<f64>,
        /// Every start.
        starts: Value,
    }

    /// A number of clusters.
    struct ClusterTrial {
        /// How many.
        clusters: u64,
        /// Of its clusters.
        mean_silhouette: Option<f64>,
    }
}
