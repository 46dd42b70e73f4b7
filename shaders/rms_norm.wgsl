// rms_norm (part of other kernels): a matrix times the RMS norm of the residual stream.
//
//     norm(x) = x * alpha / rms(x)       rms(x) = sqrt(1e-8 + mean(x^2))
//     dot_rows_normed(rows, local) = w[row] . norm(x) for four rows, in the first lane of every group
//
// The kernel before stored x * alpha and the sums of squares (residual.wgsl). The rms is a single number, so the result
// is divided by it, and the input is input_vec4(i) = vec4 group i of x * alpha.
//
// Bindings
//     2  scaled   vec4<f32> (8 n_blocks,)      read    x * alpha, in the order of interleaved.wgsl
//     3  squares  vec4<f32> (ceil(k / 16),)    read    sum of x^2 over each vec4 group of x; zeros after the last
// Reference     w @ lm.reference.rms_norm(x, alpha); tolerance 1e-5 of the largest result

#include "rows.wgsl"

const EPSILON = 1e-8;

@group(0) @binding(2) var<storage, read> scaled: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> squares: array<vec4<f32>>;

fn input_vec4(i: u32) -> vec4<f32> {
    return scaled[i];
}

fn squares_at(i: u32) -> vec4<f32> {
    let n = (k + 15) / 16;
    return select(vec4<f32>(), squares[min(i, n - 1)], i < n);
}

// Four at a time, so that the loads overlap.
fn sum_of_squares(lane: u32) -> f32 {
    var sum = vec4<f32>();
    for (var i = lane; 16 * i < k; i += 4 * n_lanes) {
        sum += squares_at(i) + squares_at(i + n_lanes) + squares_at(i + 2 * n_lanes) + squares_at(i + 3 * n_lanes);
    }
    return dot(sum, vec4<f32>(1.0));
}

fn dot_rows_normed(rows: vec4<u32>, local: u32) -> vec4<f32> {
    let lane = local % n_lanes;
    let lane_squares = sum_of_squares(lane);  // first, so that these loads overlap with those of the matrix
    let sums = reduce_lanes(local, Sums(dot_rows(rows, lane), lane_squares));
    return sums.rows / sqrt(EPSILON + sums.squares / f32(k));
}
