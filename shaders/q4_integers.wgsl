// q4_integers: a part of other kernels. Q4 blocks of four rows times a block of a vector, in integers of 8 bits.
//
//     y[j] = round(x[32i + j] / step)       step = max_j |x[32i + j]| / HIGHEST
//     product(part, i) = scale * step * sum_(j < 32) (nibble[j] - 8) * y[j]
//
// y has 16 bits: an upper byte and a lower one, both signed, and each of them is multiplied on its own.
//
// Uses        matrix_q4
// Requires    packed_4x8_integer_dot_product, and a GPU that has it in hardware for it to be worth its while
// Twin        Q4Matrix.dequantize() @ x; tolerance 1e-4 of the largest result

const HIGHEST = 32512.0;  // upper byte 127, lower byte 0
const SMALLEST = 1e-30;  // of a block, so that one of zeros is divided by something

// Added to a float, this leaves its nearest integer in the low bits, and half a lower byte more: what is above the lower
// byte is then the upper one.
const ROUNDED = 12582912.0 + 128.0;
const LOWER_SIGNS = 0x80808080u;

// Nibbles are shifted to where they are 16 times as large, signed once their highest bit is turned over.
const NIBBLE_SIGNS = vec4<u32>(0x80808080);
const NIBBLES = vec4<u32>(0xf0f0f0f0);
const PLACE = 1.0 / 16.0;

// A block of y: the upper bytes of quads 0 to 3 and 4 to 7, and the lower ones.
struct Rounded {
    upper: array<vec4<u32>, 2>,
    lower: array<vec4<u32>, 2>,
}

struct Bytes {
    upper: u32,
    lower: u32,
}

fn bytes_of(x: vec4<f32>, inverse_step: f32) -> Bytes {
    let y = bitcast<vec4<u32>>(x * inverse_step + ROUNDED);
    let even = (y.x & 0xffff) | (y.z << 16);
    let odd = (y.y & 0xffff) | (y.w << 16);
    return Bytes(
        ((even >> 8) & 0x00ff00ff) | (odd & 0xff00ff00),
        ((even & 0x00ff00ff) | ((odd << 8) & 0xff00ff00)) ^ LOWER_SIGNS,
    );
}

fn dot_quads(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

fn dot_block(words: vec4<u32>, y: Rounded) -> f32 {
    let low = ((words << vec4<u32>(4)) ^ NIBBLE_SIGNS) & NIBBLES;
    let high = (words ^ NIBBLE_SIGNS) & NIBBLES;
    let upper = dot_quads(low, y.upper[0]) + dot_quads(high, y.upper[1]);
    let lower = dot_quads(low, y.lower[0]) + dot_quads(high, y.lower[1]);
    return f32(256 * upper + lower);
}

fn product(part: Part, i: u32) -> vec4<f32> {
    let x = block_of_x(i);
    let largest = max(
        max(max(abs(x[0]), abs(x[1])), max(abs(x[2]), abs(x[3]))), max(max(abs(x[4]), abs(x[5])), max(abs(x[6]), abs(x[7])))
    );
    let range = max(max(max(largest.x, largest.y), max(largest.z, largest.w)), SMALLEST);
    let inverse_step = HIGHEST / range;
    let y0 = bytes_of(x[0], inverse_step);
    let y1 = bytes_of(x[1], inverse_step);
    let y2 = bytes_of(x[2], inverse_step);
    let y3 = bytes_of(x[3], inverse_step);
    let y4 = bytes_of(x[4], inverse_step);
    let y5 = bytes_of(x[5], inverse_step);
    let y6 = bytes_of(x[6], inverse_step);
    let y7 = bytes_of(x[7], inverse_step);
    let y = Rounded(
        array(vec4<u32>(y0.upper, y1.upper, y2.upper, y3.upper), vec4<u32>(y4.upper, y5.upper, y6.upper, y7.upper)),
        array(vec4<u32>(y0.lower, y1.lower, y2.lower, y3.lower), vec4<u32>(y4.lower, y5.lower, y6.lower, y7.lower)),
    );
    let sums = vec4<f32>(
        dot_block(part.words[0], y), dot_block(part.words[1], y), dot_block(part.words[2], y), dot_block(part.words[3], y)
    );
    return part.scales * (PLACE * range / HIGHEST) * sums;
}
