// matvec_f32: a matrix in float32 times a vector.
//
//     y[i] = sum_j w[i, j] * x[j]
//
// Bindings
//     0  w  f32 (n, k)    read
//     1  x  f32 (>= k,)   read
//     2  y  f32 (>= n,)   read_write   written; added to when accumulate != 0
// Constants   n, k; n_lanes invocations share a row; accumulate
// Dispatch    ceil(n / (64 / n_lanes)) workgroups of 64
// Requires    n_lanes a power of two, at most 64
// Twin        w @ x; tolerance 1e-5 of the largest |y|

override n: u32;
override k: u32;
override n_lanes: u32 = 64;
override accumulate: u32 = 0;

const WORKGROUP = 64u;

@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let lane = local % n_lanes;
    let row = group.x * (WORKGROUP / n_lanes) + local / n_lanes;

    var sum = 0.0;
    if (row < n) {
        for (var j = lane; j < k; j += n_lanes) {
            sum += w[row * k + j] * x[j];
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
