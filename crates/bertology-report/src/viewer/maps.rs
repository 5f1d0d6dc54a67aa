//! Attention weights in a byte each.
//!
//! A row of a map is a distribution. Its largest weight is kept as it is, and every weight as a share of it,
//! in 255 steps: a weight is off by at most 1/510 of its row's largest. Where all weights of a text would
//! make the file too large, only the largest of each row are kept, and how much the others weigh together is
//! kept, too.
//!
//! The bytes of a layer, all heads one after the other in each part: largest weights (f32), and where only
//! some are kept what the others weigh (f32), the steps between the kept keys (low bytes, then high bytes);
//! then the shares (u8). Rows of causal maps end at the diagonal.

use serde::Serialize;

use crate::Error;
use crate::page::Packed;

/// The fewest weights of each row that are worth a look.
pub const FEWEST: usize = 8;

/// Which weights of a map are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapForm {
    /// All.
    Full,
    /// So many of each row, the largest.
    Largest(usize),
}

impl MapForm {
    /// All weights if `heads` maps of so many tokens take at most `limit` bytes in the file, before they
    /// are compressed; else as many of each row as do.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if that is fewer than [`FEWEST`].
    pub fn choose(tokens: usize, causal: bool, heads: usize, limit: u64) -> Result<Self, Error> {
        let forms = Self::choose_all(&[tokens], causal, heads, limit)?;
        Ok(forms.first().copied().unwrap_or(Self::Full))
    }

    /// As [`MapForm::choose`] for several texts, which share the limit: of the rows of all the same number is kept,
    /// and all weights of texts so short that they take no more room.
    ///
    /// # Errors
    /// As [`MapForm::choose`].
    pub fn choose_all(
        tokens: &[usize],
        causal: bool,
        heads: usize,
        limit: u64,
    ) -> Result<Vec<Self>, Error> {
        let of = |n: usize, form| size(n, causal, heads, form);
        let forms = |kept: usize| -> Vec<Self> {
            let forms = tokens.iter().map(|n| {
                let few = Self::Largest(kept);
                if of(*n, Self::Full) <= of(*n, few) {
                    Self::Full
                } else {
                    few
                }
            });
            forms.collect()
        };
        let needed = |forms: &[Self]| -> u64 {
            let sizes = tokens.iter().zip(forms).map(|(n, form)| of(*n, *form));
            sizes.fold(0, u64::saturating_add)
        };
        let full = vec![Self::Full; tokens.len()];
        if needed(&full) <= limit {
            return Ok(full);
        }
        let mut kept = FEWEST;
        let mut found = forms(kept);
        if needed(&found) > limit {
            return Err(Error::TooLarge {
                texts: tokens.len(),
                heads,
                tokens: tokens.iter().sum(),
                kept,
                needed: needed(&found),
                limit,
            });
        }
        loop {
            kept += 1;
            let more = forms(kept);
            if needed(&more) > limit {
                return Ok(found);
            }
            found = more;
        }
    }

    /// Weights kept of each row; `None` for all.
    #[must_use]
    pub fn kept(self) -> Option<usize> {
        match self {
            Self::Full => None,
            Self::Largest(kept) => Some(kept),
        }
    }
}

/// Bytes in the file before compression: four characters for three bytes.
fn size(tokens: usize, causal: bool, heads: usize, form: MapForm) -> u64 {
    let (tokens, heads) = (tokens as u64, heads as u64);
    let triangle = |width: u64| {
        let width = width.min(tokens);
        width * (width + 1) / 2 + (tokens - width) * width
    };
    let entries = |width: u64| {
        if causal {
            triangle(width)
        } else {
            tokens * width.min(tokens)
        }
    };
    let raw = match form {
        MapForm::Full => tokens * 4 + entries(tokens),
        MapForm::Largest(kept) => tokens * 8 + 3 * entries(kept as u64),
    };
    (raw * heads).saturating_mul(4) / 3
}

/// What the storage of weights lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// Largest difference between a kept weight and what is stored of it.
    pub largest_error: f64,
    /// Largest share of a row that was not kept.
    pub largest_lost: f64,
    /// Share of all rows together that was not kept.
    pub mean_lost: f64,
    #[serde(skip)]
    rows: u64,
}

impl Loss {
    pub(super) fn add(&mut self, other: &Self) {
        self.largest_error = self.largest_error.max(other.largest_error);
        self.largest_lost = self.largest_lost.max(other.largest_lost);
        let rows = self.rows + other.rows;
        if rows > 0 {
            let sum = self.mean_lost * self.rows as f64 + other.mean_lost * other.rows as f64;
            self.mean_lost = sum / rows as f64;
        }
        self.rows = rows;
    }
}

