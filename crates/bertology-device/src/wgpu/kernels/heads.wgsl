// What goes by tokens and heads. After shape.wgsl.

@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read> b: array<f32>;
@group(0) @binding(5) var<storage, read> places: array<u32>;

var<workgroup> part: array<f32, 64>;
var<workgroup> found: array<u32, 256>;

// words[0]: numbers of a row, column of the first head, half of what is turned, whether back.
@compute @workgroup_size(256)
fn turn(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    let half = p.words[0].z;
    if (i >= p.tokens * p.heads * half) {
        return;
    }
    let column = i % half;
    let head = i / half % p.heads;
    let token = i / half / p.heads;
    if (sequence_of(token) == NO_ROW) {
        return;
    }
    let angle = places[p.token + token] * half + column;
    let cosine = a[angle];
    let sine = select(b[angle], -b[angle], p.words[0].w != 0u);
    let first = (p.token + token) * p.words[0].x + p.words[0].y + slot_of(head) * p.dim + column;
    let x = out[first];
    let y = out[first + half];
    out[first] = x * cosine - y * sine;
    out[first + half] = y * cosine + x * sine;
}

// words[0]: numbers of a row.
@compute @workgroup_size(256)
fn scale_heads(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i >= p.tokens * p.heads * p.dim) {
        return;
    }
    let column = i % p.dim;
    let head = i / p.dim % p.heads;
    let token = i / p.dim / p.heads;
    let sequence = sequence_of(token);
    if (sequence == NO_ROW) {
        return;
    }
    let place = (p.token + token) * p.words[0].x + slot_of(head) * p.dim + column;
    out[place] = out[place] * a[sequence * p.heads + head];
}

// words[0]: numbers of a row.
@compute @workgroup_size(256)
fn head_dots(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    if (i >= p.tokens * p.heads) {
        return;
    }
    let token = p.token + i / p.heads;
    let first = token * p.words[0].x + slot_of(i % p.heads) * p.dim;
    var sum = 0.0;
    for (var c = 0u; c < p.dim; c = c + 1u) {
        sum = fma(a[first + c], b[first + c], sum);
    }
    out[p.token * p.heads + i] = sum;
}

// One workgroup a sequence and head. words[0]: where in `out`.
@compute @workgroup_size(64)
fn sum_tokens(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups);
    if (i >= p.sequences * p.heads) {
        return;
    }
    let sequence = sequence_at(i / p.heads);
    var sum = 0.0;
    for (var token = at; token < sequence.tokens; token = token + 64u) {
        sum = sum + a[(sequence.token + token) * p.heads + i % p.heads];
    }
    part[at] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (at < half) {
            part[at] = part[at] + part[at + half];
        }
        workgroupBarrier();
    }
    if (at == 0u) {
        out[p.words[0].x + i] = part[0];
    }
}

// One workgroup a sequence. words[0]: numbers of a row, where in `out`.
@compute @workgroup_size(256)
fn flag_nonfinite(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups);
    if (i >= p.sequences) {
        return;
    }
    let sequence = sequence_at(i);
    let first = sequence.token * p.words[0].x;
    let len = sequence.tokens * p.words[0].x;
    var some = 0u;
    for (var j = at; j < len; j = j + 256u) {
        if (!is_finite(a[first + j])) {
            some = 1u;
        }
    }
    found[at] = some;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half = half / 2u) {
        if (at < half) {
            found[at] = found[at] | found[at + half];
        }
        workgroupBarrier();
    }
    if (at == 0u) {
        out[p.words[0].y + i] = f32(found[0]);
    }
}

// One thread a row of the spread, in the order of the partners: no two threads add to one number. words[0]: whether by key.
@compute @workgroup_size(64)
fn sum_spread(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 64u + at;
    if (i >= p.tokens * p.heads) {
        return;
    }
    // Tokens beside each other in one workgroup: by key, they read numbers beside each other.
    let head = i / p.tokens;
    let token = i % p.tokens;
    let which = sequence_of(token);
    if (which == NO_ROW) {
        return;
    }
    let sequence = sequence_at(which);
    let n = sequence.tokens;
    let reader = p.token + token - sequence.token;
    let row = sequence.spread + (head * n + reader) * p.distances;
    let map = sequence.map + head * n * n;
    for (var c = 0u; c < p.distances; c = c + 1u) {
        out[row + c] = 0.0;
    }
    for (var partner = 0u; partner < n; partner = partner + 1u) {
        var query = reader;
        var key = partner;
        if (p.words[0].x != 0u) {
            query = partner;
            key = reader;
        }
        let column = row + places[query + p.longest - 1u - key];
        out[column] = out[column] + a[map + query * n + key];
    }
}
