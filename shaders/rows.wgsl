// rows (part of other kernels): four rows of a matrix times a vector, shared by the lanes of a group.
//
//     dot_rows(rows, lane) = this lane's share of sum_j w[row, j] * x[j], for four rows
//     sum_over_lanes(local, partial) = the sum over the lanes of a group, in its first lane
//
// matrix_*.wgsl and its multiplication define n_chunks, RowChunk, load_chunk and multiply_chunk. A chunk is what a lane
// reads at once: one block (Q4) or one vec4 group (other formats) of each of four rows.
//
// Variables     lanes: tree or subgroup; format: q4, q8 or f32
// Reference     w @ x

#include "lanes_{lanes}.wgsl"
#include "interleaved.wgsl"
#include "matrix_{format}.wgsl"

fn dot_rows(rows: vec4<u32>, lane: u32) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var i = lane; i < n_chunks; i += n_lanes) {
        sums += multiply_chunk(load_chunk(rows, i), i);
    }
    return sums;
}

fn sum_over_lanes(local: u32, partial: vec4<f32>) -> vec4<f32> {
    return reduce_lanes(local, Sums(partial, 0.0)).rows;
}
