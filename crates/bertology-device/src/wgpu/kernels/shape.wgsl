// Before what works by sequences and heads. The table has, word by word: of every sequence its first token, its tokens, where its
// maps and where its spreads begin; the slots of the heads; the sequence of every token from the first on.

struct Params {
    sequences: u32,
    heads: u32,
    dim: u32,
    token: u32,
    tokens: u32,
    longest: u32,
    distances: u32,
    tiles: u32,
    // What the operation adds.
    words: array<vec4<u32>, 5>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;

struct Sequence {
    token: u32,
    tokens: u32,
    map: u32,
    spread: u32,
}

fn sequence_at(i: u32) -> Sequence {
    return Sequence(table[4u * i], table[4u * i + 1u], table[4u * i + 2u], table[4u * i + 3u]);
}

fn slot_of(head: u32) -> u32 {
    return table[4u * p.sequences + head];
}

// The sequence of a token that is counted from the first of the shape on, or NO_ROW.
fn sequence_of(token: u32) -> u32 {
    return table[4u * p.sequences + p.heads + token];
}
