// matrix_q8 (part of other kernels): a matrix of Q8 blocks, read by rows.
//
//     matrix_vec4(row, i) = elements 4i .. 4i + 3 of a row
//
// Bindings
//     0  blocks  vec4<u32> (n, n_blocks, 2)    read    32 bytes per block; byte j is element j, signed
//     1  scales  f16 (n, n_blocks)             read    two per u32
// Requires      scales padded to whole u32
// Reference     Q8Matrix.rows(row); only the product with the scale is rounded

#include "interleaved.wgsl"
#include "dot_vec4.wgsl"

@group(0) @binding(0) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn matrix_vec4(row: u32, i: u32) -> vec4<f32> {
    let block = row * n_blocks + i / 8;
    let word = bitcast<i32>(blocks[2 * block + i % 8 / 4][i % 4]);
    let integers = (vec4<i32>(word) << vec4<u32>(24, 16, 8, 0)) >> vec4<u32>(24);  // the right shift extends the sign
    let pair = unpack2x16float(scales[block / 2]);
    return select(pair.x, pair.y, block % 2 == 1) * vec4<f32>(integers);
}
