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
var<workgroup> eight: array<f32, 8>;

// The sum of what the threads of a workgroup hold, in one order: eight of them add up what all hold, and every one these eight.
// Who comes here again writes what nobody reads any more.
fn total(at: u32, value: f32) -> f32 {
    part[at] = value;
    workgroupBarrier();
    if (at < 8u) {
        var sum = part[at];
        for (var j = at + 8u; j < 128u; j = j + 8u) {
            sum = sum + part[j];
        }
        eight[at] = sum;
    }
    workgroupBarrier();
    return ((eight[0] + eight[4]) + (eight[2] + eight[6])) + ((eight[1] + eight[5]) + (eight[3] + eight[7]));
}
