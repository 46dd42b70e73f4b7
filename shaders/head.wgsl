// head: RMS norm and the projection to logits.
//
//     logits = W norm(x)
//
// Bindings
//     0, 1  W       (n, d)                      read          see matrix_*.wgsl
//     2, 3  scaled, squares                     read          see rms_norm.wgsl
//     4     logits  vec4<f32> (ceil(n / 4),)    read_write    written; elements past n are undefined
// Constants     k = d; n
// Dispatch      one group of lanes per 4 rows: ceil(n / 4) groups
// Reference     arrays.linear(rms_norm(x, alpha), W); tolerance 1e-5 of the largest result, 1e-4 for Q4 in integers

#include "rms_norm.wgsl"

override n: u32;

@group(0) @binding(4) var<storage, read_write> logits: array<vec4<f32>>;

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = workgroup_id.x * (n_invocations / n_lanes) + local / n_lanes;
    let rows = min(4 * i + vec4<u32>(0, 1, 2, 3), vec4<u32>(n - 1));
    let sums = dot_rows_normed(rows, local);
    if (local % n_lanes == 0 && 4 * i < n) {
        logits[i] = sums;
    }
}
