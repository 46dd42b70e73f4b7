// matrix_q4: a part of other kernels. A matrix of Q4 blocks, read by rows.
//
//     dot_rows(rows, lane) = this lane's share of sum_j w[row, j] * x[j] for four rows
//         = sum over its blocks of scale * (sum_(j < 32) nibble[j] * x[j] - 8 * sum_j x[j])
//     quad_of(row, q) = elements 4q .. 4q + 3 of a row
//
// Bindings
//     0  blocks  vec4<u32> (n, n_blocks)   read   16 bytes a block: byte j holds element j in its low, j + 16 in its
//                                                 high nibble
//     1  scales  f16 (n, n_blocks)         read   packed two in a u32
// Uses        vector, lanes_*; input(i) of the kernel: quad i of x in the order of vector.wgsl
// Requires    scales padded to whole u32
// Twin        Q4Matrix.dequantize() @ x; tolerance 1e-5 of the largest result

@group(0) @binding(0) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

// A nibble is masked where it stands, which makes it 1, 16, 256 or 4096 times as large, and x as much smaller: powers
// of two round nothing. Signed integers convert to floats in one instruction everywhere, unsigned ones do not.
const LOW_PLACES = 1.0 / vec4<f32>(1.0, 256.0, 1.0, 256.0);
const HIGH_PLACES = 1.0 / vec4<f32>(16.0, 4096.0, 16.0, 4096.0);

fn masked(words: vec4<u32>, mask: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(words & vec4<u32>(mask)));
}

// Elements 4i .. 4i + 3 and 4i + 16 .. 4i + 19 of one block in each of four rows, times x.
fn products(words: vec4<u32>, x_low: vec4<f32>, x_high: vec4<f32>) -> vec4<f32> {
    let low = x_low * LOW_PLACES;
    let high = x_high * HIGH_PLACES;
    let upper = words >> vec4<u32>(16);
    return masked(words, 0xf) * low.x + masked(words, 0xf00) * low.y
        + masked(upper, 0xf) * low.z + masked(upper, 0xf00) * low.w
        + masked(words, 0xf0) * high.x + masked(words, 0xf000) * high.y
        + masked(upper, 0xf0) * high.z + masked(upper, 0xf000) * high.w;
}

fn scale_of(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2]);
    return select(pair.x, pair.y, block % 2 == 1);
}

fn dot_rows(rows: vec4<u32>, lane: u32) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var b = lane; b < n_blocks; b += n_lanes) {
        let block = rows * n_blocks + b;
        let w0 = blocks[block.x];
        let w1 = blocks[block.y];
        let w2 = blocks[block.z];
        let w3 = blocks[block.w];
        let scale = vec4<f32>(scale_of(block.x), scale_of(block.y), scale_of(block.z), scale_of(block.w));

        let x0 = input(b);
        let x1 = input(n_blocks + b);
        let x2 = input(2 * n_blocks + b);
        let x3 = input(3 * n_blocks + b);
        let x4 = input(4 * n_blocks + b);
        let x5 = input(5 * n_blocks + b);
        let x6 = input(6 * n_blocks + b);
        let x7 = input(7 * n_blocks + b);
        let total = dot(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7, vec4<f32>(1.0));
        let sum = products(vec4<u32>(w0.x, w1.x, w2.x, w3.x), x0, x4)
            + products(vec4<u32>(w0.y, w1.y, w2.y, w3.y), x1, x5)
            + products(vec4<u32>(w0.z, w1.z, w2.z, w3.z), x2, x6)
            + products(vec4<u32>(w0.w, w1.w, w2.w, w3.w), x3, x7);
        sums += scale * (sum - 8.0 * total);
    }
    return sums;
}

fn quad_of(row: u32, q: u32) -> vec4<f32> {
    let block = row * n_blocks + q / 8;
    let word = blocks[block][q % 4] >> (4 * (q % 8 / 4));
    let nibbles = (vec4<u32>(word) >> vec4<u32>(0, 8, 16, 24)) & vec4<u32>(0xf);
    return scale_of(block) * (vec4<f32>(nibbles) - 8.0);
}
