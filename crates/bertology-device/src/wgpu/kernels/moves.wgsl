// What only moves numbers or sets them: words, so that no driver changes what is infinite or no number at all.

struct Params {
    len: u32,
    width: u32,
    value: u32,
    to_first: u32,
    to_stride: u32,
    from_first: u32,
    from_stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;

@compute @workgroup_size(256)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        out[i] = p.value;
    }
}

@compute @workgroup_size(256)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        let row = i / p.width;
        let column = i % p.width;
        out[p.to_first + row * p.to_stride + column] = x[p.from_first + row * p.from_stride + column];
    }
}

@compute @workgroup_size(256)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        let row = rows[i / p.width];
        var value = 0u;
        if (row != NO_ROW) {
            value = x[row * p.width + i % p.width];
        }
        out[i] = value;
    }
}

@compute @workgroup_size(256)
fn scatter(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i < p.len) {
        let row = rows[i / p.width];
        if (row != NO_ROW) {
            out[row * p.width + i % p.width] = x[i];
        }
    }
}
