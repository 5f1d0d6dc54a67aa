@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> hat: array<f32>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = flat(group, groups);
    if (row >= p.rows) {
        return;
    }
    let first = row * p.width;
    var sum = 0.0;
    for (var i = at; i < p.width; i = i + 128u) {
        sum = sum + hat[first + i];
    }
    let mean = total(at, sum) * p.of_mean;
    sum = 0.0;
    for (var i = at; i < p.width; i = i + 128u) {
        let value = hat[first + i] - mean;
        sum = fma(value, value, sum);
    }
    let variance = total(at, sum) * p.inverse_width;
    // The inverse of an infinite deviation is zero, which would make a plausible row of the bias alone.
    var scale = bitcast<f32>(p.nan);
    if (is_finite(variance)) {
        scale = 1.0 / sqrt(variance + p.epsilon);
    }
    for (var i = at; i < p.width; i = i + 128u) {
        let value = (hat[first + i] - mean) * scale;
        hat[first + i] = value;
        y[first + i] = fma(value, weight[i], bias[i]);
    }
    if (at == 0u) {
        rstd[row] = scale;
    }
}
