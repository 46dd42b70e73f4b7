// residual: a part of other kernels. Writes the residual stream, and what the norm after it needs (normed.wgsl).
//
//     stream_at(quad) = what a quad was before, for write_x; asked for first, so that it is waited for with all the rest
//
// Bindings
//     4  x        vec4<f32> (ceil(d / 4),)        read_write
//     5  alpha    vec4<f32> (ceil(d / 4),)        read         of the norm that reads x next
//     6  scaled   vec4<f32> (8 ceil(d / 32),)     read_write   x * alpha, in the order of vector.wgsl
//     7  squares  f32 (>= ceil(d / 4),)           read_write   sum of x^2 over each quad
// Constants   d
// Uses        vector

override d: u32;

@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> alpha: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> scaled: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> squares: array<f32>;

struct Before {
    x: vec4<f32>,
    alpha: vec4<f32>,
}

fn stream_at(quad: u32) -> Before {
    let inside = min(quad, (d - 1) / 4);
    return Before(x[inside], alpha[inside]);
}

fn write_x(quad: u32, value: vec4<f32>, before: Before) {
    let is_inside = 4 * quad + vec4<u32>(0, 1, 2, 3) < vec4<u32>(d);
    let inside = select(vec4<f32>(), value, is_inside);
    x[quad] = inside;
    scaled[place_of(quad, (d + 31) / 32)] = inside * before.alpha;
    squares[quad] = dot(inside, inside);
}
