// mimi_weights_f16 (part of mimi_product_*): a matrix of half floats, converted when it is read.
//
//     weight_vec4(row, i) = elements 4i .. 4i + 3 of a row
//
// Bindings
//     0  weights  vec2<u32> (n, k / 4)    read    four half floats each
// Reference     w[row]; exact

@group(0) @binding(0) var<storage, read> weights: array<vec2<u32>>;

fn weight_vec4(row: u32, i: u32) -> vec4<f32> {
    let four = weights[row * (k / 4) + i];
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
