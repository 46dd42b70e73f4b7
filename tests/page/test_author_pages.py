"""The example pages, served from another origin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.page.author import author_site
from tests.page.test_microphone import REFUSE_24_KHZ
from tests.page.test_transcribe import SAID, SPEECH, wav
from tests.page.tympan_page import BOOT_MS, KEEP_TRACKS, TRANSCRIBE_MS
from tympan.cli.testing import OpenBrowser
from tympan.cli.word_errors import word_error_rate

pytestmark = pytest.mark.needs("playwright")

MAX_WORD_ERROR_RATE = 0.35
LAST_WORD_MS = 30_000
BAD_AUDIO = [
    "“Recording” cannot be transcribed: it has no audio that this browser can decode.",
    "“Recording” cannot be transcribed: it is empty.",
    "“Recording” cannot be transcribed: it is 0.10 s long, too short for a word.",
]


@pytest.fixture(scope="module")
def author(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with author_site(tmp_path_factory.mktemp("author"), site) as url:
        yield url


@pytest.fixture
def page(author: str, tympan_browser: OpenBrowser) -> Iterator[Page]:
    """An empty page whose microphone hears the speech."""
    page = tympan_browser(SPEECH).new_page()
    page.add_init_script(KEEP_TRACKS)
    yield page
    page.close()


PYTHON = """
    <script type="module" src="SITE/vendor/pyscript/core.js"></script>
    <py-script worker config="SITE/pyscript.toml">
import asyncio
import io
import wave
import numpy as np
from js import JSON, BroadcastChannel, Object, fetch
from pyodide.ffi import create_proxy, to_js
from pyscript import RUNNING_IN_WORKER, ffi
from tympan import Transcriber, TurnKind, TympanError

page = BroadcastChannel.new("test")

def tell(**facts):
    page.postMessage(to_js(facts, dict_converter=Object.fromEntries))

tell(pyscript=[RUNNING_IN_WORKER, ffi.to_js({"key": 1}).key, ffi.is_none(JSON.parse("null"))])
try:
    await Transcriber.load("babel")
except TympanError as error:
    tell(refused=error.kind)

stt = await Transcriber.load("demo", backend="numpy")
tell(loaded=stt.manifest.name)
content = await (await fetch("AUTHOR/speech.wav")).bytes()
for source in ("speech.wav", content, np.zeros(24000, np.float32)):
    transcript = await stt.transcribe(source)
    tell(text=transcript.text, seconds=transcript.seconds)
short = io.BytesIO()
with wave.open(short, "wb") as file:
    file.setparams((1, 2, 24000, 0, "NONE", ""))
    file.writeframes(bytes(2 * 2400))
for source in ("nothing.wav", b"no sound", b"", short.getvalue()):
    try:
        await stt.transcribe(source)
    except TympanError as error:
        tell(refused=error.kind, message=str(error))

stream = stt.stream()
n_words = len(await stream.feed(np.zeros(48000, np.float32)))
tell(streamed=(await stream.finish()).seconds)

kinds = []

def stop_at_second(turn):  # not at the next word: the pause may follow the last one
    kinds.append(turn.kind)
    if len(kinds) == 2:
        voice.stop()

voice = stt.microphone(on_turn=stop_at_second)
async for word in voice:
    tell(word=word.text, start=word.start, end=word.end)
tell(turns=[kind.value for kind in kinds], whole=voice.transcript.text)

released = asyncio.Event()
page.onmessage = create_proxy(lambda event: released.set())
async for word in stt.microphone():
    tell(again=word.text)
    break
await released.wait()  # so that the next recording hears the file from its start
async with stt.microphone() as voice:
    async for word in voice:
        tell(managed=word.text)
        break
    tell(open=True)
tell(done=True)
    </py-script>
