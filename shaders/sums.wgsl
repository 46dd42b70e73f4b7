// sums (part of other kernels): the partial sums that the lanes of a group add up. lanes_*.wgsl reduces them.

struct Sums {
    rows: vec4<f32>,  // of four rows of a matrix
    squares: f32,  // of the residual stream, for an RMS norm (rms_norm.wgsl)
}
