"""Estimates the memory that a model takes, so that a model that does not fit is refused before it is downloaded."""

from __future__ import annotations

from tympan.errors import NotEnoughMemory

PAGE_BYTES = 200_000_000  # page, Python and a recording of a few minutes
PEAK_PER_WEIGHT_BYTE = 1.1  # at most, while a model is loaded: `peak_over_weights` of `tympan bench load`
TAB_SHARE = 0.4  # of the device's memory; browsers end tabs that take more


def needed_bytes(n_weight_bytes: int) -> int:
    """Memory that a page with a model takes. n_weight_bytes: size of its files.

    It is the same for all backends: a model on the GPU takes less of Python's memory, but phones and most laptops
    share their memory with the GPU.
    """
    return round(PAGE_BYTES + PEAK_PER_WEIGHT_BYTE * n_weight_bytes)


def check_memory(n_weight_bytes: int, device_bytes: int | None) -> None:
    """Raise NotEnoughMemory if a model does not fit. device_bytes: memory of the device; None if it is unknown."""
    if device_bytes is None:
        return
    needed, offered = needed_bytes(n_weight_bytes), round(TAB_SHARE * device_bytes)
    if needed > offered and n_weight_bytes > PAGE_BYTES:  # smaller models are tried everywhere
        raise NotEnoughMemory(needed / 1e9, offered / 1e9)
