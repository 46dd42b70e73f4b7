// matvec_q4: a matrix of Q4 blocks times a vector.
//
//     y[i] = sum_b scale[i, b] * sum_(j < 32) (nibble[i, b, j] - 8) * x[32 b + j]
//
// Bindings
//     0  blocks  vec4<u32> (n, n_blocks)      read         16 bytes a block: byte j holds element j in its low,
//                                                          j + 16 in its high nibble
//     1  scales  f16 (n, n_blocks)            read         packed two in a u32
//     2  x       vec4<f32> (>= 8 n_blocks,)   read         zeros after element k
//     3  y       f32 (>= n,)                  read_write   written; added to when accumulate != 0
// Constants   n; n_blocks = ceil(k / 32); n_lanes invocations share a row; accumulate
// Dispatch    ceil(n / (64 / n_lanes)) workgroups of 64
// Requires    the language feature packed_4x8_integer_dot_product (unpack4xU8); n_lanes a power of two, at most 64;
//             scales padded to whole u32
// Twin        Q4Matrix.dequantize() @ x; tolerance 1e-5 of the largest |y|

override n: u32;
override n_blocks: u32;
override n_lanes: u32 = 64;
override accumulate: u32 = 0;

const WORKGROUP = 64u;

@group(0) @binding(0) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, WORKGROUP>;

fn low(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(word & 0x0f0f0f0f)) - 8.0;
}

fn high(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8((word >> 4) & 0x0f0f0f0f)) - 8.0;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % n_lanes;
    let row = group.x * (WORKGROUP / n_lanes) + local / n_lanes;

    var sum = 0.0;
    if (row < n) {
        for (var b = lane; b < n_blocks; b += n_lanes) {
            let block = row * n_blocks + b;
            let words = blocks[block];
            let at = 8 * b;
            var products = low(words.x) * x[at] + high(words.x) * x[at + 4];
            products += low(words.y) * x[at + 1] + high(words.y) * x[at + 5];
            products += low(words.z) * x[at + 2] + high(words.z) * x[at + 6];
            products += low(words.w) * x[at + 3] + high(words.w) * x[at + 7];
            sum += unpack2x16float(scales[block / 2])[block % 2] * dot(products, vec4<f32>(1.0));
        }
    }

    partial[local] = sum;
    for (var stride = n_lanes / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            partial[local] += partial[local + stride];
        }
    }
    if (lane == 0 && row < n) {
        y[row] = select(0.0, y[row], accumulate != 0) + partial[local];
    }
}