/// The maps of one layer.
#[derive(Debug, Clone)]
pub struct Maps {
    tokens: usize,
    causal: bool,
    form: MapForm,
    maps: usize,
    largest: Vec<u8>,
    lost: Vec<u8>,
    low: Vec<u8>,
    high: Vec<u8>,
    shares: Vec<u8>,
    loss: Loss,
    order: Vec<usize>,
}

impl Maps {
    /// No maps yet.
    #[must_use]
    pub fn new(tokens: usize, causal: bool, form: MapForm) -> Self {
        Self {
            tokens,
            causal,
            form,
            maps: 0,
            largest: Vec::new(),
            lost: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
            shares: Vec::new(),
            loss: Loss::default(),
            order: Vec::new(),
        }
    }

    /// Number of maps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.maps
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.maps == 0
    }

    /// The form of all of them.
    #[must_use]
    pub fn form(&self) -> MapForm {
        self.form
    }

    /// What was lost.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Adds the map of the next head, `[query, key]`, row by row; what is behind the diagonal of a causal
    /// map is not read.
    ///
    /// # Errors
    /// A map of another size, or with weights below 0 or that are no numbers.
    pub fn push(&mut self, map: &[f32]) -> Result<(), Error> {
        let n = self.tokens;
        if map.len() != n * n {
            return Err(Error::Count {
                what: "weights of an attention map".into(),
                expected: n * n,
                found: map.len(),
            });
        }
        let mut lost_sum = 0.0;
        let mut loss = Loss::default();
        for (query, row) in map.chunks_exact(n.max(1)).enumerate() {
            let row = if self.causal { &row[..=query] } else { row };
            if row
                .iter()
                .any(|weight| !weight.is_finite() || *weight < 0.0)
            {
                return Err(Error::NotFinite {
                    what: format!("a weight of token {query}"),
                });
            }
            let lost = self.push_row(row, &mut loss);
            loss.largest_lost = loss.largest_lost.max(lost);
            lost_sum += lost;
        }
        loss.rows = n as u64;
        loss.mean_lost = lost_sum / n.max(1) as f64;
        self.loss.add(&loss);
        self.maps += 1;
        Ok(())
    }

    /// Stores a row; gives the share of it that is not kept.
    fn push_row(&mut self, row: &[f32], loss: &mut Loss) -> f64 {
        let largest = row.iter().copied().fold(0.0_f32, f32::max);
        self.largest.extend_from_slice(&largest.to_le_bytes());
        let mut store = |shares: &mut Vec<u8>, weight: f32| {
            let share = if largest > 0.0 {
                (weight / largest * 255.0).round()
            } else {
                0.0
            };
            let stored = share / 255.0 * largest;
            loss.largest_error = loss.largest_error.max(f64::from((stored - weight).abs()));
            // Between 0 and 255 by construction.
            shares.push(share as u8);
        };
        let MapForm::Largest(kept) = self.form else {
            row.iter()
                .for_each(|weight| store(&mut self.shares, *weight));
            return 0.0;
        };
        let order = &mut self.order;
        order.clear();
        order.extend(0..row.len());
        if kept < row.len() {
            order.select_nth_unstable_by(kept, |a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
            order.truncate(kept);
            order.sort_unstable();
        }
        let mut before = 0;
        let mut sum = 0.0;
        for key in order.iter() {
            let step = key - before;
            self.low.push((step & 255) as u8);
            self.high.push((step >> 8) as u8);
            store(&mut self.shares, row[*key]);
            sum += f64::from(row[*key]);
            before = *key;
        }
        let total: f64 = row.iter().map(|weight| f64::from(*weight)).sum();
        let lost = if kept < row.len() {
            (total - sum).max(0.0)
        } else {
            0.0
        };
        self.lost.extend_from_slice(&(lost as f32).to_le_bytes());
        if total > 0.0 { lost / total } else { 0.0 }
    }

    /// The bytes of the layer, packed.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let parts = [
            &self.largest,
            &self.lost,
            &self.low,
            &self.high,
            &self.shares,
        ];
        Packed::new(&parts.map(Vec::as_slice).concat())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn f32s(bytes: &[u8]) -> Vec<f32> {
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    /// A row whose weights fall from key to key by the factor, starting at another key each.
    fn map(n: usize, causal: bool) -> Vec<f32> {
        let mut map = vec![0.0; n * n];
        for query in 0..n {
            let width = if causal { query + 1 } else { n };
            let row = &mut map[query * n..query * n + width];
            for (key, weight) in row.iter_mut().enumerate() {
                *weight = 0.7_f32.powi(((key * 7 + query) % n) as i32);
            }
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
        map
    }

    #[test]
    fn full_maps_are_off_by_at_most_a_510th_of_the_rows_largest() {
        let n = 30;
        let map = map(n, false);
        let mut maps = Maps::new(n, false, MapForm::Full);
        maps.push(&map).unwrap();
        assert_eq!(maps.shares.len(), n * n);
        let largest = f32s(&maps.largest);
        for (at, weight) in map.iter().enumerate() {
            let top = largest[at / n];
            let stored = f32::from(maps.shares[at]) / 255.0 * top;
            assert!((stored - weight).abs() <= top / 510.0 * 1.0001);
        }
        assert!(maps.loss().largest_error > 0.0);
        assert_eq!(maps.loss().largest_lost, 0.0);
    }

    #[test]
    fn causal_maps_are_triangles() {
        let n = 9;
        let mut map = map(n, true);
        let mut maps = Maps::new(n, true, MapForm::Full);
        maps.push(&map).unwrap();
        assert_eq!(maps.shares.len(), n * (n + 1) / 2);
        // What a causal head cannot see is not read.
        map[1] = f32::NAN;
        let mut again = Maps::new(n, true, MapForm::Full);
        again.push(&map).unwrap();
        assert_eq!(again.shares, maps.shares);
        map[n] = f32::NAN;
        assert!(again.push(&map).is_err());
    }

    #[test]
    fn the_largest_are_kept_and_the_rest_is_weighed() {
        let n = 600;
        let kept = 5;
        for causal in [false, true] {
            let map = map(n, causal);
            let mut maps = Maps::new(n, causal, MapForm::Largest(kept));
            maps.push(&map).unwrap();
            let (largest, lost) = (f32s(&maps.largest), f32s(&maps.lost));
            let mut at = 0;
            let mut mean = 0.0;
            for query in 0..n {
                let row = &map[query * n..][..if causal { query + 1 } else { n }];
                let mut found = vec![0.0; row.len()];
                let mut key = 0;
                for _ in 0..kept.min(row.len()) {
                    key += usize::from(maps.low[at]) + 256 * usize::from(maps.high[at]);
                    found[key] = f32::from(maps.shares[at]) / 255.0 * largest[query];
                    at += 1;
                }
                let mut sorted = row.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let rest: f32 = sorted.iter().skip(kept).sum();
                assert!((lost[query] - rest).abs() < 1e-6);
                mean += f64::from(rest) / n as f64;
                for (found, weight) in found.iter().zip(row) {
                    let expected = if *weight >= sorted[kept.min(row.len()) - 1] {
                        *weight
                    } else {
                        0.0
                    };
                    assert!((found - expected).abs() <= largest[query] / 509.0);
                }
            }
            assert_eq!(at, maps.shares.len());
            assert!((maps.loss().mean_lost - mean).abs() < 1e-6);
        }
    }

    #[test]
    fn texts_share_a_limit() {
        let tokens = [128, 12, 64];
        let all = |limit| MapForm::choose_all(&tokens, false, 144, limit);
        assert_eq!(all(1 << 30).unwrap(), [MapForm::Full; 3]);
        let limit = 1_500_000;
        let forms = all(limit).unwrap();
        let MapForm::Largest(kept) = forms[0] else {
            panic!("more than the limit");
        };
        // So many of a short text's take more room than all of them.
        assert_eq!(
            forms,
            [
                MapForm::Largest(kept),
                MapForm::Full,
                MapForm::Largest(kept)
            ]
        );
        let bytes = |forms: &[MapForm]| -> u64 {
            let sizes = tokens
                .iter()
                .zip(forms)
                .map(|(n, form)| size(*n, false, 144, *form));
            sizes.sum()
        };
        assert!(bytes(&forms) <= limit);
        let more = MapForm::Largest(kept + 1);
        assert!(bytes(&[more, MapForm::Full, more]) > limit);
        let refused = all(100_000).unwrap_err().to_string();
        assert!(
            refused.contains("144 heads over 204 tokens of 3 texts"),
            "{refused}"
        );
    }

    #[test]
    fn the_form_follows_the_limit() {
        // BERT-base at 128 tokens: 2.4 MB in bytes, 3.3 MB in the file.
        let choose = |tokens, causal, limit| MapForm::choose(tokens, causal, 144, limit);
        assert_eq!(choose(128, false, 3_300_000).unwrap(), MapForm::Full);
        let MapForm::Largest(kept) = choose(512, false, 12_000_000).unwrap() else {
            panic!("512 tokens do not fit in full");
        };
        assert!((30..45).contains(&kept), "{kept}");
        assert_eq!(choose(512, true, 26_000_000).unwrap(), MapForm::Full);
        let refused = choose(4096, false, 4_000_000).unwrap_err().to_string();
        assert!(refused.contains("144 heads over 4096 tokens"), "{refused}");
    }
}
