"""WebGPU from Python: a device, buffers, kernels. Nothing else in the library speaks to the browser's GPU."""
