// mimi_codebook_f32 (part of mimi_quantize): codebooks in float32.
//
//     codebook_vec4(i) = four elements
//
// Bindings
//     0  codebooks  vec4<f32>    read

@group(0) @binding(0) var<storage, read> codebooks: array<vec4<f32>>;

fn codebook_vec4(i: u32) -> vec4<f32> {
    return codebooks[i];
}
