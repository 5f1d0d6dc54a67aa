//! Which measure deserves trust: units go by each, least important first, and the score of what is left is looked at.
//!
//! For every measure and seed there is a [`Curve`]: the score at shares of the units that are left. Its [`area`] is the mean score
//! along that way. Areas of two measures are compared pair by pair ([`compare`]): the same seeds, so the same examples on which units
//! were scored, and the same examples on which the smaller models were judged.
//!
//! # How sure a difference is
//! Two things could have been others: the examples (and draws) by which units were scored, of which there is one set a seed, and those
//! that judge. With `d[s]` the difference of areas of seed `s` of `S`, and `D[k]` the mean of them where the `k`-th of `K` folds of the
//! judging examples is left out, the variance is that of a mean over seeds plus the jackknife over folds (Efron and Stein 1981),
//!
//! ```text
//! Σ (d[s] - d)² / (S (S-1))  +  (K-1)/K Σ (D[k] - D)²
//! ```
//!
//! with Student's distribution on the degrees of freedom of Welch and Satterthwaite. Of many pairs some differ by accident: which are
//! called real is decided by Holm's procedure (1979) at 5 % over all pairs.

mod curve;
mod difference;
mod folds;
mod units;

pub use curve::{Curve, Point, area, curve};
pub use difference::{Difference, MeanArea, areas, compare};
pub use folds::{Folded, folded};
pub use units::Units;
