// mimi_product_rows: a product of few rows. A group of lanes shares each row of W, as in a matrix-vector product.
//
//     out = f(input(x) W^T)
//
// Bindings
//     0       weights  (n, k)               read    see mimi_weights_*.wgsl
//     1, 5    x, and history or norm        read    see mimi_input_*.wgsl
//     2, 4, 6, 7  the results               see mimi_output_*.wgsl
//     3       call                          read    see mimi_call.wgsl
// Constants     k, n, rows_per_frame; n_invocations; n_lanes; those of the input and of the output
// Dispatch      one group of lanes per 4 rows of the result and 4 rows of W:
//               ceil(n_rows / 4) * ceil(n / 4 / (n_invocations / n_lanes)) workgroups
// Requires      n_lanes is a power of two and divides n_invocations, which is a multiple of 4
// Reference     mimi.linear.Linear, mimi.conv.conv; tolerance 1e-5 of the largest result

override n_invocations: u32;
override n_lanes: u32;
override n_scratch: u32 = 4 * n_invocations;  // named, because Firefox 153 crashes where it is the size of an array

const n_block_rows = 4u;

var<workgroup> scratch: array<vec4<f32>, n_scratch>;

#include "mimi_product.wgsl"

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n_groups = n_invocations / n_lanes;
    let n_blocks = (n / 4 + n_groups - 1) / n_groups;
    let lane = local % n_lanes;
    let first = workgroup_id.x / n_blocks * n_block_rows;
    let last = n_rows() - 1;
    let column = 4 * (workgroup_id.x % n_blocks * n_groups + local / n_lanes);
    let inside = min(column, n - 4);

    prepare_rows(first, local);
    let a = row_input(first, first);
    let b = row_input(min(first + 1, last), first);
    let c = row_input(min(first + 2, last), first);
    let d = row_input(min(first + 3, last), first);
    var sums = mat4x4<f32>();
    for (var i = lane; i < k / 4; i += n_lanes) {
        let w = mat4x4<f32>(
            weight_vec4(inside, i), weight_vec4(inside + 1, i), weight_vec4(inside + 2, i), weight_vec4(inside + 3, i),
        );
        sums += mat4x4<f32>(input_vec4(a, i) * w, input_vec4(b, i) * w, input_vec4(c, i) * w, input_vec4(d, i) * w);
    }

    workgroupBarrier();
    for (var j = 0u; j < 4; j++) {
        scratch[j * n_invocations + local] = sums[j];
    }
    for (var stride = n_lanes / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if (lane < stride) {
            for (var j = 0u; j < 4; j++) {
                scratch[j * n_invocations + local] += scratch[j * n_invocations + local + stride];
            }
        }
    }
    workgroupBarrier();
    // A lane per row of the result; one lane writes several rows where there are fewer than four.
    for (var j = lane; j < n_block_rows; j += n_lanes) {
        if (first + j <= last && column < n) {
            write_vec4(first + j, column, scratch[j * n_invocations + local - lane]);
        }
    }
}
