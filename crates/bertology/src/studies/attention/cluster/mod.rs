//! Which heads look at the same things?
//!
//! The distance of two heads is the Jensen-Shannon divergence of their attention, summed over all source
//! tokens of a corpus (Clark, Khandelwal, Levy and Manning 2019, section 6):
//! `d(A, B) = Σ_i JS(A_i, B_i)`, `JS(P, Q) = H((P+Q)/2) - ½ H(P) - ½ H(Q)`, in nats. From the distances come
//! a map on the plane ([`mds`]) and clusters ([`hierarchy`]).
//!
//! | module | question |
//! | --- | --- |
//! | [`study`] | what is summed over a corpus, and saved on the way? |
//! | [`maps`] | what of one sequence is compared? |
//! | [`distances`] | how far apart are the heads? |
//! | [`mds`] | where do they lie on a plane? |
//! | [`hierarchy`] | which belong together? |

mod classical;
pub mod distances;
pub mod hierarchy;
pub mod maps;
pub mod mds;
pub mod study;

pub use distances::{Distances, JsSums, Scale};
pub use hierarchy::{ClusterCount, Clusters, Dendrogram};
pub use maps::{PackedMaps, RowChoice, Smoothing};
pub use mds::{Layout, MdsOptions};
pub use study::{DistanceOptions, DistanceState};
