// out_proj: combines the splits of the attention, projects the result, and adds it to the residual stream.
//
//     share[split] = exp(highest[split] - max highest)
//     attended[head] = sum_split share * out[split, head] / sum_split share * total[split, head]
//     x += W attended
//
// Bindings
//     0, 1   W       (d, d)                         read    see matrix_*.wgsl
//     2      step    struct {slot, n_keys: u32}     read    n_keys slots of the KV cache are filled
//     3      splits  see splits.wgsl                read    `out` of attention.wgsl
//     4 - 7  x, alpha, scaled, squares                      see residual.wgsl
// Constants     k = d; those of splits.wgsl
// Dispatch      one group of lanes per 4 rows: ceil(d / 4) groups
// Requires      workgroup memory for x and for n_splits * n_heads sums and shares
// Reference     x + arrays.linear(lm.reference.attention(...), W); tolerance 1e-5 of the largest result, 1e-4 for Q4 in
//               integers

#include "rows.wgsl"
#include "residual.wgsl"
#include "splits.wgsl"

override n_pairs: u32 = k / 2;
override n_shares: u32 = n_splits * n_heads;
override n_vec4s: u32 = 8 * ((k + 31) / 32);

@group(0) @binding(2) var<storage, read> step_inputs: Step;
@group(0) @binding(3) var<storage, read> splits: array<vec2<f32>>;

var<workgroup> split_sums: array<vec2<f32>, n_shares>;  // (highest, total) of every split and head
var<workgroup> shares: array<f32, n_shares>;
var<workgroup> attended: array<vec4<f32>, n_vec4s>;

fn input_vec4(i: u32) -> vec4<f32> {
    return attended[i];
}

fn share_of(i: u32, n_filled: u32) -> f32 {
    let head = i % n_heads;
    var highest = LOWEST;
    for (var split = 0u; split < n_filled; split++) {
        highest = max(highest, split_sums[split * n_heads + head].x);
    }
    var total = 0.0;
    for (var split = 0u; split < n_filled; split++) {
        let sum = split_sums[split * n_heads + head];
        total += exp(max(sum.x - highest, LOWEST_EXPONENT)) * sum.y;
    }
    return exp(max(split_sums[i].x - highest, LOWEST_EXPONENT)) / total;
}

// The contribution of one split to a pair; zero past the last split.
fn contribution(split: u32, n_filled: u32, pair: u32) -> vec2<f32> {
    let inside = min(split, n_filled - 1);
    let share = shares[inside * n_heads + 2 * pair / head_width];
    return select(0.0, share, split < n_filled) * splits[inside * n_pairs + pair];
}

// Four splits at a time, so that their loads overlap.
fn attended_pair(pair: u32, n_filled: u32) -> vec2<f32> {
    let inside = min(pair, n_pairs - 1);
    var sum = vec2<f32>();
    for (var split = 0u; split < n_filled; split += 4u) {
        sum += contribution(split, n_filled, inside) + contribution(split + 1, n_filled, inside)
            + contribution(split + 2, n_filled, inside) + contribution(split + 3, n_filled, inside);
    }
    return select(vec2<f32>(), sum, pair < n_pairs);
}

// Every workgroup combines the splits for itself, which takes less time than a separate dispatch.
fn combine_splits(local: u32) {
    let n_filled = (step_inputs.n_keys + n_split - 1) / n_split;
    for (var i = local; i < n_filled * n_heads; i += n_invocations) {
        split_sums[i] = splits[n_splits * n_pairs + i];
    }
    workgroupBarrier();
    for (var i = local; i < n_filled * n_heads; i += n_invocations) {
        shares[i] = share_of(i, n_filled);
    }
    workgroupBarrier();
    for (var i = local; i < n_vec4s; i += n_invocations) {
        let low = attended_pair(2 * i, n_filled);
        attended[interleaved_index(i, n_blocks)] = vec4<f32>(low, attended_pair(2 * i + 1, n_filled));
    }
    workgroupBarrier();
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = workgroup_id.x * (n_invocations / n_lanes) + local / n_lanes;
    let lane = local % n_lanes;
    let rows = min(4 * i + vec4<u32>(0, 1, 2, 3), vec4<u32>(d - 1));
    let before = read_residual(i);
    let prefetched = load_chunk(rows, min(lane, n_chunks - 1));  // first, so that it overlaps with loading the splits
    combine_splits(local);
    var dots = dot_rows(rows, lane + n_lanes);
    if (lane < n_chunks) {
        dots += multiply_chunk(prefetched, lane);
    }
    let sums = sum_over_lanes(local, dots);
    if (lane == 0 && 4 * i < d) {
        write_residual(i, before.x + sums, before);
    }
}
