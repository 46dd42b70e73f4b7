// matrix_f32 (part of other kernels): a float32 matrix, read by rows.
//
//     matrix_vec4(row, i) = elements 4i .. 4i + 3 of a row; those past its end are undefined
//
// Bindings
//     0  values  f32 (n, k)    read
// Reference     w[row]; exact

#include "interleaved.wgsl"
#include "dot_vec4.wgsl"

@group(0) @binding(0) var<storage, read> values: array<f32>;

fn matrix_vec4(row: u32, i: u32) -> vec4<f32> {
    let first = row * k + 4 * i;
    return vec4<f32>(values[first], values[first + 1], values[first + 2], values[first + 3]);
}
