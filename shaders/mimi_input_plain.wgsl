// mimi_input_plain (part of mimi_product_*): the rows of x, unchanged.
//
// Bindings
//     1  x  vec4<f32> (n_rows, k / 4)    read

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;

alias RowInput = u32;  // the row

fn prepare_rows(first: u32, local: u32) {}

fn row_input(row: u32, first: u32) -> RowInput {
    return row;
}

fn input_vec4(row: RowInput, i: u32) -> vec4<f32> {
    return x[row * (k / 4) + i];
}
