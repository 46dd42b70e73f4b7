// rms_norm: the root-mean-square norm of one vector.
//
//     y = x * alpha / sqrt(1e-8 + mean(x^2))
//
// Bindings
//     0  x      f32 (>= d,)  read
//     1  alpha  f32 (d,)     read
//     2  y      f32 (>= d,)  read_write   written
// Constants   d
// Dispatch    1 workgroup of 64
// Requires    nothing
// Twin        x * alpha / np.sqrt(1e-8 + np.mean(x * x)); tolerance 1e-6 of the largest |y|

override d: u32;

const N_LANES = 64u;
const EPSILON = 1e-8;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> alpha: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, N_LANES>;

@compute @workgroup_size(N_LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var squares = 0.0;
    for (var e = lane; e < d; e += N_LANES) {
        squares += x[e] * x[e];
    }
    partial[lane] = squares;
    for (var stride = N_LANES / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            partial[lane] += partial[lane + stride];
        }
    }
    workgroupBarrier();
    let inverse_rms = 1.0 / sqrt(EPSILON + partial[0] / f32(d));
    for (var e = lane; e < d; e += N_LANES) {
        y[e] = x[e] * alpha[e] * inverse_rms;
    }
}
