// embed_sum_q4: the sum of one row of each embedding table, tables of Q4 blocks.
//
//     x[e] = sum_t value(rows[t], e)  +  value(text_row + token, e)
//     value(row, e) = scale[row, e / 32] * (nibble[row, e] - 8)
//
// Bindings
//     0  blocks  u32 (rows of all tables, n_blocks, 4)   read         16 bytes a block: byte j holds element j
//                                                                     in its low, j + 16 in its high nibble
//     1  scales  f16 (rows of all tables, n_blocks)      read         packed two in a u32
//     2  rows    u32 (n_rows,)                           read         rows counted from the start of the first table
//     3  token   u32 (1,)                                read         the text token of the step before
//     4  x       f32 (>= d,)                             read_write   written; added to when accumulate != 0
// Constants   d; n_rows may be 0; text_row is -1 where the text table is not among these; accumulate
// Dispatch    ceil(d / 64) workgroups of 64, one invocation an element
// Requires    every row inside the table; scales padded to whole u32
// Twin        Q4Matrix.rows(rows).sum(0) + Q4Matrix.rows(text_row + token); tolerance 1e-6

override d: u32;
override n_rows: u32;
override text_row: i32;
override accumulate: u32 = 0;

const BLOCK = 32u;
const WORDS_PER_BLOCK = 4u;

@group(0) @binding(0) var<storage, read> blocks: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> token: u32;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

fn value(row: u32, e: u32) -> f32 {
    let n_blocks = (d + BLOCK - 1) / BLOCK;
    let block = row * n_blocks + e / BLOCK;
    let byte = e % 16;
    let is_high = (e % BLOCK) / 16;
    let nibble = extractBits(blocks[block * WORDS_PER_BLOCK + byte / 4], 8 * (byte % 4) + 4 * is_high, 4);
    let scale = unpack2x16float(scales[block / 2])[block % 2];
    return scale * (f32(nibble) - 8.0);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let e = id.x;
    if (e >= d) {
        return;
    }
    var sum = 0.0;
    for (var t = 0u; t < n_rows; t++) {
        sum += value(rows[t], e);
    }
    if (text_row >= 0) {
        sum += value(u32(text_row) + token, e);
    }
    if (accumulate != 0) {
        sum += x[e];
    }
    x[e] = sum;
}
