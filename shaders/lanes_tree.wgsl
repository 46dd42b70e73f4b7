// lanes_tree: a part of other kernels. Sums over the invocations that share some rows, in workgroup memory.
//
//     sum_of_lanes(local, value) = the sum of value over the n_lanes neighbours of a group, in the first of them
//
// Constants   n_invocations in a workgroup, n_lanes in a group
// Requires    n_lanes a power of two that divides n_invocations; to be called by all invocations of the workgroup

override n_invocations: u32;
override n_lanes: u32;

var<workgroup> partial: array<vec4<f32>, n_invocations>;

fn sum_of_lanes(local: u32, value: vec4<f32>) -> vec4<f32> {
    if (n_lanes == 1) {
        return value;
    }
    workgroupBarrier();  // the sum before this one has been read
    partial[local] = value;
    for (var stride = n_lanes / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (local % n_lanes < stride) {
            partial[local] += partial[local + stride];
        }
    }
    return partial[local];
}
