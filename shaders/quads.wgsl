// quads: a part of other kernels. A matrix that is multiplied by a vector quad by quad, in floats.
//
//     part_of(rows, i) = elements 4i .. 4i + 3 of four rows; product(part, i) = these times quad i of x
//
// Uses        quad_of of matrix_f32 or matrix_q8, vector; input(i) of the kernel: quad i of x in the order of vector.wgsl
// Requires    zeros in x after element k, by which what is past the end of a row is multiplied
// Twin        w @ x; tolerance 1e-5 of the largest result

override n_parts: u32 = (k + 3) / 4;

alias Part = mat4x4<f32>;

fn part_of(rows: vec4<u32>, i: u32) -> Part {
    return Part(quad_of(rows.x, i), quad_of(rows.y, i), quad_of(rows.z, i), quad_of(rows.w, i));
}

fn product(part: Part, i: u32) -> vec4<f32> {
    return input(place_of(i, n_blocks)) * part;
}
