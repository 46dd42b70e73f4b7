"""Self-check: compares a few frames on the GPU, with the model's weights, with the CPU before the encoder is used.

Some drivers return at once from a kernel and leave zeros. Calls of one frame and of several use all kernels.
"""

from __future__ import annotations

import numpy as np

from tympan.arrays import Float32
from tympan.errors import GpuWrong
from tympan.mimi.encoder import Mimi
from tympan.mimi.noise import noise
from tympan.mimi.webgpu.encoder import MimiGpu

CALLS = (1, 1, 6)  # frames
TOLERANCE = 1e-2  # of the largest latent: accepts matrices rounded to 16 bits on the CPU, rejects a wrong kernel
MIN_EQUAL_CODES = 0.9  # of those for the same latents; near ties may differ


async def check(gpu: MimiGpu, cpu: Mimi) -> None:
    """Encode a stream of noise on both. Raises GpuWrong or GpuFault."""
    state, expected = gpu.new_state(), cpu.new_state()
    for frames in np.split(noise(sum(CALLS), peak=0.3), np.cumsum(CALLS)[:-1]):
        n_frames = len(frames)
        codes = await gpu.start(state, frames)
        latents, wanted = await read_latents(gpu, n_frames), cpu.stream_latent(expected, frames)
        if not (np.abs(latents - wanted) <= TOLERANCE * np.abs(wanted).max()).all():  # also for NaN
            raise GpuWrong("mimi")
        if (codes == cpu.weights.quantizer.encode(latents)).mean() < MIN_EQUAL_CODES:
            raise GpuWrong("mimi_quantize")


async def read_latents(gpu: MimiGpu, n_frames: int) -> Float32:
    """The latents of the last call: float32 (n_frames, d)."""
    content = await gpu.queue.read(gpu.model.scratch["latent"])
    return content.view(np.float32).reshape(-1, gpu.config.transformer.d)[:n_frames]
