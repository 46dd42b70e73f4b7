// lanes_subgroup: a part of other kernels. Sums over the invocations that share some rows, within subgroups first.
//
//     sum_of_lanes(local, value) = the sum of value over the n_lanes neighbours of a group, in each of them
//
// Constants   n_invocations in a workgroup, n_lanes in a group; subgroup_width, the least that the adapter may choose
// Requires    the feature subgroups; n_lanes a power of two that divides n_invocations; invocations numbered within
//             subgroups in the order of the workgroup, as every driver does; to be called by all of the workgroup

enable subgroups;

override n_invocations: u32;
override n_lanes: u32;
override subgroup_width: u32;

var<workgroup> partial: array<vec4<f32>, n_invocations>;

fn sum_of_lanes(local: u32, value: vec4<f32>) -> vec4<f32> {
    var sum = value;
    for (var stride = 1u; stride < min(n_lanes, subgroup_width); stride *= 2) {
        sum += subgroupShuffleXor(sum, stride);
    }
    if (n_lanes <= subgroup_width) {
        return sum;
    }
    workgroupBarrier();  // the sum before this one has been read
    if (local % subgroup_width == 0) {
        partial[local / subgroup_width] = sum;
    }
    workgroupBarrier();
    let n_parts = n_lanes / subgroup_width;
    sum = vec4<f32>();
    for (var i = 0u; i < n_parts; i++) {
        sum += partial[local / n_lanes * n_parts + i];
    }
    return sum;
}
