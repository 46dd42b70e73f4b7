// interleaved (part of other kernels): memory layout of matvec inputs.
//
// A lane multiplies 32 elements of the vector by one block of weights, and the next lane the next 32. The vec4 groups
// are stored in the order in which adjacent lanes read them together: vec4 group 0 of every block, then group 1 of
// every block, up to group 7.
//
//     index of vec4 group i in a vector of n blocks = (i % 8) * n + i / 8
//
// Zeros pad the vector to whole blocks; no kernel writes them.
//
// Constants     k, the elements of the vector

override k: u32;
override n_blocks: u32 = (k + 31) / 32;

fn interleaved_index(i: u32, n: u32) -> u32 {
    return i % 8 * n + i / 8;
}
