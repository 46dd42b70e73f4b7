/* The kernels of the language model: one vector at a time, Q4 weights with activations rounded to int16, and attention
   over a KV cache in int16.

   Each function computes the same as a numpy function, which its comment names. kernels.py checks shapes and dtypes, so
   nothing is checked here. Arrays are C-contiguous and need only the alignment of their elements. */

#include "rows.h"

enum { BLOCK = 32, HALF = BLOCK / 2 }; /* weights/q4.py: byte j of a block holds weights j and j + HALF */

/* ---- half floats -------------------------------------------------------------------------------------------------

   Shifting the bits of a half float to their place in a float gives the number times 2^-112. Multiplied by a small
   number, that becomes a subnormal float, which costs a CPU a hundred cycles. So the other factor is scaled by 2^80
   first, and the sum of such products by the remaining 2^32. */
#define FIRST_MISSING 0x1p80f
#define LAST_MISSING 0x1p32f

typedef uint16_t half_t;

INLINE f32x4 load_halfs(const half_t *p) {
    return wasm_v128_and(wasm_i32x4_shl(wasm_i32x4_load16x4((const int16_t *)p), 13), wasm_i32x4_splat(0x8fffffff));
}

INLINE float half_to_float(half_t bits) {
    const union { uint32_t bits; float value; } shifted = {(uint32_t)(int16_t)bits << 13 & 0x8fffffff};
    return shifted.value * FIRST_MISSING * LAST_MISSING;
}

/* ---- Q4 matrix-vector product -------------------------------------------------------------------------------------

   A matrix (n, k) is packed in panels of PANEL rows, which are read sequentially. A panel is a sequence of
   ceil(k / BLOCK) blocks: the nibbles of inputs 0-3 and 16-19 of all rows, 4-7 and 20-23, ..., then the scales of all
   rows. A vector holds four bytes of each of four rows, so four activations are loaded once for all rows and no sum
   across a vector is needed. Rows past n are zeros. */
enum { PANEL = 16, VECTORS = PANEL / 4, GROUPS = 4 };

struct panel_block {
    uint8_t nibbles[GROUPS][VECTORS][16];
    half_t scale[PANEL];
};

/* Activations (32,), rounded to multiples of scale / FIRST_MISSING. int8 with wasm_i16x8_relaxed_dot_i8x16_i7x16 would
   take a quarter less time, but its rounding error would be the largest of all in the logits. */
struct activations {
    float scale;
    int32_t offset;        /* -8 * sum of values: a nibble q represents the weight q - 8 */
    int16_t values[BLOCK]; /* per group: the even inputs below and above HALF, then the odd ones below and above */
};

/* dots[v] = (nibbles - 8) of rows 4v .. 4v + 3, times activations. An int16 lane holds four nibbles, which are shifted
   to its low end one after another. The sums fit an int32: 32 * 15 * 2^15 < 2^31. */
INLINE void dot_block(v128_t *dots, const struct panel_block *w, const struct activations *x) {
    const v128_t low = wasm_i16x8_splat(15);
    for (int v = 0; v < VECTORS; v++) dots[v] = wasm_i32x4_splat(x->offset);
    for (int group = 0; group < GROUPS; group++) {
        v128_t values[4];
        for (int part = 0; part < 4; part++) values[part] = wasm_v128_load32_splat(x->values + 8 * group + 2 * part);
        for (int v = 0; v < VECTORS; v++) {
            const v128_t bytes = wasm_v128_load(w->nibbles[group][v]);
            const v128_t even = wasm_i32x4_add(
                wasm_i32x4_dot_i16x8(values[0], wasm_v128_and(bytes, low)),
                wasm_i32x4_dot_i16x8(values[1], wasm_v128_and(wasm_u16x8_shr(bytes, 4), low)));
            const v128_t odd = wasm_i32x4_add(
                wasm_i32x4_dot_i16x8(values[2], wasm_v128_and(wasm_u16x8_shr(bytes, 8), low)),
                wasm_i32x4_dot_i16x8(values[3], wasm_u16x8_shr(bytes, 12)));
            dots[v] = wasm_i32x4_add(dots[v], wasm_i32x4_add(even, odd));
        }
    }
}

