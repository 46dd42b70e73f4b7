// lanes_tree: a part of other kernels. Sums over the invocations that share some rows, in workgroup memory.
//
//     sums_of_lanes(local, mine) = the sums over the n_lanes neighbours of a group, in the first of them
//
// Constants   n_invocations in a workgroup, n_lanes in a group
// Requires    n_lanes a power of two that divides n_invocations; to be called once, by all of the workgroup
// Uses        Sums of rows

override n_invocations: u32;
override n_lanes: u32;

var<workgroup> partial_rows: array<vec4<f32>, n_invocations>;
var<workgroup> partial_squares: array<f32, n_invocations>;

fn sums_of_lanes(local: u32, mine: Sums) -> Sums {
    if (n_lanes == 1) {
        return mine;
    }
    partial_rows[local] = mine.rows;
    partial_squares[local] = mine.squares;
    for (var stride = n_lanes / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (local % n_lanes < stride) {
            partial_rows[local] += partial_rows[local + stride];
            partial_squares[local] += partial_squares[local + stride];
        }
    }
    return Sums(partial_rows[local], partial_squares[local]);
}
