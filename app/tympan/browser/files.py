"""Files and addresses to samples: whatever the browser can decode, as mono at 24 kHz."""

from pyscript import window

from tympan.browser.language import language
from tympan.browser.promises import JsError, settled
from tympan.errors import BadAudio, DownloadFailed

RATE_HZ = 24000
SHORTEST_S = 0.25  # less is no word


async def read(source):
    """A Blob or a File as it is; of an address, what is there. Raises DownloadFailed."""
    return await _fetch(source) if isinstance(source, str) else source


async def decode(blob, name):
    """Decode a Blob or a File: a Float32Array in [-1, 1], mono at 24 kHz.

    Channels are mixed and rates converted by the browser's own band-limited filters.
    name: what to call it in BadAudio, which is raised where it cannot be used.
    """
    if not blob.size:
        raise BadAudio(name, language.text("empty"))
    try:
        encoded = await settled(blob.arrayBuffer())
    except JsError as error:
        raise BadAudio(name, language.text("unreadable", reason=str(error)))
    try:
        audio = await settled(window.OfflineAudioContext.new(1, 1, RATE_HZ).decodeAudioData(encoded))
    except JsError:
        raise BadAudio(name, language.text("no_sound"))
    if audio.duration < SHORTEST_S:
        raise BadAudio(name, language.text("too_short", seconds=language.seconds(audio.duration, 2)))
    context = window.OfflineAudioContext.new(1, audio.length, RATE_HZ)
    player = context.createBufferSource()
    player.buffer = audio
    player.connect(context.destination)
    player.start()
    return (await context.startRendering()).getChannelData(0)


async def _fetch(url):
    try:
        response = await settled(window.fetch(url))
    except JsError:
        raise DownloadFailed(url, language.text("no_answer"))
    if not response.ok:
        raise DownloadFailed(url, language.text("bad_answer", status=response.status))
    return await settled(response.blob())