/* Round x (32,). */
INLINE void round_block(struct activations *block, const float *x) {
    int16_t rounded[BLOCK];
    block->scale = round_i16(rounded, x, BLOCK, 32767.0f) * FIRST_MISSING;
    int32_t sum = 0;
    for (int i = 0; i < BLOCK; i++) sum += rounded[i];
    block->offset = -8 * sum;
    for (int group = 0; group < GROUPS; group++)
        for (int part = 0; part < 4; part++)
            for (int pair = 0; pair < 2; pair++)
                block->values[8 * group + 2 * part + pair] = rounded[4 * group + HALF * (part % 2) + part / 2 + 2 * pair];
}

/* Round x (k,) to blocks, padded with zeros. */
INLINE void round_activations(struct activations *blocks, const float *x, int k) {
    for (; k >= BLOCK; k -= BLOCK, x += BLOCK, blocks++) round_block(blocks, x);
    if (k > 0) {
        float last[BLOCK];
        for (int i = 0; i < BLOCK; i++) last[i] = i < k ? x[i] : 0.0f;
        round_block(blocks, last);
    }
}

/* Q4Matrix.dequantize() @ x: out (n,) from x (k,), added to out if accumulate is set. rounded: scratch of ceil(k / 32)
   activations. */
EXPORT void matvec_q4(float *out, const struct panel_block *panels, const float *x, struct activations *rounded, int n,
                      int k, int accumulate) {
    round_activations(rounded, x, k);
    const int n_blocks = (k + BLOCK - 1) / BLOCK;
    for (int row = 0; row < n; row += PANEL) {
        f32x4 sums[VECTORS];
        for (int v = 0; v < VECTORS; v++) sums[v] = splat(0.0f);
        for (int block = 0; block < n_blocks; block++, panels++) {
            v128_t dots[VECTORS];
            dot_block(dots, panels, rounded + block);
            const f32x4 scale = splat(rounded[block].scale);
            for (int v = 0; v < VECTORS; v++)
                sums[v] = multiply_add(wasm_f32x4_convert_i32x4(dots[v]),
                                       wasm_f32x4_mul(scale, load_halfs(panels->scale + 4 * v)), sums[v]);
        }
        for (int v = 0, at = row; v < VECTORS && at < n; v++, at += 4) {
            f32x4 y = wasm_f32x4_mul(sums[v], splat(LAST_MISSING));
            if (accumulate) y = wasm_f32x4_add(y, load_some(out + at, n - at));
            store_some(out + at, y, n - at);
        }
    }
}

/* Pack q4 (n, ceil(k / 32), 16) and scale (n, ceil(k / 32)). The strides are the bytes from a block to the next one, and
   from a scale to the next one: GGUF interleaves them. */
EXPORT void pack_q4(struct panel_block *panels, const uint8_t *q4, int q4_stride, const uint8_t *scale,
                    int scale_stride, int n, int k) {
    const int n_blocks = (k + BLOCK - 1) / BLOCK;
    for (int first = 0; first < n; first += PANEL)
        for (int block = 0; block < n_blocks; block++, panels++)
            for (int j = 0; j < PANEL; j++) {
                const int at = (first + j) * n_blocks + block, is_inside = first + j < n;
                panels->scale[j] = is_inside ? *(const half_t *)(scale + at * scale_stride) : 0;
                for (int group = 0; group < GROUPS; group++)
                    for (int i = 0; i < 4; i++)
                        panels->nibbles[group][j / 4][4 * (j % 4) + i] = is_inside ? q4[at * q4_stride + 4 * group + i] : 0;
            }
}

/* weight @ x: out (n,) from weight (n, k) and x (k,), added to out if accumulate is set */
EXPORT void matvec_f32(float *out, const float *weight, const float *x, int n, int k, int accumulate) {
    for (int row = 0; row < n; row++, weight += k) out[row] = dot(weight, x, k) + (accumulate ? out[row] : 0.0f);
}

/* ---- embeddings --------------------------------------------------------------------------------------------------- */

/* out (d,) = the sum of the rows of a table (N, d) at the indices in rows (n,), added to out if accumulate is set.
   q4 (N, ceil(d / 32), 16), scale (N, ceil(d / 32)). */
EXPORT void embed_sum_q4(float *out, const uint8_t *q4, const half_t *scale, const int32_t *rows, int n, int d,
                         int accumulate) {
    const int n_blocks = (d + BLOCK - 1) / BLOCK;
    for (int i = 0; i < d && !accumulate; i++) out[i] = 0.0f;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < d; i++) {
            const int block = rows[j] * n_blocks + i / BLOCK, lane = i % BLOCK;
            const int nibble = q4[block * HALF + lane % HALF] >> (lane < HALF ? 0 : 4) & 15;
            out[i] += half_to_float(scale[block]) * (nibble - 8);
        }
}

