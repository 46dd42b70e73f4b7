// q4_floats (part of matrix_q4): Q4 blocks of four rows times a block of the input, in floats.
//
//     multiply_chunk(chunk, i) = scale * (sum_(j < 32) nibble[j] * x[32i + j] - 8 * sum_j x[32i + j])
//
// Reference     Q4Matrix.dequantize() @ x; tolerance 1e-5 of the largest result

// A nibble is masked in place, which makes it 1, 16, 256 or 4096 times too large; x is divided by the same power of
// two, which rounds nothing. Signed integers convert to floats in one instruction on every GPU, unsigned ones do not.
const LOW_FACTORS = 1.0 / vec4<f32>(1.0, 256.0, 1.0, 256.0);
const HIGH_FACTORS = 1.0 / vec4<f32>(16.0, 4096.0, 16.0, 4096.0);

fn masked(words: vec4<u32>, mask: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(words & vec4<u32>(mask)));
}

// Elements 4i .. 4i + 3 and 4i + 16 .. 4i + 19 of one block of each of four rows, times x.
fn multiply_word(chunk: RowChunk, i: u32, x_low: vec4<f32>, x_high: vec4<f32>) -> vec4<f32> {
    let words = vec4<u32>(chunk.words[0][i], chunk.words[1][i], chunk.words[2][i], chunk.words[3][i]);
    let low = x_low * LOW_FACTORS;
    let high = x_high * HIGH_FACTORS;
    let upper = words >> vec4<u32>(16);
    return masked(words, 0xf) * low.x + masked(words, 0xf00) * low.y
        + masked(upper, 0xf) * low.z + masked(upper, 0xf00) * low.w
        + masked(words, 0xf0) * high.x + masked(words, 0xf000) * high.y
        + masked(upper, 0xf0) * high.z + masked(upper, 0xf000) * high.w;
}

fn multiply_chunk(chunk: RowChunk, i: u32) -> vec4<f32> {
    let x = input_block(i);
    let total = dot(x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7], vec4<f32>(1.0));
    let sum = multiply_word(chunk, 0, x[0], x[4]) + multiply_word(chunk, 1, x[1], x[5])
        + multiply_word(chunk, 2, x[2], x[6]) + multiply_word(chunk, 3, x[3], x[7]);
    return chunk.scales * (sum - 8.0 * total);
}
