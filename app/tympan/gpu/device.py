"""The adapter, the device with the limits that a model needs, and the errors that both report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from tympan.errors import DeviceLost, GpuError, GpuFault, GpuLimit, NoWebGPU
from tympan.gpu.polling import Polling, is_polled_rarely
from tympan.gpu.webapi import JsException, create_proxy, js_object, navigator

SOFTWARE_VENDORS = ("google", "mesa")  # SwiftShader, lavapipe
SOFTWARE_NAMES = ("swiftshader", "llvmpipe", "lavapipe", "basic render")
LOSS_WAIT_S = 0.5  # a device-lost event arrives some time after the operations that failed because of it
# Architectures without the instruction, by vendor; the empty prefix matches all of them.
WITHOUT_INTEGER_DOT = {"apple": ("",), "amd": ("gcn-",), "intel": ("gen-7", "gen-8", "gen-9", "gen-11")}
SUBGROUPS, TIMESTAMPS = "subgroups", "timestamp-query"
INTEGER_DOT = "packed_4x8_integer_dot_product"
OPTIONAL_FEATURES = (SUBGROUPS, TIMESTAMPS)
ERROR_SCOPES = ("internal", "out-of-memory", "validation")


@dataclass(frozen=True)
class AdapterInfo:
    """Properties of a GPU. Any text may be empty: browsers hide what could identify a user."""

    vendor: str
    architecture: str
    description: str
    is_software: bool  # emulated on the CPU; Chromium falls back to that silently
    subgroup_width: int  # the smallest number of invocations in a subgroup; 0 without the feature `subgroups`
    has_integer_dot: bool  # dot products of four 8-bit integers in hardware, as far as can be known

    @classmethod
    def from_adapter(cls, adapter: Any) -> AdapterInfo:
        info = adapter.info
        is_fallback = getattr(info, "isFallbackAdapter", False) or getattr(adapter, "isFallbackAdapter", False)
        names = f"{info.architecture} {info.description}".lower()
        is_known = info.vendor in SOFTWARE_VENDORS or any(name in names for name in SOFTWARE_NAMES)
        return cls(
            vendor=info.vendor,
            architecture=info.architecture,
            description=info.description,
            is_software=bool(is_fallback) or is_known,
            subgroup_width=int(getattr(info, "subgroupMinSize", 0)) if adapter.features.has(SUBGROUPS) else 0,
            has_integer_dot=_has_integer_dot(info),
        )

    @property
    def summary(self) -> str:
        """The adapter in a few words, to be shown."""
        name = self.description or " ".join(filter(None, (self.vendor, self.architecture))) or "unnamed GPU"
        return f"{name} (software)" if self.is_software else name


def _has_integer_dot(info: Any) -> bool:
    """Browsers offer the built-in everywhere and emulate it where the GPU has no such instruction, so check both."""
    features = getattr(navigator.gpu, "wgslLanguageFeatures", None)
    is_offered = features is not None and bool(features.has(INTEGER_DOT))
    return is_offered and not info.architecture.startswith(WITHOUT_INTEGER_DOT.get(info.vendor, ()))


@dataclass(frozen=True)
class Adapter:
    """A GPU that the browser offers. One device can be requested from it."""

    handle: Any
    info: AdapterInfo

    @classmethod
    async def request(cls) -> Adapter:
        """Request the browser's fastest GPU. Raises NoWebGPU where there is none."""
        gpu = getattr(navigator, "gpu", None)
        if gpu is None:
            raise NoWebGPU("navigator.gpu is missing")
        handle = await gpu.requestAdapter(js_object({"powerPreference": "high-performance"}))
        if handle is None:
            raise NoWebGPU("it has no adapter")
        return cls(handle, AdapterInfo.from_adapter(handle))

    @classmethod
    async def request_info(cls) -> AdapterInfo | None:
        """Properties of the browser's fastest GPU; None where there is none."""
        with suppress(NoWebGPU):
            return (await cls.request()).info
        return None

    def limit(self, name: str) -> int:
        """Return a WebGPU limit of the adapter."""
        return int(getattr(self.handle.limits, name))

    async def device(
        self, needs: Mapping[str, int], label: str = "tympan", *, wants: Mapping[str, int] | None = None
    ) -> Device:
        """Request a device with the optional features that the adapter has.

        needs: WebGPU limit name -> the lowest sufficient value. wants: likewise, for another user of the device; where
        the adapter offers less, the device has what it offers.
        Raises GpuLimit when a limit of the adapter is lower than needed, GpuFault when the request is rejected.
        """
        _require(self.handle, needs)
        limits = dict(needs)
        for limit, wanted in (wants or {}).items():
            limits[limit] = max(limits.get(limit, 0), min(wanted, self.limit(limit)))
        features = [name for name in OPTIONAL_FEATURES if self.handle.features.has(name)]
        descriptor = {"label": label, "requiredLimits": limits, "requiredFeatures": features}
        try:
            handle = await self.handle.requestDevice(js_object(descriptor))
            return Device(handle, self.info, Polling(handle) if await is_polled_rarely(handle) else None)
        except JsException as error:
            raise GpuFault("the device", str(error)) from error


