// mimi_product (part of mimi_product_*): the sizes of a product, and its parts.
//
//     out = f(input(x) W^T)
//
// Bindings
//     3  call  see mimi_call.wgsl    read
// Constants     k, n: multiples of 4; rows_per_frame
// Variables     weights: f32, f16 or i8; input: plain, history or norm; output: rows, history or qkv

override k: u32;
override n: u32;
override rows_per_frame: u32;

#include "mimi_call.wgsl"
#include "mimi_activation.wgsl"

@group(0) @binding(3) var<storage, read> call: Call;

fn n_rows() -> u32 {
    return call.n_frames * rows_per_frame;
}

#include "mimi_weights_{weights}.wgsl"
#include "mimi_input_{input}.wgsl"
#include "mimi_output_{output}.wgsl"
