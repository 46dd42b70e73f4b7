// matrix_q4 (part of other kernels): a matrix of Q4 blocks, read by rows.
//
//     load_chunk(rows, i) = block i of four rows
//     input_block(i) = the eight vec4 groups of the input that block i is multiplied by
//     matrix_vec4(row, i) = elements 4i .. 4i + 3 of a row
//
// q4_floats.wgsl and q4_integers.wgsl define multiply_chunk, the product of the first two.
//
// Bindings
//     0  blocks  vec4<u32> (n, n_blocks)    read    16 bytes per block; byte j holds element j in its low nibble and
//                                                   element j + 16 in its high nibble
//     1  scales  f16 (n, n_blocks)          read    two per u32
// Variables     arithmetic: floats or integers
// Requires      input_vec4(i) of the kernel: vec4 group i of the input in the order of interleaved.wgsl; scales padded
//               to whole u32
// Reference     Q4Matrix.rows(row); only the product with the scale is rounded

#include "interleaved.wgsl"
#include "q4_{arithmetic}.wgsl"

@group(0) @binding(0) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

override n_chunks: u32 = n_blocks;

struct RowChunk {
    words: array<vec4<u32>, 4>,
    scales: vec4<f32>,
}

fn block_scale(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2]);
    return select(pair.x, pair.y, block % 2 == 1);
}

fn load_chunk(rows: vec4<u32>, i: u32) -> RowChunk {
    let block = rows * n_blocks + i;
    return RowChunk(
        array<vec4<u32>, 4>(blocks[block.x], blocks[block.y], blocks[block.z], blocks[block.w]),
        vec4<f32>(block_scale(block.x), block_scale(block.y), block_scale(block.z), block_scale(block.w)),
    );
}

fn input_block(i: u32) -> array<vec4<f32>, 8> {
    return array(
        input_vec4(i), input_vec4(n_blocks + i),
        input_vec4(2 * n_blocks + i), input_vec4(3 * n_blocks + i),
        input_vec4(4 * n_blocks + i), input_vec4(5 * n_blocks + i),
        input_vec4(6 * n_blocks + i), input_vec4(7 * n_blocks + i),
    );
}

fn matrix_vec4(row: u32, i: u32) -> vec4<f32> {
    let block = row * n_blocks + i / 8;
    let word = blocks[block][i % 4] >> (4 * (i % 8 / 4));
    let nibbles = (vec4<u32>(word) >> vec4<u32>(0, 8, 16, 24)) & vec4<u32>(0xf);
    return block_scale(block) * (vec4<f32>(nibbles) - 8.0);
}
