// lanes_tree (part of other kernels): sums over the lanes that share four rows, by a tree in workgroup memory.
//
//     reduce_lanes(local, partial) = the sums over the n_lanes adjacent invocations of a group, in the first of them
//
// Constants     n_invocations per workgroup, n_lanes per group
// Requires      n_lanes is a power of two and divides n_invocations; every invocation of the workgroup calls it once

#include "sums.wgsl"

override n_invocations: u32;
override n_lanes: u32;

var<workgroup> partial_rows: array<vec4<f32>, n_invocations>;
var<workgroup> partial_squares: array<f32, n_invocations>;

fn reduce_lanes(local: u32, partial: Sums) -> Sums {
    if (n_lanes == 1) {
        return partial;
    }
    partial_rows[local] = partial.rows;
    partial_squares[local] = partial.squares;
    for (var stride = n_lanes / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (local % n_lanes < stride) {
            partial_rows[local] += partial_rows[local + stride];
            partial_squares[local] += partial_squares[local + stride];
        }
    }
    return Sums(partial_rows[local], partial_squares[local]);
}
