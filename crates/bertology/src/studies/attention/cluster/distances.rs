//! How far apart heads are: a sum per pair of heads over a corpus, and the matrix made of it.

use std::f64::consts::LN_2;

use bertology_model::kernels::divergence::add_divergences;
use serde::{Deserialize, Serialize};

use super::maps::PackedMaps;
use crate::Error;
use crate::studies::proportion::possible;

/// A symmetric matrix `[count, count]` of finite distances with zeros on its diagonal.
#[derive(Debug, Clone, PartialEq)]
pub struct Distances {
    count: usize,
    values: Vec<f64>,
}

impl Distances {
    /// From row-major values `[count, count]`.
    ///
    /// # Errors
    /// [`Error::Distances`] for anything that is no such matrix.
    pub fn new(count: usize, values: Vec<f64>) -> Result<Self, Error> {
        let refuse = |reason| Err(Error::Distances { reason });
        if count.checked_mul(count) != Some(values.len()) {
            let found = values.len();
            return refuse(format!(
                "[{count}, {count}] distances are not {found} values"
            ));
        }
        let distances = Self { count, values };
        for a in 0..count {
            for b in 0..count {
                let distance = distances.get(a, b);
                if !distance.is_finite() || distance < 0.0 {
                    return refuse(format!("the distance from {a} to {b} is {distance}"));
                }
                if a == b && distance != 0.0 {
                    return refuse(format!("the distance from {a} to itself is {distance}"));
                }
                let back = distances.get(b, a);
                if distance != back {
                    return refuse(format!(
                        "from {a} to {b} the distance is {distance}, but {back} on the way back"
                    ));
                }
            }
        }
        Ok(distances)
    }

    /// From the triangle above the diagonal, `(0, 1), (0, 2), …, (1, 2), …`.
    fn from_triangle(count: usize, triangle: impl Iterator<Item = f64>) -> Result<Self, Error> {
        let mut values = vec![0.0; count * count];
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        for ((a, b), distance) in pairs.zip(triangle) {
            values[a * count + b] = distance;
            values[b * count + a] = distance;
        }
        Self::new(count, values)
    }

    /// How many things have distances.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Row-major, `[count, count]`.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// From one to another.
    ///
    /// # Panics
    /// If there is no such thing.
    #[track_caller]
    #[must_use]
    pub fn get(&self, a: usize, b: usize) -> f64 {
        self.row(a)[b]
    }

    /// From one to all.
    pub(super) fn row(&self, a: usize) -> &[f64] {
        &self.values[a * self.count..(a + 1) * self.count]
    }

    /// The triangle above the diagonal, row by row.
    pub(super) fn triangle(&self) -> Vec<f64> {
        let rows = (0..self.count).flat_map(|a| &self.row(a)[a + 1..]);
        rows.copied().collect()
    }
}

/// What the distance of two heads is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// The divergence summed over all source tokens of the corpus, in nats: the paper's.
    Sum,
    /// The mean divergence of a source token, in nats, 0 to ln 2.
    #[default]
    Mean,
    /// The square root of the mean divergence, which is a metric as the divergence is not: 0 to √ln 2.
    Sqrt,
}

/// Jensen-Shannon divergences of all pairs of heads, summed over source tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct JsSums {
    heads: usize,
    sequences: u64,
    tokens: u64,
    rows: u64,
    /// The triangle above the diagonal, row by row; nats.
    sums: Vec<f64>,
}

/// Sums as a file may hold them.
#[derive(Deserialize)]
struct Unchecked {
    heads: usize,
    sequences: u64,
    tokens: u64,
    rows: u64,
    sums: Vec<f64>,
}

impl TryFrom<Unchecked> for JsSums {
    type Error = String;

    fn try_from(found: Unchecked) -> Result<Self, String> {
        let Unchecked {
            heads,
            sequences,
            tokens,
            rows,
            sums,
        } = found;
        let pairs = heads.checked_mul(heads.saturating_sub(1));
        if pairs.map(|pairs| pairs / 2) != Some(sums.len()) {
            return Err(format!("{} sums for {heads} heads", sums.len()));
        }
        Ok(Self {
            heads,
            sequences,
            tokens,
            rows,
            sums,
        })
    }
}