/* The same for a table of Q8 blocks: q8 (N, ceil(d / 32), 32), scale (N, ceil(d / 32)). */
EXPORT void embed_sum_q8(float *out, const int8_t *q8, const half_t *scale, const int32_t *rows, int n, int d,
                         int accumulate) {
    const int n_blocks = (d + BLOCK - 1) / BLOCK;
    for (int i = 0; i < d && !accumulate; i++) out[i] = 0.0f;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < d; i++) {
            const int block = rows[j] * n_blocks + i / BLOCK;
            out[i] += half_to_float(scale[block]) * q8[block * BLOCK + i % BLOCK];
        }
}

/* The same for a table (N, d) in float32. */
EXPORT void embed_sum_f32(float *out, const float *table, const int32_t *rows, int n, int d, int accumulate) {
    for (int i = 0; i < d && !accumulate; i++) out[i] = 0.0f;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < d; i++) out[i] += table[rows[j] * d + i];
}

/* ---- the rest of a layer ------------------------------------------------------------------------------------------ */

/* reference.rms_norm: out (d,) from x (d,) and alpha (d,) */
EXPORT void rms_norm_f32(float *out, const float *x, const float *alpha, int d) {
    const float inverse = 1.0f / __builtin_sqrtf(dot(x, x, d) / d + 1e-8f);
    for (int i = 0; i < d; i++) out[i] = x[i] * (alpha[i] * inverse);
}

/* reference.silu(gate) * value: out (h,) from inner (2h,), which holds the gate followed by the value */
EXPORT void gated_silu_f32(float *out, const float *inner, int h) {
    for (int i = 0; i < h; i += 4) {
        const f32x4 gate = load_some(inner + i, h - i), value = load_some(inner + h + i, h - i);
        const f32x4 grown = exponential(wasm_f32x4_pmin(wasm_f32x4_neg(gate), splat(88.0f)));
        store_some(out + i, wasm_f32x4_mul(value, wasm_f32x4_div(gate, wasm_f32x4_add(splat(1.0f), grown))), h - i);
    }
}

/* The KV cache's keys or values of each head, rounded to int16 with a scale per vector. Their width is padded with zeros
   to a multiple of WIDTH_STEP, the number of slots to a multiple of SLOT_STEP. */
enum { WIDTH_STEP = 8, SLOT_STEP = 4 };

struct cache {
    int16_t *rounded; /* (H, n_slots, stride) */
    float *scale;     /* (H, n_slots) */
    int n_slots, stride;
};

/* A key and a query are rounded to this many steps on either side of 0, few enough that the sum of `width` products
   fits an int32. */
INLINE float key_steps(int width) {
    const float steps = __builtin_floorf(__builtin_sqrtf(0x1p31f / width)) - 1;
    return steps < 32767.0f ? steps : 32767.0f;
}

INLINE void store_vector(const struct cache *cache, int head, int slot, const float *x, int width, float steps) {
    const int at = head * cache->n_slots + slot;
    cache->scale[at] = round_i16(cache->rounded + at * cache->stride, x, width, steps);
}

/* The sum of the lanes of each of four vectors, as one vector. */
INLINE v128_t sum_each(const v128_t *x) {
    const v128_t a = wasm_i32x4_add(wasm_i32x4_shuffle(x[0], x[1], 0, 4, 1, 5), wasm_i32x4_shuffle(x[0], x[1], 2, 6, 3, 7));
    const v128_t b = wasm_i32x4_add(wasm_i32x4_shuffle(x[2], x[3], 0, 4, 1, 5), wasm_i32x4_shuffle(x[2], x[3], 2, 6, 3, 7));
    return wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7));
}

/* scores (n,) = keys of the first n slots . q (width,) / sqrt(width). rounded: scratch of (stride,), zeros past the
   width. Processes four slots at a time, so scores has space for a multiple of SLOT_STEP. */
