// dot_vec4 (part of matrix_f32 and matrix_q8): multiplies one vec4 group of four rows at a time, in floats.
//
//     load_chunk(rows, i) = elements 4i .. 4i + 3 of four rows
//     multiply_chunk(chunk, i) = their products with vec4 group i of the input
//
// Requires      matrix_vec4(row, i) of the matrix; input_vec4(i) of the kernel: vec4 group i of the input in the order
//               of interleaved.wgsl; zeros in the input after element k, which cancel undefined elements past the end of a row
// Reference     w @ x; tolerance 1e-5 of the largest result

override n_chunks: u32 = (k + 3) / 4;

alias RowChunk = mat4x4<f32>;

fn load_chunk(rows: vec4<u32>, i: u32) -> RowChunk {
    return RowChunk(matrix_vec4(rows.x, i), matrix_vec4(rows.y, i), matrix_vec4(rows.z, i), matrix_vec4(rows.w, i));
}

fn multiply_chunk(chunk: RowChunk, i: u32) -> vec4<f32> {
    return input_vec4(interleaved_index(i, n_blocks)) * chunk;
}
