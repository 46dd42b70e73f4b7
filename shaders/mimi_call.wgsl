// mimi_call (part of Mimi's kernels): what changes from call to call. A call encodes n_frames frames of 80 ms.
//
// A convolution with a kernel of size s and stride t reads the last n_history = s - t inputs of the call before. They
// are stored twice: a call reads one half of a history and writes the other, so that no kernel overwrites what another
// invocation still reads.

struct Call {
    n_frames: u32,
    half: u32,  // of every history: the one to read, 0 or 1
    slot: u32,  // of the KV cache, for the first position of this call
    n_before: u32,  // positions before this call, at most the context
    rotations: array<vec2<f32>>,  // (positions, D / 2): (cos, sin) of position * max_period^(-2i / D)
}
