//! Activations, additions and reductions over slices.

use crate::{Real, vectorized};

/// Independent partial sums per reduction: enough for two 512-bit registers.
pub(crate) const LANES: usize = 32;

/// `Σ f(i)` over `0..n`, in [`LANES`] interleaved partial sums that are then added pairwise.
#[inline(always)]
pub(crate) fn sum_by<T: Real>(n: usize, f: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let blocks = n / LANES;
    for block in 0..blocks {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(block * LANES + lane);
        }
    }
    for (lane, i) in (blocks * LANES..n).enumerate() {
        lanes[lane] += f(i);
    }
    add_pairwise(lanes)
}

/// `Σ f(x)` over a slice, in the order of [`sum_by`]. For long functions: values and sums apart, the
/// compiler vectorises what it leaves alone in one loop.
#[inline(always)]
pub(crate) fn sum_of<T: Real>(values: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    for block in values.chunks(LANES) {
        let mut values = [T::ZERO; LANES];
        values[..block.len()].copy_from_slice(block);
        for value in &mut values {
            *value = f(*value);
        }
        for (sum, value) in lanes.iter_mut().zip(&values[..block.len()]) {
            *sum += *value;
        }
    }
    add_pairwise(lanes)
}

/// `Σ f(a, b)` over two slices of one length, in the order of [`sum_by`]: without bounds to check, and with values and sums
/// apart as in [`sum_of`], so that all of it is vectors.
#[inline(always)]
pub(crate) fn sum_pairs<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [T::ZERO; LANES];
    for (a, b) in a.iter().zip(b) {
        let mut values = [T::ZERO; LANES];
        for lane in 0..LANES {
            values[lane] = f(a[lane], b[lane]);
        }
        for (sum, value) in lanes.iter_mut().zip(values) {
            *sum += value;
        }
    }
    for (sum, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += f(*a, *b);
    }
    add_pairwise(lanes)
}

#[inline(always)]
pub(crate) fn add_pairwise<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let upper = lanes[lane + width];
            lanes[lane] += upper;
        }
        width /= 2;
    }
    lanes[0]
}

/// `Σ a_i b_i`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
#[must_use]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len());
    vectorized!(sum_pairs(a, b, |a, b| a * b))
}

/// Whether no value is NaN or infinite.
#[must_use]
pub fn all_finite<T: Real>(x: &[T]) -> bool {
    // Zero times a number is zero, times anything else NaN; a sum is what vectorises.
    vectorized!(sum_by(x.len(), |i| x[i] * T::ZERO)) == T::ZERO
}

/// `y += x`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add_assign<T: Real>(y: &mut [T], x: &[T]) {
    assert_eq!(y.len(), x.len());
    vectorized!({
        for (y, x) in y.iter_mut().zip(x) {
            *y += *x;
        }
    });
}

/// `Σ x²`, blocks of 4,096 added in f64.
#[must_use]
pub fn square_sum<T: Real>(x: &[T]) -> f64 {
    let blocks = x
        .chunks(4096)
        .map(|x| vectorized!(sum_of(x, |x| x * x)).to_f64());
    blocks.sum()
}

/// `dx_i = dx_i · (1 - y_i²)`: the gradient of tanh from what it gave, `y = tanh x`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn tanh_backward<T: Real>(dx: &mut [T], y: &[T]) {
    assert_eq!(dx.len(), y.len());
    vectorized!(scale(dx, y, |y| T::ONE - y * y));
}

/// `y_i = σ(x_i)`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn sigmoids<T: Real>(y: &mut [T], x: &[T]) {
    assert_eq!(y.len(), x.len());
    vectorized!(map(y, x, sigmoid));
}

/// `Σ ln(1 + e^{x_i})`: the cross-entropy of sigmoids of which none is to be 1. Those that are to be 1 take their `x`
/// away from it.
///
/// # Numerics
/// `max(x, 0) + ln(1 + e^{-|x|})`: nothing overflows.
#[must_use]
pub fn softplus_sum<T: Real>(x: &[T]) -> T {
    vectorized!(sum_of(x, |x| {
        let magnitude = x.max(-x);
        x.max(T::ZERO) + (T::ONE + (-magnitude).exp()).ln()
    }))
}