INLINE void score(float *scores, const struct cache *keys, int head, const float *q, int16_t *rounded, int n, int width) {
    const int16_t *key = keys->rounded + head * keys->n_slots * keys->stride;
    const float *scale = keys->scale + head * keys->n_slots;
    const f32x4 of_q = splat(round_i16(rounded, q, width, key_steps(width)) / __builtin_sqrtf((float)width));
    for (int slot = 0; slot < n; slot += SLOT_STEP, key += SLOT_STEP * keys->stride) {
        v128_t sums[SLOT_STEP];
        for (int r = 0; r < SLOT_STEP; r++) sums[r] = wasm_i32x4_splat(0);
        for (int i = 0; i < keys->stride; i += WIDTH_STEP)
            for (int r = 0; r < SLOT_STEP; r++)
                sums[r] = wasm_i32x4_add(sums[r], wasm_i32x4_dot_i16x8(wasm_v128_load(rounded + i),
                                                                       wasm_v128_load(key + r * keys->stride + i)));
        store(scores + slot,
              wasm_f32x4_mul(wasm_f32x4_convert_i32x4(sum_each(sums)), wasm_f32x4_mul(of_q, load(scale + slot))));
    }
}

/* out (width,) = the sum of the values of the first n slots times their weights. The weights are rounded so that their
   sum is 2^15, so the sum of the products fits an int32. Values are read once, in memory order. rounded: scratch of n,
   rounded up to a multiple of SLOT_STEP; sums: scratch of (stride,). */
INLINE void mix(float *out, const struct cache *values, int head, float *weights, int16_t *rounded, int32_t *sums, int n,
                int width) {
    const float *scale = values->scale + head * values->n_slots;
    float total = 0.0f;
    for (int j = 0; j < n; j++) total += weights[j] *= scale[j];
    const float inverse = total > TINY ? 32767.0f / total : 0.0f;
    for (int j = 0; j < n; j++) rounded[j] = (int16_t)__builtin_rintf(weights[j] * inverse);
    for (int j = n; j % SLOT_STEP; j++) rounded[j] = 0;
    for (int i = 0; i < values->stride; i++) sums[i] = 0;

    const int16_t *value = values->rounded + head * values->n_slots * values->stride;
    for (int slot = 0; slot < n; slot += SLOT_STEP, value += SLOT_STEP * values->stride)
        for (int i = 0; i < values->stride; i += WIDTH_STEP) {
            v128_t low = wasm_v128_load(sums + i), high = wasm_v128_load(sums + i + 4);
            for (int j = 0; j < SLOT_STEP; j += 2) {
                const v128_t a = wasm_v128_load(value + j * values->stride + i);
                const v128_t b = wasm_v128_load(value + (j + 1) * values->stride + i);
                const v128_t pair = wasm_v128_load32_splat(rounded + slot + j);
                const v128_t first = wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
                const v128_t second = wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
                low = wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(first, pair));
                high = wasm_i32x4_add(high, wasm_i32x4_dot_i16x8(second, pair));
            }
            wasm_v128_store(sums + i, low);
            wasm_v128_store(sums + i + 4, high);
        }
    for (int i = 0; i < width; i++) out[i] = sums[i] * (total / 32767.0f);
}

/* reference.Reference._layer, from the projection to the attended values: out (d,) from qkv (3d,), whose queries and
   keys are rotated in place by cos and sin (width / 2,). place: the slot to write, and the number of filled slots
   including it. Scratch: scores and weights (n_slots,); query (stride,), zeros past the width; sums (stride,). */
EXPORT void attention_i16(float *out, float *qkv, int16_t *keys, float *key_scale, int16_t *values, float *value_scale,
                          const int32_t *place, const float *cos, const float *sin, float *scores, int16_t *weights,
                          int16_t *query, int32_t *sums, int n_heads, int width, int n_slots) {
    const int stride = (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP, d = n_heads * width;
    const int slot = place[0], n = place[1];
    const struct cache key_cache = {keys, key_scale, n_slots, stride};
    const struct cache value_cache = {values, value_scale, n_slots, stride};
    for (int head = 0; head < n_heads; head++) {
        float *q = qkv + head * width, *k = q + d;
        rotate(q, cos, sin, width / 2);
        rotate(k, cos, sin, width / 2);
        store_vector(&key_cache, head, slot, k, width, key_steps(width));
        store_vector(&value_cache, head, slot, k + d, width, 32767.0f);
        score(scores, &key_cache, head, q, query, n, width);
        softmax(scores, n);
        mix(out + head * width, &value_cache, head, scores, weights, sums, n, width);
    }
}

/* ---- decoding ----------------------------------------------------------------------------------------------------- */

enum { N_CANDIDATES = 4, FIRST_TEXT_ID = 4, ELSEWHERE = 1 };
#define MIN_LOGIT -2.302585093f
#define MIN_LOGIT_WITHIN -9.210340372f

/* terms.NODE */
struct node {
    uint32_t token;
    float bonus;
    uint32_t first, n_children, fallback, gap;
};

/* decoding.DECODED, with the logits of the tokens instead of their log probabilities */
struct decoded {
    uint32_t tokens[N_CANDIDATES];
    float logits[N_CANDIDATES];
    uint32_t node;
};

/* The child with a token, or 0. */
INLINE uint32_t child_with(const struct node *nodes, uint32_t node, uint32_t token) {
    uint32_t low = nodes[node].first, high = low + nodes[node].n_children;
    const uint32_t end = high;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (nodes[middle].token < token) low = middle + 1;
        else high = middle;
    }
    return low < end && nodes[low].token == token ? low : 0;
}

