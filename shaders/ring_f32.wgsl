// ring_f32: a part of other kernels. Keys and values as pairs of float32, twice as large and exact.

alias Stored = vec2<f32>;

fn stored(pair: vec2<f32>) -> Stored {
    return pair;
}

fn restored(pair: Stored) -> vec2<f32> {
    return pair;
}
