// matrix_f32: a part of other kernels. A matrix in float32, read by rows.
//
//     dot_rows(rows, lane) = this lane's share of sum_j w[row, j] * x[j] for four rows
//     quad_of(row, q) = elements 4q .. 4q + 3 of a row; what is past its end means nothing
//
// Bindings
//     0  values  f32 (n, k)   read
// Uses        vector, lanes_*; input(i) of the kernel: quad i of x in the order of vector.wgsl
// Requires    zeros in x after element k, by which what is past the end of a row is multiplied
// Twin        w @ x; tolerance 1e-5 of the largest result

@group(0) @binding(0) var<storage, read> values: array<f32>;

fn quad_of(row: u32, q: u32) -> vec4<f32> {
    let i = row * k + 4 * q;
    return vec4<f32>(values[i], values[i + 1], values[i + 2], values[i + 3]);
}

fn dot_rows(rows: vec4<u32>, lane: u32) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var q = lane; 4 * q < k; q += n_lanes) {
        let x = input(place_of(q, n_blocks));
        sums += vec4<f32>(
            dot(quad_of(rows.x, q), x), dot(quad_of(rows.y, q), x), dot(quad_of(rows.z, q), x), dot(quad_of(rows.w, q), x)
        );
    }
    return sums;
}
