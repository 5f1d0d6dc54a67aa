//! How exactly linear maps are computed, and numbers as sums of narrower ones.

use std::fmt;
use std::str::FromStr;

/// How exactly the products of linear maps are computed. Sums are f32 in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Each factor as a sum of two bf16 numbers, and three of the four products of these: the missing one is 2⁻¹⁶ of the
    /// whole (`bf16x3`; Henry, Tang and Heinecke 2019, arXiv 1904.06376).
    Split,
    /// Each factor rounded to bf16, eight bits of mantissa.
    Bf16,
}

impl Precision {
    /// All of them, the default first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Split, Self::Bf16];

    /// As it is written in options and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Split => "split",
            Self::Bf16 => "bf16",
        }
    }

    /// Of how many bf16 numbers a factor is the sum; none: it is taken as it is.
    pub(crate) fn parts(self) -> usize {
        match self {
            Self::F32 => 0,
            Self::Split => 2,
            Self::Bf16 => 1,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is that of no [`Precision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPrecision;

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no precision; there are f32, split and bf16")
    }
}

impl std::error::Error for UnknownPrecision {}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let named = Self::ALL.into_iter().find(|one| one.name() == name);
        named.ok_or(UnknownPrecision)
    }
}

const SIGN: u32 = 1 << 31;
const INFINITE: u32 = 0x7f80_0000;
const UPPER: u32 = 0xffff_0000;

/// Bits of the nearest bf16 number, of two that are as near the even one, as those of an `f32`. A finite number stays one:
/// what is beyond the greatest bf16 number becomes that. NaN stays NaN.
#[inline(always)]
pub(crate) fn rounded(bits: u32) -> u32 {
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & UPPER;
    let magnitude = bits & !SIGN;
    let quiet = if magnitude > INFINITE { 0x0040_0000 } else { 0 };
    if (nearest & !SIGN) >= INFINITE || magnitude >= INFINITE {
        (bits & UPPER) | quiet
    } else {
        nearest
    }
}

/// A number as [`rounded`], and the rest, rounded in its turn: bits as those of `f32`s. Of what is infinite or NaN the rest is 0.
#[inline(always)]
pub(crate) fn halves(bits: u32) -> [u32; 2] {
    let high = rounded(bits);
    let rest = f32::from_bits(bits) - f32::from_bits(high);
    let finite = high & INFINITE != INFINITE;
    [high, if finite { rounded(rest.to_bits()) } else { 0 }]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judge: the definition, by the distances to the neighbours in f64.
    #[test]
    fn numbers_become_the_nearest() {
        let mut state = 1u32;
        for _ in 0..200_000 {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let x = f32::from_bits(state);
            if !x.is_finite() || x.abs() > 3.38e38 {
                continue;
            }
            let got = f64::from(f32::from_bits(rounded(state)));
            assert_eq!(rounded(state) & 0xffff, 0);
            let x = f64::from(x);
            for other in [
                rounded(state).wrapping_sub(1 << 16),
                rounded(state) + (1 << 16),
            ] {
                let other = f64::from(f32::from_bits(other));
                if other.is_finite() && other.signum() == got.signum() {
                    let (near, far) = ((x - got).abs(), (x - other).abs());
                    let even = rounded(state) & (1 << 16) == 0;
                    assert!(near < far || near == far && even, "{x:e} {got:e} {other:e}");
                }
            }
        }
    }

    #[test]
    fn halves_are_the_number_to_seventeen_bits() {
        let mut state = 9u32;
        for _ in 0..100_000 {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            let x = f32::from_bits(state);
            if x.is_finite() && x.abs() > 1e-30 {
                let [high, low] = halves(state).map(f32::from_bits).map(f64::from);
                let x = f64::from(x);
                assert!((high + low - x).abs() <= x.abs() * 2f64.powi(-17), "{x:e}");
            }
        }
    }

    #[test]
    fn what_is_no_usual_number_stays_what_it_is() {
        let high = |x: f32| f32::from_bits(rounded(x.to_bits()));
        assert!(high(f32::NAN).is_nan() && high(f32::from_bits(0xff80_0001)).is_nan());
        assert_eq!(high(f32::INFINITY), f32::INFINITY);
        assert_eq!(high(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(high(f32::MAX).is_finite() && high(-f32::MAX) < -3.3e38);
        assert_eq!(high(-0.0).to_bits(), 1 << 31);
        for x in [f32::NAN, f32::INFINITY, 0.0, 1.0, -256.0] {
            assert_eq!(halves(x.to_bits())[1], 0, "{x}");
        }
        let [high, low] = halves(f32::MAX.to_bits()).map(f32::from_bits);
        assert!((f64::from(high) + f64::from(low) - f64::from(f32::MAX)).abs() < 1e34);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        assert_eq!("fp16".parse::<Precision>(), Err(UnknownPrecision));
    }
}
