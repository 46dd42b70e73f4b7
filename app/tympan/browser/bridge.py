"""Wraps the JavaScript bridge (static/bridge/page.js): rejected promises raise exceptions, values are plain."""

import json

from pyscript import window
from pyscript.ffi import to_js
from pyscript.js_modules import bridge

from tympan.browser.language import language
from tympan.browser.promises import JsError, js_error, settled
from tympan.protocol import REASONS

engine = bridge.engine
open_microphone, open_tab = bridge.openMicrophone, bridge.openTab
promising = bridge.promising
read, transcribe, listen, stop, captions = bridge.read, bridge.transcribe, bridge.listen, bridge.stop, bridge.captions


class AudioSource:
    """An open microphone or tab. `source` is the JavaScript object."""

    def __init__(self, source):
        self.source = source

    def delay_s(self, second):
        """Seconds since the audio at this time of the source was spoken."""
        return self.source.delayS(second)

    def close(self):
        self.source.close()


async def decode(blob, name):
    """Decode a Blob or a File to a Float32Array in [-1, 1], mono at SAMPLE_RATE_HZ. Raises JsError.

    name: of the recording, for the message of BadAudio.
    """
    return await result(bridge.decode(blob, name))


def name_of(source):
    """The name of a recording: that of the File, or the last part of the address's path."""
    return str(bridge.nameOf(source, language.text("recording_name")))


async def result(promise):
    """Await a promise of the bridge and return its value. Raises JsError with the reason in the page's language."""
    try:
        return await settled(promise)
    except JsError as error:
        raise _translated(error)


def error_of(reason):
    """A JavaScript error as an exception, its reason in the language of the page."""
    return _translated(js_error(reason))


def to_python(value):
    """A plain JavaScript object or array as a dict or a list."""
    return json.loads(str(window.JSON.stringify(value)))


def failure(error):
    """A JavaScript Error for scripts, with the message shown on the page."""
    return _new_error(getattr(error, "kind", "Bug"), language.error(error))


def removed():
    """The error for scripts if the user has removed their recording from the queue."""
    return _new_error("Removed", language.text("removed"))


def _new_error(kind, message):
    return bridge.toError(to_js({"kind": kind, "message": message}))


def _translated(error):
    code = error.fields.get("code")
    if code in REASONS:
        values = dict(error.fields)
        if "seconds" in values:
            values["seconds"] = language.seconds(values["seconds"], 2)
        error.fields["reason"] = language.text(code, **values)
    return error
