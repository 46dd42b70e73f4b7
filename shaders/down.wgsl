// down: the second half of the feed-forward, added to the residual stream.
//
//     x += W hidden
//
// Bindings
//     0, 1  W (d, h), as matrix_*.wgsl says
//     2  hidden  vec4<f32> (8 ceil(h / 32),)   read   in the order of vector.wgsl
//     4 - 7  x, as residual.wgsl says
// Constants   k = h
// Dispatch    one group of lanes for 4 rows
// Uses        rows, lanes_*, vector, matrix_*, residual
// Twin        x + linear(hidden) in numpy; tolerance 1e-5 of the largest result

@group(0) @binding(2) var<storage, read> hidden: array<vec4<f32>>;

fn input(i: u32) -> vec4<f32> {
    return hidden[i];
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = group.x * (n_invocations / n_lanes) + local / n_lanes;
    let before = stream_at(quad);
    let rows = min(4 * quad + vec4<u32>(0, 1, 2, 3), vec4<u32>(d - 1));
    let sums = sum_of_lanes(local, dot_rows(rows, local % n_lanes));
    if (local % n_lanes == 0 && 4 * quad < d) {
        write_x(quad, before.x + sums, before);
    }
}
