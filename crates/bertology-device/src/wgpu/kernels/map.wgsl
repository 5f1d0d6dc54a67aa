// What goes by the rows of maps, one workgroup a row. After shape.wgsl and functions.wgsl.

@group(0) @binding(2) var<storage, read_write> map: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> columns: array<u32>;

const THREADS: u32 = 64u;

var<workgroup> part: array<f32, 64>;
var<workgroup> eight: array<f32, 8>;
var<workgroup> odd: array<u32, 64>;

struct Row {
    some: bool,
    n: u32,
    head: u32,
    query: u32,
    first: u32,
    // Where the spread of this sequence and head begins.
    spread: u32,
}

fn row_of(group: u32) -> Row {
    var row = Row(false, 0u, 0u, 0u, 0u, 0u);
    if (group >= p.tokens * p.heads) {
        return row;
    }
    let token = group / p.heads;
    let head = group % p.heads;
    let at = sequence_of(token);
    if (at == NO_ROW) {
        return row;
    }
    let sequence = sequence_at(at);
    let n = sequence.tokens;
    let query = p.token + token - sequence.token;
    row = Row(true, n, head, query, sequence.map + (head * n + query) * n, sequence.spread + head * n * p.distances);
    return row;
}

// The keys that a query sees, from x on and before y.
fn seen_by(query: u32, n: u32) -> vec2<u32> {
    let reach = p.words[0].y;
    switch (p.words[0].x) {
        case 0u: {
            return vec2<u32>(0u, n);
        }
        case 1u: {
            return vec2<u32>(0u, query + 1u);
        }
        default: {
            return vec2<u32>(query - min(query, reach), query + 1u + min(n - 1u - query, reach));
        }
    }
}

// The sum of what the threads of a workgroup hold, in one order: eight of them add up what all hold, and every one these eight.
// Who comes here again writes what nobody reads any more.
fn total(at: u32, value: f32) -> f32 {
    part[at] = value;
    workgroupBarrier();
    if (at < 8u) {
        var sum = part[at];
        for (var j = at + 8u; j < THREADS; j = j + 8u) {
            sum = sum + part[j];
        }
        eight[at] = sum;
    }
    workgroupBarrier();
    return ((eight[0] + eight[4]) + (eight[2] + eight[6])) + ((eight[1] + eight[5]) + (eight[3] + eight[7]));
}

@compute @workgroup_size(64)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    let seen = seen_by(row.query, row.n);
    // The greatest score; and whether there is one that makes the whole row no number, as on the processor.
    var greatest = -0x1.fffffep+127f;
    var strange = 0u;
    for (var key = seen.x + at; key < seen.y; key = key + THREADS) {
        let value = map[row.first + key];
        let bits = bitcast<u32>(value);
        if ((bits & 0x7fffffffu) > 0x7f800000u || bits == 0x7f800000u) {
            strange = 1u;
        } else if (bits != 0xff800000u) {
            greatest = max(greatest, value);
        }
    }
    part[at] = greatest;
    odd[at] = strange;
    workgroupBarrier();
    if (at < 8u) {
        for (var j = at + 8u; j < THREADS; j = j + 8u) {
            greatest = max(greatest, part[j]);
            strange = strange | odd[j];
        }
        eight[at] = greatest;
        odd[at] = strange;
    }
    workgroupBarrier();
    for (var j = 0u; j < 8u; j = j + 1u) {
        greatest = max(greatest, eight[j]);
        strange = strange | odd[j];
    }
    var sum = 0.0;
    for (var key = seen.x + at; key < seen.y; key = key + THREADS) {
        let value = map[row.first + key];
        var e = 0.0;
        if (bitcast<u32>(value) != 0xff800000u) {
            e = exp_of(value - greatest);
        }
        map[row.first + key] = e;
        sum = sum + e;
    }
    sum = total(at, sum);
    var inverse = 1.0 / sum;
    let none = strange != 0u || sum == 0.0;
    for (var key = at; key < row.n; key = key + THREADS) {
        if (key < seen.x || key >= seen.y) {
            map[row.first + key] = 0.0;
        } else if (none) {
            map[row.first + key] = bitcast<f32>(p.words[0].z);
        }
    }
    if (!none) {
        for (var key = seen.x + at; key < seen.y; key = key + THREADS) {
            map[row.first + key] = map[row.first + key] * inverse;
        }
    }
}

@compute @workgroup_size(64)
fn softmax_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    var sum = 0.0;
    for (var key = at; key < row.n; key = key + THREADS) {
        sum = fma(map[row.first + key], x[row.first + key], sum);
    }
    sum = total(at, sum);
    for (var key = at; key < row.n; key = key + THREADS) {
        map[row.first + key] = x[row.first + key] * (map[row.first + key] - sum);
    }
}

@compute @workgroup_size(64)
fn hide(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    let seen = seen_by(row.query, row.n);
    for (var key = at; key < row.n; key = key + THREADS) {
        if (key < seen.x || key >= seen.y) {
            map[row.first + key] = bitcast<f32>(p.words[0].z);
        }
    }
}

@compute @workgroup_size(64)
fn add_by_offset(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    let first = row.head * (2u * p.longest - 1u) + p.longest - 1u - row.query;
    for (var key = at; key < row.n; key = key + THREADS) {
        map[row.first + key] = map[row.first + key] + x[first + key];
    }
}

@compute @workgroup_size(64)
fn add_spread(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    for (var key = at; key < row.n; key = key + THREADS) {
        let column = columns[row.query + p.longest - 1u - key];
        let reader = select(row.query, key, p.words[0].x != 0u);
        map[row.first + key] = map[row.first + key] + x[row.spread + reader * p.distances + column];
    }
}
