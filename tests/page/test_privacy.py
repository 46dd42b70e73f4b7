"""No request leaves the origin, and the microphone is released."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, WebSocket

from tests.page.test_transcribe import SPEECH
from tests.page.tympan_page import BOOT_MS, KEEP_TRACKS, TympanPage
from tympan.cli.testing import OpenBrowser

pytestmark = pytest.mark.needs("playwright")


def is_listening(page: Page) -> bool:
    """Whether any media track of the page is live."""
    return bool(page.evaluate("tracks.some((track) => track.readyState === 'live')"))


def test_no_request_leaves_the_origin_and_the_microphone_is_released(tympan_browser: OpenBrowser, site: str) -> None:
    context = tympan_browser(SPEECH).new_context()
    requests: list[Request] = []
    sockets: list[WebSocket] = []
    context.on("request", lambda request: requests.append(request))
    context.add_init_script(KEEP_TRACKS)
    page = context.new_page()
    page.on("websocket", lambda socket: sockets.append(socket))
    page.goto(f"{site}/?backend=numpy")
    tympan = TympanPage(page)
    tympan.wait_for("ready", timeout_ms=BOOT_MS)

    n_loading = len(requests)
    tympan.choose("speech.wav", SPEECH.read_bytes())
    assert "meeting" in tympan.transcript
    assert not is_listening(page), "transcribing a file does not open the microphone"

    page.click("#microphone")
    tympan.wait_for("listening")
    assert is_listening(page)
    tympan.wait_for_words(1)
    page.click("#microphone")
    tympan.wait_for("ready")
    assert page.evaluate("tracks.map((track) => track.readyState)") == ["ended"]

    origins = {f"{url.scheme}://{url.netloc}" for url in (urlsplit(request.url) for request in requests) if url.netloc}
    assert origins == {site}
    assert all(request.method == "GET" and not request.post_data for request in requests)
    assert not [request.url for request in requests[n_loading:] if urlsplit(request.url).query]
    assert not sockets
    context.close()
