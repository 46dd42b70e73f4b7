// attention: one query a head against a split of the keys in the ring. out_proj.wgsl puts the splits together.
//
//     highest = max_s score[s]        score[s] = query[head] . keys[head, s], s of the split
//     weight[s] = exp(score[s] - highest)
//     out[split, head] = sum_s weight[s] * values[head, s], and (highest, sum_s weight[s]) after all of these
//
// The order of the slots does not matter. Splits past the filled slots do nothing.
//
// Bindings
//     0  step    struct {slot, n_keys: u32}              read         n_keys slots are filled
//     1  query   vec2<f32> (n_heads, D / 2)              read         as qkv.wgsl leaves it
//     2  keys    pairs (n_heads, D / 2, context)         read         as ring_*.wgsl says
//     3  values  pairs (n_heads, context, D / 2)         read
//     4  out     vec2<f32> (n_splits, n_heads, D / 2), then vec2<f32> (n_splits, n_heads)   read_write   written
// Constants   n_heads, head_width = D, context; n_invocations; n_split keys in a split
// Dispatch    n_heads * n_splits workgroups, n_splits = ceil(context / n_split)
// Uses        ring_*
// Requires    n_split divides n_invocations; 1 <= n_keys <= context
// Twin        lm.reference.attention; tolerance 1e-5

override n_heads: u32;
override head_width: u32;
override context: u32;
override n_invocations: u32;
override n_split: u32;

override n_pairs: u32 = head_width / 2;
override n_key_parts: u32 = n_invocations / n_split;  // invocations that share a key
override n_value_parts: u32 = max(n_invocations / n_pairs, 1);  // and that share a pair of values

const LOWEST = -3.4028234e38;
const LOWEST_EXPONENT = -80.0;

struct Step {
    slot: u32,
    n_keys: u32,
}

@group(0) @binding(0) var<storage, read> step_inputs: Step;
@group(0) @binding(1) var<storage, read> query: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<Stored>;
@group(0) @binding(3) var<storage, read> ring_values: array<Stored>;
@group(0) @binding(4) var<storage, read_write> out: array<vec2<f32>>;

var<workgroup> products: array<f32, n_invocations>;
var<workgroup> weights: array<f32, n_split>;
var<workgroup> sums: array<vec2<f32>, n_invocations>;

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = group.x % n_heads;
    let split = group.x / n_heads;
    let first = split * n_split;
    if (first >= step_inputs.n_keys) {
        return;
    }
    let n = min(step_inputs.n_keys - first, n_split);

    // Neighbours take neighbouring slots, which lie side by side.
    let s = local % n_split;
    var product = 0.0;
    if (s < n) {
        for (var i = local / n_split; i < n_pairs; i += n_key_parts) {
            let pair = head * n_pairs + i;
            product += dot(query[pair], restored(keys[pair * context + first + s]));
        }
    }
    products[local] = product;
    workgroupBarrier();
    if (local < n_split) {
        for (var part = 1u; part < n_key_parts; part++) {
            product += products[part * n_split + local];
        }
        weights[local] = select(LOWEST, product, local < n);
    }
    workgroupBarrier();
    var highest = LOWEST;
    for (var i = 0u; i < n; i++) {
        highest = max(highest, weights[i]);
    }
    workgroupBarrier();
    if (local < n_split) {
        weights[local] = exp(max(weights[local] - highest, LOWEST_EXPONENT));
    }
    workgroupBarrier();

    // And here neighbouring pairs of one slot.
    let offset = group.x * n_pairs;
    let part = local / n_pairs;
    for (var begin = 0u; begin < n_pairs; begin += n_invocations) {
        let i = begin + local % n_pairs;
        var sum = vec2<f32>();
        if (part < n_value_parts && i < n_pairs) {
            for (var j = part; j < n; j += n_value_parts) {
                sum += weights[j] * restored(ring_values[(head * context + first + j) * n_pairs + i]);
            }
        }
        sums[local] = sum;
        workgroupBarrier();
        if (part == 0 && i < n_pairs) {
            for (var other = 1u; other < n_value_parts; other++) {
                sum += sums[other * n_pairs + local];
            }
            out[offset + i] = sum;
        }
        workgroupBarrier();
    }
    if (local == 0) {
        var total = 0.0;
        for (var j = 0u; j < n; j++) {
            total += weights[j];
        }
        let n_splits = (context + n_split - 1) / n_split;
        out[n_splits * n_heads * n_pairs + group.x] = vec2<f32>(highest, total);
    }
}
