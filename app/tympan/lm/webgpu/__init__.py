"""The transformer through WebGPU."""
