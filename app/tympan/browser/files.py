"""Files and addresses to samples: whatever the browser can decode, as mono at 24 kHz."""

from pyscript import window

from tympan.browser.promises import JsError, settled
from tympan.errors import BadAudio, DownloadFailed

RATE_HZ = 24000
SHORTEST_S = 0.25  # less is no word


async def decode(source):
    """Decode a Blob, a File or an address: a Float32Array in [-1, 1], mono at 24 kHz.

    Channels are mixed and rates converted by the browser's own band-limited filters.
    Raises BadAudio, or DownloadFailed for an address.
    """
    if isinstance(source, str):
        name, source = source, await _fetch(source)
    else:
        name = str(getattr(source, "name", "")) or "The recording"
    if not source.size:
        raise BadAudio(name, "it is empty")
    try:
        encoded = await settled(source.arrayBuffer())
    except JsError as error:
        raise BadAudio(name, f"it cannot be read ({error})")
    try:
        audio = await settled(window.OfflineAudioContext.new(1, 1, RATE_HZ).decodeAudioData(encoded))
    except JsError:
        raise BadAudio(name, "the browser finds no sound in it that it can decode")
    if audio.duration < SHORTEST_S:
        raise BadAudio(name, f"it is {audio.duration:.2f} seconds long, too short for a word")
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
        raise DownloadFailed(url, "there is no answer from that address")
    if not response.ok:
        raise DownloadFailed(url, f"the server answered {response.status}")
    return await settled(response.blob())
