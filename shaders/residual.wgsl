// residual (part of other kernels): writes the residual stream and the inputs of the next norm (rms_norm.wgsl).
//
//     read_residual(i) = vec4 group i of x and alpha, for write_residual; called first, so that these loads overlap with
//                        the others
//     write_residual(i, value, before) writes vec4 group i of x, scaled and squares
//
// Bindings
//     4  x        vec4<f32> (ceil(d / 4),)       read_write
//     5  alpha    vec4<f32> (ceil(d / 4),)       read          scales of the norm that reads x next
//     6  scaled   vec4<f32> (8 ceil(d / 32),)    read_write    written: x * alpha, in the order of interleaved.wgsl
//     7  squares  f32 (>= ceil(d / 4),)          read_write    written: sum of x^2 over each vec4 group
// Constants     d

#include "interleaved.wgsl"

override d: u32;

@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> alpha: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> scaled: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> squares: array<f32>;

struct Residual {
    x: vec4<f32>,
    alpha: vec4<f32>,
}

fn read_residual(i: u32) -> Residual {
    let inside = min(i, (d - 1) / 4);
    return Residual(x[inside], alpha[inside]);
}

fn write_residual(i: u32, value: vec4<f32>, before: Residual) {
    let is_inside = 4 * i + vec4<u32>(0, 1, 2, 3) < vec4<u32>(d);
    let inside = select(vec4<f32>(), value, is_inside);
    x[i] = inside;
    scaled[interleaved_index(i, (d + 31) / 32)] = inside * before.alpha;
    squares[i] = dot(inside, inside);
}
