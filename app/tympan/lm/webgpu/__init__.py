"""The transformer on WebGPU."""
