// mimi_product_tile: a product of many rows, in tiles of 4 n_y rows and 4 n_x columns.
//
//     out = f(input(x) W^T)
//
// An invocation computes 4 x 4 results. n_splits invocations share these, each for every n_splits-th part of k, so that a
// small matrix still occupies the GPU. The parts of a step are loaded while those before are multiplied.
//
// Bindings
//     0       weights  (n, k)               read    see mimi_weights_*.wgsl
//     1, 5    x, and history or norm        read    see mimi_input_*.wgsl
//     2, 4, 6, 7  the results               see mimi_output_*.wgsl
//     3       call                          read    see mimi_call.wgsl
// Constants     k, n, rows_per_frame; n_x, n_y, n_splits; those of the input and of the output
// Dispatch      ceil(n_rows / (4 n_y)) * ceil(n / (4 n_x)) workgroups
// Requires      n_x, n_y and n_splits are powers of two; n_x and n_y at least 4; n_splits is 1 or n_x is at most 8
// Reference     mimi.linear.Linear, mimi.conv.conv; tolerance 1e-5 of the largest result

override n_x: u32;
override n_y: u32;
override n_splits: u32;

override n_invocations: u32 = n_x * n_y * n_splits;
override n_block_rows: u32 = 4 * n_y;
override n_block_columns: u32 = 4 * n_x;
override n_step: u32 = N_PART * n_splits;  // vec4 groups of k that are loaded at once
override n_x_loads: u32 = 16 / n_x;  // vec4 groups of x, and of W, that an invocation loads in a step
override n_w_loads: u32 = 16 / n_y;
// Named, because Firefox 153 crashes where the size of an array is an expression of such overrides.
override n_x_tile: u32 = n_step * n_block_rows;  // vec4 groups in the tile of x
override n_w_tile: u32 = n_step * n_block_columns;

const N_PART = 4u;  // vec4 groups of k that an invocation multiplies in a step
const MAX_LOADS = 4u;

var<workgroup> scratch: array<vec4<f32>, n_x_tile>;  // the tile of x
var<workgroup> w_tile: array<vec4<f32>, n_w_tile>;

#include "mimi_product.wgsl"

// The exclusive or lets adjacent invocations access different banks, both where they share i and where they share row.
fn x_place(row: u32, i: u32) -> u32 {
    return i * n_block_rows + (row ^ (i % n_block_rows));
}

// Adjacent invocations read every fourth column, so these are adjacent in memory.
fn w_place(column: u32, i: u32) -> u32 {
    return i * n_block_columns + ((column % 4 * n_x + column / 4) ^ (i % n_block_columns));
}

@compute @workgroup_size(n_invocations)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let n_blocks = (n + n_block_columns - 1) / n_block_columns;
    let first_row = workgroup_id.x / n_blocks * n_block_rows;
    let first_column = workgroup_id.x % n_blocks * n_block_columns;
    let last = n_rows() - 1;
    let tile_x = local % n_x;
    let tile_y = local / n_x % n_y;
    let part = local / (n_x * n_y) * N_PART;

    prepare_rows(first_row, local);
    let load_i = local % n_step;
    let load_row = local / n_step;
    let row_step = n_invocations / n_step;
    var rows: array<RowInput, MAX_LOADS>;
    for (var j = 0u; j < n_x_loads; j++) {
        rows[j] = row_input(min(first_row + load_row + j * row_step, last), first_row);
    }

    var next_x: array<vec4<f32>, MAX_LOADS>;
    var next_w: array<vec4<f32>, MAX_LOADS>;
    var sums = mat4x4<f32>();
    for (var start = 0u; start < k / 4 + n_step; start += n_step) {
        workgroupBarrier();
        if (start > 0) {
            for (var j = 0u; j < n_x_loads; j++) {
                scratch[x_place(load_row + j * row_step, load_i)] = next_x[j];
            }
            for (var j = 0u; j < n_w_loads; j++) {
                w_tile[w_place(load_row + j * row_step, load_i)] = next_w[j];
            }
        }
        let i = start + load_i;
        for (var j = 0u; j < n_x_loads; j++) {
            next_x[j] = select(vec4<f32>(), input_vec4(rows[j], min(i, k / 4 - 1)), i < k / 4);
        }
        for (var j = 0u; j < n_w_loads; j++) {
            next_w[j] = weight_vec4(min(first_column + load_row + j * row_step, n - 1), min(i, k / 4 - 1));
        }
        workgroupBarrier();
        if (start > 0) {
            for (var p = part; p < part + N_PART; p++) {
                let w = mat4x4<f32>(
                    w_tile[w_place(4 * tile_x, p)], w_tile[w_place(4 * tile_x + 1, p)],
                    w_tile[w_place(4 * tile_x + 2, p)], w_tile[w_place(4 * tile_x + 3, p)],
                );
                sums += mat4x4<f32>(
                    scratch[x_place(tile_y, p)] * w, scratch[x_place(tile_y + n_y, p)] * w,
                    scratch[x_place(tile_y + 2 * n_y, p)] * w, scratch[x_place(tile_y + 3 * n_y, p)] * w,
                );
            }
        }
    }

    for (var stride = n_splits / 2; stride > 0; stride /= 2) {
        let split = local / (n_x * n_y);
        let n_moved = stride * n_x * n_y;
        workgroupBarrier();
        if (split >= stride && split < 2 * stride) {
            for (var j = 0u; j < 4; j++) {
                scratch[j * n_moved + local - n_moved] = sums[j];
            }
        }
        workgroupBarrier();
        if (split < stride) {
            for (var j = 0u; j < 4; j++) {
                sums[j] += scratch[j * n_moved + local];
            }
        }
    }
    let column = first_column + 4 * tile_x;
    if (local < n_x * n_y && column < n) {
        for (var j = 0u; j < 4; j++) {
            let row = first_row + tile_y + j * n_y;
            if (row <= last) {
                write_vec4(row, column, sums[j]);
            }
        }
    }
}
