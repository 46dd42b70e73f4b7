"""The Mimi encoder on WebGPU."""
