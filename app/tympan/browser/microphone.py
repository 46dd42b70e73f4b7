"""The microphone, as a flow of samples from an AudioWorklet."""

import asyncio

from pyscript import window
from pyscript.ffi import to_js

from tympan.errors import MicrophoneDenied

RATE_HZ = 24000
FRAME_S = 0.08

REASONS = {
    "NotAllowedError": "permission was refused. Allow it in the address bar and try again",
    "NotFoundError": "there is none",
    "NotReadableError": "another program holds it",
}


class Microphone:
    """An open microphone. `rate_hz` is what its samples come at: 24 kHz wherever the browser can."""

    def __init__(self, stream, context, node, source):
        self._stream, self._context, self._node, self._source = stream, context, node, source
        self._flushed = asyncio.Event()
        self.rate_hz = int(context.sampleRate)

    @classmethod
    async def open(cls):
        """Ask for the microphone. Raises MicrophoneDenied."""
        devices = window.navigator.mediaDevices
        if not devices:
            raise MicrophoneDenied("this page was not opened over https or from this machine")
        try:
            wanted = {"channelCount": 1, "echoCancellation": False, "autoGainControl": True, "noiseSuppression": False}
            stream = await devices.getUserMedia(to_js({"audio": wanted}))
        except Exception as error:
            name = str(getattr(error, "name", "")) or str(error)
            raise MicrophoneDenied(next((REASONS[known] for known in REASONS if known in name), name)) from error
        context, source = cls._connect(stream)
        await context.audioWorklet.addModule("capture.worklet.js")
        options = {"channelCount": 1, "channelCountMode": "explicit", "numberOfOutputs": 0}
        options["processorOptions"] = {"frame": round(context.sampleRate * FRAME_S)}
        node = window.AudioWorkletNode.new(context, "capture", to_js(options))
        return cls(stream, context, node, source)

    @staticmethod
    def _connect(stream):
        """A context at 24 kHz, or at the device's own rate where the browser refuses that, and the microphone in it."""
        context = window.AudioContext.new(to_js({"sampleRate": RATE_HZ}))
        try:
            return context, context.createMediaStreamSource(stream)
        except Exception:
            context.close()
            context = window.AudioContext.new()
            return context, context.createMediaStreamSource(stream)

    def start(self, on_samples, on_end):
        """Call `on_samples` with a Float32Array every 80 ms, and `on_end` if the device goes away."""

        def receive(event):
            if event.data:
                on_samples(event.data)
            else:
                self._flushed.set()

        self._node.port.onmessage = receive
        self._stream.getAudioTracks()[0].addEventListener("ended", lambda event: on_end())
        self._source.connect(self._node)

    async def close(self):
        """Deliver what has been heard so far and give the microphone back."""
        self._node.port.postMessage("flush")
        await self._flushed.wait()
        for track in self._stream.getTracks():
            track.stop()
        await self._context.close()
