// dot_quads: a part of other kernels. Rows of a matrix times a vector, quad by quad.
//
//     dot_rows(rows, lane) = this lane's share of sum_j w[row, j] * x[j] for four rows
//
// Uses        quad_of of matrix_f32 or matrix_q8, vector, lanes_*; input(i) of the kernel: quad i of x in the order of
//             vector.wgsl
// Requires    zeros in x after element k, by which what is past the end of a row is multiplied
// Twin        w @ x; tolerance 1e-5 of the largest result

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
