// mimi_output_history (part of mimi_product_*): writes the result, and its last rows also to the history of the
// convolution that reads it; see mimi_output.wgsl and mimi_call.wgsl.
//
// Bindings
//     6  next_history  vec4<f32> (2, n_history_rows, n / 4)    read_write    the other half is written
// Constants     n_history_rows, at most n_rows

#include "mimi_output.wgsl"
#include "mimi_history.wgsl"

fn write_vec4(row: u32, column: u32, sum: vec4<f32>) {
    let value = finished(row, column, sum);
    out[(row * n + column) / 4] = value;
    write_history(row, column, value);
}
