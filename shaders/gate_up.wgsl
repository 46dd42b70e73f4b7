// gate_up: RMS norm and the first matrix of the feed-forward block, with its gate.
//
//     gate, value = split(W norm(x))
//     hidden = gate / (1 + exp(-gate)) * value
//
// Bindings
//     0, 1  W       (2h, d)                        read          rows of the gate, then of the value; see matrix_*.wgsl
//     2, 3  scaled, squares                        read          see rms_norm.wgsl
//     4     hidden  vec2<f32> (16 ceil(h / 32),)   read_write    written, in the order of interleaved.wgsl
// Constants     k = d; h
// Dispatch      one group of lanes per 2 elements of hidden, that is 2 rows of the gate and 2 of the value:
//               ceil(h / 2) groups
// Reference     lm.reference.silu(gate) * value; tolerance 1e-5 of the largest result, 1e-4 for Q4 in integers

#include "rms_norm.wgsl"

override h: u32;

// Above it exp overflows, and the gate is 0 to the last digit of a float32.
const HIGHEST_EXPONENT = 80.0;

@group(0) @binding(4) var<storage, read_write> hidden: array<vec2<f32>>;

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pair = workgroup_id.x * (n_invocations / n_lanes) + local / n_lanes;
    let row = min(2 * pair + vec2<u32>(0, 1), vec2<u32>(h - 1));
    let sums = dot_rows_normed(vec4<u32>(row, h + row), local);
    if (local % n_lanes == 0 && 2 * pair < h) {
        let activated = sums.xy / (1.0 + exp(min(-sums.xy, vec2<f32>(HIGHEST_EXPONENT)))) * sums.zw;
        let is_whole = 2 * pair + 1 < h;
        hidden[2 * interleaved_index(pair / 2, (h + 31) / 32) + pair % 2] =
            vec2<f32>(activated.x, select(0.0, activated.y, is_whole));
    }
}
