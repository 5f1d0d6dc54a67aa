//! The generator of Python's `random`, so that splits made with it can be made again.

/// Words of the state.
const N: usize = 624;
/// The word with which each is mixed is so many further.
const M: usize = 397;

/// The Mersenne Twister MT19937, seeded and read as Python's `random.Random` is.
///
/// Source: Matsumoto and Nishimura 1998, their reference implementation `mt19937ar` (2002) for seeding by an
/// array; Python reads 53 bits for a number in [0, 1).
#[derive(Debug, Clone)]
pub struct MersenneTwister {
    state: Box<[u32; N]>,
    next: usize,
}

impl MersenneTwister {
    /// As `random.Random(seed)` of a seed that is not negative: its 32-bit words are the key, the lowest first.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        match high {
            0 => Self::of_key(&[low]),
            _ => Self::of_key(&[low, high]),
        }
    }

    fn of_key(key: &[u32]) -> Self {
        let mut state = Box::new([0_u32; N]);
        state[0] = 19_650_218;
        for at in 1..N {
            let before = state[at - 1];
            state[at] = 1_812_433_253_u32
                .wrapping_mul(before ^ (before >> 30))
                .wrapping_add(at as u32);
        }
        let mut at = 1;
        let advance = |at: &mut usize, state: &mut [u32; N]| {
            *at += 1;
            if *at == N {
                state[0] = state[N - 1];
                *at = 1;
            }
        };
        for (place, word) in key.iter().enumerate().cycle().take(N.max(key.len())) {
            let before = state[at - 1];
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_664_525);
            state[at] = (state[at] ^ mixed)
                .wrapping_add(*word)
                .wrapping_add(place as u32);
            advance(&mut at, &mut state);
        }
        for _ in 1..N {
            let before = state[at - 1];
            let mixed = (before ^ (before >> 30)).wrapping_mul(1_566_083_941);
            state[at] = (state[at] ^ mixed).wrapping_sub(at as u32);
            advance(&mut at, &mut state);
        }
        state[0] = 1 << 31;
        Self { state, next: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            for at in 0..N {
                let high = self.state[at] & 0x8000_0000;
                let y = high | (self.state[(at + 1) % N] & 0x7fff_ffff);
                let mixed = (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[at] = self.state[(at + M) % N] ^ mixed;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// As `random.random()`: a number in [0, 1) of 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        let high = self.next_u32() >> 5;
        let low = self.next_u32() >> 6;
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of CPython 3.
    #[test]
    fn it_says_what_python_says() {
        let draws = |seed| {
            let mut twister = MersenneTwister::new(seed);
            [(); 3].map(|()| twister.next_f64())
        };
        let forty_two = [0.639_426_798_457_883_7, 0.025_010_755_222_666_936];
        assert_eq!(draws(42)[..2], forty_two);
        let zero = [
            0.844_421_851_525_048_1,
            0.757_954_402_940_302_5,
            0.420_571_580_830_845,
        ];
        assert_eq!(draws(0), zero);
        let of_two_words = [
            0.310_362_222_412_872_26,
            0.114_893_086_283_633_6,
            0.533_599_094_592_577_5,
        ];
        assert_eq!(draws((1 << 40) + 12345), of_two_words);
        // Behind two more states.
        let mut twister = MersenneTwister::new(42);
        let thousandth = (0..1000).map(|_| twister.next_f64()).last();
        assert_eq!(thousandth, Some(0.855_450_193_305_954_6));
    }

    /// The published division of the training lines of SemEval-2010 task 8.
    #[test]
    fn eight_thousand_lines_are_divided_as_published() {
        let mut twister = MersenneTwister::new(42);
        let train = (0..8000).filter(|_| twister.next_f64() <= 0.85).count();
        assert_eq!((train, 8000 - train), (6851, 1149));
    }
}
