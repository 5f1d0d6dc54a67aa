//! Whether the same heads matter on two sets of data.

use bertology_data::{correlation_interval, correlation_p_value, pearson, spearman};

use crate::HeadTable;

/// How the changes on two sets of data agree, over heads: Michel, Levy and Neubig 2019, section 3.4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Heads with a change on both.
    pub heads: usize,
    /// Pearson's correlation; NaN where the changes on one side are all the same, or heads are fewer than two.
    pub pearson: f64,
    /// Its 95 % interval, of Fisher's transform; none for fewer than four heads.
    pub interval: Option<(f64, f64)>,
    /// Of Pearson's correlation against none, two-sided, by Student's t; none for fewer than three heads.
    pub p_value: Option<f64>,
    /// Spearman's rank correlation.
    pub spearman: f64,
    /// Of Spearman's correlation, in the same way.
    pub spearman_p_value: Option<f64>,
}

/// Correlates the changes of two sets of data over all heads with a finite change on both.
///
/// Both changes are estimates. Their noise pulls the correlation towards 0, so that of the true changes is at least as
/// large where the noise of the two is independent.
#[must_use]
pub fn agreement(first: &HeadTable, second: &HeadTable) -> Agreement {
    let pairs: Vec<(f64, f64)> = first
        .live()
        .filter_map(|head| Some((first.get(head)?, second.get(head)?)))
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .collect();
    let (heads, linear, ranked) = (pairs.len(), pearson(&pairs), spearman(&pairs));
    Agreement {
        heads,
        pearson: linear,
        interval: correlation_interval(linear, heads),
        p_value: correlation_p_value(linear, heads),
        spearman: ranked,
        spearman_p_value: correlation_p_value(ranked, heads),
    }
}
