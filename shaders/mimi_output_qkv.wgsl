// mimi_output_qkv (part of mimi_product_*): rotates the query and the key by their positions; writes keys and values
// into the KV cache.
//
//     (a, b) -> (a cos - b sin, a sin + b cos)    for the pairs (2i, 2i + 1) of every head of q and k
//
// Bindings
//     2  query   vec4<f32> (n_rows, d / 4)      read_write    written: q / sqrt(D), rotated
//     6  keys    vec4<f32> (n_slots, d / 4)     read_write    the rows of the new positions are written
//     7  values  vec4<f32> (n_slots, d / 4)     read_write    likewise
// Constants     n = 3d: columns of q, then k, then v; head_width = D; n_slots
// Requires      D is a multiple of 4
// Reference     Rotation.apply; tolerance 1e-5 of the largest result

override head_width: u32;
override n_slots: u32;

@group(0) @binding(2) var<storage, read_write> query: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> keys: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> values: array<vec4<f32>>;

fn rotated(row: u32, column: u32, value: vec4<f32>) -> vec4<f32> {
    let i = row * (head_width / 2) + column % head_width / 2;
    let a = call.rotations[i];
    let b = call.rotations[i + 1];
    return vec4<f32>(
        value.x * a.x - value.y * a.y, value.x * a.y + value.y * a.x,
        value.z * b.x - value.w * b.y, value.z * b.y + value.w * b.x,
    );
}

fn write_vec4(row: u32, column: u32, value: vec4<f32>) {
    let d = n / 3;
    let slot = (call.slot + row) % n_slots;
    if (column < d) {
        query[(row * d + column) / 4] = rotated(row, column, value) / sqrt(f32(head_width));
    } else if (column < 2 * d) {
        keys[(slot * d + column - d) / 4] = rotated(row, column - d, value);
    } else {
        values[(slot * d + column - 2 * d) / 4] = value;
    }
}
