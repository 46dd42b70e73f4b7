// qkv: RMS norm, projection to query, key and value, rotation by position, and the write into the KV cache.
//
//     q, k, v = split(W norm(x))
//     (a, b) -> (a cos - b sin, a sin + b cos)    for the pairs (2i, 2i + 1) of every head of q and k
//
// Bindings
//     0, 1  W       (3d, d)                       read          rows of Q, then K, then V; see matrix_*.wgsl
//     2, 3  scaled, squares                       read          see rms_norm.wgsl
//     4     step    struct {slot, n_keys: u32, rotations: vec2<f32> (D / 2,)}   read
//                   slot is the one to write; a rotation is (cos, sin) of position * max_period^(-2i / D)
//     5     query   vec2<f32> (d / 2,)            read_write    written: q / sqrt(D), rotated
//     6     keys    pairs (d / D, D / 2, context) read_write    column `slot` is written; see kv_cache.wgsl
//     7     values  pairs (d / D, context, D / 2) read_write    row `slot` of every head is written
// Constants     k = d; head_width = D; context
// Dispatch      one group of lanes per 4 rows: ceil(3d / 4) groups
// Requires      D is even. The CPU computes the angles, because WGSL promises little about sin and cos of large angles
// Reference     rms_norm, linear and Rotation.apply; tolerance 1e-5 of the largest result, 1e-4 for Q4 in integers,
//               1e-3 for keys and values in half floats

#include "rms_norm.wgsl"
#include "kv_cache.wgsl"

override head_width: u32;
override context: u32;

struct Step {
    slot: u32,
    n_keys: u32,
    rotations: array<vec2<f32>>,
}

@group(0) @binding(4) var<storage, read> step_inputs: Step;
@group(0) @binding(5) var<storage, read_write> query: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> cached_keys: array<StoredPair>;
@group(0) @binding(7) var<storage, read_write> cached_values: array<StoredPair>;

// Where a pair of q, k or v is written, and its rotation.
struct Target {
    row: u32,
    slot: u32,
    rotation: vec2<f32>,
}

fn target_of(row: u32) -> Target {
    return Target(row, step_inputs.slot, step_inputs.rotations[row / 2 % (head_width / 2)]);
}

fn rotated(pair: vec2<f32>, rotation: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(pair.x * rotation.x - pair.y * rotation.y, pair.x * rotation.y + pair.y * rotation.x);
}

fn write_pair(value: vec2<f32>, to: Target) {
    let n_pairs = head_width / 2;
    let pair = to.row % k / 2;
    if (to.row < k) {
        query[pair] = rotated(value, to.rotation) / sqrt(f32(head_width));
    } else if (to.row < 2 * k) {
        cached_keys[pair * align4(context) + to.slot] = encode_pair(rotated(value, to.rotation));
    } else if (to.row < 3 * k) {
        cached_values[(pair / n_pairs * context + to.slot) * align4(n_pairs) + pair % n_pairs] = encode_pair(value);
    }
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = 4 * (workgroup_id.x * (n_invocations / n_lanes) + local / n_lanes);
    let first = target_of(row);  // first, so that these loads overlap with those of the matrix
    let second = target_of(row + 2);
    let rows = min(row + vec4<u32>(0, 1, 2, 3), vec4<u32>(3 * k - 1));
    let sums = dot_rows_normed(rows, local);
    if (local % n_lanes == 0) {
        write_pair(sums.xy, first);
        write_pair(sums.zw, second);
    }
}
