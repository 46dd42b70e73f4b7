// lanes_subgroup: a part of other kernels. Sums over the invocations that share some rows, within subgroups first.
//
//     sums_of_lanes(local, mine) = the sums over the n_lanes neighbours of a group, in each of them
//
// Constants   n_invocations in a workgroup, n_lanes in a group; subgroup_width, the least that the adapter may choose
// Requires    the feature subgroups; n_lanes a power of two that divides n_invocations; invocations numbered within
//             subgroups in the order of the workgroup, as every driver does; to be called once, by all of the workgroup
// Uses        Sums of rows

enable subgroups;

override n_invocations: u32;
override n_lanes: u32;
override subgroup_width: u32;

var<workgroup> of_subgroups: array<Sums, n_invocations / subgroup_width>;

fn sums_of_lanes(local: u32, mine: Sums) -> Sums {
    var sums = mine;
    for (var stride = 1u; stride < min(n_lanes, subgroup_width); stride *= 2) {
        sums.rows += subgroupShuffleXor(sums.rows, stride);
        sums.squares += subgroupShuffleXor(sums.squares, stride);
    }
    if (n_lanes <= subgroup_width) {
        return sums;
    }
    if (local % subgroup_width == 0) {
        of_subgroups[local / subgroup_width] = sums;
    }
    workgroupBarrier();
    let n_subgroups = n_lanes / subgroup_width;
    sums = Sums();
    for (var i = 0u; i < n_subgroups; i++) {
        let others = of_subgroups[local / n_lanes * n_subgroups + i];
        sums.rows += others.rows;
        sums.squares += others.squares;
    }
    return sums;
}