"""


def test_python_in_a_page_of_another_origin(page: Page, author: str) -> None:
    """The example, word for word."""
    page.goto(f"{author}/python.html")
    transcript = page.locator("#transcript")
    expect(transcript).to_have_text("", timeout=1)
    with page.expect_console_message(lambda message: message.text.startswith("can "), timeout=BOOT_MS) as first:
        pass
    text, start, end = first.value.text.split()
    assert text == "can"
    assert 0 < float(start) < float(end) < 3
    page.wait_for_function("() => document.querySelector('#transcript').textContent.split(' ').length > 18")
    assert word_error_rate(SAID, transcript.inner_text()) <= MAX_WORD_ERROR_RATE
    page.goto("about:blank")


def test_python_api(page: Page, author: str, site: str) -> None:
    page.goto(f"{author}/blank.html")
    page.evaluate(
        """() => {
            window.told = [];
            const channel = new BroadcastChannel("test");
            channel.onmessage = ({ data }) => {
                told.push(data);
                if (!data.again) return;
                const timer = setInterval(() => {
                    if (!tracks.every((track) => track.readyState === "ended")) return;
                    clearInterval(timer);
                    channel.postMessage("released");
                }, 50);
            };
        }"""
    )
    source = PYTHON.replace("SITE", site).replace("AUTHOR", author)
    page.evaluate(
        """(source) => document.body.append(document.createRange().createContextualFragment(source))""", source
    )
    page.wait_for_function("() => told.some(({ done }) => done)", timeout=TRANSCRIBE_MS)
    told = page.evaluate("told")
    assert [fact["pyscript"] for fact in told if "pyscript" in fact] == [[True, 1, True]]
    assert [fact["refused"] for fact in told if "refused" in fact] == [
        "UnknownModel",
        "DownloadFailed",
        "BadAudio",
        "BadAudio",
        "BadAudio",
    ]
    assert [fact["message"] for fact in told if "message" in fact][1:] == BAD_AUDIO
    assert [fact["loaded"] for fact in told if "loaded" in fact] == ["demo"]
    texts = [fact["text"] for fact in told if "text" in fact]
    assert word_error_rate(SAID, texts[0]) <= MAX_WORD_ERROR_RATE
    assert texts[1] == texts[0]
    assert [fact["seconds"] for fact in told if "seconds" in fact] == pytest.approx([8.17, 8.17, 1], abs=0.01)
    assert [fact["streamed"] for fact in told if "streamed" in fact] == [2]
    words = [fact for fact in told if "word" in fact]
    assert all(0 <= word["start"] < word["end"] for word in words)
    (whole,) = (fact for fact in told if "whole" in fact)
    assert whole["whole"].split() == [word["word"] for word in words]
    assert whole["turns"][:2] == ["speech", "pause"]
    assert len([fact for fact in told if "again" in fact]) == 1
    assert [fact["managed"] for fact in told if "managed" in fact] == ["can"]
    assert len([fact for fact in told if "managed" in fact or "open" in fact]) == 2
    page.wait_for_function("tracks.length === 3 && tracks.every((track) => track.readyState === 'ended')")


def test_script_in_a_page_of_another_origin(page: Page, author: str) -> None:
    """In a browser that cannot mix sample rates."""
    page.add_init_script(REFUSE_24_KHZ)
    page.goto(f"{author}/script.html")
    loaded = page.evaluate("tympan.ready")
    assert loaded["languages"] == ["en"]
    result = page.evaluate("tympan.transcribe('speech.wav')")
    assert word_error_rate(SAID, result["text"]) <= MAX_WORD_ERROR_RATE
    assert result["words"][0]["start"] < result["words"][0]["end"]
    assert page.evaluate("tympan.transcribe('nothing.wav').catch((error) => error.name)") == "DownloadFailed"
    refusals = page.evaluate(
        """(sources) => Promise.all(sources.map((bytes) => (
            tympan.transcribe(new Blob([new Uint8Array(bytes)])).catch(({ name, message }) => [name, message])
        )))""",
        [list(source) for source in (b"no sound", b"", wav(np.zeros(2400), 24000))],
    )
    assert refusals == [["BadAudio", message] for message in BAD_AUDIO]

    page.evaluate(
        "() => { window.turns = []; tympan.addEventListener('turn', ({ detail }) => turns.push(detail.turn)); }"
    )
    page.evaluate("document.querySelector('#transcript').textContent = ''")  # of the words of the file
    page.click("#listen")
    page.wait_for_function("() => document.querySelector('#transcript').textContent.split(' ').length > 6")
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["live"]
    page.click("#stop")
    page.wait_for_function("tracks[0].readyState === 'ended'")
    assert page.evaluate("turns")[0] == "speech"


CUES = """
    [...document.querySelector("#talk").textTracks[0].cues].map(({ startTime, endTime, text }) => [
        startTime, endTime, text,
    ])
"""


def test_captions_of_a_file_and_of_a_live_stream(page: Page, author: str) -> None:
    page.goto(f"{author}/captions.html")
    page.set_input_files("input", SPEECH)
    page.evaluate(
        """() => {
            const talk = document.querySelector("#talk");
            window.captioned = new Promise((resolve) => {
                document.querySelector("tympan-captions").addEventListener("captioned", resolve);
            });
            talk.muted = true;
            return talk.play();
        }"""
    )
    page.evaluate("captioned.then(() => null)")
    cues = page.evaluate(CUES)
    assert word_error_rate(SAID, " ".join(text for _, _, text in cues)) <= MAX_WORD_ERROR_RATE
    assert len(cues) >= 3
    assert max(len(text) for _, _, text in cues) <= 42
    assert all(0 <= start < end < 10 for start, end, _ in cues)
    assert [cue[0] for cue in cues] == sorted(cue[0] for cue in cues)
    assert page.evaluate("document.querySelector('#talk').textTracks[0].mode") == "showing"

    page.evaluate(
        """async () => {
            const talk = document.querySelector("#talk");
            talk.srcObject = await navigator.mediaDevices.getUserMedia({ audio: true });
            talk.muted = true;
            await talk.play();
        }"""
    )
    page.wait_for_function(f"() => {CUES.strip()}.length >= 2", timeout=BOOT_MS)
    assert all(start < end for start, end, _ in page.evaluate(CUES))
    page.wait_for_function("() => document.querySelector('#talk').textTracks[0].activeCues.length > 0")
    assert page.evaluate("tracks[0].readyState") == "live", "the track of the author is not stopped"
