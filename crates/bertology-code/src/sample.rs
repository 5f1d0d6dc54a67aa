//! Which functions of a file are taken.

use std::collections::HashSet;

use bertology_data::edge::MersenneTwister;

/// Numbers below a limit from Python's generator.
pub(crate) struct Python(MersenneTwister);

impl Python {
    pub(crate) fn new(seed: u64) -> Self {
        Self(MersenneTwister::new(seed))
    }

    /// As `random.randrange(limit)` of a limit from 1 to 2³².
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let bits = u64::BITS - limit.leading_zeros();
        loop {
            let drawn = match bits {
                0..=32 => u64::from(self.0.next_u32()) >> (32 - bits),
                // The lower word is drawn first.
                _ => {
                    let low = u64::from(self.0.next_u32());
                    low | ((u64::from(self.0.next_u32()) >> (64 - bits)) << 32)
                }
            };
            if drawn < limit {
                return drawn;
            }
        }
    }
}

/// `count` of the numbers below `population`, ascending; all of them if these are not more.
///
/// The numbers are those of Python's `random.Random(seed).sample(range(population), count)`, so that a sample that was
/// drawn there can be drawn again.
#[must_use]
pub fn sample(population: u64, count: u64, seed: u64) -> Vec<u64> {
    if count >= population {
        return (0..population).collect();
    }
    let mut python = Python::new(seed);
    let mut set_size = 21_u64;
    if count > 5 {
        // Python takes a logarithm to base 4 and rounds it up.
        let power = (0..=32).find(|power| {
            1_u64
                .checked_shl(2 * power)
                .is_none_or(|four| four >= count * 3)
        });
        set_size = set_size.saturating_add(
            1_u64
                .checked_shl(2 * power.unwrap_or(32))
                .unwrap_or(u64::MAX),
        );
    }
    let mut found: Vec<u64> = Vec::new();
    if population <= set_size {
        let mut pool: Vec<u64> = (0..population).collect();
        for taken in 0..count {
            let left = population - taken;
            let at = python.below(left) as usize;
            found.push(pool.swap_remove(at));
        }
    } else {
        let mut chosen = HashSet::new();
        while (found.len() as u64) < count {
            let drawn = python.below(population);
            if chosen.insert(drawn) {
                found.push(drawn);
            }
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::sample;

    /// `sorted(random.Random(seed).sample(range(population), count))` of CPython 3.
    #[test]
    fn samples_are_those_of_python() {
        let cases: [(u64, u64, u64, &[u64]); 6] = [
            (10, 3, 1234, &[0, 1, 7]),
            (
                100,
                20,
                1234,
                &[
                    0, 2, 3, 4, 10, 11, 12, 14, 30, 44, 45, 56, 61, 74, 79, 82, 85, 88, 98, 99,
                ],
            ),
            (
                300,
                20,
                7,
                &[
                    19, 24, 29, 35, 37, 44, 46, 48, 77, 109, 123, 165, 187, 202, 214, 222, 259,
                    274, 282, 298,
                ],
            ),
            (300, 5, 7, &[24, 37, 77, 165, 202]),
            (
                251820,
                8,
                1234,
                &[1963, 23761, 30631, 115535, 203991, 238806, 246223, 247079],
            ),
            (
                5000000000,
                4,
                1,
                &[1095513148, 1930549411, 3280387012, 4872057333],
            ),
        ];
        for (population, count, seed, expected) in cases {
            assert_eq!(
                sample(population, count, seed),
                expected,
                "{population} {count} {seed}"
            );
        }
        // Of a whole split: the sum of all.
        let many = sample(251_820, 3000, 1234);
        assert_eq!(many.iter().sum::<u64>(), 383399336);
        assert_eq!(sample(3, 9, 0), [0, 1, 2]);
    }
}
