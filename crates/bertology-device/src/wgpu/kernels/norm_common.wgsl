// Before both directions of a norm: one workgroup a row.

struct Params {
    rows: u32,
    width: u32,
    inverse_width: f32,
    of_mean: f32,
    epsilon: f32,
    nan: u32,
}

@group(0) @binding(0) var<uniform> p: Params;

var<workgroup> part: array<f32, 128>;

// The sum of what the threads of a workgroup hold, by a fixed tree.
fn total(at: u32, value: f32) -> f32 {
    workgroupBarrier();
    part[at] = value;
    workgroupBarrier();
    for (var half = 64u; half > 0u; half = half / 2u) {
        if (at < half) {
            part[at] = part[at] + part[at + half];
        }
        workgroupBarrier();
    }
    return part[0];
}
