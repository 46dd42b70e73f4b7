// attention: one query a head against all keys in the ring. The order of the slots does not matter.
//
//     out[head] = sum_s softmax_s(q[head] . keys[s, head] / sqrt(head_width)) * values[s, head]
//
// Bindings
//     0  place   struct {slot, n_keys: u32}  read         n_keys = min(position + 1, context) slots are filled
//     1  qkv     f32 (3, d)                  read         the rotated query is row 0
//     2  keys    f32 (context, d)            read
//     3  values  f32 (context, d)            read
//     4  out     f32 (>= d,)                 read_write   written
// Constants   d, head_width, context
// Dispatch    d / head_width workgroups of 64, one a head
// Requires    4 (context + 64) bytes of workgroup memory; 1 <= n_keys <= context
// Twin        softmax in numpy over the filled slots; tolerance 1e-5

override d: u32;
override head_width: u32;
override context: u32;

const N_LANES = 64u;
const LOWEST = -3.4028234e38;
const LOWEST_EXPONENT = -80.0;

struct Place {
    slot: u32,
    n_keys: u32,
}

@group(0) @binding(0) var<storage, read> place: Place;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> keys: array<f32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> weights: array<f32, context>;
var<workgroup> partial: array<f32, N_LANES>;

fn max_of_lanes(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    for (var stride = N_LANES / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            partial[lane] = max(partial[lane], partial[lane + stride]);
        }
    }
    return workgroupUniformLoad(&partial[0]);
}

fn sum_of_lanes(lane: u32, value: f32) -> f32 {
    partial[lane] = value;
    for (var stride = N_LANES / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            partial[lane] += partial[lane + stride];
        }
    }
    return workgroupUniformLoad(&partial[0]);
}

@compute @workgroup_size(N_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * head_width;
    let scale = 1.0 / sqrt(f32(head_width));

    // A lane takes whole slots for the scores, whole channels for the sum.
    var highest = LOWEST;
    for (var slot = lane; slot < place.n_keys; slot += N_LANES) {
        var product = 0.0;
        for (var c = 0u; c < head_width; c++) {
            product += qkv[first + c] * keys[slot * d + first + c];
        }
        weights[slot] = product * scale;
        highest = max(highest, weights[slot]);
    }
    highest = max_of_lanes(lane, highest);

    var total = 0.0;
    for (var slot = lane; slot < place.n_keys; slot += N_LANES) {
        weights[slot] = exp(max(weights[slot] - highest, LOWEST_EXPONENT));
        total += weights[slot];
    }
    total = sum_of_lanes(lane, total);

    for (var c = lane; c < head_width; c += N_LANES) {
        var sum = 0.0;
        for (var slot = 0u; slot < place.n_keys; slot++) {
            sum += weights[slot] * values[slot * d + first + c];
        }
        out[first + c] = sum / total;
    }
}
