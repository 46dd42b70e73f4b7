"""A voice, as a flow of samples from an AudioWorklet: the microphone, or the sound of another tab."""

import asyncio

from pyscript import window
from pyscript.ffi import to_js

from tympan.browser.language import language
from tympan.browser.promises import JsError, called, settled
from tympan.errors import MicrophoneDenied, TabDenied

RATE_HZ = 24000
FRAME_S = 0.08

REASONS = {"NotAllowedError": "denied", "NotFoundError": "no_microphone", "NotReadableError": "microphone_busy"}


class Microphone:
    """An open microphone, or tab. `rate_hz` is what its samples come at: 24 kHz wherever the browser can."""

    def __init__(self, stream, context, source):
        self._stream, self._context = stream, context
        self._flushed = asyncio.Event()
        self._n_heard, self._begun_s = 0, None  # samples so far, and when the first of them was spoken
        self.rate_hz = int(context.sampleRate)
        options = {"channelCount": 1, "channelCountMode": "explicit", "numberOfOutputs": 0}
        options["processorOptions"] = {"frame": round(context.sampleRate * FRAME_S)}
        self._node = window.AudioWorkletNode.new(context, "capture", to_js(options))
        source.connect(self._node)  # its port keeps what is heard from now on until `start`

    @classmethod
    async def open(cls):
        """Ask for the microphone and listen at once. Raises MicrophoneDenied."""
        devices = window.navigator.mediaDevices
        if not devices:
            raise MicrophoneDenied(language.text("insecure"))
        context = await _context({"sampleRate": RATE_HZ})  # made first, so that no word is lost after the permission
        try:
            wanted = {"channelCount": 1, "echoCancellation": False, "autoGainControl": True, "noiseSuppression": False}
            stream = await settled(devices.getUserMedia(to_js({"audio": wanted})))
        except JsError as error:
            await context.close()
            raise MicrophoneDenied(_reason(error))
        return await cls._of(stream, context)

    @classmethod
    async def open_tab(cls):
        """Ask for another tab, and listen to its sound at once. Raises TabDenied."""
        devices = window.navigator.mediaDevices
        if not devices or not hasattr(devices, "getDisplayMedia"):
            raise TabDenied(language.text("no_tab_support" if devices else "insecure"))
        context = await _context({"sampleRate": RATE_HZ})
        # The picture has to be asked for; it is not looked at.
        wanted = {"audio": {"echoCancellation": False, "autoGainControl": False}, "video": True}
        if hasattr(window, "CaptureController"):  # this page stays in front: one that is not seen would begin late
            controller = window.CaptureController.new()
            controller.setFocusBehavior("no-focus-change")
            wanted["controller"] = controller
        try:
            stream = await settled(devices.getDisplayMedia(to_js(wanted)))
        except JsError as error:
            await context.close()
            raise TabDenied(_reason(error))
        for track in stream.getVideoTracks():
            track.stop()
        if not stream.getAudioTracks().length:
            await context.close()
            raise TabDenied(language.text("no_tab_sound"))
        return await cls._of(stream, context)

    @classmethod
    async def _of(cls, stream, context):
        try:
            return cls(stream, context, await called(context.createMediaStreamSource, stream))
        except JsError:  # this browser will not mix rates, so take the device's own
            await context.close()
            context = await _context({})
            return cls(stream, context, await called(context.createMediaStreamSource, stream))

    def start(self, on_samples, on_end):
        """Call `on_samples` with a Float32Array every 80 ms, and `on_end` if the device goes away."""

        def receive(event):
            if event.data:
                self._note(event.data.length)
                on_samples(event.data)
            else:
                self._flushed.set()

        self._stream.getAudioTracks()[0].addEventListener("ended", lambda event: on_end())
        self._node.port.onmessage = receive

    def delay_s(self, second):
        """How long ago a second of what was heard was spoken."""
        return _now_s() - self._begun_s - second if self._begun_s is not None else 0.0

    async def flush(self):
        """Deliver what has been heard so far; nothing comes after it."""
        self._node.port.postMessage("flush")
        await self._flushed.wait()

    async def close(self):
        """Give the microphone back."""
        for track in self._stream.getTracks():
            track.stop()
        await self._context.close()

    def _note(self, n_samples):
        """Samples have come. Those that came with the least delay tell when the first was spoken."""
        self._n_heard += n_samples
        begun_s = _now_s() - self._n_heard / self.rate_hz
        self._begun_s = begun_s if self._begun_s is None else min(self._begun_s, begun_s)


def _reason(error):
    """Why a person or the browser said no, fit for the screen."""
    return language.text(REASONS[error.name]) if error.name in REASONS else str(error)


def _now_s():
    return window.performance.now() / 1000


async def _context(options):
    """A running audio context that can capture."""
    context = window.AudioContext.new(to_js(options))
    await context.audioWorklet.addModule("capture.worklet.js")
    await context.resume()
    return context
