"""WebGPU from Python: devices, buffers, shaders and kernels. No other package calls the browser's GPU."""
