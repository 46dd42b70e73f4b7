// embed: starts the residual stream with the sum of one row of each embedding table.
//
//     x = sum_t table[rows[t]]  +  table[text_row + token]
//
// Bindings
//     0, 1   table  (all rows, d)       read    the tables of one format, stacked; see matrix_*.wgsl
//     2      rows   u32 (n_tables,)     read    rows, counted from the start of the first table
//     3      token  u32 (1,)            read    text token of the previous step
//     4 - 7  x, alpha, scaled, squares          see residual.wgsl; x is added to when accumulate != 0
// Constants     k = d; n_tables, may be 0; text_row, -1 where the text table is not one of these; accumulate
// Dispatch      one group of lanes per vec4 group of x: ceil(d / 4) groups
// Requires      every row is inside the tables
// Reference     table[rows].sum(0) + table[text_row + token]; tolerance 1e-5 of the largest result

#include "rows.wgsl"
#include "residual.wgsl"

override n_tables: u32;
override text_row: i32;
override accumulate: u32 = 0;

@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> token: u32;

fn input_vec4(i: u32) -> vec4<f32> {
    return vec4<f32>();  // rows.wgsl needs it; embed multiplies nothing
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = workgroup_id.x * (n_invocations / n_lanes) + local / n_lanes;
    let lane = local % n_lanes;
    let is_inside = 4 * i < d;
    let before = read_residual(i);

    var sum = vec4<f32>();
    if (is_inside) {
        for (var t = lane; t < n_tables; t += n_lanes) {
            sum += matrix_vec4(rows[t], i);
        }
        if (text_row >= 0 && lane == n_tables % n_lanes) {
            sum += matrix_vec4(u32(text_row) + token, i);
        }
    }
    sum = sum_over_lanes(local, sum);
    if (lane == 0 && is_inside) {
        write_residual(i, select(sum, sum + before.x, accumulate != 0), before);
    }
}
