// ring: a part of other kernels. How the keys and values of the last `context` steps lie.
//
//     keys    pairs (H, D / 2, S)    for each pair of a head its slots, in fours
//     values  pairs (H, S, D / 2)    for each slot of a head its pairs, in fours
//
// The last axis is filled up to whole fours, which are read at once. A pair is (x[2i], x[2i + 1]) of a key or value.

alias Pairs = mat4x2<f32>;

fn in_fours(n: u32) -> u32 {
    return (n + 3) / 4 * 4;
}
