// What is made of maps: tables, and maps of units. After functions.wgsl, shape.wgsl and map.wgsl; `map` is where it goes, and `x` the
// maps that it is made of.

@group(0) @binding(5) var<storage, read> y: array<f32>;
@group(0) @binding(6) var<storage, read> from_table: array<u32>;

// Words of a unit, and columns of its partners.
const UNIT: u32 = 6u;
const PARTNERS: u32 = 5u;

// Where the columns of a row are. words[1]: numbers of a row of the table, the first column.
fn place_in_table(group: u32) -> u32 {
    return (p.token * p.heads + group) * p.words[1].x + p.words[1].y;
}

// words[0]: what is seen. words[1]: where, the smoothing, how many columns.
@compute @workgroup_size(64)
fn row_entropies(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    let seen = seen_by(row.query, row.n);
    let smoothing = bitcast<f32>(p.words[1].z);
    let share = smoothing / f32(seen.y - seen.x);
    var sum = 0.0;
    for (var key = seen.x + at; key < seen.y; key = key + THREADS) {
        let value = fma(1.0 - smoothing, x[row.first + key], share);
        // A probability below the smallest normal number counts as 0; what is no number stays that.
        if (value >= 1.17549435e-38 || is_nan(value)) {
            sum = fma(value, ln_of(value), sum);
        }
    }
    sum = total(at, sum);
    if (at == 0u) {
        let place = place_in_table(flat(group, groups));
        map[place] = -sum;
        if (p.words[1].w == 2u) {
            let keys = seen.y - seen.x;
            map[place + 1u] = select(0.0, -sum / ln_of(f32(keys)), keys > 1u);
        }
    }
}

// words[0]: what is seen. words[1]: where, how many classes, whether absolute (1) and whether times `y` (2).
@compute @workgroup_size(64)
fn class_sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = row_of(flat(group, groups));
    if (!row.some) {
        return;
    }
    let seen = seen_by(row.query, row.n);
    let token = p.token + flat(group, groups) / p.heads - row.query;
    for (var class_ = 0u; class_ < p.words[1].z; class_ = class_ + 1u) {
        var sum = 0.0;
        for (var key = seen.x + at; key < seen.y; key = key + THREADS) {
            if (((columns[token + key] >> class_) & 1u) != 0u) {
                var value = x[row.first + key];
                if ((p.words[1].w & 2u) != 0u) {
                    value = value * y[row.first + key];
                }
                if ((p.words[1].w & 1u) != 0u) {
                    value = abs(value);
                }
                sum = sum + value;
            }
        }
        sum = total(at, sum);
        if (at == 0u) {
            map[place_in_table(flat(group, groups)) + class_] = sum;
        }
    }
}

@compute @workgroup_size(256)
fn neighbours(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 256u + at;
    let row = row_of(i);
    if (!row.some) {
        return;
    }
    let place = place_in_table(i);
    let here = row.first + row.query;
    var next = 0.0;
    var before = 0.0;
    if (row.query + 1u < row.n) {
        next = x[here + 1u];
    }
    if (row.query > 0u) {
        before = x[here - 1u];
    }
    map[place] = x[here];
    map[place + 1u] = next;
    map[place + 2u] = before;
}

// One workgroup a sequence and head. words[1]: how many classes, how many columns of a row.
@compute @workgroup_size(64)
fn sum_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups);
    if (i >= p.sequences * p.heads) {
        return;
    }
    let sequence = sequence_at(i / p.heads);
    let count = p.words[1].x;
    let width = p.words[1].y;
    for (var class_ = 0u; class_ < count; class_ = class_ + 1u) {
        for (var column = 0u; column < width; column = column + 1u) {
            var sum = 0.0;
            for (var token = sequence.token + at; token < sequence.token + sequence.tokens; token = token + THREADS) {
                if (((columns[token] >> class_) & 1u) != 0u) {
                    sum = sum + x[(token * p.heads + i % p.heads) * width + column];
                }
            }
            sum = total(at, sum);
            if (at == 0u) {
                map[(i * count + class_) * width + column] = sum;
            }
        }
    }
}

// One workgroup a row of a map of units; the table of the tokens' maps is `from_table`.
@compute @workgroup_size(64)
fn fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups);
    let row = row_of(i);
    if (!row.some) {
        return;
    }
    let which = sequence_of(i / p.heads);
    let n = from_table[4u * which + 1u];
    let first = from_table[4u * which + 2u] + row.head * n * n;
    let units = (p.token + i / p.heads - row.query) * UNIT;
    let here = units + row.query * UNIT;
    let queries = max(columns[here + 1u] - columns[here], 1u);
    for (var other = at; other < row.n; other = other + THREADS) {
        let there = units + other * UNIT;
        var sum = 0.0;
        if (columns[here + 4u] != columns[there + 4u]) {
            for (var query = columns[here]; query < columns[here + 1u]; query = query + 1u) {
                for (var key = columns[there + 2u]; key < columns[there + 3u]; key = key + 1u) {
                    sum = sum + x[first + query * n + key];
                }
            }
        }
        map[row.first + other] = sum / f32(queries);
    }
}

// One thread a row of a map of units.
@compute @workgroup_size(64)
fn strongest(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups) * 64u + at;
    let row = row_of(i);
    if (!row.some) {
        return;
    }
    let units = (p.token + i / p.heads - row.query) * UNIT;
    let first = row.first - row.query * row.n;
    var best = array<f32, 5>(0.0, 0.0, 0.0, 0.0, 0.0);
    var named = array<f32, 5>(-1.0, -1.0, -1.0, -1.0, -1.0);
    for (var other = 0u; other < row.n; other = other + 1u) {
        let there = x[row.first + other];
        let back = x[first + other * row.n + row.query];
        let offers = array<f32, 5>(
            there,
            back,
            there + back,
            select(0.0, there, other < row.query),
            select(0.0, there, columns[units + other * UNIT + 5u] != 0u),
        );
        for (var j = 0u; j < PARTNERS; j = j + 1u) {
            if (offers[j] > best[j]) {
                best[j] = offers[j];
                named[j] = f32(other);
            }
        }
    }
    for (var j = 0u; j < PARTNERS; j = j + 1u) {
        map[(p.token * p.heads + i) * PARTNERS + j] = named[j];
    }
}

// One workgroup a row that is kept and a head, of one sequence. words[0]: what is seen. words[1]: where, how many rows, the smoothing.
@compute @workgroup_size(64)
fn keep_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let i = flat(group, groups);
    let rows = p.words[1].y;
    if (i >= rows * p.heads) {
        return;
    }
    let sequence = sequence_at(0u);
    let n = sequence.tokens;
    let head = i / rows;
    let query = columns[i % rows];
    let first = sequence.map + (head * n + query) * n;
    let kept = p.words[1].x + i * n;
    let seen = seen_by(query, n);
    let smoothing = bitcast<f32>(p.words[1].z);
    let share = smoothing / f32(seen.y - seen.x);
    for (var key = at; key < n; key = key + THREADS) {
        var value = 0.0;
        if (key >= seen.x && key < seen.y) {
            value = fma(1.0 - smoothing, x[first + key], share);
        }
        map[kept + key] = value;
    }
}