impl JsSums {
    /// Nothing summed yet.
    #[must_use]
    pub fn new(heads: usize) -> Self {
        Self {
            heads,
            sequences: 0,
            tokens: 0,
            rows: 0,
            sums: vec![0.0; heads * heads.saturating_sub(1) / 2],
        }
    }

    /// Adds one sequence. Where some of its rows were drawn, they stand for all: their sums count
    /// `tokens / rows` times, which leaves the expected sum what it is with all rows.
    ///
    /// # Panics
    /// If the maps are of another number of heads.
    #[track_caller]
    pub fn add(&mut self, maps: &PackedMaps) {
        assert_eq!(maps.heads(), self.heads);
        let (tokens, rows) = (maps.tokens(), maps.rows());
        if rows == tokens {
            add_divergences(&mut self.sums, maps.values(), self.heads);
            self.count(tokens, rows);
        } else {
            let mut sums = vec![0.0; self.sums.len()];
            add_divergences(&mut sums, maps.values(), self.heads);
            self.add_summed(sums.into_iter(), tokens, rows);
        }
    }

    /// Adds the sums of one sequence, `[pairs]`, of some of its rows or all.
    pub(super) fn add_summed(
        &mut self,
        sums: impl Iterator<Item = f64>,
        tokens: usize,
        rows: usize,
    ) {
        let factor = tokens as f64 / rows.max(1) as f64;
        for (sum, more) in self.sums.iter_mut().zip(sums) {
            *sum += factor * more;
        }
        self.count(tokens, rows);
    }

    fn count(&mut self, tokens: usize, rows: usize) {
        self.sequences += 1;
        self.tokens += tokens as u64;
        self.rows += rows as u64;
    }

