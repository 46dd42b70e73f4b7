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
//     2  keys    pairs (n_heads, D / 2, context)         read         as ring.wgsl says, in fours of slots
//     3  values  pairs (n_heads, context, D / 2)         read         and in fours of pairs
//     4  out     vec2<f32> (n_splits, n_heads, D / 2), then vec2<f32> (n_splits, n_heads)   read_write   written
// Constants   n_heads, head_width = D, context; n_invocations; n_split keys in a split
// Dispatch    n_heads * n_splits workgroups, n_splits = ceil(context / n_split)
// Uses        ring, ring_*
// Requires    n_split, 4 or more, and n_invocations powers of two; 1 <= n_keys <= context
// Twin        lm.reference.attention; tolerance 1e-5

override n_heads: u32;
override head_width: u32;
override context: u32;
override n_invocations: u32;
override n_split: u32;

override n_pairs: u32 = head_width / 2;
override n_splits: u32 = (context + n_split - 1) / n_split;
override n_fours: u32 = n_split / 4;  // of slots
override n_fours_at_once: u32 = min(n_fours, n_invocations);
override n_key_parts: u32 = n_invocations / n_fours_at_once;  // invocations that share four keys
override n_key_rounds: u32 = (n_pairs + n_key_parts - 1) / n_key_parts;
override n_columns: u32 = (n_pairs + 3) / 4;  // fours of pairs
override n_value_parts: u32 = max(n_invocations / n_columns, 1);  // invocations that share a column of the values
override n_value_rounds: u32 = (n_split + n_value_parts - 1) / n_value_parts;

const N_AT_ONCE = 16u;  // rounds of values: a GPU waits for their loads together
const LOWEST = -3.4028234e38;
const LOWEST_EXPONENT = -80.0;

struct Step {
    slot: u32,
    n_keys: u32,
}

alias Values = array<Four, N_AT_ONCE>;

@group(0) @binding(0) var<storage, read> step_inputs: Step;
@group(0) @binding(1) var<storage, read> query: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<Four>;
@group(0) @binding(3) var<storage, read> ring_values: array<Four>;
@group(0) @binding(4) var<storage, read_write> out: array<vec2<f32>>;

var<workgroup> products: array<vec4<f32>, n_key_parts * n_fours>;
var<workgroup> scores: array<vec4<f32>, n_fours>;
var<workgroup> weights: array<vec4<f32>, n_fours>;
var<workgroup> highest: f32;
var<workgroup> sums: array<Pairs, n_value_parts * n_columns>;

// Four scores, over every n_key_parts-th pair, from `part` on.
fn scores_of(head: u32, four: u32, part: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var round = 0u; round < n_key_rounds; round++) {
        let i = part + round * n_key_parts;
        let pair = head * n_pairs + min(i, n_pairs - 1);
        let of_query = select(vec2<f32>(), query[pair], i < n_pairs);
        sum += of_query * pairs_of(keys[pair * (in_fours(context) / 4) + four]);
    }
    return sum;
}

// A column of the values in slots `s`, `s` + n_value_parts, ... of n.
fn values_of(first: u32, column: u32, s: u32, n: u32) -> Values {
    var values: Values;
    for (var round = 0u; round < min(n_value_rounds, N_AT_ONCE); round++) {
        values[round] = ring_values[(first + min(s + round * n_value_parts, n - 1)) * n_columns + column];
    }
    return values;
}

fn weighted(values: Values, s: u32, n: u32) -> Pairs {
    var sum = Pairs();
    for (var round = 0u; round < min(n_value_rounds, N_AT_ONCE); round++) {
        let slot = s + round * n_value_parts;
        let inside = min(slot, n - 1);
        sum += select(0.0, weights[inside / 4][inside % 4], slot < n) * pairs_of(values[round]);
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

    // Needed last and asked for first. Neighbours take neighbouring columns of one slot.
    let values_part = local / n_columns;
    let early = values_of(head * context + first, local % n_columns, values_part, n);

    // And here neighbouring slots of one pair.
    let keys_part = local / n_fours_at_once;
    for (var four = local % n_fours_at_once; 4 * four < n; four += n_fours_at_once) {
        products[keys_part * n_fours + four] = scores_of(head, first / 4 + four, keys_part);
    }
    workgroupBarrier();
    for (var four = local; four < n_fours; four += n_invocations) {
        var sum = vec4<f32>();
        for (var part = 0u; part < n_key_parts; part++) {
            sum += products[part * n_fours + four];
        }
        scores[four] = select(vec4<f32>(LOWEST), sum, 4 * four + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
    }
    workgroupBarrier();
    if (local < n_fours) {
        var highests = vec4<f32>(LOWEST);
        for (var four = 0u; four < n_fours; four++) {
            highests = max(highests, scores[four]);
        }
        let largest = max(max(highests.x, highests.y), max(highests.z, highests.w));
        for (var four = local; four < n_fours; four += n_invocations) {
            let exponents = max(scores[four] - largest, vec4<f32>(LOWEST_EXPONENT));
            weights[four] = select(vec4<f32>(), exp(exponents), 4 * four + vec4<u32>(0, 1, 2, 3) < vec4<u32>(n));
        }
        if (local == 0) {
            highest = largest;
        }
    }
    workgroupBarrier();

    if (values_part < n_value_parts) {
        for (var column = local % n_columns; column < n_columns; column += n_invocations) {
            var values = early;
            if (column != local % n_columns) {
                values = values_of(head * context + first, column, values_part, n);
            }
            var sum = weighted(values, values_part, n);
            for (var s = values_part + N_AT_ONCE * n_value_parts; s < n; s += N_AT_ONCE * n_value_parts) {
                sum += weighted(values_of(head * context + first, column, s, n), s, n);
            }
            sums[values_part * n_columns + column] = sum;
        }
    }
    workgroupBarrier();
    for (var i = local; i < n_pairs; i += n_invocations) {
        var sum = vec2<f32>();
        for (var part = 0u; part < n_value_parts; part++) {
            sum += sums[part * n_columns + i / 4][i % 4];
        }
        out[group.x * n_pairs + i] = sum;
    }
    if (local == n_invocations - 1) {
        var totals = vec4<f32>();
        for (var four = 0u; four < n_fours; four++) {
            totals += weights[four];
        }
        out[n_splits * n_heads * n_pairs + group.x] = vec2<f32>(highest, dot(totals, vec4<f32>(1.0)));
    }
}
