@group(0) @binding(1) var<storage, read_write> d: array<f32>;
@group(0) @binding(2) var<storage, read> hat: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = flat(group, groups);
    if (row >= p.rows) {
        return;
    }
    let first = row * p.width;
    var sum = 0.0;
    var along = 0.0;
    for (var i = at; i < p.width; i = i + 128u) {
        let value = d[first + i] * weight[i];
        sum = sum + value;
        along = fma(value, hat[first + i], along);
    }
    let mean = total(at, sum) * p.of_mean;
    let projection = total(at, along) * p.inverse_width;
    let scale = rstd[row];
    for (var i = at; i < p.width; i = i + 128u) {
        let value = d[first + i] * weight[i];
        d[first + i] = scale * (value - mean - hat[first + i] * projection);
    }
}