/// An element-wise function of the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x · ½ (1 + erf(x / √2))`.
    Gelu,
    /// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`.
    Silu,
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `tanh x`.
    Tanh,
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// `½ (1 + erf(x / √2))`, the standard normal distribution function.
#[inline(always)]
fn normal_cdf<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    half * (T::ONE + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

#[inline(always)]
fn gelu<T: Real>(x: T) -> T {
    x * normal_cdf(x)
}

/// `Φ(x) + x φ(x)`
#[inline(always)]
fn gelu_slope<T: Real>(x: T) -> T {
    let density = T::from_f64(0.398_942_280_401_432_7) * (T::from_f64(-0.5) * x * x).exp();
    normal_cdf(x) + x * density
}

/// The argument of tanh in the tanh form of GELU, and its derivative.
#[inline(always)]
fn gelu_tanh_inner<T: Real>(x: T) -> (T, T) {
    let c = T::from_f64(0.797_884_560_802_865_4); // √(2/π)
    let k = T::from_f64(0.044_715);
    let x2 = x * x;
    (
        c * x * (T::ONE + k * x2),
        c * (T::ONE + T::from_f64(3.0) * k * x2),
    )
}

#[inline(always)]
fn gelu_tanh<T: Real>(x: T) -> T {
    T::from_f64(0.5) * x * (T::ONE + gelu_tanh_inner(x).0.tanh())
}

#[inline(always)]
fn gelu_tanh_slope<T: Real>(x: T) -> T {
    let (inner, slope) = gelu_tanh_inner(x);
    let t = inner.tanh();
    T::from_f64(0.5) * (T::ONE + t + x * (T::ONE - t * t) * slope)
}

#[inline(always)]
fn relu<T: Real>(x: T) -> T {
    // In this order NaN stays NaN.
    T::ZERO.max(x)
}

#[inline(always)]
fn relu_slope<T: Real>(x: T) -> T {
    if x > T::ZERO { T::ONE } else { T::ZERO }
}

#[inline(always)]
fn silu<T: Real>(x: T) -> T {
    x * sigmoid(x)
}

#[inline(always)]
fn silu_slope<T: Real>(x: T) -> T {
    let s = sigmoid(x);
    s * (T::ONE + x * (T::ONE - s))
}

/// The factor inside quick GELU's sigmoid.
#[inline(always)]
fn quick<T: Real>() -> T {
    T::from_f64(1.702)
}

#[inline(always)]
fn quick_gelu<T: Real>(x: T) -> T {
    x * sigmoid(quick::<T>() * x)
}

#[inline(always)]
fn quick_gelu_slope<T: Real>(x: T) -> T {
    let s = sigmoid(quick::<T>() * x);
    s * (T::ONE + quick::<T>() * x * (T::ONE - s))
}

#[inline(always)]
fn tanh<T: Real>(x: T) -> T {
    x.tanh()
}

#[inline(always)]
fn tanh_slope<T: Real>(x: T) -> T {
    let t = x.tanh();
    T::ONE - t * t
}

/// `y_i = f(x_i)`
#[inline(always)]
fn map<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f(*x);
    }
}

/// `d_i = d_i · f(x_i)`
#[inline(always)]
fn scale<T: Real>(d: &mut [T], x: &[T], f: impl Fn(T) -> T) {
    for (d, x) in d.iter_mut().zip(x) {
        *d *= f(*x);
    }
}

