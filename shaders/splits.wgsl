// splits (part of attention and out_proj): the splits of the keys, and the layout of their results.
//
//     splits  vec2<f32> (n_splits, n_heads, D / 2), then (highest, total) as vec2<f32> (n_splits, n_heads)
//
// Constants     n_heads, head_width = D, context; n_split, the keys per split

override n_heads: u32;
override head_width: u32;
override context: u32;
override n_split: u32;

override n_splits: u32 = (context + n_split - 1) / n_split;

const LOWEST = -3.4028234e38;
const LOWEST_EXPONENT = -80.0;

struct Step {
    slot: u32,
    n_keys: u32,
}
