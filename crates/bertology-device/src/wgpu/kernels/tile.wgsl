// The product of two matrices, a tile a workgroup: SIDE x SIDE threads with four rows and four columns each, and DEPTH terms of
// the sums at a time in workgroup memory, four numbers a word. After a file that says what `work` is and what to do with a sum.
// The terms are added DEPTH at a time, and these sums in their order: a fraction of the roundings of one sum over all, and the
// same bits whatever the tile.

struct Work {
    some: bool,
    rows: u32,
    columns: u32,
    inner: u32,
    // Where each matrix begins, and numbers from row to row and from column to column.
    a: vec3<u32>,
    b: vec3<u32>,
    // The tile's first row and column.
    row: u32,
    column: u32,
    out_first: u32,
    out_row: u32,
}

const DEPTH: u32 = 16u;
const TILE: u32 = 4u * SIDE;
const THREADS: u32 = SIDE * SIDE;
const LOADS: u32 = SIDE * DEPTH / THREADS;
// One more than a row, so that threads that write down a column meet different banks.
const PITCH: u32 = SIDE + 1u;

var<workgroup> left: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> right: array<vec4<f32>, DEPTH * PITCH>;

// The term and the four rows or columns, counted in fours, that a thread loads: threads beside each other read numbers beside
// each other, whichever way a matrix lies.
fn share(i: u32, along_terms: bool) -> vec2<u32> {
    if (along_terms) {
        return vec2<u32>(i % DEPTH, i / DEPTH);
    }
    return vec2<u32>(i / SIDE, i % SIDE);
}

// Four rows of the first factor, 0 where it has none.
fn load_a(w: Work, row: u32, k: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if (k < w.inner) {
        let first = w.a.x + row * w.a.y + k * w.a.z;
        if (row < w.rows) {
            value.x = a[first];
        }
        if (row + 1u < w.rows) {
            value.y = a[first + w.a.y];
        }
        if (row + 2u < w.rows) {
            value.z = a[first + 2u * w.a.y];
        }
        if (row + 3u < w.rows) {
            value.w = a[first + 3u * w.a.y];
        }
    }
    return value;
}

// Four columns of the second.
fn load_b(w: Work, k: u32, column: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if (k < w.inner) {
        let first = w.b.x + k * w.b.y + column * w.b.z;
        if (column < w.columns) {
            value.x = b[first];
        }
        if (column + 1u < w.columns) {
            value.y = b[first + w.b.z];
        }
        if (column + 2u < w.columns) {
            value.z = b[first + 2u * w.b.z];
        }
        if (column + 3u < w.columns) {
            value.w = b[first + 3u * w.b.z];
        }
    }
    return value;
}

@compute @workgroup_size(SIDE * SIDE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let w = work(flat(group, groups));
    if (!w.some) {
        return;
    }
    let tx = at % SIDE;
    let ty = at / SIDE;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    for (var begin = 0u; begin < w.inner; begin = begin + DEPTH) {
        for (var load = 0u; load < LOADS; load = load + 1u) {
            let i = load * THREADS + at;
            let one = share(i, w.a.z == 1u);
            left[one.x * PITCH + one.y] = load_a(w, w.row + 4u * one.y, begin + one.x);
            let other = share(i, w.b.z != 1u);
            right[other.x * PITCH + other.y] = load_b(w, begin + other.x, w.column + 4u * other.y);
        }
        workgroupBarrier();
        var part0 = vec4<f32>();
        var part1 = vec4<f32>();
        var part2 = vec4<f32>();
        var part3 = vec4<f32>();
        // As many as there is room for: those behind the last are zeros.
        for (var k = 0u; k < DEPTH; k = k + 1u) {
            let rows = left[k * PITCH + ty];
            let columns = right[k * PITCH + tx];
            part0 = fma(vec4<f32>(rows.x), columns, part0);
            part1 = fma(vec4<f32>(rows.y), columns, part1);
            part2 = fma(vec4<f32>(rows.z), columns, part2);
            part3 = fma(vec4<f32>(rows.w), columns, part3);
        }
        sum0 = sum0 + part0;
        sum1 = sum1 + part1;
        sum2 = sum2 + part2;
        sum3 = sum3 + part3;
        workgroupBarrier();
    }
    let row = w.row + 4u * ty;
    let column = w.column + 4u * tx;
    finish_row(w, row, column, sum0);
    finish_row(w, row + 1u, column, sum1);
    finish_row(w, row + 2u, column, sum2);
    finish_row(w, row + 3u, column, sum3);
}

fn finish_row(w: Work, row: u32, column: u32, sums: vec4<f32>) {
    if (row >= w.rows) {
        return;
    }
    let first = w.out_first + row * w.out_row;
    if (column < w.columns) {
        finish(first + column, column, sums.x);
    }
    if (column + 1u < w.columns) {
        finish(first + column + 1u, column + 1u, sums.y);
    }
    if (column + 2u < w.columns) {
        finish(first + column + 2u, column + 2u, sums.z);
    }
    if (column + 3u < w.columns) {
        finish(first + column + 3u, column + 3u, sums.w);
    }
}
