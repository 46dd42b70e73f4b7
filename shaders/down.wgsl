// down: the second matrix of the feed-forward block, added to the residual stream.
//
//     x += W hidden
//
// Bindings
//     0, 1   W       (d, h)                        read    see matrix_*.wgsl
//     2      hidden  vec4<f32> (8 ceil(h / 32),)   read    in the order of interleaved.wgsl
//     4 - 7  x, alpha, scaled, squares                     see residual.wgsl
// Constants     k = h; d
// Dispatch      one group of lanes per 4 rows: ceil(d / 4) groups
// Reference     x + arrays.linear(hidden, W); tolerance 1e-5 of the largest result, 1e-4 for Q4 in integers

#include "rows.wgsl"
#include "residual.wgsl"

@group(0) @binding(2) var<storage, read> hidden: array<vec4<f32>>;

fn input_vec4(i: u32) -> vec4<f32> {
    return hidden[i];
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = workgroup_id.x * (n_invocations / n_lanes) + local / n_lanes;
    let before = read_residual(i);
    let rows = min(4 * i + vec4<u32>(0, 1, 2, 3), vec4<u32>(d - 1));
    let sums = sum_over_lanes(local, dot_rows(rows, local % n_lanes));
    if (local % n_lanes == 0 && 4 * i < d) {
        write_residual(i, before.x + sums, before);
    }
}
