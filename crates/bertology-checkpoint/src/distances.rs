//! What distances add to scores: numbers of a table, slopes, or products with queries and keys of their own.

/// What is added to the scaled scores of a head for how far apart query and key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreBias {
    /// Nothing.
    None,
    /// A number of a table `[32, heads]` that all layers share (`relative_attention_bias`), by [`ScoreBias::bucket`] of
    /// the distance (MPNet; Raffel et al. 2020).
    Buckets,
    /// [`ScoreBias::slope`] of the head times the distance is taken off, on both sides alike (ALiBi; Press et al. 2022).
    Slopes,
}

impl ScoreBias {
    /// What the scores of a head, one of `heads`, lose for each token of distance: `2^(-8 (head + 1) / heads)`. Where `heads` is
    /// no power of two the first have the slopes of the power below it, and the others every second one of the power above.
    ///
    /// # Panics
    /// If there are no heads.
    #[must_use]
    pub fn slope(head: usize, heads: usize) -> f64 {
        let power = 1 << heads.ilog2();
        let of = |at: usize, heads: usize| (-8.0 * (at + 1) as f64 / heads as f64).exp2();
        if head < power {
            of(head, power)
        } else {
            of(2 * (head - power), 2 * power)
        }
    }

    /// Rows of the table: half for keys before the query and at it, half for keys behind.
    pub const BUCKETS: usize = 32;

    /// The row for a key that stands `offset` tokens behind its query, before it where negative: a row a distance below 8,
    /// beyond that two rows each time that the distance doubles, from 91 on the last of its side
    /// (`MPNetEncoder.relative_position_bucket`, whose logarithms are rounded nowhere across a limit).
    #[must_use]
    pub fn bucket(offset: isize) -> usize {
        const SIDE: usize = ScoreBias::BUCKETS / 2;
        const EXACT: usize = SIDE / 2;
        let distance = offset.unsigned_abs();
        let row = if distance < EXACT {
            distance
        } else {
            // ⌊2 log₂(distance / 8)⌋, in whole numbers.
            let steps = (distance.saturating_mul(distance) / (EXACT * EXACT)).ilog2() as usize;
            (EXACT + steps).min(SIDE - 1)
        };
        if offset > 0 { SIDE + row } else { row }
    }
}

/// Distances have queries and keys of their own (DeBERTa; He et al. 2021): rows of a table that all layers share go through maps
/// of each layer, and to the product of query and key are added, before scaling, that of the query with the distance's key and
/// that of the key with the distance's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disentangled {
    /// Rows to either side that distances fall into (`position_buckets`); nothing: each distance has its own.
    pub buckets: Option<usize>,
    /// Distances that are told apart to either side (`max_relative_positions`).
    pub farthest: usize,
    /// Whether queries meet keys of distances (`c2p`).
    pub keys: bool,
    /// Whether keys meet queries of distances (`p2c`).
    pub queries: bool,
    /// Whether the maps are those that tokens go through (`share_att_key`).
    pub shared: bool,
    /// Whether rows of the table go through a norm first (`norm_rel_ebd`).
    pub normed: bool,
}

impl Disentangled {
    /// Rows of the table: the first half for keys behind the query.
    #[must_use]
    pub fn rows(self) -> usize {
        2 * self.span()
    }

    fn span(self) -> usize {
        self.buckets.unwrap_or(self.farthest)
    }

    /// The row for a query that stands `offset` tokens behind its key, before it where negative: a row a distance up to half of
    /// the buckets, beyond that ever more distances in one, in even steps of the logarithm (`make_log_bucket_position`, in f32 as
    /// there).
    #[must_use]
    pub fn row(self, offset: isize) -> usize {
        let (span, distance) = (self.span(), offset.unsigned_abs());
        let steps = match self.buckets.map(|buckets| buckets / 2) {
            Some(middle) if distance > middle => {
                let by_middle = |value: usize| (value as f32 / middle as f32).ln();
                let share = by_middle(distance) / by_middle(self.farthest - 1);
                (share * (middle - 1) as f32).ceil() as usize + middle
            }
            _ => distance,
        };
        if offset < 0 {
            span.saturating_sub(steps)
        } else {
            (span + steps).min(2 * span - 1)
        }
    }

    /// How many maps of a layer are those of distances alone.
    #[must_use]
    pub fn own_maps(self) -> usize {
        if self.shared {
            0
        } else {
            usize::from(self.queries) + usize::from(self.keys)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_distances_share_rows() {
        let eight = Disentangled {
            buckets: Some(8),
            farthest: 24,
            keys: true,
            queries: true,
            shared: true,
            normed: true,
        };
        assert_eq!(eight.rows(), 16);
        // Up to 4 a row a distance, then ⌈3 ln(d / 4) / ln(23 / 4)⌉ more.
        let rows: Vec<usize> = (0..9).map(|offset| eight.row(offset)).collect();
        assert_eq!(rows, [8, 9, 10, 11, 12, 13, 13, 13, 14]);
        assert_eq!(
            (eight.row(23), eight.row(24), eight.row(9000)),
            (15, 15, 15)
        );
        assert_eq!((eight.row(-5), eight.row(-23), eight.row(-24)), (3, 1, 0));
        let each = Disentangled {
            buckets: None,
            farthest: 4,
            ..eight
        };
        let rows: Vec<usize> = (-6..6).map(|offset| each.row(offset)).collect();
        assert_eq!(rows, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7]);
    }
}
