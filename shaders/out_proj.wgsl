// out_proj: puts the splits of the attention together, projects, and adds to the residual stream.
//
//     share[split] = exp(highest[split] - max highest)
//     attended[head] = sum_split share * out[split, head] / sum_split share * total[split, head]
//     x += W attended
//
// Bindings
//     0, 1  W (d, d), as matrix_*.wgsl says
//     2  step      struct {slot, n_keys: u32}   read
//     3  splits    vec2<f32>                    read   `out` of attention.wgsl
//     4 - 7  x, as residual.wgsl says
// Constants   k = d; n_heads, head_width, context, n_split as in attention.wgsl
// Dispatch    one group of lanes for 4 rows
// Uses        rows, lanes_*, vector, matrix_*, residual
// Requires    workgroup memory for x and for n_splits * n_heads sums and shares
// Twin        x + linear(attention(...)) in numpy; tolerance 1e-5 of the largest result

override n_heads: u32;
override head_width: u32;
override context: u32;
override n_split: u32;

override n_pairs: u32 = k / 2;
override n_splits: u32 = (context + n_split - 1) / n_split;
override n_shares: u32 = n_splits * n_heads;
override n_quads: u32 = 8 * ((k + 31) / 32);

const LOWEST = -3.4028234e38;
const LOWEST_EXPONENT = -80.0;

struct Step {
    slot: u32,
    n_keys: u32,
}

@group(0) @binding(2) var<storage, read> step_inputs: Step;
@group(0) @binding(3) var<storage, read> splits: array<vec2<f32>>;

var<workgroup> split_sums: array<vec2<f32>, n_shares>;  // (highest, total) of every split and head
var<workgroup> shares: array<f32, n_shares>;
var<workgroup> attended: array<vec4<f32>, n_quads>;

fn input(i: u32) -> vec4<f32> {
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

// What one split adds to a pair; zero past the last split.
fn term(split: u32, n_filled: u32, pair: u32) -> vec2<f32> {
    let inside = min(split, n_filled - 1);
    let share = shares[inside * n_heads + 2 * pair / head_width];
    return select(0.0, share, split < n_filled) * splits[inside * n_pairs + pair];
}

// Four splits at a time: a GPU waits for their loads together.
fn attended_pair(pair: u32, n_filled: u32) -> vec2<f32> {
    let inside = min(pair, n_pairs - 1);
    var sum = vec2<f32>();
    for (var split = 0u; split < n_filled; split += 4u) {
        sum += term(split, n_filled, inside) + term(split + 1, n_filled, inside)
            + term(split + 2, n_filled, inside) + term(split + 3, n_filled, inside);
    }
    return select(vec2<f32>(), sum, pair < n_pairs);
}

// Every workgroup does this for itself: it takes less time than a dispatch of its own.
fn attend(local: u32) {
    let n_filled = (step_inputs.n_keys + n_split - 1) / n_split;
    for (var i = local; i < n_filled * n_heads; i += n_invocations) {
        split_sums[i] = splits[n_splits * n_pairs + i];
    }
    workgroupBarrier();
    for (var i = local; i < n_filled * n_heads; i += n_invocations) {
        shares[i] = share_of(i, n_filled);
    }
    workgroupBarrier();
    for (var quad = local; quad < n_quads; quad += n_invocations) {
        let low = attended_pair(2 * quad, n_filled);
        attended[place_of(quad, n_blocks)] = vec4<f32>(low, attended_pair(2 * quad + 1, n_filled));
    }
    workgroupBarrier();
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = group.x * (n_invocations / n_lanes) + local / n_lanes;
    let lane = local % n_lanes;
    let rows = min(4 * quad + vec4<u32>(0, 1, 2, 3), vec4<u32>(d - 1));
    let before = stream_at(quad);
    let early = part_of(rows, min(lane, n_parts - 1));  // first, so that it is waited for together with the splits
    attend(local);
    var dots = dot_rows(rows, lane + n_lanes);
    if (lane < n_parts) {
        dots += product(early, lane);
    }
    let sums = sum_of_lanes(local, dots);
    if (lane == 0 && 4 * quad < d) {
        write_x(quad, before.x + sums, before);
    }
}
