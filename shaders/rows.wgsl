// rows: a part of other kernels. Four rows of a matrix times a vector, shared by the lanes of a group.
//
//     dot_rows(rows, lane) = this lane's share of sum_j w[row, j] * x[j] for four rows
//     sum_of_lanes(local, mine) = the sum over the lanes of a group, in the first of them
//
// Uses        lanes_*, and of matrix_q4 or quads: n_parts, Part, part_of and product
// Twin        w @ x

struct Sums {
    rows: vec4<f32>,
    squares: f32,  // of the stream under a norm (normed.wgsl)
}

fn dot_rows(rows: vec4<u32>, lane: u32) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var i = lane; i < n_parts; i += n_lanes) {
        sums += product(part_of(rows, i), i);
    }
    return sums;
}

fn sum_of_lanes(local: u32, mine: vec4<f32>) -> vec4<f32> {
    return sums_of_lanes(local, Sums(mine, 0.0)).rows;
}
