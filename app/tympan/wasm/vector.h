/* Vectors of four float32, and elementwise functions that are slow in numpy.

   The side modules contain leaf functions without libc, called through ctypes on numpy's memory. build.py compiles each
   source twice, without and with relaxed SIMD. Relaxed SIMD fuses a multiply and an add where the CPU can. */

#pragma once

#include <stdint.h>
#include <wasm_simd128.h>

#define INLINE static inline __attribute__((always_inline))
#define SHARED static __attribute__((noinline)) /* one copy, for functions with several callers */
#define EXPORT __attribute__((visibility("default")))

typedef v128_t f32x4;

INLINE f32x4 multiply_add(f32x4 a, f32x4 b, f32x4 c) {
#ifdef __wasm_relaxed_simd__
    return wasm_f32x4_relaxed_madd(a, b, c);
#else
    return wasm_f32x4_add(wasm_f32x4_mul(a, b), c);
#endif
}

INLINE f32x4 load(const float *p) { return wasm_v128_load(p); }
INLINE void store(float *p, f32x4 x) { wasm_v128_store(p, x); }
INLINE f32x4 splat(float x) { return wasm_f32x4_splat(x); }
INLINE f32x4 clamp(f32x4 x, float low, float high) {
    return wasm_f32x4_pmin(wasm_f32x4_pmax(x, splat(low)), splat(high));
}

INLINE float maximum(float a, float b) { return a > b ? a : b; }
INLINE float magnitude(float x) { return __builtin_fabsf(x); }

INLINE float sum(f32x4 x) {
    return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 2)) +
           (wasm_f32x4_extract_lane(x, 1) + wasm_f32x4_extract_lane(x, 3));
}

/* Load the first n of four lanes, 1 <= n <= 4. The other lanes are 0; memory past them is not read. */
INLINE f32x4 load_some(const float *p, int n) {
    if (n >= 4) return load(p);
    float lanes[4] = {0, 0, 0, 0};
    for (int i = 0; i < n; i++) lanes[i] = p[i];
    return load(lanes);
}

INLINE void store_some(float *p, f32x4 x, int n) {
    if (n >= 4) {
        store(p, x);
        return;
    }
    float lanes[4];
    store(lanes, x);
    for (int i = 0; i < n; i++) p[i] = lanes[i];
}

/* ---- elementwise functions ----------------------------------------------------------------------------------- */

/* e^x for x <= 88; 0 below -87. Relative error 2e-7 near 0, 3e-6 at the ends. Splits x = n ln 2 + r and scales a
   polynomial in r by 2^n. Adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits, from which a shift
   moves it to the exponent. Coefficients: Cephes, expf. */
INLINE f32x4 exponential(f32x4 x) {
    const f32x4 shift = splat(12582912.0f);
    x = wasm_f32x4_pmax(x, splat(-87.3f));
    const f32x4 shifted = multiply_add(x, splat(1.44269504f), shift);
    const f32x4 n = wasm_f32x4_sub(shifted, shift), r = multiply_add(n, splat(-0.693147181f), x);
    f32x4 p = splat(1.9875691500e-4f);
    p = multiply_add(p, r, splat(1.3981999507e-3f));
    p = multiply_add(p, r, splat(8.3334519073e-3f));
    p = multiply_add(p, r, splat(4.1665795894e-2f));
    p = multiply_add(p, r, splat(1.6666665459e-1f));
    p = multiply_add(p, r, splat(5.0000001201e-1f));
    p = multiply_add(p, r, splat(1.0f));
    p = multiply_add(p, r, splat(1.0f));
    return wasm_f32x4_mul(p, wasm_i32x4_shl(wasm_i32x4_add(shifted, wasm_i32x4_splat(127)), 23));
}

/* activations.elu */
INLINE f32x4 elu(f32x4 x) {
    f32x4 zero = splat(0.0f);
    f32x4 below = wasm_f32x4_sub(exponential(wasm_f32x4_pmin(x, zero)), splat(1.0f));
    return wasm_v128_bitselect(x, below, wasm_f32x4_gt(x, zero));
}

/* erf.erf, with its coefficients */
INLINE f32x4 erf(f32x4 x) {
    x = clamp(x, -4.0f, 4.0f);
    f32x4 s = wasm_f32x4_mul(x, x);
    f32x4 p = splat(-2.72614225801306e-10f);
    p = multiply_add(p, s, splat(2.77068142495902e-08f));
    p = multiply_add(p, s, splat(-2.10102402082508e-06f));
    p = multiply_add(p, s, splat(-5.69250639462346e-05f));
    p = multiply_add(p, s, splat(-7.34990630326855e-04f));
    p = multiply_add(p, s, splat(-2.95459980854025e-03f));
    p = multiply_add(p, s, splat(-1.60960333262415e-02f));
    f32x4 q = splat(-1.45660718464996e-05f);
    q = multiply_add(q, s, splat(-2.13374055278905e-04f));
    q = multiply_add(q, s, splat(-1.68282697438203e-03f));
    q = multiply_add(q, s, splat(-7.37332916720468e-03f));
    q = multiply_add(q, s, splat(-1.42647390514189e-02f));
    return clamp(wasm_f32x4_div(wasm_f32x4_mul(x, p), q), -1.0f, 1.0f);
}

/* activations.gelu */
INLINE f32x4 gelu(f32x4 x) {
    f32x4 half = wasm_f32x4_mul(x, splat(0.5f));
    return multiply_add(half, erf(wasm_f32x4_mul(x, splat(0.70710678f))), half);
}
