//! The number types of the engine and their elementary functions.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

mod sealed {
    use crate::product::{Library, Sum};

    pub trait Sealed: Sized {
        /// The matrix library's product for this type and processor.
        fn library() -> Library<Self>;

        /// Computes a product on `threads` threads if there is code of our own for it; gives it back if not.
        fn by_panels(sum: Sum<'_, Self>, threads: usize) -> Option<Sum<'_, Self>>;
    }

    impl Sealed for f32 {
        fn library() -> Library<Self> {
            gemm_f32::gemm::f32::get_gemm_fn()
        }

        #[cfg(target_arch = "x86_64")]
        fn by_panels(sum: Sum<'_, Self>, threads: usize) -> Option<Sum<'_, Self>> {
            crate::panels::compute(sum, threads)
        }

        #[cfg(not(target_arch = "x86_64"))]
        fn by_panels(sum: Sum<'_, Self>, _: usize) -> Option<Sum<'_, Self>> {
            Some(sum)
        }
    }

    impl Sealed for f64 {
        fn library() -> Library<Self> {
            gemm_f64::gemm::f64::get_gemm_fn()
        }

        fn by_panels(sum: Sum<'_, Self>, _: usize) -> Option<Sum<'_, Self>> {
            Some(sum)
        }
    }
}

/// A floating-point type that the kernels compute in: `f32` or `f64`.
///
/// The `f32` functions are branch-free polynomials, so that loops over them vectorise; the `f64`
/// functions are those of the platform and of `libm`, for exactness rather than for speed.
pub trait Real:
    sealed::Sealed
    + Copy
    + Default
    + Debug
    + Display
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Sum
    + bytemuck::Pod
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The most negative finite value.
    const LOWEST: Self;

    /// Rounds to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens from `f32`.
    fn from_f32(value: f32) -> Self;
    /// Widens to `f64`.
    fn to_f64(self) -> f64;
    /// `self · a + b` with one rounding.
    #[must_use]
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The larger of two numbers; `other` if either is NaN.
    #[must_use]
    fn max(self, other: Self) -> Self;
    /// `√x`.
    #[must_use]
    fn sqrt(self) -> Self;
    /// `e^x`.
    #[must_use]
    fn exp(self) -> Self;
    /// Natural logarithm of a positive, normal number.
    #[must_use]
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    #[must_use]
    fn tanh(self) -> Self;
    /// Gauss error function.
    #[must_use]
    fn erf(self) -> Self;
    /// Whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = f64::MIN;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        f64::from(value)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f64::mul_add(self, a, b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        libm::erf(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = f32::MIN;

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "rounding to f32 is the purpose"
    )]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    /// Range reduction to `|r| ≤ ½ ln 2` and the Taylor polynomial of degree 7; relative error
    /// below 2e-7. Arguments below -87.3 give 0, above 88.7 infinity-sized values are clamped;
    /// NaN stays NaN.
    #[inline(always)]
    fn exp(self) -> Self {
        // Adding 1.5 · 2²³ leaves the nearest integer in the low bits of the significand.
        const TO_INTEGER: f32 = 12_582_912.0;
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let x = if self > 88.7 { 88.7 } else { self };
        let clamped = if x < -87.3 { -87.3 } else { x };
        let shifted = clamped.mul_add(std::f32::consts::LOG2_E, TO_INTEGER);
        let exponent = shifted.to_bits().wrapping_sub(TO_INTEGER.to_bits());
        let n = shifted - TO_INTEGER;
        let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, clamped));
        let p = r
            .mul_add(1.0 / 5040.0, 1.0 / 720.0)
            .mul_add(r, 1.0 / 120.0)
            .mul_add(r, 1.0 / 24.0)
            .mul_add(r, 1.0 / 6.0)
            .mul_add(r, 0.5)
            .mul_add(r, 1.0)
            .mul_add(r, 1.0);
        let scale = f32::from_bits(exponent.wrapping_add(127) << 23);
        if x < -87.3 { 0.0 } else { p * scale }
    }

    /// `x = 2^k · f` with `f` in `[√½, √2)`, then `ln f = 2 atanh((f-1)/(f+1))` by its series to
    /// degree 9; relative error below 3e-7 for positive normal numbers.
    #[inline(always)]
    fn ln(self) -> Self {
        const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
        let bits = self.to_bits();
        let k = bits.wrapping_sub(SQRT_HALF_BITS).cast_signed() >> 23;
        let fraction = f32::from_bits(bits.wrapping_sub((k << 23).cast_unsigned()));
        #[allow(clippy::cast_precision_loss, reason = "|k| < 2⁸")]
        let exponent = k as f32;
        let s = (fraction - 1.0) / (fraction + 1.0);
        let s2 = s * s;
        let series = s2
            .mul_add(2.0 / 9.0, 2.0 / 7.0)
            .mul_add(s2, 2.0 / 5.0)
            .mul_add(s2, 2.0 / 3.0)
            .mul_add(s2, 2.0);
        exponent.mul_add(std::f32::consts::LN_2, s * series)
    }

    /// Near 0 the odd Taylor polynomial (no cancellation), elsewhere through [`Real::exp`].
    #[inline(always)]
    fn tanh(self) -> Self {
        let a = self.abs();
        let x2 = self * self;
        let near = x2
            .mul_add(-1382.0 / 155_925.0, 62.0 / 2835.0)
            .mul_add(x2, -17.0 / 315.0)
            .mul_add(x2, 2.0 / 15.0)
            .mul_add(x2, -1.0 / 3.0)
            .mul_add(x2, 1.0)
            * self;
        let far = 1.0 - 2.0 / (Real::exp(2.0 * a) + 1.0);
        if a < 0.3 { near } else { far.copysign(self) }
    }

    /// Odd rational function of degrees 11 over 10, fitted to `erf` on `[0, 3.95]` for least
    /// relative error (2e-8 before rounding); absolute error below 4e-7.
    #[inline(always)]
    #[allow(
        clippy::approx_constant,
        reason = "the leading coefficient is fitted, too"
    )]
    fn erf(self) -> Self {
        let clamped = if self > 3.95 { 3.95 } else { self };
        let x = if clamped < -3.95 { -3.95 } else { clamped };
        let u = x * x;
        let p = u
            .mul_add(2.017_918e-6, 2.861_535e-4)
            .mul_add(u, 3.865_053_2e-3)
            .mul_add(u, 5.304_891_8e-2)
            .mul_add(u, 1.928_518_6e-1)
            .mul_add(u, 1.128_379_1);
        let q = u
            .mul_add(3.782_661e-5, 1.184_929_5e-3)
            .mul_add(u, 1.516_782_6e-2)
            .mul_add(u, 1.150_992_9e-1)
            .mul_add(u, 5.042_427e-1)
            .mul_add(u, 1.0);
        x * p / q
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    /// Judge: the platform's f64 functions and `libm`, on a grid that covers every branch.
    #[test]
    fn f32_functions_agree_with_f64() {
        let mut worst = [0.0_f64; 4];
        for i in -200_000..=200_000 {
            let x = i as f32 * 4e-4;
            let x64 = f64::from(x);
            worst[0] = worst[0].max((f64::from(Real::exp(x)) / x64.exp() - 1.0).abs());
            worst[1] = worst[1].max((f64::from(Real::tanh(x)) - x64.tanh()).abs());
            worst[2] = worst[2].max((f64::from(Real::erf(x)) - libm::erf(x64)).abs());
            let positive = (x64 * 0.5).exp() as f32;
            let exact = f64::from(positive).ln();
            worst[3] =
                worst[3].max((f64::from(Real::ln(positive)) - exact).abs() / exact.abs().max(0.1));
        }
        assert!(worst[0] < 3e-7, "exp {worst:?}");
        assert!(worst[1] < 2e-7, "tanh {worst:?}");
        assert!(worst[2] < 4e-7, "erf {worst:?}");
        assert!(worst[3] < 4e-7, "ln {worst:?}");
    }

    #[test]
    fn small_arguments_keep_relative_precision() {
        for exponent in -30..0 {
            let x = 2.0_f32.powi(exponent) * 0.37;
            let x64 = f64::from(x);
            assert!(
                (f64::from(Real::tanh(x)) / x64.tanh() - 1.0).abs() < 5e-7,
                "tanh {x}"
            );
            assert!(
                (f64::from(Real::erf(x)) / libm::erf(x64) - 1.0).abs() < 5e-7,
                "erf {x}"
            );
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(Real::exp(-200.0_f32), 0.0);
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert!(Real::exp(f32::NAN).is_nan());
        assert!(Real::tanh(f32::NAN).is_nan());
        assert!(Real::erf(f32::NAN).is_nan());
        assert_eq!(Real::tanh(50.0_f32), 1.0);
        assert_eq!(Real::tanh(-50.0_f32), -1.0);
    }
}
