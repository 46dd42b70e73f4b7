// lanes_subgroup (part of other kernels): sums over the lanes that share four rows, within subgroups first.
//
//     reduce_lanes(local, partial) = the sums over the n_lanes adjacent invocations of a group, in each of them
//
// Constants     n_invocations per workgroup, n_lanes per group; subgroup_width, the smallest the adapter may choose
// Requires      the feature `subgroups`; n_lanes is a power of two and divides n_invocations; subgroups consist of
//               adjacent invocations in workgroup order, as in every driver; every invocation of the workgroup calls
//               it once

enable subgroups;

#include "sums.wgsl"

override n_invocations: u32;
override n_lanes: u32;
override subgroup_width: u32;

var<workgroup> subgroup_sums: array<Sums, n_invocations / subgroup_width>;

fn reduce_lanes(local: u32, partial: Sums) -> Sums {
    var sums = partial;
    for (var stride = 1u; stride < min(n_lanes, subgroup_width); stride *= 2) {
        sums.rows += subgroupShuffleXor(sums.rows, stride);
        sums.squares += subgroupShuffleXor(sums.squares, stride);
    }
    if (n_lanes <= subgroup_width) {
        return sums;
    }
    if (local % subgroup_width == 0) {
        subgroup_sums[local / subgroup_width] = sums;
    }
    workgroupBarrier();
    let n_subgroups = n_lanes / subgroup_width;
    sums = Sums();
    for (var i = 0u; i < n_subgroups; i++) {
        let other = subgroup_sums[local / n_lanes * n_subgroups + i];
        sums.rows += other.rows;
        sums.squares += other.squares;
    }
    return sums;
}
