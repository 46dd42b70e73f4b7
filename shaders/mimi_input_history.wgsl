// mimi_input_history (part of mimi_product_*): the windows of a causal convolution, as overlapping rows.
//
//     row r = elements r * row_stride .. r * row_stride + k - 1 of the history followed by x, through elu where applies_elu
//
// Bindings
//     1  x        vec4<f32> (n_inputs, channels / 4)           read
//     5  history  vec4<f32> (2, n_history, channels / 4)       read    see mimi_call.wgsl; zeros before the first call
// Constants     channels; row_stride = channels * stride; applies_elu; replicates: before the first call, the history is
//               n_history copies of the first row of x instead of zeros
// Requires      channels is a multiple of 4
// Reference     mimi.conv; exact but for elu

override channels: u32;
override row_stride: u32;
override applies_elu: u32;
override replicates: u32;

override n_history_vec4s: u32 = (k - row_stride) / 4;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> history: array<vec4<f32>>;

alias RowInput = u32;  // the first vec4 group of the window

fn prepare_rows(first: u32, local: u32) {}

fn row_input(row: u32, first: u32) -> RowInput {
    return row * (row_stride / 4);
}

fn stored_vec4(i: u32) -> vec4<f32> {
    if (i >= n_history_vec4s) {
        return x[i - n_history_vec4s];
    }
    if (replicates != 0 && call.n_before == 0) {
        return x[i % (channels / 4)];
    }
    return history[call.half * n_history_vec4s + i];
}

fn input_vec4(row: RowInput, i: u32) -> vec4<f32> {
    let value = stored_vec4(row + i);
    if (applies_elu != 0) {
        return elu(value);
    }
    return value;
}
