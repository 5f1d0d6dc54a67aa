//! Dropout whose mask is a function of a key and a place, so that nobody keeps it.

use crate::{Real, vectorized};

/// A mixing function for keys: every bit of the result depends on every bit of `z` (the finaliser of SplitMix64, Steele,
/// Lea and Flood 2014).
#[must_use]
pub fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Which values are zeroed, and what the others are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// A value is zeroed if its draw of 32 bits is below.
    threshold: u32,
    scale: f64,
}

impl Dropout {
    /// Zeroes each value with this probability and divides the others by the probability to be kept.
    ///
    /// # Panics
    /// Outside `[0, 1)`.
    #[track_caller]
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a probability below 1 times 2³² fits"
    )]
    pub fn new(probability: f64) -> Self {
        assert!(
            (0.0..1.0).contains(&probability),
            "probability {probability}"
        );
        Self {
            threshold: (probability * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - probability),
        }
    }

    /// Whether it leaves everything as it is.
    #[must_use]
    pub fn is_off(self) -> bool {
        self.threshold == 0
    }

    /// Applies the mask of `key` to a row; the mask of a column depends on the key and on the column alone.
    ///
    /// The backward pass is the same call on the gradient.
    pub fn apply<T: Real>(self, row: &mut [T], key: u64) {
        if self.is_off() {
            return;
        }
        let (threshold, scale) = (self.threshold, T::from_f64(self.scale));
        let (low, high) = halves(key);
        vectorized!(apply(row, low, high, threshold, scale));
    }

    /// What [`Dropout::apply`] multiplies a row by: 0 or `1 / (1 - probability)`.
    pub fn factors<T: Real>(self, row: &mut [T], key: u64) {
        row.fill(T::ONE);
        self.apply(row, key);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the halves are wanted")]
fn halves(key: u64) -> (u32, u32) {
    (key as u32, (key >> 32) as u32)
}

#[inline(always)]
fn apply<T: Real>(row: &mut [T], low: u32, high: u32, threshold: u32, scale: T) {
    for (value, column) in row.iter_mut().zip(0_u32..) {
        *value *= factor(low, high, column, threshold, scale);
    }
}

#[inline(always)]
fn factor<T: Real>(low: u32, high: u32, column: u32, threshold: u32, scale: T) -> T {
    let draw = hash(low.wrapping_add(column.wrapping_mul(0x9e37_79b9)), high);
    if draw < threshold { T::ZERO } else { scale }
}

/// Two rounds of multiplication and shift; the second half of the key comes in between, so that rows whose first halves
/// are near one another have nothing in common.
#[inline(always)]
fn hash(mut x: u32, high: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= (x >> 15) ^ high;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(probability: f64, keys: u64, width: usize) -> Vec<Vec<f64>> {
        let dropout = Dropout::new(probability);
        // Keys as a mixing function gives them.
        let key = |i: u64| {
            (i + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        (0..keys)
            .map(|i| {
                let mut row = vec![0.0; width];
                dropout.factors(&mut row, key(i));
                row
            })
            .collect()
    }

    #[test]
    fn the_mean_is_kept_and_neighbours_are_independent() {
        let rows = masks(0.2, 400, 500);
        let dropped = |row: &[f64]| row.iter().filter(|f| **f == 0.0).count() as f64;
        let total: f64 = rows.iter().map(|row| dropped(row)).sum();
        // Five standard deviations of 200,000 draws.
        let wide = 5.0 * (0.16_f64 / 200_000.0).sqrt();
        assert!((total / 200_000.0 - 0.2).abs() < wide, "{total}");
        assert!(rows.iter().flatten().all(|f| *f == 0.0 || *f == 1.25));
        // Both of two: 0.04, between columns of a row, rows of a column, and along the diagonal.
        for (down, right) in [(0, 1), (1, 0), (1, 1), (0, 16), (3, 2)] {
            let mut both = 0.0;
            for i in 0..399 - down {
                for j in 0..500 - right {
                    both += f64::from(rows[i][j] == 0.0 && rows[i + down][j + right] == 0.0);
                }
            }
            let pairs = ((399 - down) * (500 - right)) as f64;
            let wide = 5.0 * (0.04 * 0.96 / pairs).sqrt();
            assert!(
                (both / pairs - 0.04).abs() < wide,
                "{down} {right}: {}",
                both / pairs
            );
        }
    }

    #[test]
    fn a_mask_depends_on_key_and_column_alone() {
        let dropout = Dropout::new(0.5);
        let (mut long, mut short) = ([1.0_f32; 100], [1.0_f64; 37]);
        dropout.apply(&mut long, 77);
        dropout.apply(&mut short, 77);
        assert!(long.iter().zip(&short).all(|(a, b)| f64::from(*a) == *b));
        let mut other = [1.0_f32; 100];
        dropout.apply(&mut other, 78);
        assert_ne!(long, other);
        let mut off = [3.0_f32; 5];
        assert!(Dropout::new(0.0).is_off());
        Dropout::new(0.0).apply(&mut off, 1);
        assert_eq!(off, [3.0; 5]);
    }
}
