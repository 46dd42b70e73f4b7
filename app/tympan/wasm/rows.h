/* Functions on rows of numbers, shared by both transformers. */

#pragma once

#include "vector.h"

INLINE float dot(const float *a, const float *b, int n) {
    f32x4 total[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int part = 0; part < 4; part++)
            total[part] = multiply_add(load(a + i + 4 * part), load(b + i + 4 * part), total[part]);
    for (; i < n; i += 4) total[0] = multiply_add(load_some(a + i, n - i), load_some(b + i, n - i), total[0]);
    return sum(wasm_f32x4_add(wasm_f32x4_add(total[0], total[1]), wasm_f32x4_add(total[2], total[3])));
}

INLINE void copy(float *out, const float *x, int n) {
    for (int i = 0; i < n; i += 4) store_some(out + i, load_some(x + i, n - i), n - i);
}

/* Softmax of scores (n,), in place. */
INLINE void softmax(float *scores, int n) {
    float largest = scores[0];
    for (int j = 1; j < n; j++) largest = maximum(largest, scores[j]);
    f32x4 total = splat(0.0f);
    for (int j = 0; j < n; j += 4) {
        store_some(scores + j, exponential(wasm_f32x4_sub(load_some(scores + j, n - j), splat(largest))), n - j);
        total = wasm_f32x4_add(total, load_some(scores + j, n - j));
    }
    const f32x4 inverse = splat(1.0f / sum(total));
    for (int j = 0; j < n; j += 4) store_some(scores + j, wasm_f32x4_mul(load_some(scores + j, n - j), inverse), n - j);
}

/* Rotate each pair of x (n_pairs, 2) by its angle. */
INLINE void rotate(float *x, const float *cos, const float *sin, int n_pairs) {
    for (int i = 0; i < n_pairs; i++, x += 2) {
        const float real = x[0], imaginary = x[1];
        x[0] = real * cos[i] - imaginary * sin[i];
        x[1] = real * sin[i] + imaginary * cos[i];
    }
}

/* ---- integers -------------------------------------------------------------------------------------------------- */

/* A row whose magnitudes are all below this is rounded to zeros: its scale would not be a normal float. */
#define TINY 1e-30f

INLINE float largest_of(const float *x, int n) {
    float largest = 0.0f;
    for (int i = 0; i < n; i++) largest = maximum(largest, magnitude(x[i]));
    return largest;
}

/* Round x (n,) to integers in [-steps, steps]. Returns the scale, for which scale * rounded is about x. */
INLINE float round_i16(int16_t *rounded, const float *x, int n, float steps) {
    const float largest = largest_of(x, n), inverse = largest > TINY ? steps / largest : 0.0f;
    for (int i = 0; i < n; i++) rounded[i] = (int16_t)__builtin_rintf(x[i] * inverse);
    return largest / steps;
}
