"""Runs in the page: models that a test opens share GPU devices with those of earlier tests.

A software GPU takes seconds to compile the shaders of a model. A device is shared only by models that need the same
limits, and only until it reports an error or is lost; each shader is then compiled once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tympan.gpu.device import Adapter, Device
from tympan.gpu.kernel import Compiler, Kernel

_request_device, _start_compiler, _close_device = Adapter.device, Compiler.__init__, Device.close
_devices: dict[Any, Device] = {}
_compiled: dict[Device, dict[Any, Kernel]] = {}  # the kernels of each


async def _shared_device(
    adapter: Adapter, needs: Mapping[str, int], label: str = "tympan", *, wants: Mapping[str, int] | None = None
) -> Device:
    key = (label, *sorted(needs.items()), *sorted((wants or {}).items()))
    if key not in _devices or _has_failed(_devices[key]):
        _devices[key] = await _request_device(adapter, needs, label, wants=wants)
    return _devices[key]


def _has_failed(device: Device) -> bool:
    return device._fault is not None


def _start_shared_compiler(compiler: Compiler, device: Device) -> None:
    _start_compiler(compiler, device)
    compiler._kernels = _compiled.setdefault(device, compiler._kernels)  # found by the text that was composed


def _keep_open(device: Device) -> None:
    """Do nothing: the next test uses the device."""


REPLACED = (
    (Adapter, "device", _request_device, _shared_device),
    (Compiler, "__init__", _start_compiler, _start_shared_compiler),
    (Device, "close", _close_device, _keep_open),
)


def share(is_shared: bool) -> None:
    """Start or stop to share devices. Those that are shared stay open."""
    for owner, name, original, sharing in REPLACED:
        setattr(owner, name, sharing if is_shared else original)
