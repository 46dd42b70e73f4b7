// mimi_output_rows (part of mimi_product_*): writes the result; see mimi_output.wgsl.

#include "mimi_output.wgsl"

fn write_vec4(row: u32, column: u32, sum: vec4<f32>) {
    out[(row * n + column) / 4] = finished(row, column, sum);
}
