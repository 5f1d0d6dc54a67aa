// A product for every sequence and head. After shape.wgsl, before tile.wgsl. words[0], [1] and [2] say where the matrices of
// the result and of both factors lie; words[3]: factors transposed (1 and 2), tiles across, whether to add to the result, and
// the bits of what the product is multiplied by.

@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read> b: array<f32>;

// Where a matrix begins, its rows and columns and the numbers from row to row. `place` is its kind, its first column, its
// stride, and whether heads have columns of their own.
fn matrix(place: vec4<u32>, sequence: Sequence, head: u32) -> vec4<u32> {
    let n = sequence.tokens;
    let column = slot_of(head) * p.dim;
    switch (place.x) {
        case 0u: {
            return vec4<u32>(sequence.token * place.z + place.y + column, n, p.dim, place.z);
        }
        case 1u: {
            return vec4<u32>(sequence.map + head * n * n, n, n, n);
        }
        case 2u: {
            return vec4<u32>(sequence.spread + head * n * p.distances, n, p.distances, p.distances);
        }
        default: {
            return vec4<u32>(place.y + select(0u, column, place.w != 0u), p.distances, p.dim, place.z);
        }
    }
}

// Begin, and numbers from row to row and from column to column.
fn factor(at: vec4<u32>, transposed: bool) -> vec3<u32> {
    if (transposed) {
        return vec3<u32>(at.x, 1u, at.w);
    }
    return vec3<u32>(at.x, at.w, 1u);
}

fn work(group: u32) -> Work {
    let pair = group / p.tiles;
    let head = pair % p.heads;
    let sequence = sequence_at(min(pair / p.heads, p.sequences - 1u));
    let to = matrix(p.words[0], sequence, head);
    let first = matrix(p.words[1], sequence, head);
    let second = matrix(p.words[2], sequence, head);
    let turned = p.words[3].x;
    let across = p.words[3].y;
    let row = group % p.tiles / across * TILE;
    let column = group % p.tiles % across * TILE;
    let inner = select(first.z, first.y, (turned & 1u) != 0u);
    return Work(
        pair < p.sequences * p.heads && row < to.y && column < to.z, to.y, to.z, inner,
        factor(first, (turned & 1u) != 0u), factor(second, (turned & 2u) != 0u),
        row, column, to.x, to.w,
    );
}

fn finish(place: u32, column: u32, sum: f32) {
    let value = sum * bitcast<f32>(p.words[3].w);
    if (p.words[3].z != 0u) {
        out[place] = out[place] + value;
    } else {
        out[place] = value;
    }
}
