// mimi_weights_f32 (part of mimi_product_*): a float32 matrix.
//
//     weight_vec4(row, i) = elements 4i .. 4i + 3 of a row
//
// Bindings
//     0  weights  vec4<f32> (n, k / 4)    read
// Reference     w[row]; exact

@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;

fn weight_vec4(row: u32, i: u32) -> vec4<f32> {
    return weights[row * (k / 4) + i];
}
