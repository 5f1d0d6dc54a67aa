// The function between the two maps of a feed-forward block, and its backward pass. After functions.wgsl.

struct Params {
    len: u32,
    inner: u32,
    gated: u32,
    function: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> pre: array<f32>;
@group(0) @binding(3) var<storage, read> d: array<f32>;

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp_of(-x));
}

fn normal(x: f32) -> f32 {
    return 0.5 * (1.0 + erf_of(x * 0.70710678118654752));
}

// The argument of tanh in GELU's tanh form, and its derivative.
fn bent(x: f32) -> vec2<f32> {
    let c = 0.7978845608028654;
    let k = 0.044715;
    let x2 = x * x;
    return vec2<f32>(c * x * (1.0 + k * x2), c * (1.0 + 3.0 * k * x2));
}

fn value_of(x: f32) -> f32 {
    switch (p.function) {
        case 0u: {
            return x * normal(x);
        }
        case 1u: {
            return 0.5 * x * (1.0 + tanh_of(bent(x).x));
        }
        case 2u: {
            return select(x, 0.0, x <= 0.0);
        }
        case 3u: {
            return x * sigmoid(x);
        }
        case 4u: {
            return x * sigmoid(1.702 * x);
        }
        default: {
            return tanh_of(x);
        }
    }
}

fn slope_of(x: f32) -> f32 {
    switch (p.function) {
        case 0u: {
            return normal(x) + x * (0.3989422804014327 * exp_of(-0.5 * x * x));
        }
        case 1u: {
            let inner = bent(x);
            let t = tanh_of(inner.x);
            return 0.5 * (1.0 + t + x * (1.0 - t * t) * inner.y);
        }
        case 2u: {
            return select(0.0, 1.0, x > 0.0);
        }
        case 3u: {
            let s = sigmoid(x);
            return s * (1.0 + x * (1.0 - s));
        }
        case 4u: {
            let s = sigmoid(1.702 * x);
            return s * (1.0 + 1.702 * x * (1.0 - s));
        }
        default: {
            let t = tanh_of(x);
            return 1.0 - t * t;
        }
    }
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i >= p.len) {
        return;
    }
    if (p.gated == 0u) {
        out[i] = value_of(pre[i]);
        return;
    }
    let first = i / p.inner * 2u * p.inner + i % p.inner;
    out[i] = value_of(pre[first]) * pre[first + p.inner];
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i >= p.len) {
        return;
    }
    if (p.gated == 0u) {
        out[i] = d[i] * slope_of(pre[i]);
        return;
    }
    let first = i / p.inner * 2u * p.inner + i % p.inner;
    let x = pre[first];
    out[first] = d[i] * pre[first + p.inner] * slope_of(x);
    out[first + p.inner] = value_of(x) * d[i];
}
