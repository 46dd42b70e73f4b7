// attention: one query per head against one split of the keys in the KV cache. out_proj.wgsl combines the splits.
//
//     highest = max_s score[s]        score[s] = query[head] . keys[head, s], for the slots s of the split
//     weight[s] = exp(score[s] - highest)
//     out[split, head] = sum_s weight[s] * values[head, s]; after all of these, (highest, sum_s weight[s])
//
// The order of the slots does not matter. Splits past the filled slots do nothing.
//
// Bindings
//     0  step    struct {slot, n_keys: u32}        read          n_keys slots are filled
//     1  query   vec2<f32> (n_heads, D / 2)        read          as written by qkv.wgsl
//     2  keys    pairs (n_heads, D / 2, context)   read          see kv_cache.wgsl; in groups of four slots
//     3  values  pairs (n_heads, context, D / 2)   read          in groups of four pairs
//     4  out     see splits.wgsl                   read_write    written
// Constants     those of splits.wgsl; n_invocations
// Dispatch      n_heads * n_splits workgroups, n_splits = ceil(context / n_split)
// Requires      n_split, at least 4, and n_invocations are powers of two; 1 <= n_keys <= context
// Reference     lm.reference.attention; tolerance 1e-5

#include "kv_cache.wgsl"
#include "splits.wgsl"

override n_invocations: u32;

override n_pairs: u32 = head_width / 2;
override n_slot_groups: u32 = n_split / 4;  // groups of four slots
override n_parallel_slot_groups: u32 = min(n_slot_groups, n_invocations);
override n_key_lanes: u32 = n_invocations / n_parallel_slot_groups;  // invocations that share four keys
override n_key_rounds: u32 = (n_pairs + n_key_lanes - 1) / n_key_lanes;
override n_columns: u32 = (n_pairs + 3) / 4;  // groups of four pairs
override n_value_lanes: u32 = max(n_invocations / n_columns, 1);  // invocations that share a column of the values
override n_value_rounds: u32 = (n_split + n_value_lanes - 1) / n_value_lanes;

const N_BATCHED = 16u;  // rounds of values that are loaded before any is used, so that their loads overlap

alias ValueBatch = array<FourStoredPairs, N_BATCHED>;

@group(0) @binding(0) var<storage, read> step_inputs: Step;
@group(0) @binding(1) var<storage, read> query: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> cached_keys: array<FourStoredPairs>;
@group(0) @binding(3) var<storage, read> cached_values: array<FourStoredPairs>;
@group(0) @binding(4) var<storage, read_write> out: array<vec2<f32>>;

var<workgroup> partial_scores: array<vec4<f32>, n_key_lanes * n_slot_groups>;
var<workgroup> scores: array<vec4<f32>, n_slot_groups>;
var<workgroup> weights: array<vec4<f32>, n_slot_groups>;
var<workgroup> highest: f32;
var<workgroup> partial_sums: array<FourPairs, n_value_lanes * n_columns>;

// The scores of four slots, over every n_key_lanes-th pair from `key_lane` on.
fn score_slots(head: u32, slot_group: u32, key_lane: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var round = 0u; round < n_key_rounds; round++) {
        let i = key_lane + round * n_key_lanes;
        let pair = head * n_pairs + min(i, n_pairs - 1);
        let query_pair = select(vec2<f32>(), query[pair], i < n_pairs);
        sum += query_pair * decode_pairs(cached_keys[pair * (align4(context) / 4) + slot_group]);
    }
    return sum;
}

// A column of the values in slots `s`, `s` + n_value_lanes, ... of n.
fn load_values(first: u32, column: u32, s: u32, n: u32) -> ValueBatch {
    var values: ValueBatch;
    for (var round = 0u; round < min(n_value_rounds, N_BATCHED); round++) {
        values[round] = cached_values[(first + min(s + round * n_value_lanes, n - 1)) * n_columns + column];
    }
    return values;
}

fn weighted_sum(values: ValueBatch, s: u32, n: u32) -> FourPairs {
    var sum = FourPairs();
    for (var round = 0u; round < min(n_value_rounds, N_BATCHED); round++) {
        let slot = s + round * n_value_lanes;
        let inside = min(slot, n - 1);
        sum += select(0.0, weights[inside / 4][inside % 4], slot < n) * decode_pairs(values[round]);
    }
    return sum;
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let head = workgroup_id.x % n_heads;
    let split = workgroup_id.x / n_heads;
    let first = split * n_split;
    if (first >= step_inputs.n_keys) {
        return;
    }
    let n = min(step_inputs.n_keys - first, n_split);

    // Loaded first although used last. Adjacent invocations read adjacent columns of one slot.
    let value_lane = local / n_columns;
    let prefetched = load_values(head * context + first, local % n_columns, value_lane, n);

    // Adjacent invocations read adjacent slots of one pair.
    let key_lane = local / n_parallel_slot_groups;
    for (var g = local % n_parallel_slot_groups; 4 * g < n; g += n_parallel_slot_groups) {
        partial_scores[key_lane * n_slot_groups + g] = score_slots(head, first / 4 + g, key_lane);
    }
    workgroupBarrier();
    for (var g = local; g < n_slot_groups; g += n_invocations) {
        var sum = vec4<f32>();
        for (var part = 0u; part < n_key_lanes; part++) {
            sum += partial_scores[part * n_slot_groups + g];
        }
        scores[g] = select(vec4<f32>(LOWEST), sum, 4 * g + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
    }
    workgroupBarrier();
    if (local < n_slot_groups) {
        var highests = vec4<f32>(LOWEST);
        for (var g = 0u; g < n_slot_groups; g++) {
            highests = max(highests, scores[g]);
        }
        let largest = max(max(highests.x, highests.y), max(highests.z, highests.w));
        for (var g = local; g < n_slot_groups; g += n_invocations) {
            let exponents = max(scores[g] - largest, vec4<f32>(LOWEST_EXPONENT));
            weights[g] = select(vec4<f32>(), exp(exponents), 4 * g + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
        }
        if (local == 0) {
            highest = largest;
        }
    }
    workgroupBarrier();

    if (value_lane < n_value_lanes) {
        for (var column = local % n_columns; column < n_columns; column += n_invocations) {
            var values = prefetched;
            if (column != local % n_columns) {
                values = load_values(head * context + first, column, value_lane, n);
            }
            var sum = weighted_sum(values, value_lane, n);
            for (var s = value_lane + N_BATCHED * n_value_lanes; s < n; s += N_BATCHED * n_value_lanes) {
                sum += weighted_sum(load_values(head * context + first, column, s, n), s, n);
            }
            partial_sums[value_lane * n_columns + column] = sum;
        }
    }
    workgroupBarrier();
    for (var i = local; i < n_pairs; i += n_invocations) {
        var sum = vec2<f32>();
        for (var part = 0u; part < n_value_lanes; part++) {
            sum += partial_sums[part * n_columns + i / 4][i % 4];
        }
        out[workgroup_id.x * n_pairs + i] = sum;
    }
    if (local == n_invocations - 1) {
        var totals = vec4<f32>();
        for (var g = 0u; g < n_slot_groups; g++) {
            totals += weights[g];
        }
        out[n_splits * n_heads * n_pairs + workgroup_id.x] = vec2<f32>(highest, dot(totals, vec4<f32>(1.0)));
    }
}
