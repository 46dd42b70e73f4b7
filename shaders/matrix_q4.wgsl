// matrix_q4: a part of other kernels. A matrix of Q4 blocks, read by rows.
//
//     part_of(rows, i) = block i of four rows, block_of_x(i) = the quads of x that it is multiplied by; product, from
//     both, is in q4_floats or q4_integers
//     quad_of(row, q) = elements 4q .. 4q + 3 of a row
//
// Bindings
//     0  blocks  vec4<u32> (n, n_blocks)   read   16 bytes a block: byte j holds element j in its low, j + 16 in its
//                                                 high nibble
//     1  scales  f16 (n, n_blocks)         read   packed two in a u32
// Uses        vector; input(i) of the kernel: quad i of x in the order of vector.wgsl
// Requires    scales padded to whole u32
// Twin        Q4Matrix.rows(row); nothing is rounded but the product with the scale

@group(0) @binding(0) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

override n_parts: u32 = n_blocks;

struct Part {
    words: array<vec4<u32>, 4>,
    scales: vec4<f32>,
}

fn scale_of(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2]);
    return select(pair.x, pair.y, block % 2 == 1);
}

fn part_of(rows: vec4<u32>, i: u32) -> Part {
    let block = rows * n_blocks + i;
    return Part(
        array<vec4<u32>, 4>(blocks[block.x], blocks[block.y], blocks[block.z], blocks[block.w]),
        vec4<f32>(scale_of(block.x), scale_of(block.y), scale_of(block.z), scale_of(block.w)),
    );
}

fn block_of_x(i: u32) -> array<vec4<f32>, 8> {
    return array(
        input(i), input(n_blocks + i), input(2 * n_blocks + i), input(3 * n_blocks + i),
        input(4 * n_blocks + i), input(5 * n_blocks + i), input(6 * n_blocks + i), input(7 * n_blocks + i),
    );
}

fn quad_of(row: u32, q: u32) -> vec4<f32> {
    let block = row * n_blocks + q / 8;
    let word = blocks[block][q % 4] >> (4 * (q % 8 / 4));
    let nibbles = (vec4<u32>(word) >> vec4<u32>(0, 8, 16, 24)) & vec4<u32>(0xf);
    return scale_of(block) * (vec4<f32>(nibbles) - 8.0);
}
