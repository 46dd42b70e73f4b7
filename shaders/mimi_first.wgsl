// mimi_first: the first convolution, of samples, with stride 1.
//
//     out[t] = bias + sum_(j < size) W[j] * samples[t + j]
//
// Bindings
//     0  weights       vec4<f32> (size, n / 4)                   read          transposed
//     1  samples       f32 (size - 1 + n_rows,)                  read          the last of the call before come first
//     2  out           vec4<f32> (n_rows, n / 4)                 read_write    written
//     3  call          see mimi_call.wgsl                        read
//     4  bias          vec4<f32> (n / 4,)                        read
//     6  next_history  see mimi_history.wgsl                     read_write    written
// Constants     n, a multiple of 4; size; rows_per_frame; n_history_rows; n_invocations
// Dispatch      ceil(n_rows * n / 4 / n_invocations) workgroups
// Reference     mimi.conv.conv; tolerance 1e-5 of the largest result

override n: u32;
override size: u32;
override rows_per_frame: u32;
override n_invocations: u32;

#include "mimi_call.wgsl"

@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> samples: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> call: Call;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

fn n_rows() -> u32 {
    return call.n_frames * rows_per_frame;
}

#include "mimi_history.wgsl"

@compute @workgroup_size(n_invocations)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x / (n / 4);
    let column = id.x % (n / 4);
    if (row >= n_rows()) {
        return;
    }
    var sum = bias[column];
    for (var j = 0u; j < size; j++) {
        sum += samples[row + j] * weights[j * (n / 4) + column];
    }
    out[id.x] = sum;
    write_history(row, 4 * column, sum);
}