impl Activation {
    /// `y_i = f(x_i)`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn forward<T: Real>(self, y: &mut [T], x: &[T]) {
        assert_eq!(y.len(), x.len());
        match self {
            Self::Gelu => vectorized!(map(y, x, gelu)),
            Self::GeluTanh => vectorized!(map(y, x, gelu_tanh)),
            Self::Relu => vectorized!(map(y, x, relu)),
            Self::Silu => vectorized!(map(y, x, silu)),
            Self::QuickGelu => vectorized!(map(y, x, quick_gelu)),
            Self::Tanh => vectorized!(map(y, x, tanh)),
        }
    }

    /// `dx_i = dx_i · f'(x_i)`, where `dx` arrives as the gradient of the output.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn backward<T: Real>(self, dx: &mut [T], x: &[T]) {
        assert_eq!(dx.len(), x.len());
        match self {
            Self::Gelu => vectorized!(scale(dx, x, gelu_slope)),
            Self::GeluTanh => vectorized!(scale(dx, x, gelu_tanh_slope)),
            Self::Relu => vectorized!(scale(dx, x, relu_slope)),
            Self::Silu => vectorized!(scale(dx, x, silu_slope)),
            Self::QuickGelu => vectorized!(scale(dx, x, quick_gelu_slope)),
            Self::Tanh => vectorized!(scale(dx, x, tanh_slope)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Closed forms, and central differences of the sum.
    #[test]
    fn sigmoids_and_their_cross_entropy() {
        let x: Vec<f64> = (0..70).map(|i| f64::from(i) * 0.3 - 10.0).collect();
        let mut y = vec![0.0; 70];
        sigmoids(&mut y, &x);
        for (i, y) in y.iter().enumerate() {
            assert!((y - (x[i].exp() / (1.0 + x[i].exp()))).abs() < 1e-15);
            let moved = |by: f64| {
                let mut x = x.clone();
                x[i] += by;
                softplus_sum(&x)
            };
            assert!((y - (moved(1e-5) - moved(-1e-5)) / 2e-5).abs() < 1e-8);
        }
        assert_eq!(softplus_sum(&[1000.0_f32, -1000.0]), 1000.0);
        assert!((softplus_sum(&[0.0_f32; 40]) - 40.0 * 2.0_f32.ln()).abs() < 1e-5);
        assert!((square_sum(&vec![0.5_f32; 10_000]) - 2500.0).abs() < 1e-9);
        let mut dx = [2.0, 2.0];
        tanh_backward(&mut dx, &[0.0, 0.5]);
        assert_eq!(dx, [2.0, 1.5]);
    }

    const ALL: [Activation; 6] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::QuickGelu,
        Activation::Tanh,
    ];

    /// Values computed by PyTorch 2.9.1 in f64.
    #[test]
    fn activations_have_the_published_values() {
        let x = [-3.0, -1.0, 0.5, 2.0];
        let expected: [(Activation, [f64; 4]); 4] = [
            (
                Activation::Gelu,
                [
                    -0.004_049_694_1,
                    -0.158_655_253_9,
                    0.345_731_230_6,
                    1.954_499_736_1,
                ],
            ),
            (
                Activation::GeluTanh,
                [
                    -0.003_637_392_1,
                    -0.158_808_009_4,
                    0.345_714_009_8,
                    1.954_597_694_1,
                ],
            ),
            (
                Activation::Silu,
                [
                    -0.142_277_619_5,
                    -0.268_941_421_4,
                    0.311_229_665_6,
                    1.761_594_156_0,
                ],
            ),
            (
                Activation::QuickGelu,
                [
                    -0.018_071_309_7,
                    -0.154_204_234_1,
                    0.350_388_436_6,
                    1.935_658_623_1,
                ],
            ),
        ];
        for (activation, values) in expected {
            let mut y = [0.0_f64; 4];
            activation.forward(&mut y, &x);
            let mut y32 = [0.0_f32; 4];
            activation.forward(&mut y32, &x.map(|v| v as f32));
            for i in 0..4 {
                assert!((y[i] - values[i]).abs() < 1e-10, "{activation:?} {y:?}");
                assert!(
                    (f64::from(y32[i]) - values[i]).abs() < 6e-7,
                    "{activation:?} {y32:?}"
                );
            }
        }
    }

    #[test]
    fn derivatives_are_central_differences() {
        for activation in ALL {
            for i in -60..60 {
                let x = f64::from(i) * 0.1 + 0.03;
                let h = 1e-5;
                let mut y = [0.0; 2];
                activation.forward(&mut y, &[x - h, x + h]);
                let expected = (y[1] - y[0]) / (2.0 * h);
                let mut d = [1.0];
                activation.backward(&mut d, &[x]);
                assert!((d[0] - expected).abs() < 1e-8, "{activation:?} at {x}");
                let mut d32 = [1.0_f32];
                activation.backward(&mut d32, &[x as f32]);
                assert!(
                    (f64::from(d32[0]) - expected).abs() < 2e-6,
                    "{activation:?} at {x}"
                );
            }
        }
    }

    #[test]
    fn reductions_handle_every_length() {
        for n in 0..100_usize {
            let a: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let sum = (n * n.saturating_sub(1) / 2) as f64;
            assert_eq!(dot(&a, &vec![1.0; n]), sum);
        }
    }
}
