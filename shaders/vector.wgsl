// vector: a part of other kernels. Where the elements of the vector are that a matrix is multiplied by.
//
// A lane reads 32 elements for one block of weights, and its neighbour the next 32. So quads of 4 elements lie in the
// order in which lanes read them together: first quad 0 of every block, then quad 1 of every block, to quad 7.
//
//     place of quad q in a vector of n blocks = (q % 8) * n + q / 8
//
// Zeros fill the vector up to whole blocks, and no kernel writes there.
//
// Constants   k, the elements of the vector

override k: u32;
override n_blocks: u32 = (k + 31) / 32;

fn place_of(quad: u32, n: u32) -> u32 {
    return quad % 8 * n + quad / 8;
}
