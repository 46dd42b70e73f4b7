// rope_cache: rotate the query and the key of one position; put the key and the value into their rings.
//
//     (a, b) -> (a cos - b sin, a sin + b cos)    for the pairs (2i, 2i + 1) of every head
//
// Bindings
//     0  place      struct {slot, n_keys: u32}     read         slot = position % context
//     1  rotations  vec2<f32> (head_width / 2,)    read         (cos, sin) of position * max_period^(-2i / head_width)
//     2  qkv        vec2<f32> (3, d / 2)           read_write   query, key, value; the query is rotated in place
//     3  keys       vec2<f32> (context, d / 2)     read_write   row `slot` is written
//     4  values     vec2<f32> (context, d / 2)     read_write   row `slot` is written
// Constants   d, head_width
// Dispatch    ceil(d / 2 / 64) workgroups of 64, one invocation a pair
// Requires    head_width even; the angles are the CPU's, for WGSL promises little about sin and cos of large angles
// Twin        the formula above in numpy; tolerance 1e-6

override d: u32;
override head_width: u32;

struct Place {
    slot: u32,
    n_keys: u32,
}

@group(0) @binding(0) var<storage, read> place: Place;
@group(0) @binding(1) var<storage, read> rotations: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> qkv: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> keys: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> values: array<vec2<f32>>;

fn rotated(pair: vec2<f32>, rotation: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(pair.x * rotation.x - pair.y * rotation.y, pair.x * rotation.y + pair.y * rotation.x);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let n_pairs = d / 2;
    let pair = id.x;
    if (pair >= n_pairs) {
        return;
    }
    let rotation = rotations[pair % (head_width / 2)];
    qkv[pair] = rotated(qkv[pair], rotation);
    keys[place.slot * n_pairs + pair] = rotated(qkv[n_pairs + pair], rotation);
    values[place.slot * n_pairs + pair] = qkv[2 * n_pairs + pair];
}
