// kv_cache_f16 (part of kv_cache): a pair is stored as two half floats in a u32. pack2x16float is core WGSL, so the
// feature shader-f16 is not needed.
//
// Reference     x.astype(np.float16)

alias StoredPair = u32;
alias FourStoredPairs = vec4<u32>;

fn encode_pair(pair: vec2<f32>) -> StoredPair {
    return pack2x16float(pair);
}

fn decode_pairs(four: FourStoredPairs) -> FourPairs {
    return FourPairs(
        unpack2x16float(four.x), unpack2x16float(four.y), unpack2x16float(four.z), unpack2x16float(four.w)
    );
}
