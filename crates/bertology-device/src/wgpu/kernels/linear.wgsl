// One product of two matrices, and a bias for every column. Before tile.wgsl.

struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    b_row: u32,
    b_column: u32,
    biased: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;

fn work(group: u32) -> Work {
    let across = (p.columns + TILE - 1u) / TILE;
    let row = group / across * TILE;
    let column = group % across * TILE;
    return Work(
        row < p.rows, p.rows, p.columns, p.inner,
        vec3<u32>(0u, p.inner, 1u), vec3<u32>(0u, p.b_row, p.b_column),
        row, column, 0u, p.columns,
    );
}

fn finish(place: u32, column: u32, sum: f32) {
    if (p.biased != 0u) {
        out[place] = sum + bias[column];
    } else {
        out[place] = sum;
    }
}