/* TermTrie.advance */
INLINE uint32_t advance(const struct node *nodes, uint32_t node, uint32_t token) {
    const uint32_t starts[2] = {node, nodes[node].gap};
    if (token < FIRST_TEXT_ID) return starts[1];
    for (int i = 0; i < 2; i++)
        for (uint32_t suffix = starts[i];; suffix = nodes[suffix].fallback) {
            const uint32_t child = child_with(nodes, suffix, token);
            if (child) return child;
            if (nodes[suffix].fallback == suffix) break;
        }
    return ELSEWHERE;
}

/* Insert a token into the candidates, best first, if it is better than the last. Of equal logits, the first one in stays
   ahead. */
INLINE void insert(struct decoded *best, uint32_t token, float logit) {
    if (logit <= best->logits[N_CANDIDATES - 1] && best->tokens[N_CANDIDATES - 1] != UINT32_MAX) return;
    int at = N_CANDIDATES - 1;
    for (; at > 0 && (best->tokens[at - 1] == UINT32_MAX || logit > best->logits[at - 1]); at--) {
        best->tokens[at] = best->tokens[at - 1];
        best->logits[at] = best->logits[at - 1];
    }
    best->tokens[at] = token;
    best->logits[at] = logit;
}

/* decoding.decode: updates `decoded` by logits (n,) and the trie. total (1,): set to the sum of exp(logit - largest),
   and `decoded` holds logits minus the largest, from which the caller computes log probabilities. */
EXPORT void decode(const float *logits, struct decoded *decoded, const struct node *nodes, float *total, int n) {
    const uint32_t node = advance(nodes, decoded->node, decoded->tokens[0]);
    struct decoded best;
    for (int k = 0; k < N_CANDIDATES; k++) best.tokens[k] = UINT32_MAX;
    for (int i = 0; i < n; i++) insert(&best, (uint32_t)i, logits[i]);

    const float largest = best.logits[0];
    f32x4 sums = splat(0.0f);
    int i = 0;
    for (; i + 4 <= n; i += 4) sums = wasm_f32x4_add(sums, exponential(wasm_f32x4_sub(load(logits + i), splat(largest))));
    total[0] = sum(sums);
    if (i < n) {
        float last[4];
        store(last, exponential(wasm_f32x4_sub(load_some(logits + i, n - i), splat(largest))));
        for (int j = 0; i + j < n; j++) total[0] += last[j];
    }

    uint32_t token = best.tokens[0];
    float raised = largest;
    for (uint32_t suffix = node;; suffix = nodes[suffix].fallback) {
        const float lowest = largest + (nodes[suffix].gap == suffix ? MIN_LOGIT : MIN_LOGIT_WITHIN);
        const struct node *child = nodes + nodes[suffix].first, *end = child + nodes[suffix].n_children;
        for (; child < end; child++) {
            const float logit = logits[child->token], candidate = logit + child->bonus;
            if (logit >= lowest && (candidate > raised || (candidate == raised && child->token < token))) {
                token = child->token;
                raised = candidate;
            }
        }
        if (nodes[suffix].fallback == suffix) break;
    }

    int at = 0;
    decoded->tokens[at] = token;
    decoded->logits[at++] = logits[token] - largest;
    for (int k = 0; k < N_CANDIDATES && at < N_CANDIDATES; k++) {
        if (best.tokens[k] == token) continue;
        const uint32_t other = best.tokens[k] == UINT32_MAX ? token : best.tokens[k];
        decoded->tokens[at] = other;
        decoded->logits[at++] = logits[other] - largest;
    }
    decoded->node = node;
}
