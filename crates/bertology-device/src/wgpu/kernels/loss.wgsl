// Cross-entropy by rows of logits, one workgroup a row. After norm_common.wgsl and functions.wgsl.

@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;

var<workgroup> odd: array<u32, 128>;

@compute @workgroup_size(128)
fn cross_entropy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = flat(group, groups);
    if (row >= p.rows) {
        return;
    }
    let first = row * p.width;
    // The greatest logit; and whether one is infinite or no number, which makes the whole row no number.
    var greatest = -0x1.fffffep+127f;
    var strange = 0u;
    for (var i = at; i < p.width; i = i + 128u) {
        let value = logits[first + i];
        if (is_finite(value)) {
            greatest = max(greatest, value);
        } else {
            strange = 1u;
        }
    }
    part[at] = greatest;
    odd[at] = strange;
    workgroupBarrier();
    for (var i = 0u; i < 128u; i = i + 1u) {
        greatest = max(greatest, part[i]);
        strange = strange | odd[i];
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = at; i < p.width; i = i + 128u) {
        sum = sum + exp_of(logits[first + i] - greatest);
    }
    sum = total(at, sum);
    let label = labels[row];
    let weight = weights[row];
    let wanted = logits[first + label];
    // Every thread has read it before one writes.
    workgroupBarrier();
    if (at == 0u) {
        losses[row] = select(weight * (greatest + ln_of(sum) - wanted), bitcast<f32>(p.nan), strange != 0u);
    }
    let share = weight / sum;
    for (var i = at; i < p.width; i = i + 128u) {
        var d = exp_of(logits[first + i] - greatest) * share;
        if (i == label) {
            d = d - weight;
        }
        logits[first + i] = select(d, bitcast<f32>(p.nan), strange != 0u);
    }
}
