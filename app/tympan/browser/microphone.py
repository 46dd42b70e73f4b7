"""The microphone, as a flow of samples from an AudioWorklet."""

import asyncio

from pyscript import window
from pyscript.ffi import to_js

from tympan.browser.promises import JsError, called, settled
from tympan.errors import MICROPHONE_REASONS, MicrophoneDenied

RATE_HZ = 24000
FRAME_S = 0.08


class Microphone:
    """An open microphone. `rate_hz` is what its samples come at: 24 kHz wherever the browser can."""

    def __init__(self, stream, context, source):
        self._stream, self._context = stream, context
        self._flushed = asyncio.Event()
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
            raise MicrophoneDenied("this page was not opened over https or from this machine")
        context = await _context({"sampleRate": RATE_HZ})  # made first, so that no word is lost after the permission
        try:
            wanted = {"channelCount": 1, "echoCancellation": False, "autoGainControl": True, "noiseSuppression": False}
            stream = await settled(devices.getUserMedia(to_js({"audio": wanted})))
        except JsError as error:
            await context.close()
            raise MicrophoneDenied(MICROPHONE_REASONS.get(error.name, str(error)))
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
                on_samples(event.data)
            else:
                self._flushed.set()

        self._stream.getAudioTracks()[0].addEventListener("ended", lambda event: on_end())
        self._node.port.onmessage = receive

    async def flush(self):
        """Deliver what has been heard so far; nothing comes after it."""
        self._node.port.postMessage("flush")
        await self._flushed.wait()

    async def close(self):
        """Give the microphone back."""
        for track in self._stream.getTracks():
            track.stop()
        await self._context.close()


async def _context(options):
    """A running audio context that can capture."""
    context = window.AudioContext.new(to_js(options))
    await context.audioWorklet.addModule("capture.worklet.js")
    await context.resume()
    return context
