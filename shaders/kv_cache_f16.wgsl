// ring_f16: a part of other kernels. Keys and values as pairs of half floats; pack2x16float is in every WebGPU.
//
// Uses        ring

alias Stored = u32;
alias Four = vec4<u32>;

fn stored(pair: vec2<f32>) -> Stored {
    return pack2x16float(pair);
}

fn pairs_of(four: Four) -> Pairs {
    return Pairs(unpack2x16float(four.x), unpack2x16float(four.y), unpack2x16float(four.z), unpack2x16float(four.w));
}
