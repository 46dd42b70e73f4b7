// mimi_codebook_f16 (part of mimi_quantize): codebooks in half floats, converted when they are read.
//
//     codebook_vec4(i) = four elements
//
// Bindings
//     0  codebooks  vec2<u32>    read

@group(0) @binding(0) var<storage, read> codebooks: array<vec2<u32>>;

fn codebook_vec4(i: u32) -> vec4<f32> {
    let four = codebooks[i];
    return vec4<f32>(unpack2x16float(four.x), unpack2x16float(four.y));
}
