"""Hot loops in WebAssembly SIMD on numpy's own memory, where the browser runs them; numpy elsewhere."""
