// Additions and products element by element.

struct Params {
    len: u32,
    width: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;

@compute @workgroup_size(256)
fn add(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        out[i] = out[i] + x[i];
    }
}

@compute @workgroup_size(256)
fn multiply(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        out[i] = out[i] * x[i];
    }
}

@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        out[i] = out[i] * p.factor;
    }
}

@compute @workgroup_size(256)
fn scale_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        out[i] = out[i] * x[i / p.width];
    }
}

@compute @workgroup_size(256)
fn scale_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        out[i] = out[i] * x[i % p.width];
    }
}

@compute @workgroup_size(256)
fn gather_add(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        let row = rows[i / p.width];
        if (row != NO_ROW) {
            out[i] = out[i] + x[row * p.width + i % p.width];
        }
    }
}
