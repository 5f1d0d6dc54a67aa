// Before every kernel.

const NO_ROW: u32 = 0xffffffffu;

// The number of a workgroup: what one dimension cannot hold goes on in the second.
fn flat(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + group.y * groups.x;
}

// By the bits: a driver may take for granted that no number is infinite or none, and leave a comparison out.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
