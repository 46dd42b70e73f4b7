"""The transformer on the CPU, in WebAssembly SIMD."""
