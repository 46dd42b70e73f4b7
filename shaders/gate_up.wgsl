// gate_up: norm and the first half of the feed-forward.
//
//     gate, value = split(W norm(x))
//     hidden = gate / (1 + exp(-gate)) * value
//
// Bindings
//     0, 1  W (2h, d), as matrix_*.wgsl says
//     2, 3  x, as normed.wgsl says
//     4  hidden  vec2<f32> (16 ceil(h / 32),)   read_write   written, in the order of vector.wgsl
// Constants   k = d; h
// Dispatch    one group of lanes for 2 elements of hidden: 2 rows of the gate, 2 of the value
// Uses        rows, lanes_*, vector, matrix_*, normed
// Twin        silu(gate) * value in numpy; tolerance 1e-5 of the largest result

override h: u32;

// Past it exp overflows and the gate is 0 to float32's last digit.
const HIGHEST_EXPONENT = 80.0;

@group(0) @binding(4) var<storage, read_write> hidden: array<vec2<f32>>;

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let pair = group.x * (n_invocations / n_lanes) + local / n_lanes;
    let row = min(2 * pair + vec2<u32>(0, 1), vec2<u32>(h - 1));
    let sums = normed_rows(vec4<u32>(row, h + row), local);
    if (local % n_lanes == 0 && 2 * pair < h) {
        let activated = sums.xy / (1.0 + exp(min(-sums.xy, vec2<f32>(HIGHEST_EXPONENT)))) * sums.zw;
        let is_whole = 2 * pair + 1 < h;
        hidden[2 * place_of(pair / 2, (h + 31) / 32) + pair % 2] = vec2<f32>(activated.x, select(0.0, activated.y, is_whole));
    }
}
