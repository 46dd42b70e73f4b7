// gated_silu: the middle of the feed-forward.
//
//     out[i] = gate / (1 + exp(-gate)) * value    with gate = inner[i], value = inner[h + i]
//
// Bindings
//     0  inner  f32 (2, h)    read
//     1  out    f32 (>= h,)   read_write   the first h elements are written, the padding stays zero
// Constants   h
// Dispatch    ceil(h / 64) workgroups of 64, one invocation an element
// Requires    nothing
// Twin        gate / (1 + np.exp(-gate)) * value; tolerance 1e-6 of the largest |out|

override h: u32;

// Past it exp overflows and the gate is 0 to float32's last digit.
const HIGHEST_EXPONENT = 80.0;

@group(0) @binding(0) var<storage, read> inner: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if (i >= h) {
        return;
    }
    let gate = inner[i];
    out[i] = gate / (1.0 + exp(min(-gate, HIGHEST_EXPONENT))) * inner[h + i];
}
