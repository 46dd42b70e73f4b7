// q4_integers (part of matrix_q4): Q4 blocks of four rows times a block of the input, in 8-bit integers.
//
//     y[j] = round(x[32i + j] / step)       step = max_j |x[32i + j]| / HIGHEST
//     multiply_chunk(chunk, i) = scale * step * sum_(j < 32) (nibble[j] - 8) * y[j]
//
// y has 16 bits: an upper and a lower byte, both signed, which are multiplied separately.
//
// Requires      the WGSL language feature packed_4x8_integer_dot_product; it only pays off on a GPU that has it in
//               hardware
// Reference     Q4Matrix.dequantize() @ x; tolerance 1e-4 of the largest result

const HIGHEST = 32512.0;  // upper byte 127, lower byte 0
const SMALLEST = 1e-30;  // range of a block, so that a block of zeros is not divided by zero

// Adding this to a float leaves its nearest integer in the low bits, plus half the range of the lower byte, so that the
// bits above the lower byte are the upper byte.
const ROUNDING = 12582912.0 + 128.0;
const LOWER_SIGNS = 0x80808080u;

// Nibbles are shifted to the upper half of their byte, where they are 16 times as large; flipping the highest bit makes
// them signed.
const NIBBLE_SIGNS = vec4<u32>(0x80808080);
const NIBBLES = vec4<u32>(0xf0f0f0f0);
const NIBBLE_FACTOR = 1.0 / 16.0;

// A block of y: the upper bytes of vec4 groups 0 to 3 and 4 to 7, and the lower bytes.
struct IntegerBlock {
    upper: array<vec4<u32>, 2>,
    lower: array<vec4<u32>, 2>,
}

struct PackedBytes {
    upper: u32,
    lower: u32,
}

fn split_bytes(x: vec4<f32>, inverse_step: f32) -> PackedBytes {
    let y = bitcast<vec4<u32>>(x * inverse_step + ROUNDING);
    let even = (y.x & 0xffff) | (y.z << 16);
    let odd = (y.y & 0xffff) | (y.w << 16);
    return PackedBytes(
        ((even >> 8) & 0x00ff00ff) | (odd & 0xff00ff00),
        ((even & 0x00ff00ff) | ((odd << 8) & 0xff00ff00)) ^ LOWER_SIGNS,
    );
}

fn dot_16_bytes(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

fn dot_block(words: vec4<u32>, y: IntegerBlock) -> f32 {
    let low = ((words << vec4<u32>(4)) ^ NIBBLE_SIGNS) & NIBBLES;
    let high = (words ^ NIBBLE_SIGNS) & NIBBLES;
    let upper = dot_16_bytes(low, y.upper[0]) + dot_16_bytes(high, y.upper[1]);
    let lower = dot_16_bytes(low, y.lower[0]) + dot_16_bytes(high, y.lower[1]);
    return f32(256 * upper + lower);
}

fn multiply_chunk(chunk: RowChunk, i: u32) -> vec4<f32> {
    let x = input_block(i);
    let largest = max(
        max(max(abs(x[0]), abs(x[1])), max(abs(x[2]), abs(x[3]))),
        max(max(abs(x[4]), abs(x[5])), max(abs(x[6]), abs(x[7])))
    );
    let range = max(max(max(largest.x, largest.y), max(largest.z, largest.w)), SMALLEST);
    let inverse_step = HIGHEST / range;
    let y0 = split_bytes(x[0], inverse_step);
    let y1 = split_bytes(x[1], inverse_step);
    let y2 = split_bytes(x[2], inverse_step);
    let y3 = split_bytes(x[3], inverse_step);
    let y4 = split_bytes(x[4], inverse_step);
    let y5 = split_bytes(x[5], inverse_step);
    let y6 = split_bytes(x[6], inverse_step);
    let y7 = split_bytes(x[7], inverse_step);
    let y = IntegerBlock(
        array(vec4<u32>(y0.upper, y1.upper, y2.upper, y3.upper), vec4<u32>(y4.upper, y5.upper, y6.upper, y7.upper)),
        array(vec4<u32>(y0.lower, y1.lower, y2.lower, y3.lower), vec4<u32>(y4.lower, y5.lower, y6.lower, y7.lower)),
    );
    let sums = vec4<f32>(
        dot_block(chunk.words[0], y), dot_block(chunk.words[1], y),
        dot_block(chunk.words[2], y), dot_block(chunk.words[3], y)
    );
    return chunk.scales * (NIBBLE_FACTOR * range / HIGHEST) * sums;
}
