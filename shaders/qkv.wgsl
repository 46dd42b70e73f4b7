// qkv: norm, the projection to query, key and value, the rotation by position, and the write into the rings.
//
//     q, k, v = split(W norm(x))
//     (a, b) -> (a cos - b sin, a sin + b cos)    for the pairs (2i, 2i + 1) of every head of q and k
//
// Bindings
//     0, 1  W (3d, d), as matrix_*.wgsl says
//     2, 3  x, as normed.wgsl says
//     4  step    struct {slot, n_keys: u32, rotations: vec2<f32> (D / 2,)}   read
//                slot is written; a rotation is (cos, sin) of position * max_period^(-2i / D)
//     5  query   vec2<f32> (d / 2,)               read_write   written: q / sqrt(D), rotated
//     6  keys    pairs (d / D, D / 2, context)    read_write   column `slot` is written, as ring.wgsl says
//     7  values  pairs (d / D, context, D / 2)    read_write   row `slot` of every head is written
// Constants   k = d; head_width = D; context
// Dispatch    one group of lanes for 4 rows
// Uses        rows, lanes_*, vector, matrix_*, normed, ring, ring_*
// Requires    D even; the angles are the CPU's, for WGSL promises little about sin and cos of large angles
// Twin        rms_norm, linear and Rotation in numpy; tolerance 1e-5 of the largest result, 1e-3 in half floats

override head_width: u32;
override context: u32;

struct Step {
    slot: u32,
    n_keys: u32,
    rotations: array<vec2<f32>>,
}

@group(0) @binding(4) var<storage, read> step_inputs: Step;
@group(0) @binding(5) var<storage, read_write> query: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> keys: array<Stored>;
@group(0) @binding(7) var<storage, read_write> ring_values: array<Stored>;

// Where a pair of q, k and v goes, and by how much it is rotated.
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
        keys[pair * in_fours(context) + to.slot] = stored(rotated(value, to.rotation));
    } else if (to.row < 3 * k) {
        ring_values[(pair / n_pairs * context + to.slot) * in_fours(n_pairs) + pair % n_pairs] = stored(value);
    }
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = 4 * (group.x * (n_invocations / n_lanes) + local / n_lanes);
    let first = target_of(row);  // first, so that it is waited for together with the matrix
    let second = target_of(row + 2);
    let rows = min(row + vec4<u32>(0, 1, 2, 3), vec4<u32>(3 * k - 1));
    let sums = normed_rows(rows, local);
    if (local % n_lanes == 0) {
        write_pair(sums.xy, first);
        write_pair(sums.zw, second);
    }
}
