// mimi_weights_i8 (part of mimi_product_*): a matrix of signed 8-bit integers, converted when it is read.
//
//     weight_vec4(row, i) = elements 4i .. 4i + 3 of a row
//
// Bindings
//     0  weights  u32 (n, k / 4)    read    four integers each
// Reference     w[row]; exact

@group(0) @binding(0) var<storage, read> weights: array<u32>;

fn weight_vec4(row: u32, i: u32) -> vec4<f32> {
    let four = bitcast<i32>(weights[row * (k / 4) + i]);
    return vec4<f32>((vec4<i32>(four) << vec4<u32>(24, 16, 8, 0)) >> vec4<u32>(24));  // the right shift extends the sign
}
