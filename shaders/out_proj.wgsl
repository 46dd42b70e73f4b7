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
// Uses        lanes_*, vector, matrix_*, residual
// Requires    workgroup memory for x and for n_splits * n_heads shares
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

var<workgroup> shares: array<f32, n_shares>;
var<workgroup> attended: array<vec4<f32>, n_quads>;

fn input(i: u32) -> vec4<f32> {
    return attended[i];
}

// Every workgroup does this for itself: it takes less time than a dispatch of its own.
fn attend(local: u32) {
    let n_filled = (step_inputs.n_keys + n_split - 1) / n_split;
    for (var head = local; head < n_heads; head += n_invocations) {
        var highest = LOWEST;
        for (var split = 0u; split < n_filled; split++) {
            highest = max(highest, splits[n_splits * n_pairs + split * n_heads + head].x);
        }
        var total = 0.0;
        for (var split = 0u; split < n_filled; split++) {
            let sum = splits[n_splits * n_pairs + split * n_heads + head];
            let share = exp(max(sum.x - highest, LOWEST_EXPONENT));
            shares[split * n_heads + head] = share;
            total += share * sum.y;
        }
        for (var split = 0u; split < n_filled; split++) {
            shares[split * n_heads + head] /= total;
        }
    }
    workgroupBarrier();
    for (var pair = local; pair < 2 * n_quads; pair += n_invocations) {
        var sum = vec2<f32>();
        if (pair < n_pairs) {
            let head = 2 * pair / head_width;
            for (var split = 0u; split < n_filled; split++) {
                sum += shares[split * n_heads + head] * splits[split * n_pairs + pair];
            }
        }
        let place = place_of(pair / 2, n_blocks);
        attended[place][2 * (pair % 2)] = sum.x;
        attended[place][2 * (pair % 2) + 1] = sum.y;
    }
    workgroupBarrier();
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    attend(local);
    let quad = group.x * (n_invocations / n_lanes) + local / n_lanes;
    let rows = min(4 * quad + vec4<u32>(0, 1, 2, 3), vec4<u32>(d - 1));
    let sums = sum_of_lanes(local, dot_rows(rows, local % n_lanes));
    if (local % n_lanes == 0 && 4 * quad < d) {
        write_x(quad, x[quad] + sums);
    }
}
