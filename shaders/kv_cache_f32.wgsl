// ring_f32: a part of other kernels. Keys and values as pairs of float32, twice as large and exact.
//
// Uses        ring

alias Stored = vec2<f32>;
alias Four = mat2x4<f32>;

fn stored(pair: vec2<f32>) -> Stored {
    return pair;
}

fn pairs_of(four: Four) -> Pairs {
    return Pairs(four[0].xy, four[0].zw, four[1].xy, four[1].zw);
}
