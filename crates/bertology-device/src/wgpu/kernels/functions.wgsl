// Elementary functions to the accuracy of f32, which the language does not promise: those of the processor's kernels
// (bertology-kernels, real.rs), in the same form.

// Range reduction to |r| <= ln 2 / 2 and the Taylor polynomial of degree 7; relative error below 2e-7. Below -87.3 it is 0,
// for minus infinity too; what would be greater than e^88.3 is that, for infinity is not promised to be one.
fn exp_of(x: f32) -> f32 {
    let clamped = clamp(x, -87.3, 88.3);
    let n = round(clamped * 1.4426950408889634);
    // The first part of ln 2 has nine bits: its product with n is exact.
    let r = fma(n, 2.1219444e-4, fma(n, -0.693359375, clamped));
    var q = fma(r, 1.0 / 5040.0, 1.0 / 720.0);
    q = fma(q, r, 1.0 / 120.0);
    q = fma(q, r, 1.0 / 24.0);
    q = fma(q, r, 1.0 / 6.0);
    q = fma(q, r, 0.5);
    q = fma(q, r, 1.0);
    q = fma(q, r, 1.0);
    let scale = bitcast<f32>(u32(i32(n) + 127) << 23u);
    let value = select(q * scale, 0.0, clamped <= -87.3);
    return select(value, x, is_nan(x));
}

// Near 0 the odd Taylor polynomial, which loses nothing to cancellation; elsewhere by way of e^2x, whose argument is bounded.
fn tanh_of(x: f32) -> f32 {
    let a = min(abs(x), 20.0);
    let x2 = a * a;
    var near = fma(x2, -1382.0 / 155925.0, 62.0 / 2835.0);
    near = fma(near, x2, -17.0 / 315.0);
    near = fma(near, x2, 2.0 / 15.0);
    near = fma(near, x2, -1.0 / 3.0);
    near = fma(near, x2, 1.0) * a;
    let far = 1.0 - 2.0 / (exp_of(2.0 * a) + 1.0);
    let size = select(far, near, a < 0.3);
    let value = select(size, -size, x < 0.0);
    return select(value, x, is_nan(x));
}

// Odd rational function of degrees 11 over 10, fitted on [0, 3.95]: 2e-8 from erf before rounding.
fn erf_of(x: f32) -> f32 {
    let c = clamp(x, -3.95, 3.95);
    let u = c * c;
    var a = fma(u, 2.017918e-6, 2.861535e-4);
    a = fma(a, u, 3.8650532e-3);
    a = fma(a, u, 5.3048918e-2);
    a = fma(a, u, 1.9285186e-1);
    a = fma(a, u, 1.1283791);
    var b = fma(u, 3.782661e-5, 1.1849295e-3);
    b = fma(b, u, 1.5167826e-2);
    b = fma(b, u, 1.1509929e-1);
    b = fma(b, u, 5.042427e-1);
    b = fma(b, u, 1.0);
    return select(c * a / b, x, is_nan(x));
}

// x = 2^k f with f from the root of a half to that of two, then ln f = 2 atanh((f - 1) / (f + 1)) by its series to degree 9;
// for positive normal numbers.
fn ln_of(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let k = bitcast<i32>(bits - 0x3f3504f3u) >> 23u;
    let f = bitcast<f32>(bits - (bitcast<u32>(k) << 23u));
    let s = (f - 1.0) / (f + 1.0);
    let s2 = s * s;
    var series = fma(s2, 2.0 / 9.0, 2.0 / 7.0);
    series = fma(series, s2, 2.0 / 5.0);
    series = fma(series, s2, 2.0 / 3.0);
    series = fma(series, s2, 2.0);
    return fma(f32(k), 0.6931471805599453, s * series);
}
