// head: norm and the projection to logits.
//
//     logits = W norm(x)
//
// Bindings
//     0, 1  W (n, d), as matrix_*.wgsl says
//     2, 3  x, as normed.wgsl says
//     4  logits  vec4<f32> (ceil(n / 4),)   read_write   written; what is past n means nothing
// Constants   k = d; n
// Dispatch    one group of lanes for 4 rows
// Uses        rows, lanes_*, vector, matrix_*, normed
// Twin        linear(rms_norm(x)) in numpy; tolerance 1e-5 of the largest result

override n: u32;

@group(0) @binding(4) var<storage, read_write> logits: array<vec4<f32>>;

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = group.x * (n_invocations / n_lanes) + local / n_lanes;
    let rows = min(4 * quad + vec4<u32>(0, 1, 2, 3), vec4<u32>(n - 1));
    let sums = normed_rows(rows, local);
    if (local % n_lanes == 0 && 4 * quad < n) {
        logits[quad] = sums;
    }
}
