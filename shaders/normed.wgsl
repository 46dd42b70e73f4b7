// normed: a part of other kernels. The input of a matrix is the residual stream under an RMS norm.
//
//     norm(x) = x * alpha / rms(x)       rms(x) = sqrt(1e-8 + mean(x^2))
//
//     normed_rows(rows, local) = w[row] . norm(x) for four rows, in the first lane of every group
//
// What wrote the stream (residual.wgsl) left x * alpha and the sums of squares behind. The rms is one number, by which
// the result is divided: input(i) = quad i of x * alpha.
//
// Bindings
//     2  scaled   vec4<f32> (8 n_blocks,)   read   x * alpha, in the order of vector.wgsl
//     3  squares  vec4<f32> (ceil(k / 16),) read   sum of x^2 over each quad of x; zeros after the last
// Uses        rows, lanes_*, vector

const EPSILON = 1e-8;

@group(0) @binding(2) var<storage, read> scaled: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> squares: array<vec4<f32>>;

fn input(i: u32) -> vec4<f32> {
    return scaled[i];
}

fn squares_at(i: u32) -> vec4<f32> {
    let n = (k + 15) / 16;
    return select(vec4<f32>(), squares[min(i, n - 1)], i < n);
}

// Four at a time: a GPU waits for their loads together.
fn sum_of_squares(lane: u32) -> f32 {
    var sum = vec4<f32>();
    for (var i = lane; 16 * i < k; i += 4 * n_lanes) {
        sum += squares_at(i) + squares_at(i + n_lanes) + squares_at(i + 2 * n_lanes) + squares_at(i + 3 * n_lanes);
    }
    return dot(sum, vec4<f32>(1.0));
}

fn normed_rows(rows: vec4<u32>, local: u32) -> vec4<f32> {
    let lane = local % n_lanes;
    let squares_of_lane = sum_of_squares(lane);  // first, so that it is waited for together with the matrix
    let sums = sums_of_lanes(local, Sums(dot_rows(rows, lane), squares_of_lane));
    return sums.rows / sqrt(EPSILON + sums.squares / f32(k));
}
