"""The GPU: an adapter, a device with the limits a model needs, and everything that can go wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tympan.errors import DeviceLost, GpuError, GpuFault, GpuLimit, NoWebGPU
from tympan.gpu.webapi import JsException, create_proxy, js_object, navigator

SOFTWARE_VENDORS = ("google", "mesa")  # SwiftShader, lavapipe
SOFTWARE_NAMES = ("swiftshader", "llvmpipe", "lavapipe", "basic render")
NEWS_S = 0.5
WITHOUT_INTEGER_DOT = {"apple": ("",), "amd": ("gcn-",), "intel": ("gen-7", "gen-8", "gen-9", "gen-11")}
SUBGROUPS, TIMESTAMPS = "subgroups", "timestamp-query"
INTEGER_DOT = "packed_4x8_integer_dot_product"
OPTIONAL_FEATURES = (SUBGROUPS, TIMESTAMPS)
ERROR_SCOPES = ("internal", "out-of-memory", "validation")


@dataclass(frozen=True)
class AdapterInfo:
    """What the browser tells about the GPU. Any text may be empty: browsers hide what could tell people apart."""

    vendor: str
    architecture: str
    description: str
    is_software: bool  # a CPU plays the GPU; Chromium falls back to that in silence
    subgroup_width: int  # the least number of invocations in a subgroup; 0 where there are no subgroups
    has_integer_dot: bool  # products of four integers of 8 bits at once, in hardware as far as can be known

    @classmethod
    def of(cls, adapter: Any) -> AdapterInfo:
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
        """The adapter in a few words, for the screen."""
        name = self.description or " ".join(filter(None, (self.vendor, self.architecture))) or "unnamed GPU"
        return f"{name} (software)" if self.is_software else name


def _has_integer_dot(info: Any) -> bool:
    """Browsers offer it everywhere, and put it together from other instructions where the GPU has none."""
    features = getattr(navigator.gpu, "wgslLanguageFeatures", None)
    is_offered = features is not None and bool(features.has(INTEGER_DOT))
    return is_offered and not info.architecture.startswith(WITHOUT_INTEGER_DOT.get(info.vendor, ()))


@dataclass(frozen=True)
class Adapter:
    """A GPU that the browser offers. It gives one device."""

    handle: Any
    info: AdapterInfo

    @classmethod
    async def request(cls) -> Adapter:
        """Ask the browser for its fastest GPU. Raises NoWebGPU where there is none."""
        gpu = getattr(navigator, "gpu", None)
        if gpu is None:
            raise NoWebGPU("navigator.gpu is missing")
        handle = await gpu.requestAdapter(js_object({"powerPreference": "high-performance"}))
        if handle is None:
            raise NoWebGPU("it has no adapter")
        return cls(handle, AdapterInfo.of(handle))

    @classmethod
    async def look(cls) -> AdapterInfo | None:
        """What `request` would give; None where there is none."""
        with suppress(NoWebGPU):
            return (await cls.request()).info
        return None

    async def device(self, needs: Mapping[str, int], label: str = "tympan") -> Device:
        """Open it, with those of OPTIONAL_FEATURES that it has.

        needs: WebGPU limit name -> the least value that will do.
        Raises GpuLimit when it is too small, GpuFault when it gives no device.
        """
        for limit, needed in needs.items():
            offered = int(getattr(self.handle.limits, limit))
            if offered < needed:
                raise GpuLimit(limit, needed, offered)
        features = [name for name in OPTIONAL_FEATURES if self.handle.features.has(name)]
        descriptor = {"label": label, "requiredLimits": needs, "requiredFeatures": features}
        try:
            return Device(await self.handle.requestDevice(js_object(descriptor)), self.info)
        except JsException as error:
            raise GpuFault("the device", str(error)) from error


class Device:
    """One GPUDevice. Its first fault is kept, or that it was lost, and `check` raises it from then on."""

    def __init__(self, handle: Any, info: AdapterInfo) -> None:
        self.handle = handle
        self.info = info
        self._fault: GpuError | None = None
        self._on_error = create_proxy(self._keep_uncaptured)
        handle.addEventListener("uncapturederror", self._on_error)
        self._loss = asyncio.ensure_future(self._keep_loss())

    @classmethod
    async def request(cls, needs: Mapping[str, int]) -> Device:
        """Open the browser's fastest GPU; raises what `Adapter` raises."""
        return await (await Adapter.request()).device(needs)

    def check(self) -> None:
        """Raise DeviceLost or GpuFault when the driver has reported one since the device was made."""
        if self._fault is not None:
            raise self._fault

    async def check_soon(self) -> None:
        """Do so when the news has had time to arrive: that of a lost device comes some time after what it broke."""
        await asyncio.wait([self._loss], timeout=NEWS_S)
        self.check()

    async def settle(self) -> None:
        """Wait until the GPU has done, and taken over, all it was given so far."""
        await self.handle.queue.onSubmittedWorkDone()

    @asynccontextmanager
    async def guard(self, label: str) -> AsyncIterator[None]:
        """Raise GpuFault with the driver's words when the body makes an object that the driver refuses."""
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
        """Give the device and all its memory back."""
        self.handle.removeEventListener("uncapturederror", self._on_error)
        self._on_error.destroy()
        self._loss.cancel()
        self.handle.destroy()

    def _keep_uncaptured(self, event: Any) -> None:
        self._fault = self._fault or GpuFault("a command", event.error.message)

    async def _keep_loss(self) -> None:
        info = await self.handle.lost
        self._fault = DeviceLost(info.message or info.reason)  # whatever it broke before