    /// Adds what was summed apart.
    ///
    /// # Errors
    /// [`Error::Merge`] for other heads.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.heads != other.heads {
            return Err(Error::Merge {
                reason: "they compare different heads",
            });
        }
        self.add_counted(other);
        Ok(())
    }

    /// Whether each sum can be one of so many tokens.
    pub(super) fn possible(&self) -> bool {
        let most = self.tokens as f64 * LN_2;
        self.sums.iter().all(|sum| possible(*sum, most))
    }

    /// Adds what was summed over the same heads.
    pub(super) fn add_counted(&mut self, other: &Self) {
        self.sequences += other.sequences;
        self.tokens += other.tokens;
        self.rows += other.rows;
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
    }

    /// How many heads are compared.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Sequences summed.
    #[must_use]
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Source tokens that the sums stand for, special ones included.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Source tokens whose attention was compared: fewer than [`Self::tokens`] where rows were drawn.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The distance of every pair of heads, `[heads, heads]`.
    ///
    /// # Errors
    /// [`Error::NoExamples`]; [`Error::Distances`] if a sum is not finite.
    pub fn distances(&self, scale: Scale) -> Result<Distances, Error> {
        if self.tokens == 0 {
            return Err(Error::NoExamples);
        }
        let tokens = self.tokens as f64;
        let distance = |sum: &f64| match scale {
            Scale::Sum => *sum,
            Scale::Mean => sum / tokens,
            Scale::Sqrt => (sum / tokens).sqrt(),
        };
        Distances::from_triangle(self.heads, self.sums.iter().map(distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studies::attention::cluster::maps::Smoothing;
    use bertology_model::Matrix;

    /// Two heads that look at the same token in `same` of `n` rows, at different ones in the others.
    fn one_hot(n: usize, same: usize) -> [Vec<f32>; 2] {
        let mut maps = [vec![0.0; n * n], vec![0.0; n * n]];
        for i in 0..n {
            maps[0][i * n + i] = 1.0;
            let other = if i < same { i } else { (i + 1) % n };
            maps[1][i * n + other] = 1.0;
        }
        maps
    }

    fn packed(n: usize, same: usize, rows: Vec<usize>, smoothing: Smoothing) -> PackedMaps {
        let mut packed = PackedMaps::new(2, n, rows, false, smoothing);
        for (head, map) in one_hot(n, same).iter().enumerate() {
            packed.put(head, Matrix::new(map, n, n));
        }
        packed
    }

    fn whole(n: usize, same: usize) -> PackedMaps {
        packed(n, same, (0..n).collect(), Smoothing::None)
    }

    #[test]
    fn documents_of_disjoint_heads_are_ln_2_a_token() {
        let mut sums = JsSums::new(2);
        for _ in 0..3 {
            sums.add(&whole(8, 0));
        }
        assert_eq!((sums.sequences(), sums.tokens(), sums.rows()), (3, 24, 24));
        let of = |scale| sums.distances(scale).unwrap().get(0, 1);
        // The logarithm of f32, relative error below 3e-7.
        assert!((of(Scale::Sum) / (24.0 * LN_2) - 1.0).abs() < 3e-7);
        assert!((of(Scale::Mean) / LN_2 - 1.0).abs() < 3e-7);
        assert!((of(Scale::Sqrt) / LN_2.sqrt() - 1.0).abs() < 3e-7);
        sums.add(&whole(8, 8));
        let found = sums.distances(Scale::Mean).unwrap();
        assert!((found.get(1, 0) / (0.75 * LN_2) - 1.0).abs() < 3e-7);
        assert_eq!(found.get(0, 0), 0.0);
    }

    #[test]
    fn drawn_rows_stand_for_all() {
        let mut sums = JsSums::new(2);
        // Two rows of eight, of which one differs: the sum is four times theirs.
        sums.add(&packed(8, 4, vec![0, 6], Smoothing::None));
        assert_eq!((sums.tokens(), sums.rows()), (8, 2));
        let found = sums.distances(Scale::Sum).unwrap().get(0, 1);
        assert!((found / (4.0 * LN_2) - 1.0).abs() < 3e-7);
    }

    #[test]
    fn smoothed_rows_have_the_closed_form() {
        for (n, expected) in [(8, 0.691_379), (128, 0.692_365)] {
            let mut sums = JsSums::new(2);
            sums.add(&packed(n, 0, (0..n).collect(), Smoothing::Paper));
            let found = sums.distances(Scale::Mean).unwrap().get(0, 1);
            // Six places are given; f32 logarithms are good to 3e-7.
            assert!((found - expected).abs() < 1e-6, "{n}: {found}");
        }
    }

    #[test]
    fn parts_add_up_and_come_back_from_a_file() {
        let (mut both, mut first, mut second) = (JsSums::new(2), JsSums::new(2), JsSums::new(2));
        first.add(&whole(5, 2));
        second.add(&whole(9, 3));
        both.add(&whole(5, 2));
        both.add(&whole(9, 3));
        let text = serde_json::to_string(&first).unwrap();
        let mut merged: JsSums = serde_json::from_str(&text).unwrap();
        merged.merge(&second).unwrap();
        let (both, merged) = (
            both.distances(Scale::Sum).unwrap(),
            merged.distances(Scale::Sum).unwrap(),
        );
        assert!((both.get(0, 1) - merged.get(0, 1)).abs() < 1e-12);
        assert!(first.merge(&JsSums::new(3)).is_err());
        assert!(JsSums::new(3).distances(Scale::Sum).is_err());
        let wrong = text.replace("\"heads\":2", "\"heads\":4");
        let error = serde_json::from_str::<JsSums>(&wrong).unwrap_err();
        assert!(error.to_string().contains("1 sums for 4 heads"), "{error}");
    }

    #[test]
    fn only_distances_are_distances() {
        let refused = |count, values: &[f64]| {
            let error = Distances::new(count, values.to_vec()).unwrap_err();
            error.to_string()
        };
        assert!(refused(2, &[0.0; 3]).contains("are not 3 values"));
        assert!(refused(2, &[0.0, f64::NAN, 1.0, 0.0]).contains("0 to 1 is NaN"));
        assert!(refused(2, &[0.0, -1.0, -1.0, 0.0]).contains("is -1"));
        assert!(refused(2, &[0.0, 1.0, 1.0, 2.0]).contains("1 to itself is 2"));
        assert!(refused(2, &[0.0, 1.0, 2.0, 0.0]).contains("2 on the way back"));
        assert!(Distances::new(0, vec![]).is_ok());
    }
}
