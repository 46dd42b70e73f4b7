// kv_cache (part of other kernels): memory layout of the keys and values of the last `context` steps of one layer.
//
//     keys    pairs (H, D / 2, S)    per pair of a head: its slots, in groups of four
//     values  pairs (H, S, D / 2)    per slot of a head: its pairs, in groups of four
//
// The last axis is padded to a multiple of 4; a group of four is read at once. A pair is (x[2i], x[2i + 1]) of a key or
// value.
//
// Variables     kv_format: f16 or f32

#include "kv_cache_{kv_format}.wgsl"

alias FourPairs = mat4x2<f32>;

fn align4(n: u32) -> u32 {
    return (n + 3) / 4 * 4;
}
