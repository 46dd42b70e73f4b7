// mimi_history (part of other kernels): stores the last rows of a result for the next call; see mimi_call.wgsl.
//
// Bindings
//     6  next_history  vec4<f32> (2, n_history_rows, n / 4)    read_write    the other half is written
// Constants     n_history_rows, at most n_rows

override n_history_rows: u32;

@group(0) @binding(6) var<storage, read_write> next_history: array<vec4<f32>>;

fn write_history(row: u32, column: u32, value: vec4<f32>) {
    let first = n_rows() - n_history_rows;
    if (row >= first) {
        next_history[(((1 - call.half) * n_history_rows + row - first) * n + column) / 4] = value;
    }
}
