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
// Requires    n_split, 4 or more, and n_invocations powers of two; 1 <= n_keys <= context
// Twin        lm.reference.attention; tolerance 1e-5

override n_heads: u32;
override head_width: u32;
override context: u32;
override n_invocations: u32;
override n_split: u32;

override n_pairs: u32 = head_width / 2;
override n_at_once: u32 = min(n_split, n_invocations);  // keys
override n_key_parts: u32 = n_invocations / n_at_once;  // invocations that share a key
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

var<workgroup> products: array<f32, n_key_parts * n_split>;
var<workgroup> scores: array<vec4<f32>, n_split / 4>;
var<workgroup> weights: array<vec4<f32>, n_split / 4>;
var<workgroup> sums: array<vec2<f32>, n_invocations>;

// One of the terms of a score; zero past the last pair.
fn product(head: u32, i: u32, slot: u32) -> f32 {
    let pair = head * n_pairs + min(i, n_pairs - 1);
    return select(0.0, dot(query[pair], restored(keys[pair * context + slot])), i < n_pairs);
}

// The sum over every n_key_parts-th pair, from `part` on. Four at a time: a GPU waits for their loads together.
fn score(head: u32, slot: u32, part: u32) -> f32 {
    var sum = 0.0;
    for (var i = part; i < n_pairs; i += 4 * n_key_parts) {
        sum += product(head, i, slot) + product(head, i + n_key_parts, slot)
            + product(head, i + 2 * n_key_parts, slot) + product(head, i + 3 * n_key_parts, slot);
    }
    return sum;
}

// Pair i of the values in slot s of n, times their weight; zero past the last slot.
fn term(first: u32, s: u32, n: u32, i: u32) -> vec2<f32> {
    let inside = min(s, n - 1);
    return select(0.0, weights[inside / 4][inside % 4], s < n) * restored(ring_values[(first + inside) * n_pairs + i]);
}

// The sum over every n_value_parts-th of n slots, from `part` on.
fn weighted(first: u32, n: u32, i: u32, part: u32) -> vec2<f32> {
    var sum = vec2<f32>();
    for (var s = part; s < n; s += 4 * n_value_parts) {
        sum += term(first, s, n, i) + term(first, s + n_value_parts, n, i)
            + term(first, s + 2 * n_value_parts, n, i) + term(first, s + 3 * n_value_parts, n, i);
    }
    return sum;
}

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
    let key_part = local / n_at_once;
    for (var s = local % n_at_once; s < n; s += n_at_once) {
        products[key_part * n_split + s] = score(head, first + s, key_part);
    }
    workgroupBarrier();
    for (var s = local; s < n_split; s += n_invocations) {
        var sum = 0.0;
        for (var part = 0u; part < n_key_parts; part++) {
            sum += products[part * n_split + s];
        }
        scores[s / 4][s % 4] = select(LOWEST, sum, s < n);
    }
    workgroupBarrier();
    var highests = vec4<f32>(LOWEST);
    for (var i = 0u; i < n_split / 4; i++) {
        highests = max(highests, scores[i]);
    }
    let highest = max(max(highests.x, highests.y), max(highests.z, highests.w));
    for (var i = local; i < n_split / 4; i += n_invocations) {
        let exponents = max(scores[i] - highest, vec4<f32>(LOWEST_EXPONENT));
        weights[i] = select(vec4<f32>(), exp(exponents), 4 * i + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
    }
    workgroupBarrier();

    // And here neighbouring pairs of one slot.
    let offset = group.x * n_pairs;
    if (n_value_parts == 1) {
        for (var i = local; i < n_pairs; i += n_invocations) {
            out[offset + i] = weighted(head * context + first, n, i, 0);
        }
    } else {
        let part = local / n_pairs;
        if (part < n_value_parts) {
            sums[local] = weighted(head * context + first, n, local % n_pairs, part);
        }
        workgroupBarrier();
        if (part == 0) {
            var sum = vec2<f32>();
            for (var other = 0u; other < n_value_parts; other++) {
                sum += sums[other * n_pairs + local];
            }
            out[offset + local] = sum;
        }
    }
    if (local == 0) {
        var totals = vec4<f32>();
        for (var i = 0u; i < n_split / 4; i++) {
            totals += weights[i];
        }
        let n_splits = (context + n_split - 1) / n_split;
        out[n_splits * n_heads * n_pairs + group.x] = vec2<f32>(highest, dot(totals, vec4<f32>(1.0)));
    }
}
