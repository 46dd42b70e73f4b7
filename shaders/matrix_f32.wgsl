// matrix_f32: a part of other kernels. A matrix in float32, read by rows.
//
//     quad_of(row, q) = elements 4q .. 4q + 3 of a row; what is past its end means nothing
//     part_of and product, from it, are in quads
//
// Bindings
//     0  values  f32 (n, k)   read
// Uses        vector
// Twin        w[row]

@group(0) @binding(0) var<storage, read> values: array<f32>;

fn quad_of(row: u32, q: u32) -> vec4<f32> {
    let i = row * k + 4 * q;
    return vec4<f32>(values[i], values[i + 1], values[i + 2], values[i + 3]);
}
