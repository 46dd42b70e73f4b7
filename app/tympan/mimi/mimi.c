/* The kernels of Mimi.

   Each function computes the same as a numpy function, which its comment names. kernels.py checks shapes and dtypes, so
   nothing is checked here. Arrays are C-contiguous except where a stride is passed; strides count elements. Arrays need
   only the alignment of their elements. */

#include "rows.h"

/* A matrix product reads its weights in panels: the weights of PANEL outputs for input 0, then for input 1, and so on.
   It reads STREAMS panels that are far apart in memory side by side, so that the memory latencies at the page
   boundaries of the streams overlap. */
enum { PANEL = 8, VECTORS = PANEL / 4, STREAMS = 2, TILE_ROWS = 2 };
enum activation { NONE = 0, ELU = 1, GELU = 2 };

INLINE f32x4 activate(f32x4 x, int activation) {
    if (activation == ELU) return elu(x);
    if (activation == GELU) return gelu(x);
    return x;
}

/* out[i] = ELU(x[i]) */
EXPORT void elu_f32(float *out, const float *x, int n) {
    for (int i = 0; i < n; i += 4) store_some(out + i, elu(load_some(x + i, n - i)), n - i);
}

/* ---- matrix products ------------------------------------------------------------------------------------------ */

/* out (m, n) = activation(x (m, k) @ W.T * scale + bias + residual), for W (n, k) packed by pack_f32 or pack_i16. */
struct product {
    float *out;            /* (m, n) */
    const float *x;        /* row i starts at i * x_stride; rows may overlap, as the windows of a convolution do */
    int x_stride;
    const void *panels;    /* (ceil(n / PANEL), k, PANEL), float or int16 */
    const float *scale;    /* (n,), for int16 panels */
    const float *bias;     /* (n,) or null */
    const float *residual; /* (m, n) or null */
    int n, k;
    int activation;
};

INLINE f32x4 load_weights(const struct product *p, int at, const int is_i16) {
    if (is_i16) return wasm_f32x4_convert_i32x4(wasm_i32x4_load16x4((const int16_t *)p->panels + at));
    return load((const float *)p->panels + at);
}

INLINE void finish(const struct product *p, int row, int column, f32x4 y, const int is_i16) {
    int left = p->n - column, at = row * p->n + column;
    if (left <= 0) return;
    if (is_i16) y = wasm_f32x4_mul(y, load_some(p->scale + column, left));
    if (p->bias) y = wasm_f32x4_add(y, load_some(p->bias + column, left));
    if (p->residual) y = wasm_f32x4_add(y, load_some(p->residual + at, left));
    store_some(p->out + at, activate(y, p->activation), left);
}

/* Multiply `rows` rows by `streams` panels that are `apart` panels apart. rows and streams are constants at every call,
   so that the sums stay in registers: 8 of them hide the latency of a multiply-add, and a CPU has 16 registers. */
