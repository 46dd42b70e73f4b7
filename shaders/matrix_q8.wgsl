// matrix_q8: a part of other kernels. A matrix of Q8 blocks, read by rows.
//
//     quad_of(row, q) = elements 4q .. 4q + 3 of a row
//     part_of and product, from it, are in quads
//
// Bindings
//     0  blocks  vec4<u32> (n, n_blocks, 2)   read   32 bytes a block: byte j is element j, signed
//     1  scales  f16 (n, n_blocks)            read   packed two in a u32
// Uses        vector
// Requires    scales padded to whole u32
// Twin        Q8Matrix.rows(row); nothing is rounded but the product with the scale

@group(0) @binding(0) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn quad_of(row: u32, q: u32) -> vec4<f32> {
    let block = row * n_blocks + q / 8;
    let word = bitcast<i32>(blocks[2 * block + q % 8 / 4][q % 4]);
    let integers = (vec4<i32>(word) << vec4<u32>(24, 16, 8, 0)) >> vec4<u32>(24);  // the shift back keeps the sign
    let pair = unpack2x16float(scales[block / 2]);
    return select(pair.x, pair.y, block % 2 == 1) * vec4<f32>(integers);
}
