// ring_f16: a part of other kernels. Keys and values as pairs of half floats; pack2x16float is in every WebGPU.

alias Stored = u32;

fn stored(pair: vec2<f32>) -> Stored {
    return pack2x16float(pair);
}

fn restored(pair: Stored) -> vec2<f32> {
    return unpack2x16float(pair);
}
