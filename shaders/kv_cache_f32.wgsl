// kv_cache_f32 (part of kv_cache): a pair is stored as two float32, exact and twice as large as in half floats.

alias StoredPair = vec2<f32>;
alias FourStoredPairs = mat2x4<f32>;

fn encode_pair(pair: vec2<f32>) -> StoredPair {
    return pair;
}

fn decode_pairs(four: FourStoredPairs) -> FourPairs {
    return FourPairs(four[0].xy, four[0].zw, four[1].xy, four[1].zw);
}