def _require(handle: Any, needs: Mapping[str, int]) -> None:
    """Raise GpuLimit when a limit of a GPUAdapter or GPUDevice is lower than needed."""
    for limit, needed in needs.items():
        offered = int(getattr(handle.limits, limit))
        if offered < needed:
            raise GpuLimit(limit, needed, offered)


class Device:
    """A GPUDevice. It records its first error, or its loss, and `check` raises that from then on."""

    def __init__(self, handle: Any, info: AdapterInfo, polling: Polling | None = None) -> None:
        """polling: to be entered while results are awaited, if the browser needs that."""
        self.handle = handle
        self.info = info
        self.polling = polling or nullcontext()
        self._fault: GpuError | None = None
        self._on_error = create_proxy(self._record_uncaptured)
        handle.addEventListener("uncapturederror", self._on_error)
        self._loss = asyncio.ensure_future(self._record_loss())

    @classmethod
    async def request(cls, needs: Mapping[str, int]) -> Device:
        """Request a device from the browser's fastest GPU. Raises what `Adapter.request` and `Adapter.device` raise."""
        return await (await Adapter.request()).device(needs)

    def require(self, needs: Mapping[str, int]) -> None:
        """Raise GpuLimit when a limit is lower than needed. needs: WebGPU limit name -> the lowest sufficient value."""
        _require(self.handle, needs)

    def check(self) -> None:
        """Raise DeviceLost or GpuFault when the driver has reported one since the device was created."""
        if self._fault is not None:
            raise self._fault

    async def check_after_loss(self) -> None:
        """Wait up to 0.5 s for a device-lost event, then check."""
        await asyncio.wait([self._loss], timeout=LOSS_WAIT_S)
        self.check()

    async def wait_until_done(self) -> None:
        """Wait until the GPU has finished all submitted work and uploads."""
        await self.handle.queue.onSubmittedWorkDone()

    @asynccontextmanager
    async def error_scope(self, label: str) -> AsyncIterator[None]:
        """Raise GpuFault with the driver's message when the driver rejects an object that the body creates.

        label: names the object in the message.
        """
        for scope in ERROR_SCOPES:
            self.handle.pushErrorScope(scope)
        failure: JsException | None = None
        try:
            yield
        except JsException as error:
            failure = error
        finally:
            reports = [await self.handle.popErrorScope() for _ in ERROR_SCOPES]
        self.check()
        for report in reports:
            if report is not None:
                raise GpuFault(label, report.message) from failure
        if failure is not None:
            raise GpuFault(label, str(failure)) from failure

    def close(self) -> None:
        """Destroy the device and free its memory. `check` raises DeviceLost from then on."""
        self._fault = self._fault or DeviceLost("it was closed")
        self.handle.removeEventListener("uncapturederror", self._on_error)
        self._on_error.destroy()
        self._loss.cancel()
        self.handle.destroy()

    def _record_uncaptured(self, event: Any) -> None:
        self._fault = self._fault or GpuFault("a command", event.error.message)

    async def _record_loss(self) -> None:
        info = await self.handle.lost
        self._fault = DeviceLost(info.message or info.reason)  # replaces errors that the loss caused