INLINE void tile(const struct product *p, int row, int panel, int apart, const int rows, const int streams,
                 const int is_i16) {
    f32x4 sums[TILE_ROWS][STREAMS][VECTORS];
    const float *x[TILE_ROWS];
    int at[STREAMS];
    for (int r = 0; r < rows; r++) {
        x[r] = p->x + (row + r) * p->x_stride;
        for (int s = 0; s < streams; s++)
            for (int v = 0; v < VECTORS; v++) sums[r][s][v] = splat(0.0f);
    }
    for (int s = 0; s < streams; s++) at[s] = (panel + s * apart) * PANEL * p->k;
    for (int i = 0; i < p->k; i++) {
        f32x4 weights[STREAMS][VECTORS];
        for (int s = 0; s < streams; s++, at[s - 1] += PANEL)
            for (int v = 0; v < VECTORS; v++) weights[s][v] = load_weights(p, at[s] + 4 * v, is_i16);
        for (int r = 0; r < rows; r++) {
            const f32x4 value = wasm_v128_load32_splat(x[r] + i);
            for (int s = 0; s < streams; s++)
                for (int v = 0; v < VECTORS; v++) sums[r][s][v] = multiply_add(value, weights[s][v], sums[r][s][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < streams; s++)
            for (int v = 0; v < VECTORS; v++)
                finish(p, row + r, (panel + s * apart) * PANEL + 4 * v, sums[r][s][v], is_i16);
}

INLINE void multiply_panels(const struct product *p, int m, int panel, int apart, const int streams, const int is_i16) {
    int row = 0;
    for (; row + TILE_ROWS <= m; row += TILE_ROWS) tile(p, row, panel, apart, TILE_ROWS, streams, is_i16);
    if (row < m) tile(p, row, panel, apart, 1, streams, is_i16);
}

INLINE void multiply(const struct product *p, int m, const int is_i16) {
    const int n_panels = (p->n + PANEL - 1) / PANEL, apart = n_panels / STREAMS;
    for (int panel = 0; panel < apart; panel++) multiply_panels(p, m, panel, apart, STREAMS, is_i16);
    for (int panel = apart * STREAMS; panel < n_panels; panel++) multiply_panels(p, m, panel, 0, 1, is_i16);
}

SHARED void multiply_f32(const struct product *p, int m) { multiply(p, m, 0); }
SHARED void multiply_i16(const struct product *p, int m) { multiply(p, m, 1); }

EXPORT void product_f32(float *out, const float *x, int x_stride, const float *panels, const float *bias,
                        const float *residual, int m, int n, int k, int activation) {
    const struct product p = {out, x, x_stride, panels, 0, bias, residual, n, k, activation};
    multiply_f32(&p, m);
}

EXPORT void product_i16(float *out, const float *x, int x_stride, const int16_t *panels, const float *scale,
                        const float *bias, const float *residual, int m, int n, int k, int activation) {
    const struct product p = {out, x, x_stride, panels, scale, bias, residual, n, k, activation};
    multiply_i16(&p, m);
}

/* panels[p][i][j] = w[PANEL * p + j][i], 0 past row n */
EXPORT void pack_f32(float *panels, const float *w, int n, int k) {
    for (int first = 0; first < n; first += PANEL, panels += k * PANEL)
        for (int j = 0; j < PANEL; j++)
            for (int i = 0; i < k; i++) panels[i * PANEL + j] = first + j < n ? w[(first + j) * k + i] : 0.0f;
}

/* The same with w[r][i] rounded to multiples of scale[r] = max |w[r]| / 32767. */
EXPORT void pack_i16(int16_t *panels, float *scale, const float *w, int n, int k) {
    for (int first = 0; first < n; first += PANEL, panels += k * PANEL)
        for (int j = 0; j < PANEL; j++) {
            const float *row = w + (first + j) * k;
            const float largest = first + j < n ? largest_of(row, k) : 0.0f;
            if (first + j < n) scale[first + j] = largest / 32767.0f;
            for (int i = 0; i < k; i++)
                panels[i * PANEL + j] = largest > TINY ? (int16_t)__builtin_rintf(row[i] / (largest / 32767.0f)) : 0;
        }
}

/* ---- the transformer ----------------------------------------------------------------------------------------- */

SHARED void layer_norm(float *out, const float *x, const float *weight, const float *bias, int m, int d) {
    for (int row = 0; row < m; row++, x += d, out += d) {
        f32x4 total = splat(0.0f), squares = splat(0.0f);
        for (int i = 0; i < d; i += 4) total = wasm_f32x4_add(total, load_some(x + i, d - i));
        const float mean = sum(total) / d;
        for (int i = 0; i < d; i++) out[i] = x[i] - mean;
        for (int i = 0; i < d; i += 4) {
            f32x4 centred = load_some(out + i, d - i);
            squares = multiply_add(centred, centred, squares);
        }
        const f32x4 inverse = splat(1.0f / __builtin_sqrtf(sum(squares) / d + 1e-5f));
        for (int i = 0; i < d; i += 4) {
            const int n = d - i;
            f32x4 y = wasm_f32x4_mul(wasm_f32x4_mul(load_some(out + i, n), inverse), load_some(weight + i, n));
            store_some(out + i, wasm_f32x4_add(y, load_some(bias + i, n)), n);
        }
    }
}

/* transformer.layer_norm: x (m, d) -> out (m, d) */
EXPORT void layer_norm_f32(float *out, const float *x, const float *weight, const float *bias, int m, int d) {
    layer_norm(out, x, weight, bias, m, d);
}

/* Keys and values are processed KEYS at a time, so that a query or a result is loaded once for all of them. */
enum { KEYS = 4 };

/* The sum of the lanes of each of four vectors, as one vector. */
INLINE f32x4 sums(const f32x4 *x) {
    const f32x4 a = wasm_f32x4_add(wasm_i32x4_shuffle(x[0], x[1], 0, 4, 1, 5),
                                   wasm_i32x4_shuffle(x[0], x[1], 2, 6, 3, 7));
    const f32x4 b = wasm_f32x4_add(wasm_i32x4_shuffle(x[2], x[3], 0, 4, 1, 5),
                                   wasm_i32x4_shuffle(x[2], x[3], 2, 6, 3, 7));
    return wasm_f32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7));
}

/* scores[j] = scale * q . keys[j * stride], for `rows` keys */
INLINE void score(float *scores, const float *q, const float *keys, int stride, int width, float scale,
                  const int rows) {
    f32x4 totals[KEYS] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    int i = 0;
    for (; i + 4 <= width; i += 4) {
        const f32x4 value = load(q + i);
        for (int j = 0; j < rows; j++) totals[j] = multiply_add(value, load(keys + j * stride + i), totals[j]);
    }
    if (i < width) {
        const f32x4 value = load_some(q + i, width - i);
        for (int j = 0; j < rows; j++)
            totals[j] = multiply_add(value, load_some(keys + j * stride + i, width - i), totals[j]);
    }
    store_some(scores, wasm_f32x4_mul(sums(totals), splat(scale)), rows);
}

/* out += sum of weights[j] * values[j * stride], for `rows` values */
INLINE void mix(float *out, const float *weights, const float *values, int stride, int width, const int rows) {
    f32x4 weight[KEYS];
    for (int j = 0; j < rows; j++) weight[j] = splat(weights[j]);
    int i = 0;
    for (; i + 4 <= width; i += 4) {
        f32x4 total = load(out + i);
        for (int j = 0; j < rows; j++) total = multiply_add(weight[j], load(values + j * stride + i), total);
        store(out + i, total);
    }
    for (; i < width; i++)
        for (int j = 0; j < rows; j++) out[i] += weights[j] * values[j * stride + i];
}

SHARED void attention(float *out, const float *queries, int q_stride, const float *keys, const float *values,
                      const uint8_t *visible, float *scores, int m, int n, int n_heads, int width) {
    const float root = 1.0f / __builtin_sqrtf((float)width);
    const int d = n_heads * width;
    for (int j = 0; j < n; j += KEYS)
        for (int i = 0; i < m * n_heads; i++) {
            const int head = i % n_heads * width;
            const float *q = queries + i / n_heads * q_stride + head, *k = keys + j * d + head;
            float *some = scores + i * n + j;
            if (n - j >= KEYS)
                score(some, q, k, d, width, root, KEYS);
            else
                for (int rest = 0; rest < n - j; rest++) score(some + rest, q, k + rest * d, d, width, root, 1);
        }
    for (int i = 0; i < m * n_heads; i++) {
        for (int j = 0; j < n; j++)
            if (!visible[i / n_heads * n + j]) scores[i * n + j] = -1e9f;
        softmax(scores + i * n, n);
    }
    for (int i = 0; i < m * d; i++) out[i] = 0.0f;
    for (int j = 0; j < n; j += KEYS)
        for (int i = 0; i < m * n_heads; i++) {
            const float *v = values + j * d + i % n_heads * width, *weights = scores + i * n + j;
            if (n - j >= KEYS)
                mix(out + i * width, weights, v, d, width, KEYS);
            else
                for (int rest = 0; rest < n - j; rest++)
                    mix(out + i * width, weights + rest, v + rest * d, d, width, 1);
        }
}

/* transformer.attention: queries (m, H * D, row stride q_stride) attend to keys and values (n, H, D) where visible
   (m, n): out (m, H * D). scores: scratch of (m, H, n). Each query must see at least one key. Keys and values are read
   once, in memory order. */
EXPORT void attention_f32(float *out, const float *queries, int q_stride, const float *keys, const float *values,
                          const uint8_t *visible, float *scores, int m, int n, int n_heads, int width) {
    attention(out, queries, q_stride, keys, values, visible, scores, m, n, n_heads, width);
}

SHARED void rotate_heads(float *x, int x_stride, const float *cos, const float *sin, int m, int n_heads, int width) {
    const int n_pairs = width / 2;
    for (int row = 0; row < m; row++, x += x_stride, cos += n_pairs, sin += n_pairs)
        for (int head = 0; head < n_heads; head++) rotate(x + head * width, cos, sin, n_pairs);
}

/* rope.Rotation.apply: rotate the pairs of x (m, n_heads, width, row stride x_stride) in place by cos and sin
   (m, width / 2) */
EXPORT void rotate_f32(float *x, int x_stride, const float *cos, const float *sin, int m, int n_heads, int width) {
    rotate_heads(x, x_stride, cos, sin, m, n_heads, width);
}

struct matrix {
    const void *panels; /* float or int16 */
    const float *scale; /* for int16 panels, else null */
};

struct layer {
    const float *norm1_weight, *norm1_bias;
    struct matrix in_proj, out_proj;
    const float *norm2_weight, *norm2_bias;
    struct matrix linear1, linear2;
};

INLINE void linear(float *out, const float *x, struct matrix w, const float *residual, int m, int n, int k,
                   int activation) {
    const struct product p = {out, x, k, w.panels, w.scale, 0, residual, n, k, activation};
    if (w.scale)
        multiply_i16(&p, m);
    else
        multiply_f32(&p, m);
}

/* transformer.step_layer: apply the layer to x (n_frames * m, d) in place, frame by frame. keys and values
   (context, H, D) are the KV cache: frame i is written to slots (n_frames, m) and attends to visible
   (n_frames, m, context). This is one function because a call from Python costs as much as a product of 64 x 512.
   scratch: n_frames * m * (5 d + hidden) + m * H * context floats. */
EXPORT void layer_f32(float *x, const struct layer *layer, float *keys, float *values, const float *cos,
                      const float *sin, const int32_t *slots, const uint8_t *visible, float *scratch, int n_frames,
                      int m, int context, int n_heads, int width, int hidden) {
    const int d = n_heads * width, n = n_frames * m;
    float *normed = scratch, *qkv = normed + n * d, *attended = qkv + n * 3 * d, *inner = attended + n * d;
    float *scores = inner + n * hidden;

    layer_norm(normed, x, layer->norm1_weight, layer->norm1_bias, n, d);
    linear(qkv, normed, layer->in_proj, 0, n, 3 * d, d, NONE);
    rotate_heads(qkv, 3 * d, cos, sin, n, 2 * n_heads, width);
    for (int row = 0; row < n; row += m) {
        for (int i = row; i < row + m; i++) {
            copy(keys + slots[i] * d, qkv + i * 3 * d + d, d);
            copy(values + slots[i] * d, qkv + i * 3 * d + 2 * d, d);
        }
        attention(attended + row * d, qkv + row * 3 * d, 3 * d, keys, values, visible + row * context, scores, m,
                  context, n_heads, width);
    }
    linear(x, attended, layer->out_proj, x, n, d, d, NONE);
    layer_norm(normed, x, layer->norm2_weight, layer->norm2_bias, n, d);
    linear(inner, normed, layer->linear1, 0, n, hidden, d, GELU);
    linear(x, inner, layer->linear2, x, n, d, hidden, NONE);
}

/* ---- residual quantization ------------------------------------------------------------------------------------ */

/* The search starts with x in int16 and centroids in int8. x is rounded to this many steps on either side of 0, few
   enough that the sum of `width` products fits an int32. */
INLINE float x_steps(int width) { return width <= 512 ? 32767.0f : 32767.0f * 512 / width; }

/* Round e (n, width) to rounded (n, width) int8 with scale (n,). error (n,) bounds the error of a score x.e for an x of
   length 1: from |e - scale * rounded|, from the rounding of x, and from the float32 sum of the exact score. */
EXPORT void round_i8(int8_t *rounded, float *scale, float *error, const float *e, int n, int width) {
    const float of_x = 0.5f * __builtin_sqrtf((float)width) / x_steps(width), of_sum = (width + 8) * 2.4e-7f;
    for (int j = 0; j < n; j++, e += width, rounded += width) {
        const float largest = largest_of(e, width);
        float off = 0.0f, square = 0.0f;
        scale[j] = largest / 127.0f;
        for (int i = 0; i < width; i++) {
            rounded[i] = largest > TINY ? (int8_t)__builtin_rintf(e[i] / scale[j]) : 0;
            const float gap = e[i] - scale[j] * rounded[i];
            off += gap * gap;
            square += e[i] * e[i];
        }
        error[j] = 1.001f * (__builtin_sqrtf(off) * (1 + of_x) + __builtin_sqrtf(square) * (of_x + of_sum));
    }
}

INLINE int32_t sum_i32(v128_t x) {
    return wasm_i32x4_extract_lane(x, 0) + wasm_i32x4_extract_lane(x, 1) + wasm_i32x4_extract_lane(x, 2) +
           wasm_i32x4_extract_lane(x, 3);
}

/* dots[r] = x . e[r], for `rows` rows of e */
INLINE void dots_i8(int32_t *dots, const int16_t *x, const int8_t *e, int width, const int rows) {
    v128_t sums[4];
    for (int r = 0; r < rows; r++) sums[r] = wasm_i32x4_splat(0);
    int i = 0;
    for (; i + 8 <= width; i += 8) {
        const v128_t value = wasm_v128_load(x + i);
        for (int r = 0; r < rows; r++)
            sums[r] = wasm_i32x4_add(sums[r], wasm_i32x4_dot_i16x8(value, wasm_i16x8_load8x8(e + r * width + i)));
    }
    for (int r = 0; r < rows; r++) {
        dots[r] = sum_i32(sums[r]);
        for (int rest = i; rest < width; rest++) dots[r] += x[rest] * e[r * width + rest];
    }
}

/* One codebook of n centroids. */
struct codebook {
    const float *centroids;  /* (n, width) */
    const float *half_norms; /* (n,) */
    const int8_t *rounded;   /* (n, width) */
    const float *scale;      /* (n,) */
    const float *error;      /* (n,) */
    int n, width;
};

/* quantizer.ResidualQuantizer.encode, for one x and one codebook: the first centroid that maximizes x.e - |e|^2 / 2.
   Scores of the rounded x and e come with an error bound (Cauchy-Schwarz). Every centroid that can be the best within
   its bound is scored again in float32, so rounding changes no code. upper: n floats; x_rounded: width int16. */
INLINE int nearest(const struct codebook *c, const float *x, float *upper, int16_t *x_rounded) {
    const int n = c->n, width = c->width;
    const float scale = round_i16(x_rounded, x, width, x_steps(width));
    const float length = __builtin_sqrtf(dot(x, x, width)) * 1.001f;

    float floor = -__builtin_inff();
    for (int first = 0; first < n; first += 4) {
        int32_t dots[4];
        const int rows = n - first < 4 ? n - first : 4;
        const int8_t *e = c->rounded + first * width;
        if (rows == 4)
            dots_i8(dots, x_rounded, e, width, 4);
        else
            for (int r = 0; r < rows; r++) dots_i8(dots + r, x_rounded, e + r * width, width, 1);
        for (int r = 0, j = first; r < rows; r++, j++) {
            const float score = scale * c->scale[j] * dots[r] - c->half_norms[j];
            const float slack = length * c->error[j] + 1e-6f * magnitude(score);
            upper[j] = score + slack;
            floor = maximum(floor, score - slack);
        }
    }
    int best = 0;
    float best_score = -__builtin_inff();
    for (int j = 0; j < n; j++) {
        if (!(upper[j] >= floor)) continue;
        const float score = dot(x, c->centroids + j * width, width) - c->half_norms[j];
        if (score > best_score) best_score = score, best = j;
    }
    return best;
}

/* quantizer.ResidualQuantizer.encode after its projection: codes (m, n_codebooks) of x (m, width), which is replaced by
   the residual. Each array holds all codebooks, one after another. upper: n floats; x_rounded: width int16. */
EXPORT void residual_codes(int32_t *codes, float *x, const float *centroids, const float *half_norms,
                           const int8_t *rounded, const float *scale, const float *error, float *upper,
                           int16_t *x_rounded, int m, int n_codebooks, int n, int width) {
    for (int level = 0; level < n_codebooks; level++) {
        const int at = level * n;
        const struct codebook c = {centroids + at * width, half_norms + at, rounded + at * width,
                                   scale + at,             error + at,      n, width};
        for (int row = 0; row < m; row++) {
            float *residual = x + row * width;
            const int code = nearest(&c, residual, upper, x_rounded);
            codes[row * n_codebooks + level] = code;
            for (int i = 0; i < width; i++) residual[i] -= c.centroids[code * width + i];
        }
    }
}
