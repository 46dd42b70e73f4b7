// embed: the sum of one row of each embedding table begins the residual stream.
//
//     x = sum_t table[rows[t]]  +  table[text_row + token]
//
// Bindings
//     0, 1  the tables of one format, one after another, as matrix_*.wgsl says
//     2  rows   u32 (n_tables,)   read   rows counted from the start of the first table
//     3  token  u32 (1,)          read   the text token of the step before
//     4 - 7  as residual.wgsl says; x is added to when accumulate != 0
// Constants   k = d; n_tables may be 0; text_row is -1 where the text table is not among these; accumulate
// Dispatch    one group of lanes a quad of x
// Uses        rows, lanes_*, vector, matrix_*, residual
// Requires    every row inside the tables
// Twin        table[rows].sum(0) + table[text_row + token]; tolerance 1e-6

override n_tables: u32;
override text_row: i32;
override accumulate: u32 = 0;

@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> token: u32;

fn input(i: u32) -> vec4<f32> {
    return vec4<f32>();  // nothing is multiplied here
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = group.x * (n_invocations / n_lanes) + local / n_lanes;
    let lane = local % n_lanes;
    let is_inside = 4 * quad < d;
    let before = stream_at(quad);

    var sum = vec4<f32>();
    if (is_inside) {
        for (var t = lane; t < n_tables; t += n_lanes) {
            sum += quad_of(rows[t], quad);
        }
        if (text_row >= 0 && lane == n_tables % n_lanes) {
            sum += quad_of(u32(text_row) + token, quad);
        }
    }
    sum = sum_of_lanes(local, sum);
    if (lane == 0 && is_inside) {
        write_x(quad, select(sum, sum + before.x, accumulate != 0), before);
    }
}
