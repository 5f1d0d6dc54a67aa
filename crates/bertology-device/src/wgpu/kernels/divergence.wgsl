// Divergences of maps, one workgroup a pair. After functions.wgsl and norm_common.wgsl: `rows` is how many maps there are, `width` the
// numbers of each.

@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<storage, read> maps: array<f32>;

// A probability below the smallest normal number counts as 0; what is no number stays that.
fn term(value: f32) -> f32 {
    if (value >= 1.17549435e-38 || is_nan(value)) {
        return value * ln_of(value);
    }
    return 0.0;
}

@compute @workgroup_size(128)
fn divergences(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let pair = flat(group, groups);
    if (pair >= p.rows * (p.rows - 1u) / 2u) {
        return;
    }
    var one = 0u;
    var rest = pair;
    while (rest >= p.rows - 1u - one) {
        rest = rest - (p.rows - 1u - one);
        one = one + 1u;
    }
    let left = one * p.width;
    let right = (one + 1u + rest) * p.width;
    // By blocks of 32 a thread, so that no sum has many roundings.
    var sum = 0.0;
    for (var block = at; block < p.width; block = block + 32u * 128u) {
        let end = min(p.width, block + 32u * 128u);
        var some = 0.0;
        for (var j = block; j < end; j = j + 128u) {
            let a = maps[left + j];
            let b = maps[right + j];
            // Cell by cell, so that what is summed is small where the maps are alike.
            if (a != b) {
                some = some + (0.5 * (term(a) + term(b)) - term(0.5 * (a + b)));
            }
        }
        sum = sum + some;
    }
    sum = total(at, sum);
    if (at == 0u) {
        // Not `max`, which may make 0 of what is no number.
        if (sum < 0.0) {
            sum = 0.0;
        }
        sums[pair] = sum;
    }
}
