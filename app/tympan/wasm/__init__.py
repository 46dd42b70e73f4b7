"""Loads WebAssembly side modules: C functions with SIMD that work on numpy's own memory."""
