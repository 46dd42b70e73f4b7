// embed_sum_f32: the sum of one row of each embedding table, tables in float32.
//
//     x[e] = sum_t table[rows[t], e]  +  table[text_row + token, e]
//
// Bindings
//     0  table  f32 (rows of all tables, d)  read         the tables of one model, one after another
//     1  rows   u32 (n_rows,)                read         rows counted from the start of the first table
//     2  token  u32 (1,)                     read         the text token of the step before
//     3  x      f32 (>= d,)                  read_write   written; added to when accumulate != 0
// Constants   d; n_rows may be 0; text_row is -1 where the text table is not among these; accumulate
// Dispatch    ceil(d / 64) workgroups of 64, one invocation an element
// Requires    every row inside the table
// Twin        table[rows].sum(0) + table[text_row + token]; tolerance 1e-6

override d: u32;
override n_rows: u32;
override text_row: i32;
override accumulate: u32 = 0;

@group(0) @binding(0) var<storage, read> table: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read> token: u32;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let e = id.x;
    if (e >= d) {
        return;
    }
    var sum = 0.0;
    for (var t = 0u; t < n_rows; t++) {
        sum += table[rows[t] * d + e];
    }
    if (text_row >= 0) {
        sum += table[(u32(text_row) + token) * d + e];
    }
    if (accumulate != 0) {
        sum += x[e];
    }
    x[e] = sum;
}
