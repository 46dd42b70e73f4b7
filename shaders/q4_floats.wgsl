// q4_floats: a part of other kernels. Q4 blocks of four rows times a block of a vector, in floats.
//
//     product(part, i) = scale * (sum_(j < 32) nibble[j] * x[32i + j] - 8 * sum_j x[32i + j])
//
// Uses        matrix_q4
// Twin        Q4Matrix.dequantize() @ x; tolerance 1e-5 of the largest result

// A nibble is masked where it stands, which makes it 1, 16, 256 or 4096 times as large, and x as much smaller: powers
// of two round nothing. Signed integers convert to floats in one instruction everywhere, unsigned ones do not.
const LOW_PLACES = 1.0 / vec4<f32>(1.0, 256.0, 1.0, 256.0);
const HIGH_PLACES = 1.0 / vec4<f32>(16.0, 4096.0, 16.0, 4096.0);

fn masked(words: vec4<u32>, mask: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(words & vec4<u32>(mask)));
}

// Elements 4q .. 4q + 3 and 4q + 16 .. 4q + 19 of one block in each of four rows, times x.
fn product_of_quads(part: Part, q: u32, x_low: vec4<f32>, x_high: vec4<f32>) -> vec4<f32> {
    let words = vec4<u32>(part.words[0][q], part.words[1][q], part.words[2][q], part.words[3][q]);
    let low = x_low * LOW_PLACES;
    let high = x_high * HIGH_PLACES;
    let upper = words >> vec4<u32>(16);
    return masked(words, 0xf) * low.x + masked(words, 0xf00) * low.y
        + masked(upper, 0xf) * low.z + masked(upper, 0xf00) * low.w
        + masked(words, 0xf0) * high.x + masked(words, 0xf000) * high.y
        + masked(upper, 0xf0) * high.z + masked(upper, 0xf000) * high.w;
}

fn product(part: Part, i: u32) -> vec4<f32> {
    let x = block_of_x(i);
    let total = dot(x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7], vec4<f32>(1.0));
    let sum = product_of_quads(part, 0, x[0], x[4]) + product_of_quads(part, 1, x[1], x[5])
        + product_of_quads(part, 2, x[2], x[6]) + product_of_quads(part, 3, x[3], x[7]);
    return part.scales * (sum - 8.0 * total);
}
